"""The analysis against Python itself: its symbol tables, its bytecode, and what programs do when they run."""

from __future__ import annotations

import ast
import symtable
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cellferry.capture.dataflow import analyse
from cellferry.capture.globals_of import code_globals, code_imports, code_stores
from cellferry.errors import CellSyntaxError

from . import programs

_RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


CAUGHT_FIRST = """try:
    with a as a:
        pass
    if d:
        pass
except Exception as a:
    if a:
        raise ValueError
a = d
"""
"""A name that is missing may be noticed by a handler that raises something else because of it."""


@_RELAXED
@example(CAUGHT_FIRST, 0)
@given(programs.programs(), st.integers(0, 10**6))
def test_what_a_run_shows_was_foreseen(source: str, seed: int) -> None:
    space, error = programs.run(source, seed)
    flow = analyse(source)
    assert space.reads <= flow.reads
    changed = {n for n, value in space.items() if n in programs.NAMES and space.given.get(n) is not value}
    assert changed <= flow.binds
    assert space.given.keys() - space.keys() <= flow.deletes
    if error is None:
        for name in flow.required & set(programs.NAMES):
            _, error = programs.run(source, seed, without=name)
            assert any(isinstance(each, NameError) for each in _why(error)), name


def _why(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those while whose handling it was raised."""
    while error is not None:
        yield error
        error = error.__context__


@settings(max_examples=200, deadline=None)
@given(programs.straight_programs())
def test_one_path_is_followed_exactly(source: str) -> None:
    space, error = programs.run(source, 0)
    flow = analyse(source)
    if error is None:
        assert space.reads == flow.reads
        # What stands inside a comprehension may never be evaluated.
        assert flow.required == flow.reads or "for z in" in source
        assert set(space.given) - set(space) == flow.deletes - set(space)


@_RELAXED
@given(programs.programs())
def test_what_the_compiler_stores_is_bound(source: str) -> None:
    code = compile(source, "<program>", "exec")
    flow = analyse(source)
    assert _stored(code) <= flow.binds | flow.deletes
    assert flow.binds | flow.deletes <= _assigned(source)
    _check_as_function(source)


def _check_as_function(source: str) -> None:
    body = "\n".join("    " + line for line in source.splitlines())
    cell = f"def outer():\n{body}"
    try:
        code = next(c for c in compile(cell, "<program>", "exec").co_consts if isinstance(c, CodeType))
    except SyntaxError:
        return
    flow = analyse(cell)
    assert flow.reads <= code_globals(code) | _annotations(source)
    assert flow.binds - {"outer"} <= code_stores(code) | flow.deletes


def _annotations(source: str) -> set[str]:
    return set(programs.NAMES) if ": " in source else set()


def _stored(code: CodeType) -> set[str]:
    import dis

    top = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_NAME"}
    return top - {"__doc__", "__annotations__", "__conditional_annotations__"} | set(code_stores(code))


def _assigned(source: str) -> set[str]:
    table = symtable.symtable(source, "<program>", "exec")
    found = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    # Since 3.12 the tables do not say what `:=` binds out of a comprehension.
    found |= {node.target.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.NamedExpr)}
    return found | {s.get_name() for inner in _inner(table) for s in inner.get_symbols()
                    if s.is_global() and (s.is_assigned() or s.is_imported() or s.is_namespace())}


def _inner(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner(child)


# ---- the standard library as a set of cells -------------------------------------------------------------------------

_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
_PACKAGES = ("", "json", "asyncio", "email", "importlib", "unittest", "multiprocessing", "concurrent/futures",
             "logging", "collections", "http", "xml/etree", "encodings")


@pytest.mark.slow
@pytest.mark.parametrize("package", _PACKAGES, ids=lambda name: name or "top")
def test_standard_library(package: str) -> None:
    """Every eighth file; the others nightly."""
    files = sorted((_LIBRARY / package).glob("*.py"))
    assert files
    for file in files[::8]:
        _check_file(file)


@pytest.mark.slow
@pytest.mark.nightly
def test_the_rest_of_the_standard_library() -> None:
    for package in _PACKAGES:
        for number, file in enumerate(sorted((_LIBRARY / package).glob("*.py"))):
            if number % 8:
                _check_file(file)


def _check_file(file: Path) -> None:
    source = file.read_text("utf-8", errors="surrogateescape")
    try:
        flow = analyse(source)
    except CellSyntaxError:
        with pytest.raises((SyntaxError, ValueError)):
            compile(source, str(file), "exec")
        return
    code = compile(source, str(file), "exec")
    table = symtable.symtable(source, str(file), "exec")
    ours = flow.binds | flow.deletes
    assert _stored(code) <= ours, file
    assert ours <= _assigned(source), file
    used = {s.get_name() for t in (table, *_inner(table)) for s in t.get_symbols()
            if s.is_referenced() and (s.is_global() or t is table or t.get_type() == "class")}
    assert flow.required <= used, file
    bound_somewhere = _assigned(source) | {s.get_name() for t in _inner(table) if t.get_type() == "class"
                                           for s in t.get_symbols() if s.is_assigned() or s.is_namespace()}
    # What nobody binds can only come from outside.
    assert (code_globals(code) & used) - bound_somewhere - {"__annotations__"} <= flow.reads, file
    assert {name.partition(".")[0] for name in code_imports(code)} <= {
        name.partition(".")[0] for name in flow.imports}, file
