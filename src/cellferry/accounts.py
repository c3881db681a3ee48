"""A step of the journey: what a cell may cost, what it came to, and why it was stopped. Beside ``journey``, see decision 007."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cellferry.config import Cellferry
from cellferry.errors import (
    BudgetExceeded,
    BudgetSpent,
    CellferryError,
    KernelDied,
    LedgerError,
    LedgerUnavailable,
    LinkError,
    SpotTaken,
    WorkerError,
)
from cellferry.fleet.clock import Stopwatch, now_for
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.states import candidates
from cellferry.link.reports import end_of_worker
from cellferry.link.returned import Returned
from cellferry.link.there import There
from cellferry.model import CellReport, CellRequest, Offer, Worker
from cellferry.placement.fit import Asked
from cellferry.screen import Cell, Screen

Run = Callable[[Any, CellRequest, Cell], CellReport]
SHARING = frozenset({"local", "demo"})
"""Providers whose workers are processes of this machine and can use the notebook's own packages."""
ENOUGH = 0.9
"""A worker that has so much of a cell's budget left is not asked to live longer: that would be a question for each cell."""


def on_the_board(run: Run) -> Run:
    """``journey.Session.run``, with the fleet's board told what becomes of the cell. An estimate runs nothing."""

    @functools.wraps(run)
    def noted(session: Any, request: CellRequest, cell: Cell) -> CellReport:
        try:
            name = session.fleet.peek(with_packages(request, session.config))
        except CellferryError:
            name = ""  # the run itself says what is wrong
        if request.estimate or not name:
            return run(session, request, cell)
        session.fleet.board.begin(cell, name)
        status, detail = "detached" if request.detach else "ok", ""
        try:
            return run(session, request, cell)
        except BaseException as error:
            status, detail = _outcome(error)
            raise
        finally:
            packages = session._packages.get(name)
            session.fleet.board.end(status, detail=detail, environment=packages.choice().key if packages else "")

    return noted


def _outcome(error: BaseException) -> tuple[str, str]:
    """The status of a run that raised this, and why; of the user's own exception only its name."""
    name = getattr(error, "ename", "")
    if isinstance(error, (KeyboardInterrupt, BudgetSpent, SpotTaken)) or name == "KeyboardInterrupt":
        return "stopped", getattr(error, "what", "")
    if isinstance(error, (WorkerError, LinkError)):
        return "lost", error.what
    return "error", name or getattr(error, "what", "") or type(error).__name__


def with_packages(request: CellRequest, config: Cellferry) -> CellRequest:
    """The request with the packages that it means: those of the configuration, or, on another machine, what is found."""
    if request.env or not (config.env or not SHARING.issuperset(candidates(request, config))):
        return request
    return replace(request, env=config.env or "auto")


def machines(fleet: Fleet, request: CellRequest, config: Cellferry, there: There | None) -> Sequence[Offer]:
    """The machines that a cell may run on: that of its worker, or everything on offer that fits; () for this machine.

    Raises what providers raise.
    """
    if there is not None:
        return [there.worker.offer] if there.worker.offer else []
    if candidates(request, config) == ("local",):
        return []
    fitting = Asked(request.hardware)
    return [offer for offer in fleet.hunt.offers(request) if not fitting(offer)]


def get_worker(fleet: Fleet, request: CellRequest, config: Cellferry, screen: Screen) -> Worker:
    """The worker for a cell, with the search for its machine shown while it goes on, and in one line when it took several
    tries. Raises what ``Fleet.acquire`` raises."""
    if candidates(request, config) == ("local",):  # there in a second
        here = fleet.acquire(request, lambda _line: None)[0]
        fleet.board.uses(here)
        return here
    fleet.ask = (lambda question: screen.ask(question, False).strip().lower() == "yes") if screen.allow_stdin() else None
    try:
        worker, fresh = fleet.acquire(request, screen.progress)
    finally:
        screen.progress("")
    fleet.board.uses(worker)
    if not fresh:
        top_up(fleet, worker, request, screen.note)
    elif worker.token and fleet.hunt.refused:
        told = [f"{r.instance} in {r.zone or r.region}: {r.kind.replace('_', ' ')}" for r in fleet.hunt.refused]
        screen.note(f"found with try {len(told) + 1}; before: {'; '.join(told)}")
    return worker


def limit_s(request: CellRequest, worker: Worker) -> float | None:
    """How long the worker lets this cell run, whether anybody is connected or not; None: as long as the worker lives.

    On a worker that ends with its notebook the notebook sees to ``timeout=`` itself.
    """
    limits = [request.timeout_s if worker.token else None, _paid_s(request, worker)]
    return min((limit for limit in limits if limit is not None), default=None)


def _paid_s(request: CellRequest, worker: Worker) -> float | None:
    if request.budget_microusd is None or not worker.microusd_per_hour:
        return None
    from cellferry.ledger import seconds_for

    return seconds_for(request.budget_microusd, worker.microusd_per_hour)


def top_up(fleet: Fleet, worker: Worker, request: CellRequest, say: Callable[[str], None] = lambda _line: None) -> None:
    """Hold more money for a worker that is there already when a cell may spend more than is left of its own.

    Raises BudgetExceeded, or LedgerUnavailable, when nothing can be added and what is left does not pay for 20 s. Else the worker's
    own limit holds, and ``say`` is told.
    """
    price = worker.microusd_per_hour
    if request.budget_microusd is None or not price:
        return
    from cellferry.placement.plan import LEAST_S

    row = fleet.purse.spent(worker.token)
    left = row.held_microusd if row else 0
    if left >= ENOUGH * request.budget_microusd:
        return
    try:
        fleet.extend(worker.name, request.budget_microusd - left)
    except BudgetExceeded:
        if left * 3600 < price * LEAST_S:
            raise
    except LinkError:
        pass  # whether the worker lives is seen in a moment; its own limit holds meanwhile
    except LedgerUnavailable as error:
        ends_s = worker.lease.ends_unix_s
        left_s = 0.0 if ends_s is None else ends_s - now_for(worker.lease)
        if left_s < LEAST_S:
            raise
        say(
            f"worker {worker.name} gets no more money at the moment, what it has lasts for {left_s / 60:.0f} min: {error.what}"
        )
    except LedgerError:
        if fleet.alive(worker):
            raise  # else it is seen in a moment that it has ended, and the cell gets another where it says ``retry=``


def note_cost(fleet: Fleet, there: There, cell_id: str, run: str, watch: Stopwatch, report: CellReport) -> CellReport:
    """The report with what the cell came to; the ledger has its receipt, or gets it as soon as it can be used (the line says so).
    Free workers have neither. ``watch``: since the cell was sent. Raises nothing because of the ledger.
    """
    worker = there.worker
    if not worker.token or worker.offer is None:
        return report
    from cellferry.fleet.bill import cost_line

    now, seconds = time.time(), watch.seconds
    amount = fleet.purse.note_cell(worker, cell_id, now - seconds, now, run)
    fleet.board.cost(amount)
    fleet.purse.note_traffic(worker, cell_id, now, report.received_bytes)
    return replace(report, cost_microusd=amount, cost_line=cost_line(fleet, worker, seconds, amount))


def why_stopped(request: CellRequest, there: There, returned: Returned) -> CellferryError | None:
    """The error behind a KeyboardInterrupt that was not the user's: the worker's own limits interrupted the cell. None where
    it was the user, or ``timeout=``, for which KeyboardInterrupt is the word."""
    why = returned.frame.get("limited", "")
    if not why or returned.frame["reply"].get("ename") != "KeyboardInterrupt":
        return None
    name, paid_s = there.worker.name, _paid_s(request, there.worker)
    if why == "cell" and (paid_s is None or (request.timeout_s is not None and request.timeout_s < paid_s)):
        return None
    return end_of_worker(why, name) or BudgetSpent(
        f"the cell has spent what it may (budget=) on worker {name!r} and was interrupted; what it had made is here",
        "give it more, for example: %%remote budget=5",
    )


def spent(error: WorkerError | None, worker: Worker) -> CellferryError | None:
    """The error of a worker that died, unless its money had ended: then neither its kernel nor the connection is to be blamed.

    ``worker``: with its present lease.
    """
    ends_s = worker.lease.ends_unix_s
    over = ends_s is not None and now_for(worker.lease) >= ends_s
    died = isinstance(error, KernelDied) and "money was spent" in error.what
    if error is None or not (died or (over and error.again)):
        return error
    return BudgetSpent(
        f"the money of worker {worker.name!r} is spent; it ended before all that the cell had made was here",
        "give it more and run the cell again: %remote budget AMOUNT, or budget= on the cell",
    )
