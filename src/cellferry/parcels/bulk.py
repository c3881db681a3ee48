"""Leaves that are too large for their parcel's frame: asked for by the receiver, chunk by chunk.

Over a socket the sender names its chunks by XXH3; the receiver says which of them it seems to hold already, with
their BLAKE3 names, and the sender leaves out those whose name is right. Between processes of one machine the client
copies memory straight across (``vm``) and nothing is named, because copying is cheaper than asking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cellferry.parcels import arrays, memories, tensors, vm
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import CHUNK_BYTES, DIGEST_BYTES, Leaf, allocate, bytes_of, content_name, pieces
from cellferry.parcels.parcel import split_digests, verify

_STEP_BYTES = 8 << 20

Claim = list[Any]
"""[leaf, chunk, BLAKE3 name]: "I seem to have this one"."""


class Inbox:
    """Receiving end of a parcel's leaves: memory first, then bytes into it, then the check."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self.meta = meta
        self.values = [allocate(spec, size) for size, spec in meta["leaves"]]
        self.views = [bytes_of(value) for value in self.values]

    def addresses(self) -> list[int]:
        return [vm.address(view) for view in self.views]

    def target(self, leaf: int, at: int, size: int) -> memoryview:
        """Where bytes of a ``leaf`` frame belong; raises IndexError or ValueError for a place that does not exist."""
        view = self.views[leaf][at : at + size]
        if len(view) != size:
            raise ValueError("a leaf frame does not fit its leaf")
        return view

    def claims(self, heap: Heap, sums: bytes) -> list[Claim]:
        """Fill in the chunks that are here already, in values known to both ends, and name them."""
        held = _index(heap)
        found: list[Claim] = []
        for leaf, joined in enumerate(split_digests(self.meta, sums)):
            for chunk in range(len(joined) // DIGEST_BYTES):
                place = held.get(joined[chunk * DIGEST_BYTES : (chunk + 1) * DIGEST_BYTES])
                target = self.views[leaf][chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES]
                if place is not None and len(place) == len(target):
                    target[:] = place
                    found.append([leaf, chunk, content_name(target)])
        return found

    def check(self, sums: bytes) -> list[bytes]:
        """The digests of each leaf, once everything arrived as promised; raises ChunkMismatch."""
        promised = split_digests(self.meta, sums)
        for value, digests in zip(self.values, promised, strict=True):
            verify(value, digests)
        return promised


def _index(heap: Heap) -> dict[bytes, memoryview]:
    """Chunks of known memory by digest, as they were when both ends last agreed (the claim is checked by name)."""
    held: dict[bytes, memoryview] = {}
    for oid, kind in heap.kinds.items():
        obj, seal = heap.objects[oid], heap.seals[oid]
        if isinstance(kind, memories.ArrayKind) and not obj.dtype.hasobject and obj.flags.c_contiguous:
            view, joined = bytes_of(obj), seal[1]
        elif isinstance(kind, tensors.StorageKind) and obj.device.type == "cpu":
            view, joined = arrays.storage_memory(obj), seal
        else:
            continue
        if len(view) >= CHUNK_BYTES:
            for chunk in range(len(joined) // DIGEST_BYTES):
                held[joined[chunk * DIGEST_BYTES : (chunk + 1) * DIGEST_BYTES]] = view[
                    chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES
                ]
    return held


def stream(
    leaves: Sequence[Leaf], claims: Sequence[Claim], send: Callable[[dict[str, Any], list[Any]], None], **head: Any
) -> int:
    """Send every leaf but the rightly claimed chunks as ``leaf`` frames; returns the bytes sent."""
    skip = {(leaf, chunk) for leaf, chunk, name in claims if content_name(_chunk(leaves[leaf], chunk)) == name}
    sent = 0
    for leaf, at, size in _missing([item.memory.nbytes for item in leaves], skip):
        send({"op": "leaf", "leaf": leaf, "at": at, **head}, [leaves[leaf].memory[at : at + size]])
        sent += size
    return sent


def _chunk(leaf: Leaf, chunk: int) -> memoryview:
    return leaf.memory[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES]


def _missing(sizes: Sequence[int], skip: set[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(leaf, offset, bytes) of what must be sent, neighbouring chunks joined up to 8 MiB."""
    if not skip:
        return list(pieces(sizes, _STEP_BYTES))
    out: list[tuple[int, int, int]] = []
    for leaf, at, size in pieces(sizes, CHUNK_BYTES):
        if (leaf, at // CHUNK_BYTES) in skip:
            continue
        if out and out[-1][0] == leaf and out[-1][1] + out[-1][2] == at and out[-1][2] < _STEP_BYTES:
            out[-1] = (leaf, out[-1][1], out[-1][2] + size)
        else:
            out.append((leaf, at, size))
    return out
