"""The two verbs: ``pack`` values into a parcel, ``unpack`` it into the other end's objects.

A parcel is a row of pickles that share one memo: first the states of known objects that changed, then one pickle for
each root. Known objects stand at the front of the memo on both ends, so that a pickle refers to them by position.
"""

from __future__ import annotations

import itertools
import pickle
import sys
import threading
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cellferry.errors import CannotTravel, ChunkMismatch, ParcelError
from cellferry.parcels.context import Unpacking, unpacking
from cellferry.parcels.heap import Heap, Walk
from cellferry.parcels.leaves import DIGEST_BYTES, Leaf, bytes_of, changed_chunks, chunk_count, digests
from cellferry.parcels.pickler import Packer

INLINE_BYTES = 4 << 20
"""Leaves up to this total travel in the parcel's own frame; more is asked for by the receiver, chunk by chunk."""

_DEEP_STACK_BYTES = 512 << 20
_DEEP_LIMIT = 400_000
_TEMPORARY_REFERENCES = 4


@dataclass
class Parcel:
    """Packed values, on the sender. ``sizes``: bytes of each root (its own part of the stream and its leaves)."""

    roots: list[str]
    parts: list[bytes]
    leaves: list[Leaf]
    buffer_leaves: list[int]
    seeds: int
    base: int
    tracked: array[int]
    dropped: list[int]
    sizes: dict[str, int]
    changes: list[tuple[int, Any]]
    fresh: list[tuple[int, Any]]
    functions: list[Any]
    stuck: frozenset[int] = frozenset()
    """ids of the roots that stay: at the other end they are placeholders."""

    @property
    def leaf_bytes(self) -> int:
        return sum(leaf.memory.nbytes for leaf in self.leaves)

    @property
    def sums(self) -> bytes:
        """Digests of all leaves, joined (16 bytes a chunk)."""
        return b"".join(leaf.digests for leaf in self.leaves)

    @property
    def bulk(self) -> bool:
        """Whether the leaves are too much for the parcel's own frame."""
        return self.leaf_bytes > INLINE_BYTES

    def meta(self) -> dict[str, Any]:
        """The parcel's head, as JSON; ``buffers`` follow in this order: stream parts, tracked, digests, leaves."""
        return {
            "roots": self.roots, "parts": len(self.parts), "seeds": self.seeds, "base": self.base,
            "dropped": self.dropped, "bufs": self.buffer_leaves, "bulk": self.bulk,
            "leaves": [[leaf.memory.nbytes, leaf.spec] for leaf in self.leaves],
        }  # fmt: skip

    def buffers(self) -> list[Any]:
        """What follows the head in the same frame; a bulk parcel's digests and leaves are sent by ``bulk``."""
        inline = [] if self.bulk else [self.sums, *(leaf.memory for leaf in self.leaves)]
        return [*self.parts, memoryview(self.tracked).cast("B") if self.tracked else b"", *inline]

    def sealed(self, heap: Heap) -> None:
        """The other end has it: what was sent is what both agree on now."""
        for oid, seal in self.changes:
            if oid in heap.seals:
                heap.seals[oid] = seal
        # in the order of their numbers: positions in the memo follow it, on both ends
        heap.register(self.fresh, self.leaves, self.stuck)
        heap.next_oid = max(heap.next_oid, self.base + len(self.tracked))


@dataclass(frozen=True)
class PackPlan:
    """How to pack: ``going_home`` (from the worker), ``stuck``: id -> reason of roots that stay,
    ``tolerate``: roots that cannot travel are left out and reported instead of raising."""

    going_home: bool = False
    stuck: Mapping[int, str] = field(default_factory=dict)
    tolerate: bool = False
    without: frozenset[int] = frozenset()
    also: tuple[Any, ...] = ()
    """Values that are not sent, but whose changes are (what a cell was given)."""
    skip_states: frozenset[int] = frozenset()
    """Known objects whose state turned out not to travel."""
    more: Callable[[list[Any]], Mapping[str, Any]] | None = None
    """Given the notebook functions met so far: further roots (the globals they use); called until nothing is new."""


def pack(heap: Heap, roots: Mapping[str, Any], plan: PackPlan, dropped: Sequence[int] = ()) -> Parcel:
    """Pack ``roots`` and what changed of all known objects reachable from them. Sends nothing, seals nothing.

    Raises CannotTravel (or whatever pickle raises) unless ``plan.tolerate``. Deeply nested values are packed on a
    thread with a large stack, where the default recursion limit is not enough.
    """
    try:
        return _pack(heap, roots, plan, dropped)
    except (RecursionError, pickle.PicklingError) as exc:
        if isinstance(exc, pickle.PicklingError) and not isinstance(exc.__cause__, RecursionError):
            raise
    return _on_a_deep_stack(lambda: _pack(heap, roots, plan, dropped))


def _on_a_deep_stack(work: Callable[[], Any]) -> Any:
    outcome: list[Any] = []

    def body() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as exc:
            outcome.append((False, exc))

    limit, stack = sys.getrecursionlimit(), threading.stack_size(_DEEP_STACK_BYTES)
    sys.setrecursionlimit(_DEEP_LIMIT)
    try:
        thread = threading.Thread(target=body, name="cellferry-deep")
        thread.start()
        thread.join()
    finally:
        threading.stack_size(stack)
        sys.setrecursionlimit(limit)
    good, value = outcome[0]
    if not good:
        raise value
    return value


def _pack(heap: Heap, roots: Mapping[str, Any], plan: PackPlan, dropped: Sequence[int]) -> Parcel:
    leaves: list[Leaf] = []
    packer = Packer(heap.namespace, leaves, going_home=plan.going_home)
    seeds = [None if oid in plan.without else obj for oid, obj in heap.objects.items()]
    if seeds:
        packer.memo = {id(obj): (i, obj) for i, obj in enumerate(seeds) if obj is not None}
        _pad_memo(packer, len(seeds))
    packer.stuck = dict(plan.stuck)
    job = _Job(heap, packer, plan, [], {}, [])
    job.run(dict(roots))
    memo = packer.memo.copy()
    fresh, tracked = _fresh(heap, memo, len(seeds), plan)
    base = heap.next_oid
    packer.release()
    return Parcel(
        roots=list(job.sizes), parts=packer.sink.parts, leaves=leaves, buffer_leaves=packer.buffer_leaves,
        seeds=len(seeds), base=base, tracked=tracked, dropped=list(dropped), sizes=job.sizes,
        changes=job.changes, fresh=[(base + n, obj) for n, obj in enumerate(fresh)],
        functions=job.functions, stuck=frozenset(plan.stuck),
    )  # fmt: skip


class _Pad:
    """Takes a place in a memo that no object has."""


def _pad_memo(packer: Packer, size: int) -> None:
    """A memo's next position is its length, so equal objects or left-out ones must not make it shorter."""
    memo = packer.memo.copy()
    if len(memo) == size:
        return
    used = {position for position, _obj in memo.values()}
    for position in range(size):
        if position not in used:
            pad = _Pad()
            memo[id(pad)] = (position, pad)
    packer.memo = memo


@dataclass
class _Job:
    """One packing: states of what changed, then the roots, then the roots that their functions ask for."""

    heap: Heap
    packer: Packer
    plan: PackPlan
    changes: list[tuple[int, Any]]
    sizes: dict[str, int]
    functions: list[Any]

    def run(self, roots: dict[str, Any]) -> None:
        roots, known = self._close(roots)
        left_out = self.plan.without | self.plan.skip_states
        candidates = dict.fromkeys(itertools.chain(known, self.heap.cheap()))
        self.changes = self.heap.changes(oid for oid in candidates if oid not in left_out)
        self._dump_states()
        for name, value in roots.items():
            self._dump_root(name, value)

    def _close(self, roots: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """All roots, those included that functions among them use as globals; and the known objects they reach."""
        values = itertools.chain(roots.values(), self.plan.also)
        walk = self.heap.walk(value for value in values if id(value) not in self.plan.stuck)
        known = walk.known
        self._take(walk)
        pending = walk.functions
        while self.plan.more is not None and pending:
            extra = {n: v for n, v in self.plan.more(pending).items() if n not in roots}
            if not extra:
                break
            roots.update(extra)
            walk = self.heap.walk(extra.values())
            self._take(walk)
            known += walk.known
            pending = walk.functions
        return roots, known

    def _take(self, walk: Walk) -> None:
        self.functions += walk.functions
        self.packer.shared_bases |= walk.shared_bases
        self.packer.array_at.update(walk.array_at)

    def _dump_states(self) -> None:
        self.packer.nested_placeholders = self.plan.going_home
        states = []
        for oid, now in self.changes:
            obj = self.heap.objects[oid]
            try:
                states.append((obj, self.heap.kinds[oid].state(obj, self.heap.seals[oid], now)))
            except Exception as exc:
                raise StateFailed(frozenset([oid]), exc) from exc
        try:
            self.packer.dump(states)
        except RecursionError:
            raise
        except Exception as exc:
            if self.plan.going_home:
                raise StateFailed(frozenset(oid for oid, _now in self.changes), exc) from exc
            raise
        self.packer.nested_placeholders = False

    def _dump_root(self, name: str, value: Any) -> None:
        before, leaves = self.packer.sink.size, len(self.packer.leaves)
        try:
            self.packer.dump(value)
        except RecursionError:
            raise
        except Exception as exc:
            if not self.plan.tolerate:
                if isinstance(exc, CannotTravel) and not exc.path:
                    exc.path = name
                raise
            raise RootFailed(name, exc) from exc
        own = sum(leaf.memory.nbytes for leaf in self.packer.leaves[leaves:])
        self.sizes[name] = self.packer.sink.size - before + own


class StateFailed(Exception):
    """What changed of known objects cannot travel; ``oids``: the suspects."""

    def __init__(self, oids: frozenset[int], reason: Exception) -> None:
        super().__init__(oids, reason)
        self.oids, self.reason = oids, reason


class RootFailed(Exception):
    """A root cannot travel; the memo is spoilt, so packing starts again without it."""

    def __init__(self, name: str, reason: Exception) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason


def _fresh(heap: Heap, memo: dict[int, tuple[int, Any]], seeds: int, plan: PackPlan) -> tuple[list[Any], array[int]]:
    """New objects worth a number, and their positions in the memo; temporaries made while pickling are left out."""
    from cellferry.parcels.kinds import kind_of

    fresh, positions = [], array("I")
    entries = [(entry[0], key) for key, entry in memo.items() if entry[0] >= seeds]
    entries.sort()
    for position, key in entries:
        obj = memo[key][1]
        if key in plan.stuck or (kind_of(obj, heap.namespace).tracked and sys.getrefcount(obj) > _TEMPORARY_REFERENCES):
            fresh.append(obj)
            positions.append(position)
    return fresh, positions


@dataclass
class Arrived:
    """An unpacked parcel: root values, known objects that changed (with their states, not yet applied)."""

    roots: dict[str, Any]
    states: list[tuple[Any, Any]]
    fresh: list[tuple[int, Any]]
    leaves: list[Leaf]


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


def unpack(heap: Heap, meta: Mapping[str, Any], buffers: Sequence[Any], leaves: list[Any], promised: list[bytes], context: Unpacking) -> Arrived:
    """Make the values of a parcel whose leaves have arrived and been verified. Applies nothing.

    ``buffers``: stream parts and tracked positions, as received. Raises ParcelError if the two ends do not agree on
    what they both know.
    """
    heap.drop(meta["dropped"])
    if meta["seeds"] != len(heap):
        raise ParcelError("the two ends disagree about which values they both know", "%remote down, then run the cell again")
    context.leaves = leaves
    known = list(heap.objects.values())
    parts = buffers[: meta["parts"]]
    unpickler = pickle.Unpickler(
        _Reader([b"\x80\x05" + _SEED * len(known) + b"N.", *parts]),
        buffers=itertools.chain(known, (leaves[i] for i in meta["bufs"])),
    )
    with unpacking(context):
        unpickler.load()
        states = unpickler.load()
        roots = {name: unpickler.load() for name in meta["roots"]}
    memo = unpickler.memo.copy()
    tracked = array("I", bytes(buffers[meta["parts"]]))
    fresh = [(meta["base"] + n, memo[position]) for n, position in enumerate(tracked)]
    heap.next_oid = max(heap.next_oid, meta["base"] + len(tracked))
    received = [Leaf(bytes_of(value), spec, value, sums) for value, sums, (_n, spec) in zip(leaves, promised, meta["leaves"], strict=True)]
    return Arrived(roots, states, fresh, received)


def settle(heap: Heap, arrived: Arrived) -> list[tuple[Any, Any]]:
    """Apply an arrived parcel to the objects that are here, and know the new ones.

    Returns (old, new) for each object whose type did not allow a change in place; the caller rebinds its names.
    """
    replaced = []
    for obj, state in arrived.states:
        oid = heap.oid_of[id(obj)]
        kind = heap.kinds[oid]
        if kind.apply(obj, state):
            heap.seals[oid] = kind.reseal(obj, state, heap.seals[oid])
        else:
            made = kind.replacement(obj, state)
            heap.replace(oid, made)
            replaced.append((obj, made))
    heap.register(arrived.fresh, arrived.leaves)
    return replaced
