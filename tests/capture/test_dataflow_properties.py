"""The analysis against Python itself: its symbol tables, its bytecode, and what programs do when they run."""

from __future__ import annotations

import symtable
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellferry.capture.dataflow import analyse
from cellferry.capture.globals_of import code_globals, code_imports, code_stores
from cellferry.errors import CellSyntaxError

from . import programs

_RELAXED = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_RELAXED
@given(programs.programs(), st.integers(0, 10**6))
def test_whatever_a_run_reads_is_in_reads(source: str, seed: int) -> None:
    space, _ = programs.run(source, seed)
    flow = analyse(source)
    assert space.reads <= flow.reads


@_RELAXED
@given(programs.programs(), st.integers(0, 10**6))
def test_whatever_a_run_changes_is_in_binds_or_deletes(source: str, seed: int) -> None:
    space, _ = programs.run(source, seed)
    flow = analyse(source)
    changed = {n for n, value in space.items() if n in programs.NAMES and space.given.get(n) is not value}
    assert changed <= flow.binds
    assert space.given.keys() - space.keys() <= flow.deletes


@_RELAXED
@given(programs.programs(), st.integers(0, 10**6))
def test_a_required_name_that_is_missing_is_an_error(source: str, seed: int) -> None:
    _, error = programs.run(source, seed)
    if error is not None:
        return
    for name in analyse(source).required & set(programs.NAMES):
        _, error = programs.run(source, seed, without=name)
        assert isinstance(error, NameError), name


@settings(max_examples=400, deadline=None)
@given(programs.straight_programs())
def test_one_path_is_followed_exactly(source: str) -> None:
    space, error = programs.run(source, 0)
    flow = analyse(source)
    if error is None:
        assert space.reads == flow.reads == flow.required
        assert set(space.given) - set(space) == flow.deletes - set(space)


@_RELAXED
@given(programs.programs())
def test_binds_are_what_the_compiler_stores(source: str) -> None:
    code = compile(source, "<program>", "exec")
    flow = analyse(source)
    assert _stored(code) <= flow.binds | flow.deletes
    assert flow.binds | flow.deletes <= _assigned(source)


@_RELAXED
@given(programs.programs())
def test_functions_already_made_agree_with_their_source(source: str) -> None:
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
    return top - {"__annotations__", "__conditional_annotations__"} | set(code_stores(code))


def _assigned(source: str) -> set[str]:
    table = symtable.symtable(source, "<program>", "exec")
    found = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return found | {s.get_name() for inner in _inner(table) for s in inner.get_symbols()
                    if s.is_declared_global() and (s.is_assigned() or s.is_imported() or s.is_namespace())}


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
    files = sorted((_LIBRARY / package).glob("*.py"))
    assert files
    for file in files:
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
    # Names that occur in string annotations only are ours alone.
    never_bound = {name for name in code_globals(code) - _assigned(source) if name in used}
    if not flow.star_imports and "while " not in source:
        assert never_bound - flow.reads - {"__annotations__", "__class__"} == set(), file
    assert {name.partition(".")[0] for name in code_imports(code)} <= {n.partition(".")[0] for n in flow.imports}, file
