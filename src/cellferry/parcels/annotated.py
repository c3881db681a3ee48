"""The annotations of functions and classes.

From Python 3.14 on they are evaluated when somebody asks for them: what travels then is the function that evaluates them.
Its result may not exist yet (a name that a later cell defines), and asking for it would run the user's code.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Iterable
from typing import Any

from cellferry.parcels.kind import Kind

_LATE = sys.version_info >= (3, 14)
_CLASS_TABLE = "__classdict__"
_VALUE = 1
"""``annotationlib.Format.VALUE``"""


class Unevaluated:
    """Stands for the function ``annotate`` in a state; to another minor version of Python its result travels."""

    __slots__ = ("annotate",)

    def __init__(self, annotate: Any) -> None:
        self.annotate = annotate


def of_function(function: types.FunctionType) -> tuple[str, Any]:
    """(attribute, value) by which its annotations are given to another function; runs nothing that has not run yet."""
    annotate = function.__annotate__ if _LATE else None  # type: ignore[attr-defined]
    if annotate is None:
        return "__annotations__", function.__annotations__
    return _chosen(function, annotate, _result_of(function))


def of_class(kind: type) -> tuple[str, Any] | None:
    """The same for a class; None where it has none, or has them among its variables as before 3.14."""
    if not _LATE:
        return None
    table = vars(kind)
    annotate, result = table.get("__annotate_func__"), table.get("__annotations_cache__")
    if annotate is None:
        return ("__annotations__", result) if result else None
    return _chosen(kind, annotate, result)


def _chosen(owner: Any, annotate: Any, result: dict[str, Any] | None) -> tuple[str, Any]:
    """The function, unless its result is there and has been changed since, or a library made it (for a TypedDict, say):
    such a one holds on to what does not travel."""
    if result is not None and not _equal(annotate, result):
        return "__annotations__", result
    if annotate.__module__ == owner.__module__:
        return "__annotate__", annotate
    return "__annotations__", evaluated(annotate) if result is None else result


def looks_into_class(function: types.FunctionType) -> bool:
    """Whether it holds the very table of a class, to look names up as in the class's body."""
    return _CLASS_TABLE in function.__code__.co_freevars


def closure_of(function: types.FunctionType) -> tuple[types.CellType, ...]:
    """The function's cells; in place of a class's table one with those of its names that the function looks up."""
    cells, code = function.__closure__ or (), function.__code__
    if _CLASS_TABLE not in code.co_freevars:
        return cells
    at = code.co_freevars.index(_CLASS_TABLE)
    table = cells[at].cell_contents
    few = types.CellType({name: table[name] for name in code.co_names if name in table})
    return (*cells[:at], few, *cells[at + 1 :])


class EvaluatorKind(Kind):
    """Functions that look into a class: they travel with the class, or the function, whose annotations they evaluate."""

    tracked = False

    def children(self, obj: Any) -> Iterable[Any]:
        return closure_of(obj)


def _result_of(function: types.FunctionType) -> dict[str, Any] | None:
    """What has been evaluated already; only the collector knows without asking for it."""
    built_in = function.__builtins__  # type: ignore[attr-defined, unused-ignore]
    others = (function.__globals__, built_in, function.__kwdefaults__, function.__dict__, function.__doc__)
    for held in gc.get_referents(function):
        if type(held) is dict and not any(held is other for other in others):
            return held
    return None


def _equal(annotate: Any, result: dict[str, Any]) -> bool:
    try:
        now = annotate(_VALUE)
        return list(now) == list(result) and all(
            now[name] is held or (type(now[name]) is type(held) and bool(now[name] == held))
            for name, held in result.items()
        )
    except Exception:  # what it names is gone by now
        return False


def evaluated(annotate: Any) -> dict[str, Any]:
    """What ``annotate`` gives; as texts, as under ``from __future__ import annotations``, where a name does not exist."""
    try:
        return dict(annotate(_VALUE))
    except Exception:
        import annotationlib  # type: ignore[import-not-found]

        return dict(annotationlib.call_annotate_function(annotate, annotationlib.Format.STRING))


def wrapped(state: dict[str, Any]) -> dict[str, Any]:
    """``state``, fit to travel: what evaluates the annotations is marked, for not every Python can take it."""
    annotate = state.get("__annotate__")
    return state if annotate is None else {**state, "__annotate__": Unevaluated(annotate)}


def give(owner: Any, name: str, value: Any) -> None:
    """Set an attribute of a function or class as it arrived: what was to be ``__annotate__`` may have been evaluated."""
    if name == "__annotate__" and type(value) is dict:
        name = "__annotations__"
    (type.__setattr__ if isinstance(owner, type) else setattr)(owner, name, value)
