"""Everything that goes on, gathered for whoever shows it: the boards, the workers' own word, the ledger.

Keeps nothing that another look would not find again. Every method asks disks or networks: not for an event loop's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cellferry.config import Cellferry, state_folder
from cellferry.errors import CellferryError, LinkError
from cellferry.fleet.adopt import elsewhere
from cellferry.fleet.board import Board, board_folder, read_boards
from cellferry.fleet.fleet import Fleet
from cellferry.ledger import Reservation
from cellferry.link.http import WorkerHttp
from cellferry.model import CellRequest, Offer, Worker

ASK_S = 1.5
"""A worker that does not answer within this time is shown without what only it knows."""
AT_ONCE = 16
ABSENT_S = 60.0
"""How long it is remembered that a worker has no such route: it is of an earlier version."""

T = TypeVar("T")


@dataclass(frozen=True)
class Facts:
    """What was found by one look. ``status``, ``runs``: what workers say, by their id; ``money``: by token."""

    boards: Sequence[Mapping[str, Any]] = ()
    workers: Sequence[Worker] = ()
    status: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runs: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    money: Mapping[str, Reservation] = field(default_factory=dict)
    here: Offer | None = None
    """This machine, for a worker that is a process of it."""
    at_unix_s: float = 0.0
    trouble: str = ""
    """Why something may be missing."""


class Watcher:
    """Looks for one server. May be used from several threads; ``close`` ends its own."""

    def __init__(self, config: Cellferry, board: Board) -> None:
        self.config = config
        self.fleet = Fleet(config, board=board)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="cellferry-ask")
        self._absent: dict[str, float] = {}
        self._here: Offer | None = None
        self._lock = threading.Lock()

    def boards(self) -> list[dict[str, Any]]:
        """The boards alone: quick."""
        try:
            return read_boards(board_folder(self.config))
        except OSError:
            return []

    def look(self) -> Facts:
        """Everything. Takes as long as the slowest worker, at most about ``ASK_S`` twice."""
        with self._lock:  # looks one after the other: a slow one would overtake
            boards, trouble = self.boards(), ""
            money: dict[str, Reservation] = {}
            try:
                if self.fleet.purse.kept:
                    money = {row.token: row for row in self.fleet.purse.open()}
            except CellferryError as error:
                trouble = error.what
            workers = self.workers()
            status = self._each(workers, lambda worker: WorkerHttp(worker.endpoint, timeout_s=ASK_S).get("status"))
            runs = self._each(workers, self._runs)
            return Facts(boards, workers, status, runs, money, self._this_machine(), time.time(), trouble)

    def workers(self) -> list[Worker]:
        """Every worker of this user that lives, whoever started it. What the ledger knows of one goes before what is found."""
        found: dict[str, Worker] = {}
        try:
            found.update((worker.id, worker) for worker in self.fleet.provider("local").find())
            found.update((worker.id, worker) for worker in elsewhere(self.fleet.purse, self.fleet.provider))
        except CellferryError:
            pass  # told by ``look``; what was found is shown
        return list(found.values())

    def worker(self, worker_id: str) -> Worker | None:
        """The one with this id, if it lives."""
        return next((worker for worker in self.workers() if worker.id == worker_id), None)

    def metrics(self, asked: Iterable[tuple[Worker, int]]) -> dict[tuple[str, int], Mapping[str, Any]]:
        """For each worker, what its machine did since the row of this number; those that do not answer are left out."""
        asks = list(asked)

        def ask(which: tuple[Worker, int]) -> Mapping[str, Any]:
            worker, since = which
            return WorkerHttp(worker.endpoint, timeout_s=ASK_S).get(f"metrics?since={since}")

        answers = self._pool.map(_quietly(ask), asks)
        return {(w.id, n): told for (w, n), told in zip(asks, answers, strict=True) if told is not None}

    def paths(self) -> list[Path]:
        """The folders in which a change means that something has happened. Raises OSError."""
        return [board_folder(self.config), state_folder(self.config)]

    def close(self) -> None:
        """Let go of connections and threads; ends no worker."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.fleet.close()

    def _each(self, workers: Sequence[Worker], ask: Callable[[Worker], T]) -> dict[str, T]:
        answers = self._pool.map(_quietly(ask), workers)
        return {worker.id: told for worker, told in zip(workers, answers, strict=True) if told is not None}

    def _runs(self, worker: Worker) -> list[Mapping[str, Any]]:
        if time.monotonic() - self._absent.get(worker.id, -ABSENT_S) < ABSENT_S:
            return []
        try:
            told = WorkerHttp(worker.endpoint, timeout_s=ASK_S).get("runs")
        except LinkError as error:
            if " 404 " in error.what:
                self._absent[worker.id] = time.monotonic()
            return []
        found = told.get("runs", told.get("items", []))
        return [run for run in found if isinstance(run, dict) and run.get("run")]

    def _this_machine(self) -> Offer | None:
        if self._here is None:
            local: Any = self.fleet.provider("local")
            self._here = next(iter(local.offers(CellRequest())), None)
        return self._here


def _quietly(ask: Callable[[Any], T]) -> Callable[[Any], T | None]:
    def asked(which: Any) -> T | None:
        try:
            return ask(which)
        except (CellferryError, OSError, ValueError):
            return None

    return asked
