"""The second verb: ``unpack`` a parcel into the other end's objects, ``settle`` what changed."""

from __future__ import annotations

import io
import itertools
import pickle
import types
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cellferry.errors import CannotTravel, ChunkMismatch, ParcelError
from cellferry.parcels.bare import says
from cellferry.parcels.calm import calm
from cellferry.parcels.context import Unpacking, unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import DIGEST_BYTES, Leaf, bytes_of, changed_chunks, chunk_count, digests
from cellferry.parcels.placeholder import describe
from cellferry.parcels.plain_parcel import PlainArrived, settle_plain


@dataclass
class Arrived:
    """An unpacked parcel: root values, known objects that changed (with their states, not yet applied)."""

    roots: dict[str, Any]
    states: list[tuple[Any, Any]]
    fresh: list[tuple[int, Any]]
    leaves: list[Leaf]
    failed: list[tuple[Any, BaseException]] = field(default_factory=list)
    """Objects here that could not be made as they are at the other end, and what their own code raised; see ``settle``."""


class _Reader:
    """A file over the parts of a stream."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = [memoryview(part).cast("B") for part in parts if len(part)]
        self._at = 0

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        done = 0
        while done < len(view) and self._at < len(self._parts):
            part = self._parts[self._at]
            take = min(len(part), len(view) - done)
            view[done : done + take] = part[:take]
            done += take
            if take == len(part):
                self._parts[self._at] = memoryview(b"")
                self._at += 1
            else:
                self._parts[self._at] = part[take:]
        return done

    def read(self, size: int = -1) -> bytes:
        if self._at < len(self._parts) and 0 <= size <= len(self._parts[self._at]):
            part = self._parts[self._at]
            self._parts[self._at] = part[size:]
            if size == len(part):
                self._at += 1
            return bytes(part[:size])
        out = bytearray(size if size >= 0 else sum(map(len, self._parts[self._at :])))
        return bytes(memoryview(out)[: self.readinto(out)])

    def readline(self) -> bytes:
        out = bytearray()
        while (byte := self.read(1)) not in (b"", b"\n"):
            out += byte
        return bytes(out) + byte


_SEED = b"\x97\x940"  # NEXT_BUFFER, MEMOIZE, POP: puts the next "buffer" (any object) into the memo
_SMALL_BYTES = 1 << 18


def _file_of(seeds: int, parts: Sequence[Any]) -> Any:
    """The stream to read from; first a pickle that puts as many "buffers" as there are seeds into the memo."""
    head = b"\x80\x05" + _SEED * seeds + b"N." if seeds else b""
    if sum(map(len, parts)) <= _SMALL_BYTES:
        return io.BytesIO(b"".join([head, *parts]))
    return _Reader([head, *parts])


def verify(leaf: Any, promised: bytes, name: str = "") -> None:
    """Refuse memory whose chunks do not have the promised digests; raises ChunkMismatch."""
    got = digests(bytes_of(leaf)) if promised else b""
    if got != promised:
        bad = changed_chunks(promised, got) if len(got) == len(promised) else [0]
        raise ChunkMismatch(
            f"chunk {bad[0]} of a value{name} arrived damaged ({len(bad)} of {len(promised) // DIGEST_BYTES} chunks); it was not used",
            "run the cell again; if it happens again, report it",
        )


def split_digests(meta: Mapping[str, Any], joined: bytes | bytearray) -> list[bytes]:
    """The digests of each leaf out of the joined ones."""
    out, at = [], 0
    for size, _spec in meta["leaves"]:
        length = DIGEST_BYTES * chunk_count(size)
        out.append(bytes(joined[at : at + length]))
        at += length
    return out


def unpack(
    heap: Heap,
    meta: Mapping[str, Any],
    buffers: Sequence[Any],
    leaves: list[Any],
    promised: list[bytes],
    context: Unpacking,
) -> Arrived:
    """Make the values of a parcel whose leaves have arrived and been verified. Applies nothing.

    ``buffers``: stream parts and tracked positions, as received. Raises ParcelError if the two ends do not agree on
    what they both know, Refused for a value that cannot be made here.
    """
    numbers = array("I", bytes(buffers[meta["parts"]]))
    first, seeds, dropped = meta["seeds"], numbers[: meta["seeds"]], meta["dropped"]
    heap.drop(numbers[first : first + dropped])
    tracked = numbers[first + dropped :]
    try:
        known = [heap.objects[oid] for oid in seeds]
    except KeyError:
        raise ParcelError(
            "the two ends disagree about which values they both know", "%remote down, then run the cell again"
        ) from None
    context.leaves = leaves
    unpickler = pickle.Unpickler(
        _file_of(len(known), buffers[: meta["parts"]]),
        buffers=itertools.chain(known, (leaves[i] for i in meta["bufs"])),
    )
    with unpacking(context), calm():
        if known:
            unpickler.load()
        if meta["stuck"]:
            unpickler.load()
        for _part in range(2 if meta.get("anchors") else 0):
            _load(unpickler, "")
        roots = _load_roots(unpickler, meta["roots"], context.namespace)
        states = _load(unpickler, "") if meta["states"] else []
    memo = unpickler.memo.copy() if tracked else {}
    fresh = [(meta["base"] + n, memo[position]) for n, position in enumerate(tracked)]
    heap.next_oid = max(heap.next_oid, meta["base"] + len(tracked))
    received = [
        Leaf(bytes_of(value), spec, value, sums)
        for value, sums, (_n, spec) in zip(leaves, promised, meta["leaves"], strict=True)
    ]
    return Arrived(roots, states, fresh, received)


class Refused(Exception):
    """A root (or, with the empty name, what changed of known objects) cannot be made on this side."""

    def __init__(self, name: str, reason: BaseException) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    @property
    def what(self) -> str:
        """For whoever waits on the other side."""
        return f"{self.name or 'what has changed'} ({type(self.reason).__name__}: {str(self.reason).strip()})"


def _load_roots(unpickler: pickle.Unpickler, names: Sequence[str], namespace: dict[str, Any]) -> dict[str, Any]:
    """All roots. Classes, functions and modules can be found by name while the rest is made, for making may call them."""
    roots: dict[str, Any] = {}
    before: dict[str, Any] = {}
    missing = object()
    try:
        for name in names:
            roots[name] = value = _load(unpickler, name)
            if issubclass(type(value), (type, types.FunctionType, types.ModuleType)):
                before[name] = namespace.get(name, missing)
                namespace[name] = value
        return roots
    finally:
        for name, value in before.items():
            if value is missing:
                del namespace[name]
            else:
                namespace[name] = value


def _load(unpickler: pickle.Unpickler, name: str) -> Any:
    try:
        return unpickler.load()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # whatever an object's own code raises
        raise Refused(name, exc) from exc


def settle(heap: Heap, arrived: Arrived | PlainArrived, *, strict: bool = False) -> list[tuple[Any, Any]]:
    """Apply an arrived parcel to the objects that are here, and know the new ones.

    Returns (old, new) for each object whose type did not allow a change in place; the caller rebinds its names, known
    containers and ``arrived.roots`` refer to the new one already. Where an object's own code raises (``__setstate__``,
    ``__hash__`` of a key) that object is left, noted in ``arrived.failed``, and no longer known here; with ``strict``
    CannotTravel is raised.
    """
    if isinstance(arrived, PlainArrived):
        return settle_plain(heap, arrived)
    replaced: list[tuple[Any, Any]] = []
    heap.register(arrived.fresh, arrived.leaves)
    # containers that hash what they store come last: a hash may depend on a state that is about to be applied
    early: list[tuple[int, Any, Any]] = []
    late: list[tuple[int, Any, Any]] = []
    for obj, state in arrived.states:
        oid = heap.oid_of[id(obj)]
        (late if heap.kinds[oid].late else early).append((oid, obj, state))
    for oid, obj, state in early + late:
        kind = heap.kinds[oid]
        obj = heap.objects[oid]  # it may be another by now; a second name would be a second reference
        try:
            taken = kind.apply(obj, state)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # whatever the object's own code raises
            if strict:
                raise CannotTravel(
                    f"a {describe(obj)[0]} cannot take its new state here ({says(exc)})",
                    "make it anew in the %%remote cell itself, or let its class take such a state (`__setstate__`, `__hash__`)",
                ) from exc
            heap.disown([oid])
            arrived.failed.append((obj, exc))
            continue
        if taken:
            heap.seals[oid] = kind.reseal(obj, state, heap.seals[oid], heap)
        else:
            pairs = heap.replace(oid, kind.replacement(obj, state))
            replaced += pairs
            for old, new in pairs:
                arrived.roots.update({name: new for name, value in arrived.roots.items() if value is old})
    return replaced
