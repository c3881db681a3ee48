"""What a function reads outside itself, from its bytecode: for functions that are here, whatever their source was."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

_LOAD_GLOBAL = dis.opmap["LOAD_GLOBAL"]
_EXTENDED = dis.opmap["EXTENDED_ARG"]
# LOAD_NAME and its 3.12 sisters: class bodies inside the function, whose own names cannot be told apart.
_READS = {dis.opmap[name] for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if name in dis.opmap}
_WRITES = {dis.opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL")}
_IMPORT = dis.opmap["IMPORT_NAME"]
_IMPORT_FROM = dis.opmap["IMPORT_FROM"]
# From 3.15 on the two lowest bits say whether the import may be lazy; the rest is the name.
_IMPORT_SHIFT = 2 if sys.version_info >= (3, 15) else 0
_LOAD_CONST = dis.opmap["LOAD_CONST"]
# 3.14 has small numbers in the instruction itself.
_NUMBERS = {dis.opmap[name] for name in ("LOAD_CONST", "LOAD_SMALL_INT") if name in dis.opmap}
_OWN = frozenset({"__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "__annotations__"})


@lru_cache(maxsize=4096)
def code_globals(code: CodeType) -> frozenset[str]:
    """The global names that ``code``, or a function or class inside it, may read, bind or delete.

    Names of builtins are among them; whoever asks looks them up in the function's globals first.
    """
    found = set(code_stores(code))
    for part in _all_codes(code):
        own = _OWN if part is not code else frozenset()
        found.update(name for op, name in _names(part) if op == _LOAD_GLOBAL or (op in _READS and name not in own))
    return frozenset(found)


@lru_cache(maxsize=4096)
def code_stores(code: CodeType) -> frozenset[str]:
    """The global names that ``code`` may bind or delete (``global x; x = 1``): such a name need not exist before."""
    return frozenset(name for part in _all_codes(code) for op, name in _names(part) if op in _WRITES)


@lru_cache(maxsize=4096)
def code_imports(code: CodeType) -> frozenset[str]:
    """The modules that ``code`` may import, with dots; ``from a import b`` gives ``a``, and ``a.b`` which may be one.

    Relative imports are left out: only a module has them, and it travels with its package.
    """
    return frozenset(name for part in _all_codes(code) for name in _imports(part))


@lru_cache(maxsize=4096)
def code_names(code: CodeType) -> frozenset[str]:
    """All global names and attributes in ``code`` and what is inside it: some may be submodules (``scipy.stats``)."""
    return frozenset(name for part in _all_codes(code) for name in part.co_names)


@lru_cache(maxsize=4096)
def code_strings(code: CodeType) -> frozenset[str]:
    """The string literals in ``code`` and what is inside it, its docstring among them."""
    return frozenset(text for part in _all_codes(code) for text in part.co_consts if type(text) is str)


def _imports(code: CodeType) -> Iterator[str]:
    module, relative, level = "", False, 0
    for op, argument in _instructions(code):
        if op == _IMPORT:
            # The level was pushed before the list of names: `level, fromlist, IMPORT_NAME`.
            argument >>= _IMPORT_SHIFT
            module, relative = code.co_names[argument], level > 0
        elif op in _NUMBERS:
            value = code.co_consts[argument] if op == _LOAD_CONST else argument
            level = value if type(value) is int else level
            continue
        if relative or op not in (_IMPORT, _IMPORT_FROM):
            continue
        yield module if op == _IMPORT else f"{module}.{code.co_names[argument]}"


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    pending = [code]
    while pending:
        part = pending.pop()
        yield part
        pending.extend(constant for constant in part.co_consts if isinstance(constant, CodeType))


def _names(code: CodeType) -> Iterator[tuple[int, str]]:
    """The instructions that read or write a global name."""
    names = code.co_names
    for op, argument in _instructions(code) if names else ():
        if op == _LOAD_GLOBAL:
            # The lowest bit says how it is called; the rest is the name.
            yield op, names[argument >> 1]
        elif op in _READS or op in _WRITES:
            yield op, names[argument]


def _instructions(code: CodeType) -> Iterator[tuple[int, int]]:
    """Operations and their arguments. ``dis`` would do, fifty times slower."""
    raw, extended = code.co_code, 0
    for at in range(0, len(raw), 2):
        op, argument = raw[at], raw[at + 1] | extended
        extended = argument << 8 if op == _EXTENDED else 0
        yield op, argument
