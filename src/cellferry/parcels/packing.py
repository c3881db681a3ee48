"""The first verb: ``pack`` values into a parcel.

A parcel is a row of pickles that share one memo: one for each root, then the states of known objects that changed.
The known objects that they may mention stand at the front of the memo on both ends, so that a pickle refers to them
by position.
"""

from __future__ import annotations

import itertools
import pickle
import types
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cellferry.errors import CannotTravel
from cellferry.parcels import tensors
from cellferry.parcels.anchors import Anchor, find_anchor
from cellferry.parcels.bare import mro_of
from cellferry.parcels.calm import calm
from cellferry.parcels.deep import BEYOND, on_a_deep_stack
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.pickler import Packer
from cellferry.parcels.plan import AnchorsFailed, Missed, PackPlan, Parcel, RootFailed, StateFailed
from cellferry.parcels.reach import Walk
from cellferry.parcels.sweeping import temporaries


def pack(heap: Heap, roots: Mapping[str, Any], plan: PackPlan, dropped: Sequence[int] = ()) -> Parcel:
    """Pack ``roots`` and what changed of all known objects reachable from them. Sends nothing, seals nothing.

    Raises RootFailed for a root that cannot travel (its reason: CannotTravel, or whatever pickle or the object itself
    raised, SystemExit included), StateFailed for a change that cannot; without ``plan.tolerate`` the reason itself.
    Deeply nested values are packed on a thread with a large stack, where the default recursion limit is not enough.
    """
    try:
        return _pack_all(heap, roots, plan, dropped)
    except (RecursionError, pickle.PicklingError, RootFailed, StateFailed) as exc:
        if not _too_deep(exc):
            raise
    try:
        parcel: Parcel = on_a_deep_stack(lambda: _pack_all(heap, roots, plan, dropped, deep=True))
    except (RecursionError, pickle.PicklingError, RootFailed, StateFailed) as exc:
        if not _too_deep(exc):
            raise
        beyond = CannotTravel(*BEYOND)
        if not isinstance(exc, (RootFailed, StateFailed)):
            raise beyond from exc
        exc.reason = beyond
        raise
    return parcel


_cause: Any = BaseException.__dict__["__cause__"].__get__


def _too_deep(exc: BaseException | None) -> bool:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if issubclass(type(exc), RecursionError):
            return True
        exc = exc.reason if isinstance(exc, (RootFailed, StateFailed)) else _cause(exc)
    return False


def _pack_all(
    heap: Heap, roots: Mapping[str, Any], plan: PackPlan, dropped: Sequence[int], *, deep: bool = False
) -> Parcel:
    extra: set[int] = set()
    look_around = True
    while True:
        job = _Job(heap, plan, extra, look_around, deep)
        try:
            return job.run(dict(roots), dropped)
        except Missed as missed:
            extra |= set(missed.oids)
        except _AroundFailed:
            look_around = False


def _rank(root: tuple[str, Any]) -> int:
    """Modules, classes (bases first) and functions go before values, whose making may call them (``__hash__``)."""
    value = root[1]
    kind = type(value)
    if issubclass(kind, type):
        return 1 + len(mro_of(value))
    return 0 if issubclass(kind, types.ModuleType) else 1000 + (kind is not types.FunctionType)


class _AroundFailed(Exception):
    """A change that no root leads to cannot travel: it waits."""


class _Job:
    """One packing: the roots, those included that their functions ask for, then states of what changed."""

    def __init__(self, heap: Heap, plan: PackPlan, extra: Iterable[int], look_around: bool, deep: bool) -> None:
        self.heap = heap
        self.plan = plan
        self.extra = extra
        self.look_around = look_around
        self.deep = deep
        """The stack is as large as it gets: what is too deep here is too deep for good."""

        self.leaves: list[Leaf] = []
        self.packer = Packer(heap.namespace, self.leaves, going_home=plan.going_home)
        self.packer.stuck = dict(plan.stuck)
        self.packer.by_source = heap.by_source
        self.walk = Walk(stuck=frozenset(plan.stuck))
        self.walk.seen.update(plan.stuck)
        self.changes: list[tuple[int, Any]] = []
        self.around: list[tuple[int, Any]] = []
        self.sizes: dict[str, int] = {}
        self.anchors: list[Anchor] = []
        self.written: list[Any] = []

    def run(self, roots: dict[str, Any], dropped: Sequence[int]) -> Parcel:
        try:
            with calm():
                return self._run(roots, dropped)
        finally:
            self.packer.release()

    def _run(self, roots: dict[str, Any], dropped: Sequence[int]) -> Parcel:
        self._close(roots)
        self.anchors = self._find_anchors()
        seeds = self._find_changes() if self.heap.objects else []
        self.packer.shared_bases, self.packer.array_at, self.packer.reached = (
            self.walk.shared_bases,
            self.walk.array_at,
            self.walk.seen,
        )
        if seeds:
            objects = self.heap.objects
            self.packer.memo = {id(objects[oid]): (i, objects[oid]) for i, oid in enumerate(seeds)}
        if self.plan.stuck:
            self._dump_stuck(roots, len(seeds))
        if self.anchors:
            self._dump_anchors()
        for name, value in sorted(roots.items(), key=_rank):
            self._dump_root(name, value)
        if self.changes or self.anchors:
            # after the roots, so that a root's size is its own even where a known container has it by now
            self._dump_states(roots)
        return self._finish(seeds, dropped)

    def _close(self, roots: dict[str, Any]) -> None:
        """Walk from all roots; those that functions among them use as globals become roots too."""
        heap, walk = self.heap, self.walk
        held = [anchor.kind.children(anchor.obj) for anchor in self.plan.anchors]
        heap.walk(itertools.chain(roots.values(), self.plan.also, *held), walk)
        done = 0
        while self.plan.more is not None and done < len(walk.functions):
            pending, done = walk.functions[done:], len(walk.functions)
            extra = {n: v for n, v in self.plan.more(pending).items() if n not in roots}
            roots.update(extra)
            heap.walk(extra.values(), walk)

    def _find_anchors(self) -> list[Anchor]:
        """Objects of modules that both ends know from now on: those that changed, those that were met, and what hangs on them."""
        heap, anchors = self.heap, self.heap.anchors
        if not anchors:
            return []
        met = [anchors[key] for key in anchors.keys() & self.walk.seen]
        found = {id(a.obj): a for a in (*self.plan.anchors, *(a for a in met if a.met_counts and a.holds()))}
        for top in list(found.values()):
            found.update((id(a.obj), a) for a in anchors.values() if a.met_counts and a.below(top))
        return [a for key, a in found.items() if key not in heap.oid_of and key not in self.plan.stuck]

    def _find_changes(self) -> list[int]:
        """Fill ``changes``; returns the numbers of the known objects that may be mentioned."""
        heap, walk, plan = self.heap, self.walk, self.plan
        apart = plan.without | set(walk.stale)
        left_out = apart | plan.skip_states
        heap.walk([heap.objects[oid] for oid in self.extra], walk)
        self.changes = heap.changes(oid for oid in dict.fromkeys(walk.known) if oid not in left_out)
        if self.look_around:
            reached = set(walk.known)
            self.around = heap.changes(oid for oid in heap.cheap() if oid not in reached and oid not in left_out)
            if self.around:
                heap.walk([heap.objects[oid] for oid, _now in self.around], walk)
                found = [oid for oid in dict.fromkeys(walk.known) if oid not in reached and oid not in left_out]
                self.changes += heap.changes(found)
        return [oid for oid in dict.fromkeys(itertools.chain(walk.known, heap.texts, self.extra)) if oid not in apart]

    def _dump_stuck(self, roots: Mapping[str, Any], seeds: int) -> None:
        """Placeholders for the roots that stay, first of all: every pickle that follows refers to them."""
        packer, stuck = self.packer, self.plan.stuck
        values = [
            value
            for value in {id(v): v for v in roots.values() if id(v) in stuck}.values()
            if id(value) not in packer.memo.copy()
        ]
        self._stand_in((value, packer.placeholder(value, stuck[id(value)])) for value in values)

    def _dump_anchors(self) -> None:
        """The ways to objects of modules; what they hold goes with the states. Classes first: what follows names them."""
        by_name = [a for a in self.anchors if not a.met_counts]
        self._stand_in((a.obj, (find_anchor, (a.module, a.way, None))) for a in by_name)
        met = [a for a in self.anchors if a.met_counts]
        try:
            self._stand_in((a.obj, (find_anchor, (a.module, a.way, type(a.obj)))) for a in met)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # a type that the other end cannot find
            bad = [a for a in met if not _pickles(self.heap, type(a.obj))]
            if not bad:
                raise
            raise AnchorsFailed(bad, exc) from exc

    def _stand_in(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Write the second of each pair where the first would stand, and have what follows refer to it."""
        packer = self.packer
        stand_ins = [_StandIn(value, reduced) for value, reduced in pairs]
        packer.dump(stand_ins)
        memo = packer.memo.copy()
        for stand_in in stand_ins:
            position, _obj = memo.pop(id(stand_in))
            memo[id(stand_in.value)] = (position, stand_in.value)
        packer.memo = memo

    def _dump_states(self, roots: Mapping[str, Any]) -> None:
        """States of changed objects; one that cannot travel is the fault of the root that leads to it."""
        heap, packer = self.heap, self.packer
        packer.nested_placeholders = self.plan.going_home
        states = []
        oid = -1
        try:
            for oid, now in self.changes:
                obj = heap.objects[oid]
                states.append((obj, heap.kinds[oid].state(obj, heap.seals[oid], now)))
            oid = -1
            states += [(a.obj, a.change(heap)) for a in self.anchors]
            packer.dump(states)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # whatever an object's own code raises
            if not self.deep and _too_deep(exc):
                raise
            self._blame_anchors(roots, exc)
            if self.around:
                raise _AroundFailed from exc
            if self.plan.going_home:
                raise StateFailed(
                    frozenset(o for o, _now in self.changes) if oid < 0 else frozenset([oid]), exc
                ) from exc
            self._blame(roots, exc)
        packer.nested_placeholders = False

    def _blame_anchors(self, roots: Mapping[str, Any], reason: BaseException) -> None:
        """Raise if it was an object of a module: for the root that leads to it, if one does."""
        heap = self.heap
        bad = [a for a in self.anchors if not _pickles(heap, a.change(heap))]
        for name, value in roots.items() if bad else ():
            seen = heap.walk([value]).seen
            if any(id(a.obj) in seen for a in bad):
                self._fail(name, reason)
        bad += [
            a
            for oid, _now in self.changes
            if (a := heap.anchors.get(id(heap.objects[oid]))) and not self._travels([oid])
        ]
        if bad:
            raise AnchorsFailed(bad, reason) from reason

    def _blame(self, roots: Mapping[str, Any], reason: BaseException) -> None:
        changed = {oid for oid, _now in self.changes}
        for name, value in roots.items():
            mine = changed.intersection(self.heap.walk([value]).known)
            if mine and not self._travels(mine):
                self._fail(name, reason)
        raise reason

    def _travels(self, oids: Iterable[int]) -> bool:
        heap = self.heap
        for oid in oids:
            obj, kind = heap.objects[oid], heap.kinds[oid]
            if not _pickles(heap, kind.state(obj, heap.seals[oid], kind.seal(obj, heap))):
                return False
        return True

    def _fail(self, name: str, exc: BaseException) -> None:
        if self.plan.tolerate:
            raise RootFailed(name, exc) from exc
        if type(exc) is CannotTravel and not exc.path:
            exc.path = name
        raise exc

    def _dump_root(self, name: str, value: Any) -> None:
        before, leaves = self.packer.sink.size, len(self.leaves)
        try:
            self.packer.dump(value)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # whatever an object's own code raises
            if not self.deep and _too_deep(exc):
                raise
            self._fail(name, exc)
        own = sum(leaf.memory.nbytes for leaf in self.leaves[leaves:]) if len(self.leaves) > leaves else 0
        self.sizes[name] = self.packer.sink.size - before + own

    def _finish(self, seeds: list[int], dropped: Sequence[int]) -> Parcel:
        heap, packer, stale = self.heap, self.packer, tuple(dict.fromkeys(self.walk.stale))
        fresh, tracked = self._fresh(len(seeds), set(stale) | self.plan.without)
        base = heap.next_oid
        return Parcel(
            roots=list(self.sizes), parts=packer.sink.joined(), leaves=self.leaves, buffer_leaves=packer.buffer_leaves,
            seeds=seeds, base=base, tracked=tracked, dropped=[*dropped, *stale], sizes=self.sizes, changes=self.changes,
            fresh=list(enumerate(fresh, base)), functions=self.walk.functions, stuck=frozenset(self.plan.stuck), stale=stale,
            kinds=tuple(packer.kinds.values()), by_name=frozenset(packer.modules),
            anchors=bool(self.anchors), written=self.written,
        )  # fmt: skip

    def _fresh(self, seeds: int, apart: set[int]) -> tuple[list[Any], array[int]]:
        """New objects worth a number, and their positions in the memo; temporaries made while pickling are left out."""
        memo, heap, stuck = self.packer.memo.copy(), self.heap, self.plan.stuck
        slots: list[Any] = [None] * (len(memo) - seeds)
        for place, obj in memo.values():
            if place >= seeds:
                slots[place - seeds] = obj
        obj = None
        passing = temporaries(memo, slots, Counter(id(leaf.owner) for leaf in self.leaves))
        fresh, positions, missed = [], array("I"), []
        for position, obj in enumerate(slots, seeds):
            key = id(obj)
            if key not in stuck:
                kind = heap.kind_of(obj)
                # the wrapper of a torch storage is nobody's, but always the same
                if not kind.tracked or (key in passing and not isinstance(kind, tensors.StorageKind)):
                    continue
                oid = heap.oid_of.get(key)
                if oid is not None and oid not in apart:
                    missed.append(oid)
            fresh.append(obj)
            positions.append(position)
        if missed:
            raise Missed(missed)
        if not self.plan.going_home:
            self.written = slots
        return fresh, positions


def written_alone(heap: Heap, value: Any) -> tuple[list[Any], list[Leaf]]:
    """What a pickler writes for ``value`` by itself, as ``Parcel.written``, and its leaves; as far as it travels."""
    leaves: list[Leaf] = []
    packer = Packer(heap.namespace, leaves)
    packer.by_source = heap.by_source
    packer.nested_placeholders = True
    try:
        packer.dump(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever an object's own code raises
        pass
    found = [obj for _place, obj in packer.memo.copy().values()]
    packer.release()
    return found, leaves


def _pickles(heap: Heap, state: Any) -> bool:
    try:
        Packer(heap.namespace, []).dump(state)
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever an object's own code raises
        return False
    return True


class _StandIn:
    """Pickles as the placeholder of a value, and takes its place in the memo."""

    def __init__(self, value: Any, reduced: Any) -> None:
        self.value, self.reduced = value, reduced

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.reduced
