"""What is asked of a packing, what comes of it, and how it fails."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cellferry.parcels.bare import module_of
from cellferry.parcels.leaves import Leaf

if TYPE_CHECKING:
    from cellferry.parcels.anchors import Anchor
    from cellferry.parcels.heap import Heap

INLINE_BYTES = 4 << 20
"""Leaves up to this total travel in the parcel's own frame; more is asked for by the receiver, chunk by chunk."""


@dataclass
class Parcel:
    """Packed values, on the sender. ``sizes``: bytes of each root (its own part of the stream and its leaves)."""

    roots: list[str]
    parts: list[Any]
    leaves: list[Leaf]
    buffer_leaves: list[int]
    seeds: list[int]
    base: int
    tracked: array[int]
    dropped: list[int]
    sizes: dict[str, int]
    changes: list[tuple[int, Any]]
    fresh: list[tuple[int, Any]]
    functions: list[Any]
    stuck: frozenset[int] = frozenset()
    """ids of the roots that stay: at the other end they are placeholders."""

    stale: tuple[int, ...] = ()
    """Those of ``dropped`` that this end forgets too, once the other has them under new numbers."""

    kinds: Sequence[type] = ()
    by_name: frozenset[str] = frozenset()
    anchors: bool = False
    """Whether objects of the project's modules are known by both ends from this parcel on."""

    written: list[Any] = field(default_factory=list)
    """Every object that this parcel is the first to write, in the order of the pickles: texts, tables, states, what types make of
    themselves. For who looks at what is sent, and empties it then. Empty on the way home."""

    _before: dict[int, Any] = field(default_factory=dict)

    @property
    def modules(self) -> set[str]:
        """Modules that the other end needs in order to make the values: of their types, and of what travels by name."""
        found = set(self.by_name) | {module for kind in self.kinds if (module := module_of(kind))}
        return {name for name in found if not name.startswith("cloudpickle")}  # the packer's own way of saying things

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
        """The parcel's head, as JSON; ``buffers`` follow in this order: stream parts, numbers, digests, leaves."""
        return {
            "roots": self.roots, "parts": len(self.parts), "seeds": len(self.seeds), "dropped": len(self.dropped),
            "base": self.base, "stuck": bool(self.stuck), "states": bool(self.changes) or self.anchors, "bufs": self.buffer_leaves,
            "bulk": self.bulk,
            "leaves": [[leaf.memory.nbytes, leaf.spec] for leaf in self.leaves], **({"anchors": True} if self.anchors else {}),
        }  # fmt: skip

    def buffers(self) -> list[Any]:
        """What follows the head in the same frame; a bulk parcel's digests and leaves are sent by ``bulk``."""
        inline = [] if self.bulk else [self.sums, *(leaf.memory for leaf in self.leaves)]
        numbers = array("I", self.seeds)
        numbers.extend(self.dropped)
        numbers.extend(self.tracked)
        return [*self.parts, numbers.tobytes(), *inline]

    def sealed(self, heap: Heap) -> None:
        """The other end has it: what was sent is what both agree on now."""
        self.written = []
        self._before = {oid: heap.seals[oid] for oid, _seal in self.changes if oid in heap.seals}
        heap.told(self.dropped)
        heap.drop(self.stale)
        heap.register(self.fresh, self.leaves, self.stuck)
        for oid, seal in self.changes:
            if oid in heap.seals:
                kind = heap.kinds[oid]
                heap.seals[oid] = kind.seal(heap.objects[oid], heap) if kind.leans else seal
        heap.next_oid = max(heap.next_oid, self.base + len(self.tracked))

    def undo(self, heap: Heap) -> None:
        """The other end could not take it: what both agree on is what it was before ``sealed``."""
        heap.drop([oid for oid, _obj in self.fresh])
        heap.seals.update(self._before)


@dataclass(frozen=True)
class PackPlan:
    """How to pack: ``going_home`` (from the worker), ``stuck``: id -> reason of roots that stay,
    ``tolerate``: roots that cannot travel are left out and reported instead of raising."""

    going_home: bool = False
    stuck: Mapping[int, str] = field(default_factory=dict)
    tolerate: bool = False
    without: frozenset[int] = frozenset()
    """Known objects that are sent anew, under new numbers."""

    also: tuple[Any, ...] = ()
    """Values that are not sent, but whose changes are (what a cell was given)."""

    anchors: tuple[Anchor, ...] = ()
    """Objects of the project's modules that have changed, and that the other end does not know yet."""

    skip_states: frozenset[int] = frozenset()
    """Known objects whose state turned out not to travel."""

    more: Callable[[list[Any]], Mapping[str, Any]] | None = None
    """Given the notebook functions met so far: further roots (the globals they use); called until nothing is new."""


class StateFailed(Exception):
    """What changed of known objects cannot travel; ``oids``: the suspects."""

    def __init__(self, oids: frozenset[int], reason: BaseException) -> None:
        super().__init__(oids, reason)
        self.oids, self.reason = oids, reason


class AnchorsFailed(Exception):
    """What changed of these objects of modules cannot travel."""

    def __init__(self, anchors: list[Anchor], reason: BaseException) -> None:
        super().__init__(anchors, reason)
        self.anchors, self.reason = anchors, reason


class RootFailed(Exception):
    """A root cannot travel; the memo is spoilt, so packing starts again without it."""

    def __init__(self, name: str, reason: BaseException) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason


class Missed(Exception):
    """A known object was met by the pickler but not by the walk; packing starts again with it."""

    def __init__(self, oids: list[int]) -> None:
        super().__init__(oids)
        self.oids = oids
