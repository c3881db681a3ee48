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


def _indent(block: list[str]) -> list[str]:
    return ["    " + line for line in block]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    """One expression over the pool."""
    if depth == 0 or draw(st.booleans()):
        return draw(_names)
    one, two = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    name, other = draw(_names), draw(_names)
    return draw(st.sampled_from([
        f"({one} + {two})", f"{name}({one})", f"[{one}, {two}]", f"({one} if {two} else {name})",
        f"({one} and {two})", f"({one} or {two})", f"(lambda {name}, {other}_=({one}): {two})",
        f"({name} := {one})", f"[{one} for {name} in {other}]", f"[{one} for {name} in [{two}] if {other}]",
        f"list({one} for {name} in [{two}])", f"{{{name}: {one} for {name} in {other}}}", f"f'{{{name}}}'",
        f"(lambda: {one})()", f"[({name} := {two}) for {other}_ in [{one}]]",
    ]))


@st.composite
def simple(draw: st.DrawFn) -> list[str]:
    """One statement of one line."""
    name, other, value = draw(_names), draw(_names), draw(expressions())
    return [draw(st.sampled_from([
        f"{name} = {value}", f"{name} = {other} = {value}", f"{name}, {other} = {value}, {other}", f"{name} += {value}",
        f"del {name}", f"{value}", f"import sys as {name}", f"{name}: {other} = {value}", f"{name}.x = {value}",
        f"{name} = lambda: {value}", f"from os import path as {name}", f"{name}[0] = {value}",
    ]))]


@st.composite
def blocks(draw: st.DrawFn, depth: int = 2, leave: tuple[str, ...] = ()) -> list[str]:
    """Several statements; the last may ``leave`` the round of the loop that they are the body of."""
    statements = [simple(), compound(depth)] if depth else [simple()]
    lines = [line for part in draw(st.lists(st.one_of(*statements), min_size=1, max_size=3)) for line in part]
    if leave and draw(st.booleans()):
        lines.insert(draw(st.sampled_from([0, len(lines)])), f"if {draw(_names)}: {draw(st.sampled_from(leave))}")
    return lines


@st.composite
def compound(draw: st.DrawFn, depth: int) -> list[str]:
    """One statement with blocks in it."""
    name, other, value = draw(_names), draw(_names), draw(expressions(1))
    body, more = _indent(draw(blocks(depth - 1))), _indent(draw(blocks(depth - 1)))
    looped = _indent(draw(blocks(depth - 1, leave=("break", "continue"))))
    # No `continue` here: such a program might never end.
    once = _indent(draw(blocks(depth - 1, leave=("break",))))
    return draw(st.sampled_from([
        [f"if {value}:", *body, "else:", *more], [f"if {value}:", *body], [f"if {value}:", "    raise ValueError", *more],
        [f"for {name} in {other}:", *looped], [f"for {name} in {other}:", *looped, "else:", *more],
        [f"for {name} in range(2):", *looped],
        [f"while {value}:", *once, "    break"], ["while True:", *once, "    break"],
        ["try:", *body, "except TypeError:", *more],
        ["try:", *body, f"except Exception as {name}:", *more, "else:", f"    {other} = {value}"],
        ["try:", *body, "finally:", *more],
        ["try:", *body, "except NameError:", *more, "finally:", f"    {other}"],
        [f"with {value} as {name}:", *body], [f"match {value}:", f"    case [{name}]:", *_indent(body),
                                              f"    case {other}:", *_indent(more)],
        [f"def {name}(*_, {other}={value}):", *body, f"    return {value}"],
        [f"def {name}(*_):", f"    global {other}", *more], [f"def {name}(*_):", *body, f"{name}()"],
        [f"def {name}(*_):", f"    def {other}(*_):", *_indent(more), f"    return {other}()"],
        [f"class {name}:", *body], [f"class {name}:", "    def __init__(self, *_):", *_indent(more)],
        [f"@{other}", f"def {name}(*_):", *body],
    ]))


def programs() -> st.SearchStrategy[str]:
    """Whole programs that compile."""
    return blocks(3).map("\n".join).filter(_compiles)


def straight_programs() -> st.SearchStrategy[str]:
    """Programs of one path and without functions."""
    name, other = _names, _names
    line = st.one_of(
        st.builds("{} = {} + {}".format, name, other, _names), st.builds("{} += {}".format, name, other),
        st.builds("del {}".format, name), st.builds("({} := {})".format, name, other),
        st.builds("f'{{{}}}'".format, name), st.builds("class {}:\n    x = {}".format, name, other),
        st.builds("{}, {} = {}, {}".format, name, other, _names, _names), st.builds("import sys as {}".format, name),
    )
    return st.lists(line, min_size=1, max_size=8).map("\n".join)


def _compiles(source: str) -> bool:
    try:
        compile(source, "<program>", "exec")
    except SyntaxError:
        return False
    return True
