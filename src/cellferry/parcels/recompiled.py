"""How code travels: as it is, or, between two minor versions of Python, where byte code means nothing there, as the source of
its cell."""

from __future__ import annotations
import __future__

import ast
import linecache
import sys
from functools import lru_cache
from types import CodeType
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
    parts = (text, code.co_filename, code.co_qualname, code.co_firstlineno, code.co_flags & _FLAGS)
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


def code_from_source(text: str, file: str, qualname: str, line: int, flags: int) -> CodeType:
    """The code of that name that begins at that line of ``text``, compiled here; LookupError if there is none."""
    found = _codes(text, file, flags).get((qualname, line))
    if found is None:
        raise LookupError(f"{qualname} is not at line {line} of {file}")
    return found


@lru_cache(maxsize=256)
def _codes(text: str, file: str, flags: int) -> dict[tuple[str, int], CodeType]:
    try:
        whole = compile(text, file, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        return {}
    found: dict[tuple[str, int], CodeType] = {}
    pending = [whole]
    while pending:
        code = pending.pop()
        key = (code.co_qualname, code.co_firstlineno)
        # two lambdas in one line have one name: neither can be told from the other, so neither is found
        found[key] = whole if key in found else code
        pending += [const for const in code.co_consts if isinstance(const, CodeType)]
    return {key: code for key, code in found.items() if code is not whole}


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
