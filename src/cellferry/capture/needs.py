"""Which of the notebook's names a cell needs, given its flow: no I/O, nothing is changed but lazy imports."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import Any

from cellferry.capture.dataflow import Flow
from cellferry.capture.globals_of import code_globals, code_stores
from cellferry.capture.unseen import Texts, may_be_bound
from cellferry.errors import UndefinedName

_READABLE = frozenset(["Out", "_oh", "_dh"])
"""The shell's records: they travel when a cell reads them, and never come back. For ``In`` and its like see ``typed``."""


_SMALL_BYTES = 4096
_SCALARS = frozenset({int, float, complex, bool, type(None)})


@dataclass(frozen=True)
class Needs:
    """``roots``: name -> value that the cell reads; ``hints``: names worth sending where they can travel; ``texts``: what else
    it says, by which further names may be meant."""

    roots: Mapping[str, Any]
    hints: Mapping[str, Any]
    texts: Texts = field(default_factory=Texts)


def needed(
    flow: Flow, namespace: Mapping[str, Any], hidden: Container[str], elsewhere: Container[str] = (), *, alone: bool = False,
    looks_up: Iterable[str] = (), rebound: Iterable[str] = (),
) -> Needs:  # fmt: skip
    """The notebook's values that the cell reads; everything if it uses names that are not in its text.

    ``elsewhere``: names that only the worker has. ``alone``, ``looks_up``: see ``Texts``. ``rebound``: names that mean something
    else on the worker than here: those that are small go along, for a thread or callback there that goes on reading them.

    Raises UndefinedName for a name that is certainly read and exists nowhere.
    """
    texts = Texts(
        flow.strings + flow.fragments, flow.attributes | flow.reads | _parts(flow.imports), flow.imports, alone, frozenset(looks_up)
    )
    missing = [
        name
        for name in sorted(flow.required)
        if name not in namespace and name not in elsewhere and not hasattr(builtins, name)
    ]
    if missing and not (
        flow.star_imports or flow.calls_dynamic or "builtins" in flow.imports or "__main__" in flow.reads | flow.imports
    ):
        made = _made_by_calls(flow, namespace, hidden) | _perhaps_bound(missing, flow, texts, namespace, hidden)
        for name in missing:
            if name not in made:
                raise _undefined(name, namespace)
    roots = {name: namespace[name] for name in flow.reads if name in namespace and name not in hidden}
    shells_own = {name: namespace[name] for name in flow.reads & _READABLE if name in namespace}
    if "In" in flow.reads and namespace.get("In") is not namespace.get("_ih"):
        shells_own["In"] = namespace["In"]  # a variable of the user's
    hinted: Iterable[str] = namespace if flow.calls_dynamic else flow.hints.union(n for n in rebound if _is_small(namespace[n]))
    hints = {
        name: namespace[name]
        for name in list(hinted)
        if name in namespace and name not in roots and name not in hidden
        if not (flow.calls_dynamic and name.startswith("_"))
    }
    return Needs(roots, {**hints, **shells_own}, texts)


def import_what_is_lazy(flow: Flow, namespace: dict[str, Any], hidden: Container[str]) -> None:
    """``lazy import`` (Python 3.15): import what the cell reads, as the interpreter does where a cell here reads it.

    What cannot be imported here stays as it is, and is refused when it is packed.
    """
    waiting = getattr(sys, "lazy_modules", ())
    if not waiting:
        return
    for name in read_through(flow, namespace, hidden):
        value = namespace[name]
        if type(value).__name__ == "lazy_import":
            with suppress(ImportError):
                value = namespace[name] = value.resolve()
        if isinstance(value, ModuleType):  # of ``lazy import a.b``, b waits until somebody asks a for it
            for full in [full for full in waiting if full.startswith(value.__name__ + ".")]:
                with suppress(AttributeError, ImportError):
                    attrgetter(full[len(value.__name__) + 1 :])(value)


def _made_by_calls(flow: Flow, namespace: Mapping[str, Any], hidden: Container[str]) -> set[str]:
    """Globals that functions of the notebook may bind when the cell calls them."""
    functions = (namespace[name] for name in read_through(flow, namespace, hidden))
    return {name for f in functions if type(f) is FunctionType for name in code_stores(f.__code__)}


def _is_small(value: object) -> bool:
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= _SMALL_BYTES  # type: ignore[arg-type]
    return kind in _SCALARS or isinstance(value, (type, FunctionType, ModuleType))


def _perhaps_bound(
    missing: Iterable[str], flow: Flow, texts: Texts, namespace: Mapping[str, Any], hidden: Container[str]
) -> set[str]:
    values = [namespace[name] for name in read_through(flow, namespace, hidden)]
    functions = [f for f in values if isinstance(f, FunctionType) and f.__globals__ is namespace]
    return may_be_bound(missing, texts, values, functions, sys.modules)


def _parts(names: Iterable[str]) -> frozenset[str]:
    return frozenset(part for name in names for part in name.split("."))


def _undefined(name: str, namespace: Mapping[str, Any]) -> UndefinedName:
    close = get_close_matches(name, [n for n in namespace if not n.startswith("_")], 1)
    return UndefinedName(
        f"name {name!r} is not defined in this notebook; nothing was sent",
        f"did you mean {close[0]!r}?" if close else f"run the cell that defines {name!r} first",
    )


def function_globals(
    functions: Iterable[FunctionType], namespace: Mapping[str, Any], hidden: Container[str]
) -> dict[str, Any]:
    """The notebook's values that these functions of the notebook use as globals."""
    found: dict[str, Any] = {}
    for function in functions:
        for name in code_globals(function.__code__):
            if name in namespace and name not in hidden:
                found[name] = namespace[name]
    return found


def written_globals(functions: Iterable[FunctionType]) -> set[str]:
    """Every global name that these functions mention, whether it exists yet or not."""
    return {name for function in functions for name in code_globals(function.__code__)}


def read_through(flow: Flow, namespace: Mapping[str, Any], hidden: Container[str]) -> set[str]:
    """All names that a cell may read, through the notebook's functions that it mentions too."""
    names: set[str] = set()
    pending = list(namespace) if flow.calls_dynamic else list(flow.reads | flow.hints)
    while pending:
        name = pending.pop()
        if name in names or name not in namespace or name in hidden:
            continue
        names.add(name)
        value = namespace[name]
        if type(value) is FunctionType and value.__globals__ is namespace:
            pending.extend(code_globals(value.__code__))
    return names
