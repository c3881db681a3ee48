"""The runs that workers know, those of workers that other processes of this person started included."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from cellferry.errors import CellferryError, LinkError, RunGone
from cellferry.fleet.fleet import Fleet
from cellferry.link.http import WorkerHttp
from cellferry.model import Worker, WorkerId

YOUNG_S = 20.0
"""The server of a worker that is younger than ``NEW_S`` comes up after its kernel: seconds on a busy machine."""
NEW_S = 60.0
ASK_S = 8.0
SILENT_S = 3.0
"""For one that did not answer the last time either."""
STEPS = 2
"""Connecting and answering: each may take as long as the limit says."""
SURE_LENGTH = 6
"""So much of a run's id is enough not to look for another that begins so."""


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
    ran_s: float | None = None
    """How long it ran, by a clock that nobody can set; None while it runs, and from a worker of an older release."""

    @property
    def took_s(self) -> float | None:
        """How long it ran, as well as it is known; None while it runs."""
        if self.ran_s is not None or self.ended_unix_s is None or self.began_unix_s is None:
            return self.ran_s
        return max(0.0, self.ended_unix_s - self.began_unix_s)

    @property
    def going_on(self) -> bool:
        return self.status in ("queued", "running")


@dataclass(frozen=True)
class Looked:
    """What the workers said: their runs, oldest first, and the workers that did not answer in time."""

    rows: Sequence[RunRow] = ()
    silent: Sequence[Worker] = ()


def look(fleet: Fleet, run: str | None = None) -> Looked:
    """Ask every worker that can be asked about its runs, all at once, each with a limit of its own.

    ``run``: the id of one, or its beginning: as soon as a worker knows it, the others are not waited for.
    """
    workers = {worker.id: worker for worker in fleet.everywhere()}
    answers: queue.SimpleQueue[tuple[WorkerId, list[RunRow] | None]] = queue.SimpleQueue()
    until_s = time.monotonic()
    for worker in workers.values():
        limit_s = _limit_s(worker, fleet.silent)
        until_s = max(until_s, time.monotonic() + STEPS * limit_s)
        # not a pool: nobody waits for the silent ones, the end of this process included
        threading.Thread(target=_ask, args=(worker, limit_s, answers), name="cellferry-ask", daemon=True).start()
    rows, silent = list[RunRow](), set(workers)
    for _ in workers:
        try:
            worker_id, found = answers.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            break
        if found is not None:
            silent.discard(worker_id)
            rows += found
            if run is not None and any(_surely(row, run) for row in found):
                return Looked(rows)  # the others had no time to answer
    fleet.silent = silent
    return Looked(sorted(rows, key=lambda row: row.asked_unix_s), [workers[worker_id] for worker_id in silent])


def _limit_s(worker: Worker, silent: Collection[WorkerId]) -> float:
    """How long this one may take. One that was silent a moment ago has to answer at once."""
    if worker.id in silent:
        return SILENT_S
    age_s = time.time() - worker.started_unix_s
    return YOUNG_S if 0 <= age_s < NEW_S else ASK_S


def _ask(worker: Worker, limit_s: float, answers: queue.SimpleQueue[tuple[WorkerId, list[RunRow] | None]]) -> None:
    found = None
    try:
        found = runs_of(worker, limit_s)
    finally:
        answers.put((worker.id, found))


def _surely(row: RunRow, run: str) -> bool:
    return row.run.startswith(run) and len(run) >= SURE_LENGTH


def find_run(fleet: Fleet, run: str | None, notebook: str, say: Callable[[str], None] = lambda _line: None) -> RunRow:
    """The run of that id (its beginning is enough); without one, the latest of this notebook that nobody waits for, else the
    latest of any. ``say``: told which workers did not answer, where they might have had a later one. Raises RunGone, or LinkError
    where it may be on a worker that does not answer."""
    looked = look(fleet, run)
    rows, silent = looked.rows, looked.silent
    if run is not None:
        found = [row for row in rows if row.run.startswith(run)]
        if not found:
            _may_be_there(fleet, silent, f"run {run}")
        if len(found) != 1:
            known = ", ".join(row.run for row in rows if not row.claimed) or "none"
            what = "several runs begin so" if found else f"no worker that can be reached knows it{_unseen(fleet)}"
            raise RunGone(f"run {run}: {what}; there are: {known}", "see them with `%remote runs`")
        return found[0]
    waiting = [row for row in rows if row.unclaimed]
    mine = [row for row in waiting if row.notebook == notebook] or waiting
    if not mine:
        _may_be_there(fleet, silent, "a run")
        what = f"there is no run that nobody waits for{_ended(fleet, notebook)}{_unseen(fleet)}"
        raise RunGone(what, "start one: %%remote detach - see all: %remote runs --all")
    for line in not_heard(fleet, looked):
        say(line)
    return mine[-1]


def not_heard(fleet: Fleet, looked: Looked) -> list[str]:
    """What may be missing in what was seen, in words."""
    lines = [
        f"worker {w.name!r} does not answer at the moment: its cells are not seen"
        for w in looked.silent
        if fleet.alive(w)
    ]
    return [*lines, *([f"workers that only the ledger knows are not seen: {fleet.trouble}"] if fleet.trouble else [])]


def _unseen(fleet: Fleet) -> str:
    return f"; workers that only the ledger knows could not be asked ({fleet.trouble})" if fleet.trouble else ""


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


def _may_be_there(fleet: Fleet, silent: Sequence[Worker], what: str) -> None:
    for worker in silent:
        if fleet.alive(worker):
            raise LinkError(
                f"worker {worker.name!r} does not answer at the moment, and {what} may be there",
                "once more, when it can be reached: %remote attach",
            )


def runs_of(worker: Worker, limit_s: float) -> list[RunRow] | None:
    """The runs of one worker; None where it does not answer within about ``limit_s``."""
    try:
        told = WorkerHttp(worker.endpoint, timeout_s=limit_s).get("runs")
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
        ran_s=told.get("ran_s"),
    )  # fmt: skip
