"""Workers of this notebook that cost money and that this process did not start: an earlier kernel did, and only the ledger knows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from cellferry.errors import CellferryError
from cellferry.fleet.purse import Purse
from cellferry.fleet.reap import held_here, holder_lives
from cellferry.ledger import Reservation, worker_from_record
from cellferry.model import Worker, WorkerId
from cellferry.providers.base import Provider

HANDED_OVER = ": left for its notebook"


@dataclass(frozen=True)
class Left:
    """One of them. ``user``: the process that may still use it, in the ledger's words; "" where nobody does."""

    worker: Worker
    user: str


def left_for(host: str) -> str:
    """What the ledger says of a worker that a process of ``host`` has left for its notebook's next kernel."""
    return f"{host}{HANDED_OVER}"


def may_be_used(row: Reservation) -> str:
    """Who may use the machine: a process that lives, or one that cannot be seen from here; "" for nobody."""
    if row.client.endswith(HANDED_OVER) or (held_here(row) and not holder_lives(row)):
        return ""
    return row.client


def left_workers(purse: Purse, find: Callable[[str], Provider], ours: Collection[WorkerId]) -> list[Left]:
    """Those that live, but for ``ours``. Raises LedgerError."""
    if not purse.notebook or not purse.kept:
        return []
    found = []
    for row in purse.open():
        if row.notebook != purse.notebook or row.state != "running":
            continue
        try:
            worker = worker_from_record(row.record)
            if worker.id not in ours and find(worker.provider).alive(worker):
                found.append(Left(find(worker.provider).reach(worker), may_be_used(row)))
        except CellferryError:
            continue  # its provider cannot be asked now
    return found
