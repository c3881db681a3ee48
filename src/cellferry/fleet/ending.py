"""End workers because somebody wants it, and say what they came to and which cells are dropped with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

from cellferry.config import Cellferry
from cellferry.errors import LedgerError, RequestError
from cellferry.fleet.dropped import dropped, remember
from cellferry.fleet.left import left_workers
from cellferry.fleet.runs import runs_of
from cellferry.fleet.states import Ended
from cellferry.model import Worker
from cellferry.screen import cell_word

if TYPE_CHECKING:
    from cellferry.fleet.fleet import Fleet
    from cellferry.fleet.runs import RunRow

AT_ONCE = 32
ASK_S = 3.0
"""So long a worker that is to be ended may take to say what it runs."""


Which = Literal["ours", "the notebook's", "everybody's"]
"""Whose workers: of this process alone; also those that an earlier kernel of its notebook has left; of every process of this user."""


def end_named(
    fleet: Fleet, config: Cellferry, name: str | None, ours: Sequence[Worker], remove: Callable[[Worker], None], which: Which
) -> list[Ended]:
    """End ``ours`` (by ``remove``) and, as ``which`` says, others called ``name`` (None: all). Unless it is for "ours" alone, a person
    wants it, who is told what is dropped. Raises RequestError when there is none of that name."""
    others, used = _others(fleet, name, which)
    workers = [*ours, *others]
    if name is not None and not workers:
        if used:
            raise RequestError(f"worker {name!r} may be in use: {used}", f"end it all the same: cellferry down {name}")
        known = ", ".join(row.name for row in fleet.status(everyone=which == "everybody's")) or "none"
        raise RequestError(
            f"there is no worker {name!r}; running: {known}",
            "see them with `%remote status`, or `cellferry status` in a terminal",
        )

    def end(worker: Worker) -> Ended:
        lost = [] if which == "ours" else _dropped_with(worker)
        if worker in ours:
            remove(worker)
        else:
            fleet.provider(worker.provider).stop(worker)
            if worker.token:
                fleet.purse.ended(worker.token)
        for row in lost:
            _note(fleet, config, row)
        return account(fleet, worker, tuple(_words(row) for row in lost))

    return _at_once(end, workers)


def account(fleet: Fleet, worker: Worker, lost: tuple[str, ...] = ()) -> Ended:
    """What a worker that has ended came to."""
    row = fleet.purse.spent(worker.token) if worker.token else None
    spent, reserved = (row.spent_microusd, row.reserved_microusd) if row else (0, 0)
    return Ended(worker.name, worker.provider, spent, reserved, lost)


def _others(fleet: Fleet, name: str | None, which: Which) -> tuple[list[Worker], str]:
    """The workers to be ended that are not of this process; and who may use one of that name, which is left alone then."""
    if which == "ours":
        return [], ""
    if which == "everybody's":
        return [worker for worker in fleet.found() if name in (None, worker.name)], ""
    try:
        found = [
            each
            for each in left_workers(fleet.purse, fleet.provider, fleet.own_ids())
            if name in (None, each.worker.name)
        ]
    except LedgerError as error:
        fleet.trouble = error.what
        return [], ""
    free = [each.worker for each in found if not each.user]
    return free, next((each.user for each in found if each.user), "")


def _at_once(end: Callable[[Worker], Ended], workers: Sequence[Worker]) -> list[Ended]:
    """End them all together: each takes a second or more to leave, and may cost money until it has left.

    An error is raised when every one was tried.
    """
    if len(workers) < 2:
        return [end(worker) for worker in workers]
    with ThreadPoolExecutor(min(len(workers), AT_ONCE)) as pool:
        ending = [pool.submit(end, worker) for worker in workers]
    return [each.result() for each in ending]


def _dropped_with(worker: Worker) -> list[RunRow]:
    """The cells that nobody waits for and that end with the worker, as it tells them; none where it does not answer."""
    if worker.folder is not None and not any(worker.folder.glob("runs/*/orphan")):
        return []  # its folder is on this machine and says as much: it need not start its server for that
    rows = runs_of(worker, ASK_S) or []
    return [row for row in rows if not row.claimed and row.unclaimed]


def _note(fleet: Fleet, config: Cellferry, row: RunRow) -> None:
    remember(config, dropped(row))
    if not row.going_on:
        from cellferry.fleet.bill import note_run  # it knows the fleet, which knows this

        note_run(fleet, row)
    elif row.began_unix_s is not None and row.worker.token:
        now = max(time.time(), row.began_unix_s)
        fleet.purse.note_cell(
            row.worker, cell_word(row.cell_id, row.number), row.began_unix_s, now, row.run, row.notebook
        )


def _words(row: RunRow) -> str:
    cell = f"In [{row.number}]" if row.number else "a cell"
    return f"run {row.run} ({cell}, {'running' if row.going_on else 'not brought home'})"
