"""Two heaps in one process, and the trip between them: pack, carry the bytes, unpack, settle, seal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cellferry.guest.home import Load, pack_home
from cellferry.parcels.bare import says
from cellferry.parcels.bulk import Inbox, stream
from cellferry.parcels.context import Unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import allocate, bytes_of
from cellferry.parcels.parcel import Arrived, PackPlan, Parcel, Refused, pack, settle, split_digests, unpack, verify

Damage = Callable[[list[Any]], None]


def carry(parcel: Parcel) -> tuple[dict[str, Any], list[Any]]:
    """The parcel's frame, as bytes of its own."""
    return json.loads(json.dumps(parcel.meta())), [bytearray(bytes_of(b)) for b in parcel.buffers()]


def leaves_of(
    parcel: Parcel, meta: Mapping[str, Any], buffers: list[Any], heap: Heap, damage: Damage | None
) -> tuple[list[Any], list[bytes]]:
    """Memory for the leaves, filled and checked, as ``link`` and ``guest`` do it (inline and bulk)."""
    if meta["bulk"]:
        inbox = Inbox(meta)
        claims = inbox.claims(heap, parcel.sums)

        def arrive(head: dict[str, Any], parts: list[Any]) -> None:
            inbox.target(head["leaf"], head["at"], len(parts[0]))[:] = parts[0]

        stream(parcel.leaves, claims, arrive)
        if damage is not None:
            damage(inbox.views)
        return inbox.values, inbox.check(parcel.sums)
    first = meta["parts"] + 2
    leaves = [allocate(spec, size) for size, spec in meta["leaves"]]
    for leaf, sent in zip(leaves, buffers[first:], strict=True):
        if len(sent):
            bytes_of(leaf)[:] = sent
    if damage is not None:
        damage([bytes_of(leaf) for leaf in leaves])
    sums = split_digests(meta, bytes(buffers[first - 1]))
    for leaf, promised in zip(leaves, sums, strict=True):
        verify(leaf, promised)
    return leaves, sums


def arrive(
    parcel: Parcel, heap: Heap, worker: str = "", damage: Damage | None = None
) -> tuple[Arrived, list[tuple[Any, Any]]]:
    """Unpack and settle at the other end; returns what arrived and the replaced pairs."""
    meta, buffers = carry(parcel)
    leaves, sums = leaves_of(parcel, meta, buffers, heap, damage)
    arrived = unpack(heap, meta, buffers, leaves, sums, Unpacking(heap.namespace, worker=worker))
    replaced = settle(heap, arrived)
    for old, new in replaced:
        for name in [n for n, v in heap.namespace.items() if v is old]:
            heap.namespace[name] = new
    return arrived, replaced


class TwoHeaps:
    """``here`` and ``there``: namespaces of the two ends of a link in one process."""

    def __init__(self) -> None:
        self.here: dict[str, Any] = {"__name__": "__main__"}
        self.there: dict[str, Any] = {"__name__": "__main__"}
        self.near, self.far = Heap(self.here), Heap(self.there)
        self.given: tuple[Any, ...] = ()
        self.sent: Parcel | None = None
        self.lost: list[str] = []
        self.failed: list[tuple[Any, BaseException]] = []

    def send(self, *names: str, damage: Damage | None = None, plan: PackPlan | None = None) -> Parcel:
        """Names (all by default) to the other end; returns the parcel."""
        roots = {n: v for n, v in self.here.items() if n in names or (not names and not n.startswith("__"))}
        parcel = pack(self.near, roots, plan or PackPlan(), self.near.sweep())
        arrived, _replaced = arrive(parcel, self.far, "w", damage)
        parcel.sealed(self.near)
        self.there.update(arrived.roots)
        self.given = tuple(arrived.roots.values())
        self.sent = parcel
        return parcel

    def bring(
        self, *names: str, limit: int | None = None, damage: Damage | None = None
    ) -> tuple[Parcel, dict[str, str], list[tuple[Any, Any]]]:
        """Names, and all that changed of what was given, back home; returns (parcel, stayed, replaced)."""
        load = Load({n: self.there[n] for n in names}, self.given, limit)
        while True:
            parcel = pack_home(self.far, load)
            parcel.sealed(self.far)
            try:
                arrived, replaced = arrive(parcel, self.near, "w", damage)
            except Refused as refused:  # as ``guest.cells`` answers it
                parcel.undo(self.far)
                if refused.name:
                    load.stay(refused.name, says(refused.reason))
                else:
                    load.give_up(self.far, frozenset(oid for oid, _seal in parcel.changes))
                continue
            self.here.update(arrived.roots)
            self.lost, self.failed = load.lost, arrived.failed
            return parcel, load.stayed, replaced

    def remote(
        self, source: str, *names: str, bind: tuple[str, ...] = ()
    ) -> tuple[Parcel, dict[str, str], list[tuple[Any, Any]]]:
        """Send, run ``source`` there, bring home."""
        self.send(*names)
        exec(source, self.there)
        return self.bring(*bind)
