"""Subclasses of ``property``, ``staticmethod``, ``classmethod`` and ``functools.cached_property``: they travel with what is
theirs, without calling their ``__init__``. The last function is part of what travels."""

from __future__ import annotations

import functools
from typing import Any

from cellferry.parcels import bare

_PARTS: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel", "__doc__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.cached_property: ("func",),
}


def parts(descriptor: Any) -> tuple[type, tuple[Any, ...], dict[str, Any]]:
    """(the type of Python's own, arguments to it, what the instance holds beside it)."""
    kind = type(descriptor)
    base = next(base for base in bare.mro_of(kind) if base in _PARTS)
    table = dict(bare.own_table(descriptor) or {})
    if base is functools.cached_property:
        table.pop("lock", None)  # of this process, in some versions of Python
        return base, (table.pop("func"),), table
    held = {name: object.__getattribute__(descriptor, name) for name in bare.slot_names(kind) if _has(descriptor, name)}
    return base, tuple(bare.body_of(base)[name].__get__(descriptor) for name in _PARTS[base]), {**table, **held}


def _has(obj: Any, name: str) -> bool:
    try:
        object.__getattribute__(obj, name)
    except AttributeError:
        return False
    return True


def descriptor_from(kind: Any, base: Any, arguments: tuple[Any, ...]) -> Any:
    """A descriptor of a subclass, as Python's own type makes it."""
    # since 3.15 these two want their function there as well; the others take none
    made = base.__new__(kind, *(arguments if base in (staticmethod, classmethod) else ()))
    base.__init__(made, *arguments)
    return made


def set_descriptor(descriptor: Any, held: dict[str, Any]) -> None:
    """What an instance of the subclass holds itself."""
    table = bare.own_table(descriptor)
    for name, value in held.items():
        if table is None or name in bare.slot_names(type(descriptor)):
            object.__setattr__(descriptor, name, value)
        else:
            table[name] = value
