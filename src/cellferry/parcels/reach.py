"""What can be reached from some roots: the walk that every parcel begins with. Nothing is changed by it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import FunctionType
from typing import TYPE_CHECKING, Any

from cellferry.parcels import arrays, memories
from cellferry.parcels.bare import module_of
from cellferry.parcels.kind import Kind
from cellferry.parcels.kinds import BOUND, UNTRACKED, VIEW, kind_of

if TYPE_CHECKING:
    from cellferry.parcels.heap import Heap

_ATOMS = frozenset([int, float, bool, complex, str, bytes, type(None), range, slice])
_FEW = 8
_ARRAYS = (memories.ArrayKind, memories.ViewKind)


@dataclass
class Walk:
    """``known``: numbers of the known objects that were met; ``shared_bases``, ``array_at``: how arrays share memory;
    ``stale``: known views that the other end has apart from memory that they must share from now on."""

    known: list[int] = field(default_factory=list)
    shared_bases: set[int] = field(default_factory=set)
    stuck: frozenset[int] = frozenset()
    """ids of roots that stay: nothing can share memory with them at the other end."""
    array_at: dict[int, Any] = field(default_factory=dict)
    functions: list[Any] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    alive: list[Any] = field(default_factory=list)
    """Keeps what was made on the way (states of opaque objects, dicts), so that no id is used twice."""

    views: dict[int, list[Any]] = field(default_factory=dict)
    """id of an owner -> the owner, then views of it."""


def extend(walk: Walk, heap: Heap, roots: Iterable[Any]) -> None:
    """Go on from ``roots``, through containers, instances, closures, classes of the notebook."""
    seen, known = walk.seen, walk.known
    oid_of, kinds, namespace = heap.oid_of, heap.kinds, heap.namespace
    stack = list(roots)
    while stack:
        obj = stack.pop()
        kind = type(obj)
        try:
            if kind in _ATOMS:
                continue
        except KeyboardInterrupt:
            raise
        except BaseException:  # its metaclass does not let it be looked up
            pass
        if id(obj) in seen:
            continue
        seen.add(id(obj))
        oid = oid_of.get(id(obj))
        if oid is not None:
            known.append(oid)
            if kinds[oid] is BOUND:
                continue
        if kind is dict:
            walk.alive.append(
                obj
            )  # some are made for the walk alone; packing asks by id whether it met an object's __dict__
            if not _atoms(obj):
                stack.extend(obj)
            if not _atoms(obj.values()):
                stack.extend(obj.values())
        elif kind is list or kind is tuple or kind is set or kind is frozenset:
            if not _atoms(obj):
                stack.extend(obj)
        else:
            how = kinds[oid] if oid is not None else kind_of(obj, namespace)
            if how is not UNTRACKED:
                _step(walk, stack, obj, how)
    _settle_views(walk, oid_of, heap.kinds)


def _atoms(values: Collection[Any]) -> bool:
    try:
        if len(values) > _FEW:
            return set(map(type, values)) <= _ATOMS
        for value in values:
            if type(value) not in _ATOMS:
                return False
    except KeyboardInterrupt:
        raise
    except BaseException:  # a metaclass does not let its class be looked up
        return False
    return True


def _step(walk: Walk, stack: list[Any], obj: Any, kind: Kind) -> None:
    if type(kind) in _ARRAYS:
        _look_at_array(walk, stack, obj)
        if not obj.dtype.hasobject:
            return
    if type(obj) is FunctionType:
        walk.functions.append(obj)
    try:
        inner = list(kind.children(obj))
    except KeyboardInterrupt:
        raise
    except BaseException:  # it does not let itself be looked into: whoever packs it will say so
        inner = []
    if kind.leans:
        walk.alive.append(inner)
    stack.extend(inner)
    if module_of(type(obj)) == "__main__":
        stack.append(type(obj))


def _look_at_array(walk: Walk, stack: list[Any], array: Any) -> None:
    owner = arrays.owner_of(array)
    if owner is not array:
        walk.views.setdefault(id(owner), [owner]).append(array)
        if arrays.shares_owner(walk.shared_bases, array, owner):
            stack.append(owner)
    elif "torch" in sys.modules:
        walk.array_at[array.__array_interface__["data"][0]] = array


def _settle_views(walk: Walk, oid_of: Mapping[int, int], kinds: Mapping[int, Kind]) -> None:
    """An owner is shared if it is reachable itself, is known, or has views that overlap."""
    for key, (owner, *several) in walk.views.items():
        stays = key in oid_of and kinds[oid_of[key]] is BOUND
        if key in walk.stuck or stays:
            continue
        known = key in oid_of
        if key not in walk.seen and not known and not _overlap(several):
            continue
        walk.shared_bases.add(key)
        if known and key not in walk.seen:
            walk.known.append(oid_of[key])
            storage = arrays.storage_of(owner) if hasattr(owner, "untyped_storage") else None
            walk.known += [oid for oid in [oid_of.get(id(storage))] if oid is not None]
            walk.seen.add(key)
        for view in several:
            oid = oid_of.get(id(view))
            if oid is not None and kinds[oid] is not VIEW and arrays.shares_owner(walk.shared_bases, view, owner):
                walk.stale.append(oid)


def _overlap(several: list[Any]) -> bool:
    if len(several) < 2:
        return False
    spans = sorted(arrays.bounds(view) for view in several)
    return any(before[1] > after[0] for before, after in pairwise(spans))
