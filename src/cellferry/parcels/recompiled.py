"""Code between two minor versions of Python: byte code means nothing there, so the source of its cell travels instead."""

from __future__ import annotations
import __future__

import ast
import linecache
import sys
from functools import lru_cache
from types import CodeType
from typing import Any

from cellferry.errors import CannotTravel

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
