"""Classes whose methods a library wrote as text, on their way to another minor version of Python."""

from __future__ import annotations

import functools
import linecache
import sys
import types
from collections.abc import Iterator

import pytest

from cellferry.errors import CannotTravel
from cellferry.parcels import recompiled

from .two_heaps import TwoHeaps

CELL = """
import collections, dataclasses, typing
@dataclasses.dataclass
class Point:
    x: int
    rest: list = dataclasses.field(default_factory=list)
    note: str = "n"
    hidden: int = dataclasses.field(default=3, repr=False, compare=False)
    total: dataclasses.InitVar[int] = 0
    shared: typing.ClassVar[int] = 9
    def __post_init__(self, total): self.sum = total
    def __repr__(self): return f"<{self.x} {self.rest} {self.note} {self.hidden} {self.sum}>"
@dataclasses.dataclass(frozen=True, order=True)
class Key:
    a: int
    b: str = "b"
@dataclasses.dataclass(slots=True, kw_only=True)
class Slim(Key if False else object):
    a: int
    b: float = 1.5
@dataclasses.dataclass
class Below(Point):
    y: int = 5
class Pair(typing.NamedTuple):
    left: int
    right: str = "r"
    def both(self): return self.left, self.right
Other = collections.namedtuple("Other", "u v", defaults=[7])
T = typing.TypeVar("T")
class Held(typing.NamedTuple, typing.Generic[T]):
    a: T
    b: T
class Late(typing.NamedTuple):
    when: "Held[int]"
unions = [int | None, typing.Optional[str], typing.Union["Held", int], int | typing.Any]
makers = {name: (lambda: name) for name in "ab"}
values = [Point(1, [2], total=4), Key(1), Slim(a=2), Below(1), Pair(1), Other(3), Held(1, 2), Late(1)]
"""
SEEN = """
def tries(f):
    try: return f()
    except Exception as error: return type(error).__name__
seen = [repr(v) for v in values]
seen += [repr(Point(5)), Point(1) == Point(1), Point(1) == Point(2), hash(Key(1)) == hash(Key(1))]
seen += [Key(1) < Key(2), Point(1).rest is Point(1).rest]
seen += [tries(lambda: setattr(Key(1), "a", 2)), tries(lambda: setattr(Slim(a=1), "c", 2))]
seen += [tries(lambda: hash(Point(1))), tries(lambda: Slim(1))]
seen += [repr(Below(1, y=3)), [f.name for f in dataclasses.fields(Below)], Point.shared]
seen += [hasattr(Point, "rest"), Point.note, Point.__match_args__]
seen += [Pair(1).both(), Pair(2)._replace(left=3), Pair._fields]
seen += [Pair.__annotations__, Other(1), Other._make([1, 2])._asdict(), type(values[4]) is Pair]
seen += [dataclasses.replace(Key(1), a=2), dataclasses.asdict(Slim(a=1)), repr(Slim(a=1)), Slim.__slots__]
seen += [Held[int](3, 4), Held.__mro__[1:], Held.__parameters__, type(values[6]) is Held]
seen += [typing.get_type_hints(Late, globals()), unions, unions[0] == (int | None), {n: m() for n, m in makers.items()}]
seen = repr(seen)
"""


@pytest.fixture
def ends() -> Iterator[TwoHeaps]:
    main, ends = sys.modules["__main__"], TwoHeaps()
    notebook = sys.modules["__main__"] = types.ModuleType("__main__")
    ends.here = ends.near.namespace = vars(notebook)
    ends.near.by_source = ends.far.by_source = True
    linecache.cache["<cell>"] = (len(CELL), None, CELL.splitlines(keepends=True), "<cell>")
    yield ends
    sys.modules["__main__"] = main
    del linecache.cache["<cell>"]


def test_methods_are_written_anew_on_the_other_end(ends: TwoHeaps, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle.cloudpickle as by_cloudpickle

    exec(compile(CELL, "<cell>", "exec", dont_inherit=True), ends.here)
    names = [
        name for name in ends.here if not name.startswith("__") and not isinstance(ends.here[name], types.ModuleType)
    ]
    ends.there.update({name: value for name, value in ends.here.items() if isinstance(value, types.ModuleType)})
    # one process is both ends here, and would find its own classes again
    monkeypatch.setattr(by_cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID, "get", lambda tracker: None)
    monkeypatch.setattr(by_cloudpickle, "_lookup_class_or_track", lambda tracker, made: made)
    ends.send(*names)
    assert ends.there["Point"] is not ends.here["Point"]
    exec(compile(SEEN, "<cell>", "exec", dont_inherit=True), ends.here)
    exec(compile(SEEN, "<cell>", "exec", dont_inherit=True), ends.there)
    assert ends.there["seen"] == ends.here["seen"]


def test_a_part_of_a_library_that_another_python_makes_of_other_things_is_refused(ends: TwoHeaps) -> None:
    """As ``functools.singledispatch`` of 3.14 uses a name that the one of 3.11 has not."""
    exec("import functools\nshow = functools.singledispatch(len)", ends.here)
    wrapper = ends.here["show"]
    recompiled.library_function(wrapper.__code__, "show", wrapper.__closure__, functools)
    other = types.ModuleType("functools_of_another_python")
    with pytest.raises(CannotTravel, match="which functools_of_another_python does not have") as refused:
        recompiled.library_function(functools.partialmethod.__get__.__code__, "get", (), other)
    assert "env=auto" in refused.value.advice
