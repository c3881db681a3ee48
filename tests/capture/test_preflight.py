"""The path to what cannot travel, and that looking for it disturbs nothing."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextvars
import csv
import dataclasses
import enum
import functools
import gc
import io
import itertools
import logging
import mmap
import queue
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.capture.preflight import Culprit, find_culprit, stuck_reason


def path_to(**roots: Any) -> str | None:
    """The path that is found in ``roots``."""
    culprit = find_culprit(roots)
    return culprit.path if culprit is not None else None


@pytest.fixture
def stuck() -> Iterator[Any]:
    """Something that cannot travel."""
    with tempfile.TemporaryFile() as file:
        yield file


# ---- single values --------------------------------------------------------------------------------------------------


def generator() -> Iterator[None]:
    yield


async def coroutine() -> None: ...


async def async_generator() -> Any:
    yield


class OtherDatabase:
    """A connection of a library that nobody here has heard of."""

    def cursor(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...


class PortableDatabase(OtherDatabase):
    def __getstate__(self) -> dict[str, Any]:
        return {}


STUCK: dict[str, tuple[Callable[[], Any], str]] = {
    "text file": (functools.partial(Path(__file__).open), "open file"),
    "binary file": (functools.partial(Path(__file__).open, "rb"), "open file"),
    "raw file": (functools.partial(Path(__file__).open, "rb", buffering=0), "open file"),
    "temporary file": (tempfile.NamedTemporaryFile, "open file"),
    "socket": (socket.socket, "network connection"),
    "sqlite connection": (lambda: sqlite3.connect(":memory:"), "database connection"),
    "sqlite cursor": (lambda: sqlite3.connect(":memory:").cursor(), "database cursor"),
    "unknown database": (OtherDatabase, "database connection"),
    "lock": (threading.Lock, "lock"), "rlock": (threading.RLock, "lock"), "condition": (threading.Condition, "lock"),
    "event": (threading.Event, "lock"), "semaphore": (threading.Semaphore, "lock"), "local": (threading.local, "lock"),
    "generator": (generator, "generator"), "async generator": (async_generator, "generator"),
    "generator expression": (lambda: (x for x in ()), "generator"),
    "thread": (threading.Thread, "thread"),
    "pool": (lambda: concurrent.futures.ThreadPoolExecutor(1), "pool"),
    "future": (concurrent.futures.Future, "event loop"),
    "queue": (queue.Queue, "queue"), "simple queue": (queue.SimpleQueue, "queue"),
    "mmap": (lambda: mmap.mmap(-1, 10), "memory mapped"),
    "context variable": (lambda: contextvars.ContextVar("x"), "context variable"),
    "context": (contextvars.copy_context, "context variable"),
    "loop": (asyncio.new_event_loop, "event loop"),
    "frame": (sys._getframe, "call stack"),
    "csv reader": (lambda: csv.reader([]), "reader"),
}


@pytest.mark.parametrize("name", STUCK)
def test_what_is_stuck(name: str) -> None:
    make, says = STUCK[name]
    value = make()
    with ExitStack() as stack:
        if hasattr(value, "close"):
            stack.enter_context(closing(value))
        reason = stuck_reason(value)
        assert reason is not None and says in reason
        culprit = find_culprit({"x": [value]})
        assert culprit is not None and culprit.path == "x[0]" and culprit.remedy and culprit.reason == reason


def test_a_process_and_a_coroutine_are_stuck() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert "process" in str(stuck_reason(process))
    waiting = coroutine()
    assert "coroutine" in str(stuck_reason(waiting))
    waiting.close()


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int = 0


FREE: dict[str, Any] = {
    "number": 1, "text": "a", "list": [1], "dict": {"a": 1}, "set": {1}, "bytesio": io.BytesIO(b"a"),
    "stringio": io.StringIO("a"), "enum": Colour.RED, "dataclass": Point(), "function": generator, "class": Point,
    "module": types, "partial": functools.partial(print, 1), "deque": collections.deque([1]), "range": range(3),
    "iterator": iter([1]), "zip": zip([1], [2], strict=True), "exception": ValueError(1), "path": Path(),
    "logger": logging.getLogger("cellferry.test"),
    "portable database": PortableDatabase(), "weak set": weakref.WeakSet(), "used up": iter([]),
    "compiled pattern": __import__("re").compile("a"), "namespace": types.SimpleNamespace(a=1), "builtin": len,
    "bound builtin": [].append, "slice": slice(1), "frozen": frozenset([1]),
}


@pytest.mark.parametrize("name", FREE)
def test_what_travels(name: str) -> None:
    assert stuck_reason(FREE[name]) is None
    assert find_culprit({"x": FREE[name]}) is None


@pytest.mark.parametrize("iterator", [itertools.count(3), itertools.pairwise([1]), itertools.chain([1]), itertools.tee([1])[0]])
def test_iterators_of_itertools_travel_where_python_can_pickle_them(iterator: Any) -> None:
    try:
        cloudpickle.dumps(iterator)
        travels = True
    except TypeError:
        travels = False
    assert travels == (sys.version_info < (3, 14) and not isinstance(iterator, itertools.pairwise))
    culprit = find_culprit({"x": [iterator]})
    assert (culprit is None) == travels
    assert culprit is None or ("itertools" in str(culprit.error()) and "list(...)" in culprit.error().advice)


def test_standard_streams_are_sent_by_name() -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__):
        assert stuck_reason(stream) is None
        assert find_culprit({"x": [stream]}) is None


@pytest.mark.parametrize("name", FREE)
def test_what_travels_really_does(name: str) -> None:
    cloudpickle.dumps(FREE[name])


# ---- paths ----------------------------------------------------------------------------------------------------------


class Holder:
    """Any object with attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def method(self) -> None: ...


class Slotted:
    __slots__ = ("filled", "unset")

    def __init__(self, filled: Any) -> None:
        self.filled = filled


class SlottedBelow(Slotted):
    __slots__ = ("more",)


Pair = collections.namedtuple("Pair", "left right")


def closure(x: Any) -> Callable[[], Any]:
    def inner() -> Any:
        return x

    return inner


def notebook_function(text: str, **names: Any) -> Any:
    """A function as a notebook defines it."""
    space = {"__name__": "__main__", **names}
    exec(text, space)
    return space["f"]


PATHS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "itself": (lambda s: s, "x"),
    "list": (lambda s: [1, s], "x[1]"),
    "dict": (lambda s: {"k": [0, 1, 2, s]}, "x['k'][3]"),
    "odd key": (lambda s: {(1, 2): s}, "x[<tuple>]"),
    "key": (lambda s: {s: 1}, "x.<key <BufferedRandom>>"),
    "set": (lambda s: {s}, "x.<element>"),
    "deque": (lambda s: collections.deque([s]), "x[0]"),
    "defaultdict": (lambda s: collections.defaultdict(list, k=s), "x['k']"),
    "namedtuple": (lambda s: Pair(1, s), "x.right"),
    "attribute": (lambda s: Holder(a=Holder(b=s)), "x.a.b"),
    "slot": (lambda s: Slotted(s), "x.filled"),
    "slot of the base": (lambda s: SlottedBelow(s), "x.filled"),
    "dataclass": (lambda s: Point(s), "x.x"),
    "namespace": (lambda s: types.SimpleNamespace(a=s), "x.a"),
    "closure": (closure, "x.<closure x>"),
    "default": (lambda s: notebook_function("def f(a, b=d): pass", d=s), "x.<default b>"),
    "keyword default": (lambda s: notebook_function("def f(*, b=d): pass", d=s), "x.<default b>"),
    "global": (lambda s: notebook_function("def f(): return d", d=s), "x.<global d>"),
    "function attribute": (lambda s: notebook_function("def f(): pass\nf.a = d", d=s), "x.a"),
    "class attribute": (lambda s: notebook_function("class f:\n    a = d", d=s), "x.a"),
    "class of an instance": (lambda s: notebook_function("class f:\n    a = d", d=s)(), "x.__class__.a"),
    "base class": (lambda s: notebook_function("class B:\n    a = d\nclass f(B): pass", d=s),
                   "x.__mro__[1].a"),
    "method's closure": (lambda s: notebook_function(
        "def make(v):\n    class C:\n        def m(self): return v\n    return C\nf = make(d)", d=s),
                         "x.m.<closure v>"),
    "bound method": (lambda s: Holder(a=s).method, "x.__self__.a"),
    "method of the stuck value": (lambda s: s.read, "x.__self__"),
    "partial": (lambda s: functools.partial(print, 1, s), "x.args[1]"),
    "partial keyword": (lambda s: functools.partial(print, file=s), "x.keywords['file']"),
    "property": (lambda s: notebook_function("class f:\n    p = property(lambda self: d)", d=s),
                 "x.p.fget.<global d>"),
    "exception": (lambda s: ValueError(1, s), "x.args[1]"),
    "enumerate": (enumerate, "x.<inside>"),
    "list subclass with attributes": (lambda s: notebook_function("class f(list): pass\nf = f([1]); f.a = d", d=s),
                                      "x.a"),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths(name: str, stuck: Any) -> None:
    make, path = PATHS[name]
    value = make(stuck)
    if name == "enumerate":
        value = enumerate(csv.reader([]))
    if name == "key":
        path = f"x.<key <{type(stuck).__name__}>>"
    assert path_to(before=[1, {"a": Holder()}], x=value) == path


def test_the_path_of_a_logger(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        model = Holder(logger=logging.Logger("model"))
        model.logger.addHandler(logging.NullHandler())
        model.logger.addHandler(logging.StreamHandler(stream))
        assert find_culprit({"model": model}) == Culprit(
            "model.logger.handlers[1].stream", "io.TextIOWrapper", "an open file of this machine",
            "pass its path and open it inside the %%remote cell")
    assert path_to(model=Holder(logger=logging.Logger("x"), handler=logging.StreamHandler(sys.stdout))) is None


def test_the_nearest_is_named(stuck: Any) -> None:
    assert path_to(a=[[[[stuck]]]], b=[stuck]) == "b[0]"


def test_what_an_object_leaves_out_is_suspected_last(stuck: Any) -> None:
    class Own(Holder):
        def __getstate__(self) -> dict[str, Any]:
            return {}

    assert path_to(own=Own(lock=threading.Lock()), other=[[[stuck]]]) == "other[0][0][0]"
    assert path_to(own=Own(lock=threading.Lock())) == "own.lock"


def test_cycles_end() -> None:
    loop: list[Any] = []
    loop.append({"a": loop})
    me = Holder()
    vars(me)["me"] = me
    assert path_to(a=loop, b=me) is None


def test_the_search_is_bounded(stuck: Any) -> None:
    assert find_culprit({"x": [[i] for i in range(100)] + [stuck]}, max_objects=50) is None
    assert find_culprit({"x": [[i] for i in range(20)] + [stuck]}, max_objects=50) is not None


def test_by_name_functions_and_classes_are_not_searched() -> None:
    assert path_to(a=concurrent.futures.thread.ThreadPoolExecutor, b=logging.getLogger, c=threading) is None


def test_nothing_of_the_users_is_run(stuck: Any) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("this must not run")

    hooks = ("__getattr__", "__getattribute__", "__len__", "__iter__", "__eq__", "__hash__", "__bool__", "__repr__",
             "__reduce__", "__getstate__", "__contains__", "__getitem__", "__del__", "__instancecheck__", "__dir__")
    meta = type("Meta", (type,), dict.fromkeys(("__getattribute__", "__eq__", "__hash__", "__bool__", "__iter__",
                                                "__instancecheck__", "__subclasscheck__"), never))
    space = {"__module__": "__main__", "prop": property(never), **dict.fromkeys(hooks[:-2], never)}
    del space["__del__"]
    for base in (object, dict, list):
        cls = meta("Touchy", (base,), dict(space))
        value = base.__new__(cls)
        object.__setattr__(value, "inner", [stuck])
        culprit = find_culprit({"x": value})
        assert culprit is not None and culprit.path == "x.inner[0]"


def test_generators_are_not_advanced_and_references_not_kept() -> None:
    ran: list[int] = []

    def steps() -> Iterator[int]:
        ran.append(1)
        yield 1

    holder = Holder(it=map(str, steps()))
    alive = weakref.ref(holder)
    assert str(path_to(x=holder)).startswith("x.it.<inside>")
    assert not ran
    del holder
    gc.collect()
    assert alive() is None


@given(st.recursive(st.integers() | st.text(max_size=3) | st.none() | st.just("HERE"),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner)))
def test_the_path_leads_there(tree: Any) -> None:
    lock = threading.Lock()

    def planted(value: Any) -> Any:
        if value == "HERE":
            return lock
        if isinstance(value, list):
            return [planted(item) for item in value]
        return {key: planted(item) for key, item in value.items()} if isinstance(value, dict) else value

    x = planted(tree)
    path = path_to(x=x)
    assert (path is not None) == ("HERE" in _leaves(tree))
    if path is not None:
        assert eval(path, {"x": x}) is lock


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, (list, dict)):
        return [leaf for item in (tree.values() if isinstance(tree, dict) else tree) for leaf in _leaves(item)]
    return [tree]


# ---- libraries ------------------------------------------------------------------------------------------------------


def test_arrays_and_frames_of_objects(stuck: Any) -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    array = np.empty((2, 2), object)
    array[1, 0] = stuck
    assert path_to(a=array) == "a[1, 0]"
    assert path_to(a=np.zeros(1000)) is None
    assert path_to(df=pd.DataFrame({"n": [1, 2], "c": [1, stuck]})) == "df['c'].iloc[1]"
    assert path_to(s=pd.Series([stuck])) == "s.iloc[0]"
    assert path_to(df=pd.DataFrame({"n": [1, 2], "c": ["a", "b"]})) is None


@pytest.mark.slow
@pytest.mark.every_python
def test_models() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    assert path_to(model=model) is None
    model[0].lock = threading.Lock()
    assert path_to(model=model) == "model._modules['0'].lock"
