"""How things of the language itself are taken apart: new types, sentinels, lazy imports, annotations. For ``reducers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cloudpickle.cloudpickle as by_cloudpickle

from cellferry.parcels import annotated, rebuild

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

Reduced = Any


def reduce_new_type(packer: Packer, made: Any) -> Reduced:
    if by_cloudpickle._lookup_module_and_qualname(made) is not None:
        return packer.default(made)
    return rebuild.new_type, (made.__name__, made.__supertype__, made.__module__, made.__qualname__)


def reduce_lazy_import(packer: Packer, lazy: Any) -> Reduced:
    """``lazy import`` of Python 3.15: what it stands for, imported now, as it would be in a cell here that reads it."""
    try:
        found = lazy.resolve()
    except ImportError as exc:
        return packer.refuse(lazy, f"what it stands for cannot be imported here ({exc})")
    return rebuild.same, (found,)


def reduce_sentinel(packer: Packer, made: Any) -> Reduced:
    if made.__module__ != "__main__":
        return packer.default(made)
    return rebuild.sentinel_from, (made.__name__, repr(made), made.__module__)


def reduce_unevaluated(packer: Packer, marked: annotated.Unevaluated) -> Reduced:
    annotate = marked.annotate
    return (dict, (annotated.evaluated(annotate),)) if packer.by_source else (rebuild.same, (annotate,))


def reduce_getset(packer: Packer, descriptor: Any) -> Reduced:
    """Since 3.15 all classes share ``__dict__`` and ``__weakref__``, which say that they are ``object``'s; it does not have them.

    ``functools.wraps`` of a class copies them into a function's variables.
    """
    shared = descriptor.__objclass__ is object and descriptor.__name__ in ("__dict__", "__weakref__")
    return (shared_by_classes, (descriptor.__name__,)) if shared else NotImplemented


def shared_by_classes(name: str) -> Any:
    """Called while a parcel is unpacked."""
    return vars(_Plain)[name]


class _Plain: ...
