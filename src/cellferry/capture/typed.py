"""Whether a cell looks at what was typed before it: ``In``, ``_i3``, ``%history`` and its like. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import FunctionType

from cellferry.capture.dataflow import Flow
from cellferry.capture.globals_of import code_globals

_NAMES = re.compile(r"In|_ih|_i{1,3}|_i\d+")
_MAGICS = re.compile(
    r"\.run_line_magic\('(history|hist|recall|rep|rerun|macro|save|edit|ed|pastebin|notebook|logstart)'"
)


def reads_inputs(flow: Flow, functions: Iterable[FunctionType], source: str) -> bool:
    """``source``: the cell in Python; ``functions``: those that go with it."""
    names = flow.reads.union(*(code_globals(function.__code__) for function in functions))
    return any(map(_NAMES.fullmatch, names)) or _MAGICS.search(source) is not None
