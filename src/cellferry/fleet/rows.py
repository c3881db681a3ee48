"""One worker as doors show it: what is known here, what it says itself, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cellferry.errors import LinkError
from cellferry.fleet.asking import ask_status
from cellferry.fleet.states import Entry, WorkerRow

if TYPE_CHECKING:
    from cellferry.ledger import Reservation

STATUS_S = 5.0


def worker_row(entry: Entry, spent: Callable[[str], Reservation | None], *, ours: bool = True) -> WorkerRow:
    """``spent``: the money of a token. A worker that does not answer within ``STATUS_S`` has None where it would say more."""
    worker = entry.worker
    if worker is None:
        return WorkerRow(entry.name, "", entry.state, ours=ours)
    try:
        told = ask_status(worker, STATUS_S)
    except LinkError:
        told = {"lease": {}}
    offer, row = worker.offer, spent(worker.token)
    return WorkerRow(
        entry.name,
        worker.provider,
        entry.state,
        id=worker.id,
        pid=worker.pid,
        started_unix_s=worker.started_unix_s,
        up_for_s=time.time() - worker.started_unix_s if worker.started_unix_s else None,
        links=told["lease"].get("links"),
        busy=told["lease"].get("busy"),
        ends_in_s=told["lease"].get("ends_in_s"),
        memory_available_bytes=told.get("memory_available_bytes"),
        ours=ours,
        machine=f"{offer.instance}, {offer.zone or offer.region}" if offer else "",
        simulated=worker.simulated,
        microusd_per_hour=worker.microusd_per_hour,
        spent_microusd=row.spent_microusd if row else 0,
        reserved_microusd=row.reserved_microusd if row else 0,
    )
