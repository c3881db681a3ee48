"""What a cell did, and what one would do, in rows for the doors to show."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

from cellferry.errors import BudgetSpent, CellferryError, SpotTaken
from cellferry.link.returned import Returned
from cellferry.link.there import There
from cellferry.model import CellReport, Shipped
from cellferry.parcels.heap import Heap
from cellferry.parcels.parcel import Parcel
from cellferry.parcels.placeholder import describe

RESULT = "\x00result"
"""Root under which the value of a cell's last expression travels."""


class RemoteError(Exception):
    """The user's own exception in a remote cell; the doors show it as IPython shows a local one."""

    def __init__(self, ename: str, evalue: str, traceback: list[str]) -> None:
        super().__init__(evalue)
        self.ename, self.evalue, self.traceback = ename, evalue, traceback


def end_of_worker(why: str, name: str) -> CellferryError | None:
    """The error behind the interrupt of a cell whose worker ``name`` ends; None where ``why`` ("limited" in the frame that brings
    the results) is none of that."""
    if why == "notice":
        return SpotTaken(
            f"the provider takes the machine of worker {name!r} back; the cell was interrupted, what it had made is here",
            "run the cell again: it gets another machine (without `spot`, one that is not taken back)",
        )
    if why == "money":
        return BudgetSpent(
            f"the money of worker {name!r} is spent; the cell was interrupted, what it had made is here, and the worker ends",
            "give it more and run the cell again: %remote budget AMOUNT, or budget= on the cell",
        )
    return None


def cell_report(
    there: There,
    parcel: Parcel,
    returned: Returned,
    sent: int,
    notes: Sequence[str],
    files: Sequence[str],
    clock: Sequence[float],
) -> CellReport:
    """What a cell did; ``clock``: its start, and the ends of packing, starting a worker and sending."""
    frame = returned.frame
    names = [n for n in returned.arrived.roots if not n.startswith("\x00")]
    start, packed, arrived, out = clock
    return CellReport(
        worker=there.worker.name,
        status=frame["reply"]["status"],
        capture_s=packed - start,
        start_s=arrived - packed,
        send_s=out - arrived,
        run_s=frame["ran_s"],
        home_s=time.perf_counter() - out - frame["ran_s"],
        sent_bytes=sent,
        received_bytes=returned.received_bytes,
        came_home=tuple(n for n in names if n not in frame["stayed"]),
        stayed_there=tuple(n for n, why in frame["stayed"].items() if n != RESULT and not why),
        deleted=tuple(frame["deleted"]),
        files=tuple(files),
        notes=tuple(notes),
    )


def shipped_rows(parcel: Parcel, heap: Heap, values: Mapping[str, Any]) -> tuple[Shipped, ...]:
    """One row for each name in a parcel, modules left out: what would travel, and what is there already."""
    changed = {id(heap.objects[oid]) for oid, _seal in parcel.changes}
    rows = []
    for name in parcel.roots:
        value = values.get(name)
        if isinstance(value, ModuleType):
            continue
        known = id(value) in heap.oid_of
        where: Literal["sent", "there", "changed"] = "changed" if id(value) in changed else "there" if known else "sent"
        whole = max(parcel.sizes[name], describe(value)[2])
        rows.append(Shipped(name, describe(value)[0], whole, where, 0 if where == "there" else parcel.sizes[name]))
    return tuple(rows)
