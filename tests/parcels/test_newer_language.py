"""What newer Pythons have brought to the language: annotations that are evaluated late, templates, frozen dicts, lazy imports."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from .notebook import FarProcess, Notebook, same_as_local


@pytest.fixture(scope="module")
def far() -> Iterator[FarProcess]:
    process = FarProcess()
    yield process
    process.close()


ANNOTATED = """import dataclasses, enum, functools, inspect, typing
def plain(x: int, *rest: list[str], key: "str" = "") -> dict[str, int]: return {}
class Node:
    following: "Node | None" = None
    size: int
    Sort = str
    sort: Sort
    def put(self, other: "Node", sort: Sort) -> None: ...
    if True:
        chosen: float
@dataclasses.dataclass
class Point:
    x: int
    rest: list[int] = dataclasses.field(default_factory=list)
@dataclasses.dataclass(slots=True)
class Slim(Point):
    y: float = 1.5
class Pair(typing.NamedTuple):
    left: int
    right: Point
class Options(typing.TypedDict, total=False):
    name: str
    point: Point
class Sized(typing.Protocol):
    size: int
class Level(enum.Enum):
    note: str
    LOW = 1
    def up(self, by: int) -> "Level": return self
def keeping(function):
    @functools.wraps(function)
    def inner(*args): return function(*args)
    return inner
@keeping
def wrapped(x: Point) -> Node: return x
looked_at = wrapped.__annotations__
def changed(x: int): ...
changed.__annotations__["y"] = float
class Changed:
    x: int
Changed.__annotations__["y"] = float
def bare(x): ...
class Bare: ...
Point(1), Slim(1)
"""
SHOWN = """everything = plain, Node, Node.put, Point, Slim, Pair, Options, Sized, Level, Level.up, wrapped, changed, Changed, bare, Bare
seen = [repr(each.__annotations__) for each in everything]
seen += [repr(typing.get_type_hints(each, globals())) for each in (plain, Node, Point, Slim, Pair, Options, wrapped)]
seen += [str(inspect.signature(each)) for each in (plain, Point, Slim, Pair, wrapped)]
seen += [(field.name, repr(field.type)) for field in dataclasses.fields(Slim)]
@dataclasses.dataclass
class Below(Point):
    z: "Below" = None
seen += [repr(Below(1, [2], 3)), repr(Slim(1, [2], 2.5)), repr(Pair(1, Point(2))), repr(Below.__annotations__)]
"""


def test_annotations_are_as_they_are_locally(far: FarProcess) -> None:
    same_as_local(far, ANNOTATED, "%%remote\n" + SHOWN, names=["seen"])
    same_as_local(far, "%%remote\n" + ANNOTATED, SHOWN, names=["seen"])
    same_as_local(far, ANNOTATED, "%%remote\nBare, Node, plain, Level", SHOWN, "%%remote\n" + SHOWN, names=["seen"])


LATE = [
    """
    ran = []
    def later(x: Undefined, y: ran.append(1) = 0): return Undefined
    class Later:
        x: Undefined
        def put(self, x: Undefined) -> Later: return x
    """,
    """
    %%remote
    got = Later().put(3), list(ran)
    def there(x: Undefined): return x
    class There:
        x: Undefined
    """,
    """
    class Undefined: ...
    names = [f.__annotations__["x"] is Undefined for f in (later, Later, Later.put, there, There)]
    returned = later(1) is Undefined
    """,
    """
    %%remote
    names_there = [f.__annotations__["x"] is Undefined for f in (later, Later, Later.put, there, There)]
    returned_there = later(1) is Undefined
    class Undefined: ...
    """,
]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="PEP 649")
def test_an_annotation_is_evaluated_when_it_is_asked_for_and_not_before(far: FarProcess) -> None:
    same_as_local(far, *LATE, names=["got", "names", "returned", "names_there", "returned_there"])


CASES: dict[str, tuple[tuple[int, int], list[str]]] = {
    "type aliases": (
        (3, 12),
        ["type X = int | list[X]\ntype Y[T] = dict[str, T]\nheld = [X]", "%%remote\nsame = held[0] is X\n"
            "shown = repr((X.__value__, Y[int], Y.__value__))"],
    ),
    "type parameters": (
        (3, 12),
        [
            "def f[T: int, **P](x: T) -> T: return x\nclass Box[T]:\n    held: T\n    def get(self) -> T: return self.held\n"
            "box = Box[int]()\nbox.held = [1]",
            "%%remote\nbox.held.append(f(2))\nT, P = f.__type_params__\n"
            "shown = repr((f.__type_params__, T.__bound__, f.__annotations__, "
            "Box.__type_params__, Box[str], box.get(), box.__orig_class__))\n"
            "same = Box.get.__annotations__['return'] is Box.__type_params__[0]",
        ],
    ),
    "defaults of type parameters": (
        (3, 13),
        [
            "import typing\nT, P, Ts = typing.TypeVar('T', default=int), typing.ParamSpec('P', default=[int]), "
            "typing.TypeVarTuple('Ts', default=typing.Unpack[tuple[int, str]])\nclass Box[T = int, **P = [str]]: ...",
            "%%remote\nshown = repr([x.__default__ for x in (T, P, Ts, *Box.__type_params__)])",
        ],
    ),
    "templates": (
        (3, 14),
        [
            "x = [1]\nt = t'a {x!r:>5} b'\nl = [t, t.interpolations[0]]",
            "%%remote\nx.append(2)\nshown = t.strings, t.values, t.interpolations[0].expression, l[0] is t\nu = t'{t} {x}'",
            "x.append(3)\nshown_here = t.values, u.values[1], u.values[0] is t, l[0] is t, u.values[1] is x",
        ],
    ),
    "several exceptions without brackets": (
        (3, 14),
        ["def f(g):\n    try: g()\n    except KeyError, ZeroDivisionError: return 'caught'", "%%remote\ny = f(lambda: 1 / 0)"],
    ),
    "frozen dicts": (
        (3, 15),
        [
            "d = frozendict(a=[1])\nl = [d, d['a']]",
            "%%remote\nd['a'].append(2)\ne = frozendict(b=d)\nsame = l[0] is d",
            "e['b']['a'].append(3)\nshown = l, e['b'] is d, {d: 1} if False else 0",
        ],
    ),
    "sentinels": (
        (3, 15),
        [
            "S = sentinel('S')\ndef f(x=S): return x is S\nl = [S]",
            "%%remote\nsame = f(), l[0] is S, repr(S)\nR = sentinel('R')\nl.append(R)",
            "%%remote\nagain = l[1] is R, l[0] is S, f()",
            "home = l[1] is R, l[0] is S, f()",
        ],
    ),
    "lazy imports": (
        (3, 15),
        [
            "lazy import json as js\nlazy from math import tau\nlazy import xml.dom as dom\nlazy import never_used\n"
            "def f(): return js.dumps([round(tau)])",
            "%%remote\nshown = repr((f(), js.loads('1'), round(tau), dom.__name__))\nlazy import textwrap\nlazy from string import digits",
            "home = repr((textwrap.dedent(' a'), digits, f()))",
        ],
    ),
    "unpacking in comprehensions": (
        (3, 15),
        ["rows = [[1], [2]]\ndef f(): return [*row for row in rows], {**d for d in [{1: 2}]}",
         "%%remote\ngot = f(), [*r for r in rows]\nrows.append([3])"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_is_as_it_is_locally(far: FarProcess, case: str) -> None:
    since, cells = CASES[case]
    if sys.version_info < since:
        pytest.skip(f"needs Python {since[0]}.{since[1]}")
    shown = ["shown", "same", "got", "home", "again", "shown_here", "y", "x", "rows"]
    same_as_local(far, *cells, names=shown)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="PEP 810")
def test_a_lazy_import_of_nothing_is_refused_where_it_is_used(far: FarProcess) -> None:
    with Notebook(far) as notebook:
        notebook.here("lazy import cellferry_has_no_such_part as part")
        with pytest.raises(Exception, match="cellferry_has_no_such_part"):
            notebook.there("part.x")
        notebook.there("y = 1")
        assert notebook.value("y") == 1
