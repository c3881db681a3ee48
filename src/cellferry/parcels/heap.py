"""What both ends know: every object that has travelled, by a number that is the same on both sides.

A message names a known object by its number, so identity survives any number of trips; what changed since the two
ends agreed is found by comparing with the object's seal (``kinds``), never by watching assignments. One heap stands
on each end of a link; they hold the same numbers, because each message says which it adds and which it drops.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cellferry.parcels import arrays, memories, opaque, reach, sweeping, tensors
from cellferry.parcels.calm import calm
from cellferry.parcels.containers import DequeKind, DictKind, ListKind, SetKind
from cellferry.parcels.kind import Kind
from cellferry.parcels.kinds import BOUND, FROZEN, VIEW, kind_of
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.objects import CellKind, FunctionKind, InstanceKind
from cellferry.parcels.placeholder import quick_size
from cellferry.parcels.reach import Walk

if TYPE_CHECKING:
    from cellferry.parcels.anchors import Anchor

_SWEEP_LEAST = 256
_SWEEP_BYTES = 64 << 20
_THOROUGH_MOST = 20_000
_QUICK_MOST = 500
_CHEAP_MOST = 1000
_CHEAP_LENGTH = 1000
_LARGE_BYTES = 1 << 20
_RUNNING = (types.FrameType, types.CellType)
_MEMORIES = frozenset([memories.ArrayKind, memories.SubclassKind, tensors.StorageKind, opaque.FrameKind])
_SMALL = frozenset([ListKind, DictKind, SetKind, DequeKind, InstanceKind, CellKind, FunctionKind])
"""Kinds of objects that own no memory to speak of themselves."""


class Heap:
    """The objects known to both ends of one link. ``namespace``: the notebook's variables on this side."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.objects: dict[int, Any] = {}
        self.oid_of: dict[int, int] = {}
        self.seals: dict[int, Any] = {}
        self.kinds: dict[int, Kind] = {}
        self.texts: dict[int, None] = {}
        """Numbers of long strings, which a walk does not meet."""

        self.anchors: Mapping[int, Anchor] = {}
        """By id: objects of the project's modules that have a counterpart at the other end (``module_state``)."""

        self.anchored: dict[int, Anchor] = {}
        """Those that both ends know, by their numbers."""

        self.by_source = False
        """The other end runs another minor version of Python."""
        self.next_oid = 0
        self._untold: dict[int, None] = {}
        self._sweep_at = _SWEEP_LEAST
        self._large: dict[int, None] = {}
        self._new_bytes = 0

    def __len__(self) -> int:
        return len(self.objects)

    def add(self, oid: int, obj: Any, seal: Any = None, *, sealed: bool = False) -> None:
        """Know ``obj`` as ``oid``; ``seal`` if it has been computed already."""
        kind = self._place(oid, obj)
        self.seals[oid] = seal if sealed else kind.seal(obj, self)

    def _place(self, oid: int, obj: Any) -> Kind:
        self.objects[oid] = obj
        self.oid_of[id(obj)] = oid
        kind = self.kinds[oid] = self.kind_of(obj)
        if self.anchors and id(obj) in self.anchors:
            self.anchored[oid] = self.anchors[id(obj)]
        if type(kind) not in _SMALL and type(obj) is not tuple:
            if type(obj) is str or type(obj) is bytes:
                self.texts[oid] = None
            if (size := quick_size(obj)) >= _LARGE_BYTES:
                self._large[oid] = None
                self._new_bytes += size
        if oid >= self.next_oid:
            self.next_oid = oid + 1
        return kind

    def kind_of(self, obj: Any) -> Kind:
        """How ``obj`` changes."""
        anchor = self.anchors.get(id(obj)) if self.anchors else None
        return anchor.kind if anchor is not None else kind_of(obj, self.namespace)

    def keep(self, oid: int, obj: Any) -> None:
        """Know ``obj`` as a value that stays here: its changes are nobody else's business."""
        self._place(oid, obj)
        self.seals[oid] = None
        self.kinds[oid] = BOUND

    def register(self, fresh: Iterable[tuple[int, Any]], leaves: Iterable[Leaf], stuck: Container[int] = ()) -> None:
        """Know new objects, (number, object) each; objects whose id is in ``stuck`` only stay here.

        Arrays that travelled as leaves have their digests already. All get their numbers before any is sealed, for
        seals lean on the numbers of other objects.
        """
        with calm():
            waiting = []
            for oid, obj in fresh:
                if id(obj) in stuck:
                    self.keep(oid, obj)
                else:
                    waiting.append((oid, obj, self._place(oid, obj)))
            seals = self.seals
            known: dict[Any, Leaf] | None = None
            for oid, obj, kind in waiting:
                if type(kind) in _MEMORIES:
                    known = _by_memory(leaves) if known is None else known
                    seals[oid] = self._seal_memory(oid, obj, kind, known)
                else:
                    seals[oid] = None if kind is FROZEN else kind.seal(obj, self)

    def _seal_memory(self, oid: int, obj: Any, kind: Any, known: dict[Any, Leaf]) -> Any:
        if type(kind) is memories.ArrayKind and self._owner_known(obj):
            self.kinds[oid] = VIEW
            return VIEW.seal(obj)
        if isinstance(kind, opaque.FrameKind):
            return kind.seal_among(obj, self, {leaf.place: leaf.digests for leaf in known.values()} if known else {})
        leaf = known.get(id(obj))
        if leaf is None and known and isinstance(kind, tensors.StorageKind):
            # on this end a storage lies on the array that its leaf arrived in
            place = (obj.data_ptr(), obj.nbytes())
            leaf = next((leaf for leaf in known.values() if leaf.place == place), None)
        return kind.seal(obj, self) if leaf is None else kind.seal_from(obj, leaf.digests)

    def _owner_known(self, array: Any) -> bool:
        owner = arrays.owner_of(array)
        return owner is not array and id(owner) in self.oid_of

    def replace(self, oid: int, obj: Any, done: frozenset[int] = frozenset()) -> list[tuple[Any, Any]]:
        """Another object stands for ``oid`` now (its type did not allow a change in place).

        Containers on this side follow, whether they are known or not; names are the caller's business, and cells of
        closures follow only if they are known, for a running function's variables are cells too. What is known and only pickle
        can look into, a ``zip`` over an iterator, is made again where it cannot follow. Returns (old, new) of all that is
        another object now.
        """
        old, done = self.objects[oid], done | {oid}
        self.oid_of.pop(id(old), None)
        self.add(oid, obj)
        for holder in gc.get_referrers(old):
            known = self.oid_of.get(id(holder))
            if holder is self.namespace or holder is self.objects or (known is None and type(holder) in _RUNNING):
                continue
            kind = kind_of(holder, self.namespace)
            if kind.swap(holder, old, obj) and known is not None:
                self.seals[known] = kind.seal(holder, self)
        pairs = [(old, obj)]
        for known, holder in [(k, each) for k, each in self.objects.items() if self.kinds[k].leans and k not in done]:
            kind = self.kinds[known]
            state = kind.leaning(holder, old, obj)
            if state is not None and kind.apply(holder, state):
                self.seals[known] = kind.seal(holder, self)
            elif state is not None:
                pairs += self.replace(known, kind.replacement(holder, state), done)
        return pairs

    def drop(self, oids: Iterable[int]) -> None:
        """Forget these numbers; unknown ones are fine."""
        for oid in oids:
            if oid in self.objects:
                obj = self.objects.pop(oid)
                if self.oid_of.get(id(obj)) == oid:
                    del self.oid_of[id(obj)]
                del self.seals[oid], self.kinds[oid]
                self.texts.pop(oid, None)
                self._large.pop(oid, None)
                self.anchored.pop(oid, None)

    def unlearn(self, oids: Iterable[int]) -> None:
        """Forget these, and have the other end forget them with the next parcel."""
        self.disown(oid for oid in oids if oid in self.objects)

    def disown(self, oids: Iterable[int]) -> None:
        """Forget these numbers here, and tell the other end with the next parcel: the two no longer agree about them."""
        self.drop(oids := list(oids))
        self._untold.update(dict.fromkeys(oids))

    def walk(self, roots: Iterable[Any], walk: Walk | None = None) -> Walk:
        """Everything reachable from ``roots``; goes on with ``walk`` if one is given."""
        walk = Walk() if walk is None else walk
        reach.extend(walk, self, roots)
        return walk

    def cheap(self) -> Iterable[int]:
        """Known objects that are worth a look whether the cell names them or not, while there are few of them.

        A widget's callback or a thread on the other side may have changed what no cell mentions; containers and
        instances are compared in no time, memory and opaque objects are not looked at.
        """
        if len(self.objects) > _CHEAP_MOST:
            return ()
        seals = self.seals
        return [oid for oid, kind in self.kinds.items() if kind.cheap and len(seals[oid]) <= _CHEAP_LENGTH]

    def changes(self, known: Iterable[int]) -> list[tuple[int, Any]]:
        """(number, new seal) of those that are not as both ends last agreed."""
        found = []
        objects, kinds, seals = self.objects, self.kinds, self.seals
        for oid in known:
            kind = kinds[oid]
            if kind is FROZEN:
                continue
            now = kind.probe(objects[oid], seals[oid], self)
            if now is not None:
                found.append((oid, now))
        return found

    def sweep(self) -> Sequence[int]:
        """Forget what nobody but this heap holds; returns all numbers that the other end has not been told to forget.

        Large values are looked at every time, so that deleting one frees its memory; the rest when they have doubled.
        """
        count = len(self.objects)
        crowded = count >= self._sweep_at
        if crowded or (
            self._large and (count < _QUICK_MOST or (self._new_bytes >= _SWEEP_BYTES and count < _THOROUGH_MOST))
        ):
            unused = sweeping.unused(self)
            self._new_bytes = 0
        else:
            unused = sweeping.unheld(self, self._large) if self._large else []
        if unused:
            self.drop(unused)
            self._untold.update(dict.fromkeys(unused))
        if crowded:
            self._sweep_at = max(_SWEEP_LEAST, 2 * len(self.objects))
        return list(self._untold)

    def told(self, dropped: Iterable[int]) -> None:
        """The other end has forgotten these too."""
        for oid in dropped:
            self._untold.pop(oid, None)


def _by_memory(leaves: Iterable[Leaf]) -> dict[Any, Leaf]:
    return {id(leaf.owner): leaf for leaf in leaves}
