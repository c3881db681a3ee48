"""What goes home after a cell: names bound, values changed; and what stays, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cellferry.parcels.ambient import AMBIENT, plain_states
from cellferry.parcels.bare import name_of, says
from cellferry.parcels.heap import Heap
from cellferry.parcels.module_state import NAMES, label
from cellferry.parcels.parcel import AnchorsFailed, PackPlan, Parcel, RootFailed, StateFailed, pack
from cellferry.parcels.pickler import is_bound
from cellferry.parcels.placeholder import BOUND_TO_PROCESS, quick_size
from cellferry.parcels.shell_parts import Key
from cellferry.parcels.shell_state import SHELL

_MOST_TRIES = 50
_FEW_TRIES = 5
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Home:
    """The namespace before and after a cell; ``given``: values that came for it; ``hidden``: the shell's own names."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    given: tuple[Any, ...]
    hidden: frozenset[str]
    unders: frozenset[str] = frozenset()
    """Those of ``_``, ``__``, ``___`` that hold the shell's last results; one that the cell bound itself is not among them."""

    def bound(self, returns: list[str] | None) -> dict[str, Any]:
        """Names bound by the cell, by identity; only those in ``returns`` if that is given."""
        missing = object()
        return {
            name: value
            for name, value in self.after.items()
            if self.before.get(name, missing) is not value and self._mine(name) and (returns is None or name in returns)
        }

    def kept(self, returns: list[str] | None) -> list[str]:
        """Names bound by the cell that ``returns`` leaves here."""
        return [] if returns is None else [name for name in self.bound(None) if name not in returns]

    def deleted(self) -> list[str]:
        return [name for name in self.before if name not in self.after and self._mine(name)]

    def _mine(self, name: str) -> bool:
        """Not the shell's bookkeeping (``_``, ``_i3``, ``_12``, ``_exit_code`` is the user's)."""
        if name in ("_", "__", "___"):
            return name not in self.unders
        if name in self.hidden or name in ("_i", "_ii", "_iii", "__builtins__", "__warningregistry__"):
            return False
        return not (name.startswith("_") and name.lstrip("_i").isdigit())


@dataclass
class Load:
    """What is to be packed for home, and what turned out not to travel: ``stayed``: name -> why, ``lost``: type names.

    ``limit``: a new root larger than this (bytes) becomes a placeholder; None: none does.
    """

    roots: dict[str, Any]
    given: tuple[Any, ...] = ()
    limit: int | None = None
    without: frozenset[int] = frozenset()
    stuck: dict[int, str] = field(default_factory=dict)
    stayed: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    skip: frozenset[int] = frozenset()
    entries: dict[Key, BaseException] = field(default_factory=dict)
    """Entries of the shell that cannot travel, and why."""
    anchors: tuple[Any, ...] = ()
    """Objects of modules that have changed, and that the notebook does not know yet (``anchors``)."""

    def stay(self, name: str, reason: str) -> None:
        """The root ``name`` becomes a placeholder; a name of a module stays as it is at home."""
        if name.startswith(NAMES):
            del self.roots[name]
            self.stayed[label(name)] = "it is too large to come home unasked" if not reason else f"as it is here it cannot travel; {reason}"
            return
        self.stuck[id(self.roots[name])] = self.stayed[name] = reason

    def leave_entries(self, heap: Heap) -> None:
        """Take out of the shell's entries those that cannot travel; all, if each can by itself."""
        entries = self.roots.pop(SHELL)
        found = {key: why for key, value in entries.items() if (why := _why_not(heap, value)) is not None}
        self.entries |= found or dict.fromkeys(entries, RuntimeError("it cannot be packed"))
        rest = {key: value for key, value in entries.items() if key not in self.entries}
        if rest:
            self.roots[SHELL] = rest
    def leave(self, heap: Heap, failed: AnchorsFailed) -> None:
        """What changed of these objects of modules stays here."""
        self.stayed.update((anchor.label, says(failed.reason)[:_LONGEST_REASON]) for anchor in failed.anchors)
        self.anchors = tuple(anchor for anchor in self.anchors if anchor not in failed.anchors)
        self.skip |= {heap.oid_of[id(anchor.obj)] for anchor in failed.anchors if id(anchor.obj) in heap.oid_of}

    def give_up(self, heap: Heap, oids: frozenset[int]) -> None:
        """What changed of these known objects is not sent."""
        self.skip |= oids
        self.lost += [name_of(type(heap.objects[oid])) for oid in oids]


def pack_home(heap: Heap, load: Load) -> Parcel:
    """Pack ``load``, leaving here what cannot travel or is too large. Whatever the values do, there is a parcel: of the
    rest, or of nothing but placeholders."""
    try:
        return _pack_most(heap, load)
    except KeyboardInterrupt:
        return pack_nothing(heap, load, "you interrupted while it was packed")
    except BaseException as exc:
        return pack_nothing(heap, load, says(exc))


def pack_nothing(heap: Heap, load: Load, why: str) -> Parcel:
    """Placeholders for all new values of ``load``, and no change of a known one; it runs no code of the values."""
    load.roots.pop(AMBIENT, None)
    for name in list(load.roots):
        load.stay(name, why)
    changed = frozenset(oid for oid, _now in heap.changes(heap.walk(load.given).known)) - load.skip
    load.give_up(heap, changed)
    plan = PackPlan(
        going_home=True, stuck=load.stuck, tolerate=True, skip_states=frozenset(heap.objects), without=load.without
    )
    return pack(heap, load.roots, plan)


def _pack_most(heap: Heap, load: Load) -> Parcel:
    _stuck_at_sight(heap, load)
    for _try in range(_MOST_TRIES):
        plan = PackPlan(
            going_home=True,
            stuck=load.stuck,
            tolerate=True,
            also=load.given,
            skip_states=load.skip,
            without=load.without,
            anchors=load.anchors,
        )
        try:
            parcel = pack(heap, load.roots, plan)
        except RootFailed as failed:
            if failed.name == AMBIENT:
                load.roots[AMBIENT] = plain_states(load.roots[AMBIENT])
                continue
            if failed.name == SHELL:
                load.leave_entries(heap)
                continue
            load.stay(failed.name, says(failed.reason)[:_LONGEST_REASON])
            if _try == _FEW_TRIES:
                _stuck_alone(heap, load)
            continue
        except AnchorsFailed as failed:
            load.leave(heap, failed)
            continue
        except StateFailed as failed:
            load.give_up(heap, _culprits(heap, failed.oids))
            continue
        limit, stuck = load.limit, load.stuck
        large = [
            n
            for n, size in parcel.sizes.items()
            if limit is not None and size > limit and id(load.roots[n]) not in stuck and n not in (AMBIENT, SHELL)
        ]
        if not large:
            return parcel
        for name in large:
            load.stay(name, "")
    raise RuntimeError("the results of this cell cannot be packed")


def _stuck_alone(heap: Heap, load: Load) -> None:
    """There are many that cannot travel: find the others by themselves, for each one found begins the packing anew."""
    for name, value in load.roots.items():
        if id(value) in heap.oid_of or id(value) in load.stuck or name.startswith("\x00"):
            continue
        try:
            pack(
                heap,
                {name: value},
                PackPlan(going_home=True, stuck=load.stuck, tolerate=True, skip_states=frozenset(heap.objects)),
            )
        except RootFailed as failed:
            load.stay(name, says(failed.reason)[:_LONGEST_REASON])


def _stuck_at_sight(heap: Heap, load: Load) -> None:
    for name, value in list(load.roots.items()):
        if id(value) in heap.oid_of or id(value) in load.stuck:
            continue
        if is_bound(value):
            load.stay(name, BOUND_TO_PROCESS)
        elif load.limit is not None and quick_size(value) > load.limit and not issubclass(type(value), (str, bytes)):
            load.stay(name, "")


def _why_not(heap: Heap, value: Any) -> BaseException | None:
    try:
        pack(Heap(heap.namespace), {SHELL: value}, PackPlan(going_home=True, tolerate=True))
    except RootFailed as failed:
        return failed.reason
    return None


def _culprits(heap: Heap, suspects: frozenset[int]) -> frozenset[int]:
    """Those of the suspects whose state does not pickle by itself; all of them if each does."""
    from cellferry.parcels.pickler import Packer

    bad = set()
    for oid in suspects:
        obj, kind = heap.objects[oid], heap.kinds[oid]
        packer = Packer(heap.namespace, [], going_home=True)
        packer.nested_placeholders = True
        try:
            packer.dump(kind.state(obj, heap.seals[oid], kind.seal(obj)))
        except KeyboardInterrupt:
            raise
        except BaseException:  # whatever an object's own code raises
            bad.add(oid)
    return frozenset(bad) or suspects
