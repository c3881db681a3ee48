"""What may be done to a worker that any process of this user started: by its record, not by who started it.

For doors that show all workers. Every function asks networks or disks, and raises CellferryError.
"""

from __future__ import annotations

import socket

from cellferry.config import Cellferry
from cellferry.errors import RequestError
from cellferry.fleet.adopt import tell_lease
from cellferry.fleet.ending import account
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.left import left_for
from cellferry.fleet.states import Ended
from cellferry.link.http import WorkerHttp, dial_http
from cellferry.model import Lease, Worker

PATIENCE_S = 30.0
"""The server of a new worker comes up after its kernel: seconds on a busy machine."""


def end(fleet: Fleet, worker: Worker) -> Ended:
    """End it, and say what it came to."""
    fleet.provider(worker.provider).stop(worker)
    if worker.token:
        fleet.purse.ended(worker.token)
    return account(fleet, worker)


def extend(config: Cellferry, fleet: Fleet, worker: Worker, more_microusd: int) -> Lease:
    """Let it run longer, for so much more of its own notebook's money. Raises RequestError, BudgetExceeded."""
    if not worker.microusd_per_hour:
        raise RequestError(
            f"worker {worker.name!r} costs nothing: it ends by its idle time alone", "idle= on a cell changes that"
        )
    row = fleet.purse.spent(worker.token)
    owner = Fleet(config, row.notebook if row else "")
    try:
        lease: Lease = owner.purse.extend(worker, more_microusd)
    finally:
        owner.close()
    tell_lease(worker, lease)
    return lease


def hand_over(fleet: Fleet, worker: Worker) -> None:
    """The next kernel of its notebook may adopt it, although this process goes on living."""
    if worker.token:
        fleet.purse.ledger.hand_over(worker.token, left_for(socket.gethostname()))


def interrupt(worker: Worker) -> None:
    """Stop the running cell."""
    WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).post("kernel/interrupt")


def log_of(worker: Worker, which: str, most_bytes: int) -> str:
    """The end of its log "worker" or "kernel"."""
    return str(WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get(f"logs?which={which}&most={most_bytes}")["text"])


def relay(worker: Worker, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    """Ask its HTTP server for somebody else; status and body as they are."""
    return WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).relay(method, path, body)


def dial(worker: Worker) -> socket.socket:
    """A connection to its HTTP server; over TLS after the handshake."""
    return dial_http(worker.endpoint, PATIENCE_S)
