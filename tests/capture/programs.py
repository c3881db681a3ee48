"""Random small programs, and what really happens to the names of one when it runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "c", "d", "f", "g")
_names = st.sampled_from(NAMES)


class Value:
    """Stands for whatever a notebook holds: takes part in every operation that the programs know."""

    def _same(self, *_: Any, **__: Any) -> Value:
        return self

    __add__ = __iadd__ = __getitem__ = __call__ = __enter__ = __getattr__ = _same

    def __iter__(self) -> Iterator[Value]:
        return iter([self] * random.randint(0, 2))

    def __exit__(self, *_: object) -> bool:
        return False

    def __bool__(self) -> bool:
        return random.random() < 0.5

    def __setitem__(self, *_: object) -> None: ...

    def __setattr__(self, *_: object) -> None: ...


class Watched(dict[str, Any]):
    """A namespace that notes which names were read while they still held what the notebook had given them."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        self.given, self.reads = dict(given), set[str]()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value is self.given.get(name, self):
            self.reads.add(name)
        return value

    def __delitem__(self, name: str) -> None:
        # To be deleted, a name has to be there.
        if self.get(name) is self.given.get(name, self):
            self.reads.add(name)
        super().__delitem__(name)


def run(source: str, seed: int, without: str | None = None) -> tuple[Watched, BaseException | None]:
    """Run a program where every name of the pool is given, but for ``without``; its namespace and how it ended."""
    random.seed(seed)
    given = {name: Value() for name in NAMES if name != without}
    space = Watched(given)
    try:
        # As locals too: only then does a look-up at the top go through `Watched`.
        exec(compile(source, "<program>", "exec"), space, space)
    except Exception as error:
        return space, error
    return space, None


# %: a name, #: an expression. A template is chosen first and then filled, so that a program stays as small as it looks.
_EXPRESSIONS = (
    "%", "%", "%", "%", "(# + #)", "%(#)", "[#, #]", "(# if # else %)", "(# and #)", "(# or #)", "f'{%}'", "(% := #)",
    "(lambda %, z=(#): #)", "(lambda: #)()", "[# for % in %]", "[# for % in [#] if %]", "list(# for % in [#])",
    "{%: # for % in %}", "[(% := #) for z in [#]]",
)
_LINES = (
    "% = #", "% = #", "% = % = #", "%, % = #, %", "% += #", "del %", "#", "import sys as %", "%: % = #", "%.x = #",
    "% = lambda: #", "from os import path as %", "%[0] = #", "%()",
)
# B: a block; L and W: one that may leave a round of its loop (`continue` in a `while` might never end).
_BLOCKS = (
    "if #:|B|else:|B", "if #:|B", "if #:|!raise ValueError", "for % in %:|L", "for % in %:|L|else:|B",
    "for % in range(2):|L", "while #:|W|!break", "while True:|W|!break", "try:|B|except TypeError:|B",
    "try:|B|except Exception as %:|B|else:|B", "try:|B|finally:|B", "try:|B|except NameError:|B|finally:|!%",
    "with # as %:|B", "match #:|!case [%]:|!!B|!case %:|!!B", "def %(*_, %=#):|B|!return #", "def %(*_):|!global %|B",
    "def %(*_):|B|%()", "def %(*_):|!def %(*_):|!!B|!return %()", "class %:|B", "class %:|!def __init__(self, *_):|!!B",
    "@%|def %(*_):|B",
)


def _filled(draw: st.DrawFn, template: str, depth: int) -> str:
    out = ""
    for character in template:
        if character == "%":
            out += draw(_names)
        elif character == "#":
            out += _filled(draw, draw(st.sampled_from(_EXPRESSIONS)) if depth else "%", depth - 1)
        else:
            out += character
    return out


def _block(draw: st.DrawFn, depth: int, leave: tuple[str, ...] = ()) -> list[str]:
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3 if depth > 1 else 2))):
        if depth and draw(st.integers(0, 2)):
            lines += _compound(draw, draw(st.sampled_from(_BLOCKS)), depth - 1)
        else:
            lines.append(_filled(draw, draw(st.sampled_from(_LINES)), 2))
    if leave and draw(st.booleans()):
        lines.insert(draw(st.sampled_from([0, len(lines)])), f"if {draw(_names)}: {draw(st.sampled_from(leave))}")
    return lines


def _compound(draw: st.DrawFn, template: str, depth: int) -> list[str]:
    leaves = {"B": (), "L": ("break", "continue"), "W": ("break",)}
    lines: list[str] = []
    for part in template.split("|"):
        line = part.lstrip("!")
        level = len(part) - len(line)
        if line in leaves:
            lines += ["    " * max(level, 1) + inner for inner in _block(draw, depth, leaves[line])]
        else:
            keyword, space, rest = line.partition(" ")
            lines.append("    " * level + keyword + space + _filled(draw, rest, 1) if space else
                         "    " * level + _filled(draw, line, 1))
    return lines


@st.composite
def _programs(draw: st.DrawFn) -> str:
    return "\n".join(_block(draw, 3))


def programs() -> st.SearchStrategy[str]:
    """Whole programs that compile."""
    return _programs().filter(_compiles)


def straight_programs() -> st.SearchStrategy[str]:
    """Programs of one path and without functions."""
    name, other = _names, _names
    line = st.one_of(
        st.builds("{} = {} + {}".format, name, other, _names), st.builds("{} += {}".format, name, other),
        st.builds("del {}".format, name), st.builds("({} := {})".format, name, other),
        st.builds("f'{{{}}}'".format, name), st.builds("[{} for z in [{}]]".format, name, other),
        st.builds("{}, {} = {}, {}".format, name, other, _names, _names), st.builds("import sys as {}".format, name),
    )
    return st.lists(line, min_size=1, max_size=8).map("\n".join)


def _compiles(source: str) -> bool:
    try:
        compile(source, "<program>", "exec")
    except SyntaxError:
        return False
    return True
