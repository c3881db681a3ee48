"""Which names a cell can bind or delete: those alone are taken from a worker that is trusted with data alone. Pure."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Container, Iterable
from dataclasses import dataclass
from types import FunctionType

from cellferry.capture.dataflow import Flow
from cellferry.capture.globals_of import code_names, code_stores

_ANY = frozenset({"exec", "eval", "globals", "locals", "vars", "setattr", "get_ipython", "__import__", "__main__"})
"""What a function can bind any name by."""
_NOBODYS = frozenset(dir(builtins)) | {"get_ipython", "display", "In", "Out"}
"""Names that work without being bound: bound by somebody else, they would change what every later cell does."""


@dataclass(frozen=True)
class Bindable:
    """``names``: those that the text shows. ``any_other``: the text may bind others, too (``exec``, ``globals()``, ``import *``).
    ``future``: it may set the compiler's flags for later cells."""

    names: frozenset[str] = frozenset()
    any_other: bool = False
    future: bool = False

    def allows(self, name: str, here: Container[str], hidden: Container[str]) -> bool:
        """Whether a name may be bound or deleted. ``here``: names that must not change but by the text."""
        if name in self.names:
            return True
        return self.any_other and not (name in _NOBODYS or name in hidden or name in here)


def bindable(flow: Flow, functions: Iterable[FunctionType], earlier: Iterable[str] = ()) -> Bindable:
    """The names that a cell can bind or delete, itself or by the notebook's ``functions`` that travel with it.

    ``earlier``: what functions that cells before have left on the worker declare ``global``.
    """
    codes = [function.__code__ for function in functions]
    any_other = (
        flow.calls_dynamic or bool(flow.star_imports) or any(not _ANY.isdisjoint(code_names(code)) for code in codes)
    )
    names = flow.binds.union(flow.deletes, earlier, *map(code_stores, codes))
    return Bindable(names, any_other, "__future__" in flow.imports)


def declared_global(source: str) -> frozenset[str]:
    """The names that functions of a cell declare ``global``; ``source`` is Python."""
    return frozenset(
        name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Global) for name in node.names
    )
