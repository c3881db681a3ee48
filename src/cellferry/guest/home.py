"""What goes home after a cell: names bound, values changed; and what stays, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellferry.parcels.heap import Heap
from cellferry.parcels.parcel import PackPlan, Parcel, RootFailed, StateFailed, pack
from cellferry.parcels.pickler import is_bound
from cellferry.parcels.placeholder import BOUND_TO_PROCESS, quick_size

_MOST_TRIES = 50


@dataclass(frozen=True)
class Home:
    """The namespace before and after a cell; ``given``: values that came for it; ``hidden``: the shell's own names."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    given: tuple[Any, ...]
    hidden: frozenset[str]

    def bound(self, returns: list[str] | None) -> dict[str, Any]:
        """Names bound by the cell, by identity; only those in ``returns`` if that is given."""
        missing = object()
        return {
            name: value
            for name, value in self.after.items()
            if self.before.get(name, missing) is not value and self._mine(name) and (returns is None or name in returns)
        }

    def deleted(self) -> list[str]:
        return [name for name in self.before if name not in self.after and self._mine(name)]

    def _mine(self, name: str) -> bool:
        """Not the shell's bookkeeping (``_``, ``_i3``, ``_12``, ``_exit_code`` is the user's)."""
        if name in self.hidden or name in ("_", "__", "___", "_i", "_ii", "_iii", "__builtins__", "__warningregistry__"):
            return False
        return not (name.startswith("_") and name.lstrip("_i").isdigit())


def pack_home(
    heap: Heap, roots: dict[str, Any], given: tuple[Any, ...], limit: int | None, without: frozenset[int] = frozenset()
) -> tuple[Parcel, dict[str, str], list[str]]:
    """Pack results for home. Returns the parcel, {name: why it stayed} and the types of changed values that cannot travel.

    A root that is larger than ``limit`` bytes (and new at home) or bound to this process becomes a placeholder.
    """
    stuck, stayed = _stuck_at_sight(heap, roots, limit)
    lost: list[str] = []
    skip: frozenset[int] = frozenset()
    for _try in range(_MOST_TRIES):
        plan = PackPlan(going_home=True, stuck=stuck, tolerate=True, also=given, skip_states=skip, without=without)
        try:
            parcel = pack(heap, roots, plan)
        except RootFailed as failed:
            stuck[id(roots[failed.name])] = stayed[failed.name] = _reason(failed.reason)
            continue
        except StateFailed as failed:
            bad = _culprits(heap, failed.oids)
            skip |= bad
            lost += [type(heap.objects[oid]).__qualname__ for oid in bad]
            continue
        large = [n for n, size in parcel.sizes.items() if limit is not None and size > limit and id(roots[n]) not in stuck]
        if not large:
            return parcel, stayed, lost
        for name in large:
            stuck[id(roots[name])] = stayed[name] = ""
    raise RuntimeError("the results of this cell cannot be packed")


def _stuck_at_sight(heap: Heap, roots: Mapping[str, Any], limit: int | None) -> tuple[dict[int, str], dict[str, str]]:
    stuck: dict[int, str] = {}
    stayed: dict[str, str] = {}
    for name, value in roots.items():
        if id(value) in heap.oid_of:
            continue
        if is_bound(value):
            stuck[id(value)] = stayed[name] = BOUND_TO_PROCESS
        elif limit is not None and quick_size(value) > limit and not isinstance(value, (str, bytes)):
            stuck[id(value)] = stayed[name] = ""
    return stuck, stayed


def _reason(exc: Exception) -> str:
    text = getattr(exc, "what", None) or f"{type(exc).__name__}: {exc}"
    return " ".join(str(text).split())[:200]


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
        except Exception:
            bad.add(oid)
    return frozenset(bad) or suspects
