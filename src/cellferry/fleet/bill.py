"""What a cell came to, in words; and the share of one that nobody waited for, noted by whoever sees that it has ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cellferry.fleet.fleet import Fleet
from cellferry.fleet.runs import RunRow
from cellferry.model import Worker
from cellferry.screen import cell_word


def cost_line(fleet: Fleet, worker: Worker, seconds: float, microusd: int) -> str:
    """Which worker, for how long, and what it came to; for a worker with an offer. Where the ledger does not have it yet, that is
    said."""
    from cellferry.ledger import dollars

    offer = worker.offer
    assert offer is not None
    mark = ", simulated" if offer.simulated else ""
    line = f"worker {worker.name} ({worker.provider}, {offer.instance}{' spot' if worker.spot else ''}{mark}): {_span(seconds)}"
    if worker.microusd_per_hour:
        row = fleet.purse.spent(worker.token)
        line += f", {dollars(microusd)}" + (f"; the worker so far {dollars(row.spent_microusd)}" if row else "")
    return line + behind(fleet)


def behind(fleet: Fleet) -> str:
    """What is to be said where notes of this process are not in the ledger yet; else ""."""
    why = fleet.purse.behind
    return f"; not in the ledger yet, it is noted as soon as it can be ({why})" if why else ""


def note_run(fleet: Fleet, row: RunRow) -> str:
    """Note the share of a run that was let go or left, as soon as it has ended: once, whoever notes it and how often.

    Its time is that on the worker, by the worker's clock. Returns ``cost_line``; "" while it goes on, for one whose worker died
    (nobody knows when), on a free worker, and for a cell that somebody waits for, which is noted with its results.
    """
    worker, took_s, ended = row.worker, row.took_s, row.ended_unix_s
    if (
        not worker.token
        or worker.offer is None
        or not (row.detached or row.unclaimed)
        or took_s is None
        or ended is None
    ):
        return ""
    amount = fleet.purse.note_cell(
        worker, cell_word(row.cell_id, row.number), ended - took_s, ended, row.run, row.notebook
    )
    return cost_line(fleet, worker, took_s, amount)


def note_runs(fleet: Fleet, rows: Iterable[RunRow]) -> None:
    """The same for a list that somebody looks at."""
    for row in rows:
        note_run(fleet, row)


def of_the_past(fleet: Fleet, row: RunRow, token: str) -> RunRow:
    """The run with the worker that the ledger has under this token; as it was where the ledger knows none of this person's.
    Raises LedgerError."""
    from cellferry.ledger import worker_from_record

    found = fleet.purse.ledger.get(token)
    if found is None or not found.record:
        return row
    worker = worker_from_record(found.record)
    return replace(row, worker=worker) if found.person == fleet.purse.person(worker.simulated) else row


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"
