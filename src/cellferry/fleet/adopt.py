"""Workers that another process started and that live on: a kernel's predecessor, another notebook, a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cellferry.errors import CellferryError
from cellferry.fleet.clock import now_for
from cellferry.fleet.purse import Purse
from cellferry.fleet.reap import holder_lives
from cellferry.ledger import worker_from_record
from cellferry.link.http import WorkerHttp
from cellferry.model import CellRequest, Hardware, Lease, Worker
from cellferry.providers.base import Provider

LEASE_S = 30.0
"""The server of a worker that has just started comes up after its kernel."""
Find = Callable[[str], Provider]


def elsewhere(purse: Purse, find: Find) -> Iterator[Worker]:
    """The workers of this person that cost money or have a reservation, and live."""
    for row in purse.open() if purse.kept else ():
        try:
            worker = worker_from_record(row.record)
            if find(worker.provider).alive(worker):
                yield find(worker.provider).reach(worker)
        except CellferryError:
            continue  # just starting, or its provider cannot be asked now


def adopt(purse: Purse, find: Find, name: str, request: CellRequest, names: Sequence[str]) -> Worker | None:
    """The worker of that name that a kernel of this notebook has left, or that `cellferry up` started; None if none fits.

    One that the cell names (`name=`) may be another notebook's, and in use: those who name the same worker share it.
    """
    for row in purse.open():
        mine = row.worker == name and (bool(request.name) or row.notebook in (purse.notebook, ""))  # "": by a command
        if not mine or row.state != "running" or row.provider not in names:
            continue
        used = holder_lives(row)
        if used and not request.name:
            continue  # another kernel of the same notebook uses it
        try:
            worker = worker_from_record(row.record)
            fits = request.hardware in (Hardware(), worker.hardware)
            if fits and find(worker.provider).alive(worker):
                worker = find(worker.provider).reach(worker)
                if not used:  # else its holder counts what it costs
                    purse.watch(worker)
                return worker
        except CellferryError:
            continue
    return None


def named_here(local: Provider, request: CellRequest) -> Worker | None:
    """The worker on this machine that another process of this user has started under the name that the cell gives."""
    return next((worker for worker in local.find() if worker.name == request.name), None) if request.name else None


def tell_lease(worker: Worker, lease: Lease) -> None:
    """Give a running worker another lease. Raises LinkError."""
    ends = lease.ends_unix_s
    told = {"idle_s": lease.idle_s, "ends_unix_s": ends, "ends_in_s": None if ends is None else ends - now_for(lease)}
    WorkerHttp(worker.endpoint, timeout_s=LEASE_S).post("lease", told)
