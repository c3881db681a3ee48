"""How code travels: as it is, or, between two minor versions of Python, where byte code means nothing there, as the source of
its cell."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import linecache
import os
import re
import sys
from functools import lru_cache
from types import CellType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from cellferry.errors import CannotTravel

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

_FLAGS = 0
for _name in __future__.all_feature_names:
    _FLAGS |= getattr(__future__, _name).compiler_flag


def source_parts(code: CodeType) -> tuple[Any, ...]:
    """What ``code_from_source`` needs to make ``code`` again. Raises CannotTravel where its source is not known."""
    text = "".join(linecache.getlines(code.co_filename))
    parts: tuple[Any, ...] = (text, code.co_filename, code.co_qualname, code.co_firstlineno, code.co_flags & _FLAGS)
    if os.path.isfile(code.co_filename):  # noqa: PTH113 - a module's; a cell has no file of that name
        parts += (True,)
    try:
        code_from_source(*parts)
    except LookupError as exc:
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise CannotTravel(
            f"the function {code.co_name} was compiled by Python {here}, the other end has another version, and its "
            "source is not known",
            "define it in a cell of the notebook, or let the worker have this Python: env=auto",
        ) from exc
    return parts


def code_from_source(text: str, file: str, qualname: str, line: int, flags: int, whole: bool = False) -> CodeType:
    """The code of that name that begins at that line of ``text``, compiled here; LookupError if there is none. ``whole``: it is
    the text of a module."""
    found = _codes(text, file, flags, whole).get((_known_as(qualname), line))
    if found is None:
        raise LookupError(f"{qualname} is not at line {line} of {file}")
    return found


@lru_cache(maxsize=256)
def _codes(text: str, file: str, flags: int, whole: bool) -> dict[tuple[str, int], CodeType]:
    """Each statement of a cell is compiled by itself, as IPython does: the compiler looks at imports beside a function."""
    options = flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        tree = compile(text, file, "exec", options | ast.PyCF_ONLY_AST, dont_inherit=True)
        parts = [tree] if whole else [ast.Module([node], []) for node in tree.body]
        wholes = [compile(part, file, "exec", options, dont_inherit=True) for part in parts]
    except (SyntaxError, ValueError):
        return {}
    found: dict[tuple[str, int], CodeType | None] = {}
    pending = [const for compiled in wholes for const in compiled.co_consts]
    while pending:
        code = pending.pop()
        if isinstance(code, CodeType):
            key = (_known_as(code.co_qualname), code.co_firstlineno)
            # two lambdas in one line have one name: neither can be told from the other, so neither is found
            found[key] = None if key in found else code
            pending += code.co_consts
    return {key: code for key, code in found.items() if code is not None}


def _known_as(qualname: str) -> str:
    """Without the comprehensions around it: since 3.12 they are no functions any more."""
    return re.sub("<(list|dict|set)comp>\\.", "", qualname)


def library_function(code: CodeType, name: str, cells: tuple[CellType, ...], home: ModuleType) -> FunctionType:
    """A function that a function of the importable module ``home`` made. Raises CannotTravel where that module, as it is here,
    lacks what the function uses: the other Python's edition of it has other parts."""
    used = {each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    missing = sorted(used - vars(home).keys() - vars(builtins).keys())
    if missing:
        raise CannotTravel(
            f"{code.co_qualname} of {home.__name__} uses {', '.join(missing)}, which {home.__name__} does not have here: it comes "
            "from another version of Python",
            "make it in the cell that uses it, or let the worker have this Python: env=auto",
        )
    return FunctionType(code, vars(home), name, None, cells)


_CODE_NAMES = ("co_names", "co_varnames", "co_freevars", "co_cellvars", "co_filename", "co_name", "co_qualname")
_CODE_FIELDS = (
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_nlocals", "co_stacksize", "co_flags", "co_code",
    "co_consts", "co_names", "co_varnames", "co_filename", "co_name", "co_qualname", "co_firstlineno", "co_linetable",
    "co_exceptiontable", "co_freevars", "co_cellvars",
)  # fmt: skip
"""The arguments of ``types.CodeType`` from Python 3.11 on, in order."""


def reduce_code(packer: Packer, code: CodeType) -> Any:
    """With the file that it was compiled as, by which tracebacks and ``inspect`` find its cell; cloudpickle drops that.

    Names are copied, so that a pickle does not depend on which codes happen to share a string or tuple.
    """
    if packer.by_source:
        return code_from_source, source_parts(code)
    parts = {name: getattr(code, name) for name in _CODE_FIELDS}
    for name in _CODE_NAMES:
        parts[name] = "".join(list(parts[name])) if type(parts[name]) is str else (*list(parts[name]),)
    return CodeType, tuple(parts.values())
