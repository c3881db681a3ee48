"""The runs that workers know, those of workers that other processes of this person started included."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cellferry.errors import CellferryError, LinkError, RunGone
from cellferry.fleet.fleet import Fleet
from cellferry.link.http import WorkerHttp
from cellferry.model import Worker

ASK_S = 20.0
"""The server of a new worker comes up after its kernel: seconds on a busy machine."""
MOST_AT_ONCE = 16


@dataclass(frozen=True)
class RunRow:
    """One run as its worker tells it (``worker.runs.listing``); ``worker`` is where it is."""

    run: str
    worker: Worker
    notebook: str
    cell_id: str
    number: int
    status: str
    """"queued", "running", "lost", or how it ended: "ok", "error", "aborted", "refused"."""
    asked_unix_s: float
    began_unix_s: float | None
    ended_unix_s: float | None
    detached: bool
    claimed: bool
    """Its results have come home."""
    unclaimed: bool
    """Nobody waits for it."""
    size_bytes: int
    lost: str = ""
    """Why its results were not kept."""

    @property
    def going_on(self) -> bool:
        return self.status in ("queued", "running")


def all_runs(fleet: Fleet) -> list[RunRow]:
    """Every run that can be asked about now, oldest first. A worker that does not answer has none."""
    return _look(fleet)[0]


def _look(fleet: Fleet) -> tuple[list[RunRow], list[Worker]]:
    """The runs, oldest first, and the workers that did not answer."""
    workers = fleet.everywhere()
    if not workers:
        return [], []
    with ThreadPoolExecutor(min(len(workers), MOST_AT_ONCE)) as pool:
        answers = list(pool.map(_runs_of, workers))
    silent = [worker for worker, rows in zip(workers, answers, strict=True) if rows is None]
    return sorted((row for rows in answers for row in rows or ()), key=lambda row: row.asked_unix_s), silent


def find_run(fleet: Fleet, run: str | None, notebook: str) -> RunRow:
    """The run of that id (its beginning is enough); without one, the latest of this notebook that nobody waits for, else the
    latest of any. Raises RunGone, or LinkError where it may be on a worker that does not answer."""
    rows, silent = _look(fleet)
    if run is not None:
        found = [row for row in rows if row.run.startswith(run)]
        if not found:
            _may_be_there(fleet, silent, f"run {run}")
        if len(found) != 1:
            known = ", ".join(row.run for row in rows if not row.claimed) or "none"
            what = "several runs begin so" if found else "no worker that can be reached knows it"
            raise RunGone(f"run {run}: {what}; there are: {known}", "see them with `%remote runs`")
        return found[0]
    waiting = [row for row in rows if row.unclaimed]
    mine = [row for row in waiting if row.notebook == notebook] or waiting
    if not mine:
        _may_be_there(fleet, silent, "a run")
        what = f"there is no run that nobody waits for{_ended(fleet, notebook)}"
        raise RunGone(what, "start one: %%remote detach - see all: %remote runs --all")
    return mine[-1]


def _ended(fleet: Fleet, notebook: str) -> str:
    """The workers of this notebook that have ended since somebody looked last, and why: with their runs, where nobody took these."""
    from cellferry.ledger import worker_from_record

    told = ""
    try:
        for row in fleet.purse.open() if fleet.purse.kept else ():
            if row.notebook != notebook or not row.record:
                continue
            worker = worker_from_record(row.record)
            if not fleet.alive(worker):
                why = fleet.provider(worker.provider).describe_end(worker)
                told += f"; worker {worker.name!r} of this notebook has ended, with what it ran: {why}"
    except CellferryError:
        pass  # it is only an aside
    return told


def _may_be_there(fleet: Fleet, silent: list[Worker], what: str) -> None:
    for worker in silent:
        if fleet.alive(worker):
            raise LinkError(
                f"worker {worker.name!r} does not answer at the moment, and {what} may be there",
                "once more, when it can be reached: %remote attach",
            )


def _runs_of(worker: Worker) -> list[RunRow] | None:
    """None where it does not answer."""
    try:
        told = WorkerHttp(worker.endpoint, timeout_s=ASK_S).get("runs")
    except LinkError:  # just ending, cut off, or of a release that kept no list
        return None
    return [row_of(worker, row) for row in told.get("runs", ())]


def row_of(worker: Worker, told: dict[str, Any]) -> RunRow:
    """A run as its worker tells it, in the list or at its end."""
    return RunRow(
        run=str(told["run"]), worker=worker, notebook=str(told["notebook"]), cell_id=str(told["cell_id"]),
        number=int(told["number"]), status=str(told["status"]), asked_unix_s=float(told["asked_unix_s"]),
        began_unix_s=told["began_unix_s"], ended_unix_s=told["ended_unix_s"], detached=bool(told["detached"]),
        claimed=bool(told["claimed"]), unclaimed=bool(told["unclaimed"]), size_bytes=int(told["bytes"]), lost=str(told["lost"]),
    )  # fmt: skip
