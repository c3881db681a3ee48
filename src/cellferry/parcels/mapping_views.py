"""Views of mappings (``d.keys()``, ``d.items()``, ``MappingProxyType(d)``): they travel as views of the very mapping.

``view_of`` and ``class_variables_of`` are part of what travels.
"""

from __future__ import annotations

import gc
import types
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cellferry.parcels import bare
from cellferry.parcels.kind import Kind, flat

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

PROXY = "proxy"
_EMPTY: tuple[dict[Any, Any], ...] = ({}, OrderedDict())
WHICH: dict[type, str] = {
    **{type(getattr(made, name)()): name for made in _EMPTY for name in ("keys", "values", "items")},
    types.MappingProxyType: PROXY,
}
"""The types of views, and how each is asked for."""


class MappingViewKind(Kind):
    """They never change; what they look at may."""

    def children(self, obj: Any) -> Iterable[Any]:
        mapping = mapping_of(obj)
        if type(obj) is not types.MappingProxyType or not _may_be_of_class(mapping):
            return (mapping,)
        owner = _class_of(mapping)
        return (owner,) if owner is not None else flat(dict(mapping))


def mapping_of(view: Any) -> Any:
    """What it looks at, found without asking the mapping."""
    return gc.get_referents(view)[0]


def reduce_view(packer: Packer, view: Any) -> tuple[Any, tuple[Any, ...]]:
    """The call that makes it again. A view of a class's own variables is asked of the class."""
    which, mapping = WHICH[type(view)], mapping_of(view)
    if which == PROXY and _may_be_of_class(mapping):
        owner = _class_of(mapping)
        return (class_variables_of, (owner,)) if owner is not None else (view_of, (which, dict(mapping)))
    return view_of, (which, mapping)


def view_of(which: str, mapping: Any) -> Any:
    """A view of ``mapping``, not of a copy."""
    if which == PROXY:
        return types.MappingProxyType(mapping)
    base = OrderedDict if issubclass(type(mapping), OrderedDict) else dict
    return getattr(base, which)(mapping)


def class_variables_of(kind: type) -> Any:
    """``vars(kind)``."""
    return bare.body_of(kind)


def _may_be_of_class(mapping: Any) -> bool:
    return type(mapping) is dict and "__module__" in mapping and "__doc__" in mapping


def _class_of(mapping: dict[str, Any]) -> type | None:
    """The class whose own variables these are, if that can be told."""
    for name in ("__dict__", "__weakref__"):
        owner = getattr(mapping.get(name), "__objclass__", None)
        if owner is not None and bare.is_class(owner) and mapping_of(bare.body_of(owner)) is mapping:
            return owner  # type: ignore[no-any-return]
    return None
