"""What both ends know: every object that has travelled, by a number that is the same on both sides.

A message names a known object by its number, so identity survives any number of trips; what changed since the two
ends agreed is found by comparing with the object's seal (``kinds``), never by watching assignments. One heap stands
on each end of a link; they hold the same numbers, because each message says which it adds and which it drops.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from cellferry.parcels import arrays, memories
from cellferry.parcels.kind import Kind
from cellferry.parcels.kinds import BOUND, kind_of
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.placeholder import quick_size

_ATOMS = frozenset([int, float, bool, complex, str, bytes, type(None), range, slice])
_VIEW = memories.ViewKind()
_ARRAY = memories.ArrayKind
_SWEEP_LEAST = 256
_CHEAP_MOST = 1000
_LARGE_BYTES = 1 << 20


@dataclass
class Walk:
    """What can be reached from some roots: known objects by number, and how arrays share memory."""

    known: list[int] = field(default_factory=list)
    shared_bases: set[int] = field(default_factory=set)
    array_at: dict[int, Any] = field(default_factory=dict)
    functions: list[Any] = field(default_factory=list)
    alive: list[Any] = field(default_factory=list)


class Heap:
    """The objects known to both ends of one link. ``namespace``: the notebook's variables on this side."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.objects: dict[int, Any] = {}
        self.oid_of: dict[int, int] = {}
        self.seals: dict[int, Any] = {}
        self.kinds: dict[int, Kind] = {}
        self.next_oid = 0
        self._sweep_at = _SWEEP_LEAST
        self._large: set[int] = set()

    def __len__(self) -> int:
        return len(self.objects)

    def add(self, oid: int, obj: Any, seal: Any = None, *, sealed: bool = False) -> None:
        """Know ``obj`` as ``oid``; ``seal`` if it has been computed already."""
        kind = kind_of(obj, self.namespace)
        if isinstance(kind, _ARRAY) and not sealed and self._owner_known(obj):
            kind = _VIEW
        self.objects[oid] = obj
        self.oid_of[id(obj)] = oid
        self.kinds[oid] = kind
        self.seals[oid] = seal if sealed else kind.seal(obj)
        self.next_oid = max(self.next_oid, oid + 1)
        if quick_size(obj) >= _LARGE_BYTES:
            self._large.add(oid)

    def keep(self, oid: int, obj: Any) -> None:
        """Know ``obj`` as a value that stays here: its changes are nobody else's business."""
        self.add(oid, obj, None, sealed=True)
        self.kinds[oid] = BOUND

    def _owner_known(self, array: Any) -> bool:
        owner = arrays.owner_of(array)
        return owner is not array and id(owner) in self.oid_of

    def replace(self, oid: int, obj: Any) -> None:
        """Another object stands for ``oid`` now (its type did not allow a change in place)."""
        self.oid_of.pop(id(self.objects[oid]), None)
        self.add(oid, obj)

    def drop(self, oids: Iterable[int]) -> None:
        for oid in oids:
            if oid in self.objects:
                obj = self.objects.pop(oid)
                if self.oid_of.get(id(obj)) == oid:
                    del self.oid_of[id(obj)]
                del self.seals[oid], self.kinds[oid]
                self._large.discard(oid)

    def walk(self, roots: Iterable[Any]) -> Walk:
        """Everything reachable from ``roots``, through containers, instances, closures, classes of the notebook."""
        found = Walk()
        seen: set[int] = set()
        views: dict[int, list[Any]] = {}
        stack = list(roots)
        while stack:
            obj = stack.pop()
            if type(obj) in _ATOMS or id(obj) in seen:
                continue
            seen.add(id(obj))
            found.alive.append(obj)
            oid = self.oid_of.get(id(obj))
            if oid is not None:
                found.known.append(oid)
            kind = kind_of(obj, self.namespace) if oid is None or self.kinds[oid] is not BOUND else BOUND
            if isinstance(kind, _ARRAY) and not obj.dtype.hasobject:
                self._look_at_array(obj, views, found)
            else:
                if type(obj).__name__ == "function" and kind.tracked:
                    found.functions.append(obj)
                _push(stack, obj, kind)
        self._settle_views(views, seen, found)
        return found

    def _look_at_array(self, array: Any, views: dict[int, list[Any]], found: Walk) -> None:
        owner = arrays.owner_of(array)
        if owner is not array:
            views.setdefault(id(owner), [owner]).append(array)
        elif "torch" in sys.modules:
            found.array_at[array.__array_interface__["data"][0]] = array

    def _settle_views(self, views: dict[int, list[Any]], seen: set[int], found: Walk) -> None:
        """An owner is shared if it is reachable itself, is known, or has several views."""
        for key, (owner, *several) in views.items():
            oid = self.oid_of.get(key)
            if key in seen or oid is not None or len(several) > 1:
                found.shared_bases.add(key)
            if oid is not None and key not in seen:
                found.known.append(oid)
                found.known += [o for o in [self._storage_oid(owner)] if o is not None]

    def _storage_oid(self, owner: Any) -> int | None:
        storage = getattr(owner, "untyped_storage", None)
        return self.oid_of.get(id(storage())) if storage is not None else None

    def cheap(self) -> Iterable[int]:
        """Known objects that are worth a look whether the cell names them or not, while there are few of them.

        A widget's callback or a thread on the other side may have changed what no cell mentions; containers and
        instances are compared in no time, memory and opaque objects are not looked at.
        """
        if len(self.objects) > _CHEAP_MOST:
            return ()
        return [oid for oid, kind in self.kinds.items() if kind.cheap]

    def changes(self, known: Iterable[int]) -> list[tuple[int, Any]]:
        """(number, new seal) of those that are not as both ends last agreed."""
        found = []
        for oid in known:
            now = self.kinds[oid].probe(self.objects[oid], self.seals[oid])
            if now is not None:
                found.append((oid, now))
        return found

    def sweep(self) -> list[int]:
        """Forget what nobody but this heap holds; returns the numbers, for the other end to forget too.

        Large values are looked at every time, so that deleting one frees its memory; the rest when they have doubled.
        """
        everything = len(self.objects) >= self._sweep_at
        if not everything and not self._large:
            return []
        dropped: list[int] = []
        while True:
            held = self._held_by_seals()
            suspects = list(self.objects) if everything else list(self._large)
            unused = [oid for oid in suspects if sys.getrefcount(self.objects[oid]) - 2 <= held.get(id(self.objects[oid]), 0)]
            if not unused:
                break
            self.drop(unused)
            dropped += unused
        if not everything:
            return dropped
        self._sweep_at = max(_SWEEP_LEAST, 2 * len(self.objects))
        return dropped

    def _held_by_seals(self) -> dict[int, int]:
        count: dict[int, int] = {}
        for seal in self.seals.values():
            level = [seal]
            for _depth in range(3):
                level = [inner for outer in level if type(outer) in (list, tuple, dict, frozenset) for inner in gc.get_referents(outer)]
                for obj in level:
                    if id(obj) in self.oid_of:
                        count[id(obj)] = count.get(id(obj), 0) + 1
                level = [obj for obj in level if id(obj) not in self.oid_of]
        return count

    def register(self, fresh: Iterable[tuple[int, Any]], leaves: Iterable[Leaf], stuck: Container[int] = ()) -> None:
        """Know new objects, (number, object) each, in the order of their numbers.

        Arrays that travelled as leaves have their digests already; objects whose id is in ``stuck`` only stay here.
        """
        by_owner = {id(leaf.owner): leaf for leaf in leaves}
        for oid, obj in fresh:
            if id(obj) in stuck:
                self.keep(oid, obj)
                continue
            leaf = by_owner.get(id(obj))
            kind = kind_of(obj, self.namespace) if leaf is not None else None
            if leaf is not None and isinstance(kind, (memories.ArrayKind, memories.StorageKind)):
                self.add(oid, obj, kind.seal_from(obj, leaf.digests), sealed=True)
            else:
                self.add(oid, obj)


def _push(stack: list[Any], obj: Any, kind: Kind) -> None:
    """Put the children of ``obj`` on the stack, unless a look at their types says that they are all atoms."""
    if type(obj) in (list, tuple, set, frozenset):
        if not set(map(type, obj)) <= _ATOMS:
            stack.extend(obj)
    elif type(obj) is dict:
        if not set(map(type, obj)) <= _ATOMS:
            stack.extend(obj)
        if not set(map(type, obj.values())) <= _ATOMS:
            stack.extend(obj.values())
    else:
        stack.extend(kind.children(obj))
