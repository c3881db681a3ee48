"""A step of the journey: run a cell again when its worker died under it. Beside ``journey``, see decision 007.

The namespace here is untouched until results are home, so that every try has the same inputs. What the tries cost together
stays within the cell's budget.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cellferry import errors
from cellferry.accounts import why_stopped
from cellferry.config import Cellferry, state_folder
from cellferry.fleet.asking import others_use
from cellferry.fleet.clock import Stopwatch
from cellferry.fleet.fleet import Fleet
from cellferry.link.artifacts import open_store
from cellferry.link.checkpoints import RENEW_S, Kept, result_order
from cellferry.link.returned import Returned
from cellferry.link.store_key import master_key
from cellferry.link.there import There
from cellferry.model import CellReport, CellRequest, Worker
from cellferry.screen import Cell, Screen

Once = Callable[[CellRequest, Cell], CellReport]
EVERY_S = 60.0
"""How often it is saved where only ``checkpoint_names=`` is given."""
REMEMBERED = 20
"""Cells that died with a checkpoint and were not run again yet."""


@dataclass
class Tries:
    """The tries of one cell. ``run``: names its checkpoints, whatever worker makes them."""

    run: str
    label: str
    began_unix_s: float = field(default_factory=time.time)
    number: int = 1
    resumes: bool = False
    """An earlier try may have left a checkpoint."""
    worker: Worker | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    """Since the running try has its worker."""
    sent: str = ""
    """The run that the worker has been given for it; "" before."""
    spent: dict[str, int] = field(default_factory=dict)
    """Micro-dollars for each machine, by token."""
    died_on: set[str] = field(default_factory=set)
    """Workers whose kernel has died under this cell."""
    made: int = 0
    """Checkpoints that the last try has made, as it said when it came home."""
    kept: Kept | None = None
    timer: threading.Timer | None = None


class Again:
    """One for each session; used from the thread that runs its cells."""

    def __init__(self, config: Cellferry, fleet: Fleet, screen: Screen, down: Callable[[str], object]) -> None:
        """``down``: ends a worker by its name, and forgets what is known of it; raises CellferryError."""
        self._config, self._fleet, self._screen, self._down = config, fleet, screen, down
        self._tries = Tries("", "")
        self._unfinished: dict[tuple[str, str], str] = {}

    def run(self, request: CellRequest, cell: Cell, once: Once) -> CellReport:
        """``once``, and again as often as ``request.retry`` says while workers die under it. Raises what the last try raised."""
        if request.estimate:
            return once(request, cell)
        if request.detach and request.retry:
            self._screen.note("retry= does nothing for a cell that is let go: nobody would be there to run it again")
        key = (cell.cell_id or "", cell.source)
        before = self._unfinished.pop(key, "")
        tries = self._tries = Tries(before or uuid.uuid4().hex, cell.word, resumes=bool(before))
        this = request
        while True:
            tries.worker, this = None, replace(this, retry=request.retry + 1 - tries.number)
            try:
                report = once(this, cell)
            except errors.WorkerError as error:
                if not error.goes_on:
                    self._note_cost(tries)
                following = self._following(request, tries, error) if error.again else None
                if following is None:
                    self._remember(key, tries)
                    raise
                this = following
            except Exception:
                if tries.kept is not None and tries.made:
                    self._screen.note(f"the cell's last checkpoint is kept: {tries.kept.place}/")
                raise
            else:
                if tries.kept is not None and not request.detach:
                    self._remove(tries.kept)
                return report
            finally:
                if tries.timer is not None:
                    tries.timer.cancel()

    def found(self, worker: Worker) -> None:
        """The running try has this worker."""
        self._tries.worker, self._tries.watch, self._tries.sent = worker, Stopwatch(), ""

    def words(self, there: There, request: CellRequest, run: str) -> dict[str, Any]:
        """What the frame of a cell says of its checkpoints, and of where the results of ``run`` go if nobody takes them."""
        told: dict[str, Any] = {}
        self._tries.sent = run
        if self._config.artifact_store and (there.worker.token or request.detach):
            told["left"] = result_order(
                open_store(self._config.artifact_store), run, there.worker.token, master_key(state_folder(self._config))
            )
        if request.checkpoint_s is not None or request.checkpoint_names:
            told["checkpoint"] = self._checkpoint(there, request)
        return told

    def _checkpoint(self, there: There, request: CellRequest) -> dict[str, Any]:
        tries = self._tries
        if self._config.artifact_store and tries.kept is None:
            tries.kept = Kept(open_store(self._config.artifact_store), tries.run)
        told: dict[str, Any] = {
            "run": tries.run,
            "every_s": request.checkpoint_s or EVERY_S,
            "names": list(request.checkpoint_names),
            "resumes": tries.resumes,
        }
        if tries.kept is not None:
            told |= tries.kept.orders(resumes=tries.resumes)
            self._renew_in_time(tries, tries.kept, there)
        return told

    def look(self, request: CellRequest, there: There, returned: Returned, run: str) -> None:
        """Raise SpotTaken before anything of an interrupted cell is taken home, where the cell will be run again."""
        self._tries.made = int(returned.frame.get("checkpoints", 0))
        if request.retry and isinstance(why_stopped(request, there, returned), errors.SpotTaken):
            there.link.tell({"op": "claimed", "run": run})  # nobody will come for what it had made
            raise errors.SpotTaken(
                f"the provider takes the machine of worker {there.worker.name!r} back; the cell was interrupted", "run the cell again"
            )

    # -- between two tries --------------------------------------------------------------------------------------------

    def _following(self, request: CellRequest, tries: Tries, error: errors.WorkerError) -> CellRequest | None:
        """What the next try asks for; None where there is none."""
        if tries.number > request.retry:
            return None
        where = self._make_way(tries, error, named=bool(request.name))
        left = request.budget_microusd
        if left is not None:
            left -= sum(tries.spent.values())
            if left <= 0:
                self._screen.note("the cell's budget is spent: it is not run again")
                return None
        tries.number += 1
        tries.resumes = True
        what = error.what.splitlines()[0]
        self._screen.note(f"-- try {tries.number} of {request.retry + 1}, on {where}: {what}")
        return replace(request, budget_microusd=left)

    def _make_way(self, tries: Tries, error: errors.WorkerError, *, named: bool) -> str:
        """Where the next try runs. A worker whose kernel has died once gets another chance; any other is ended for good, so
        that nothing runs twice and nothing is paid for twice, unless (``named``) other notebooks are on it."""
        worker = tries.worker
        if worker is None:
            return "a new worker"
        if isinstance(error, errors.KernelDied) and worker.id not in tries.died_on and self._fleet.alive(worker):
            tries.died_on.add(worker.id)
            return f"the new kernel of worker {worker.name!r}"
        if named and not isinstance(error, errors.SpotTaken) and others_use(worker, ours=int(isinstance(error, errors.DiskFull))):
            return f"worker {worker.name!r}, which others use as well"
        try:
            self._down(worker.name)
        except errors.CellferryError:
            pass  # it is gone already; or nobody reaches it, and its own lease ends it
        if worker.token and worker.started_unix_s >= tries.began_unix_s:  # all that it came to was for this cell
            row = self._fleet.purse.spent(worker.token)
            tries.spent[worker.token] = max(tries.spent.get(worker.token, 0), row.spent_microusd if row else 0)
        return f"a new worker {worker.name!r}"

    def _note_cost(self, tries: Tries) -> None:
        """Note what the try that has just failed came to."""
        worker = tries.worker
        if worker is not None and worker.token and worker.microusd_per_hour:
            now = time.time()
            amount = self._fleet.purse.note_cell(worker, tries.label, now - tries.watch.seconds, now, tries.sent)
            tries.spent[worker.token] = tries.spent.get(worker.token, 0) + amount

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _renew_in_time(self, tries: Tries, kept: Kept, there: There) -> None:
        def renew() -> None:
            try:
                there.link.tell(kept.renewed())
            except errors.CellferryError:
                return  # the connection is gone; who waits for the cell will say so
            self._renew_in_time(tries, kept, there)

        tries.timer = threading.Timer(RENEW_S, renew)
        tries.timer.daemon = True
        tries.timer.start()

    def _remove(self, kept: Kept) -> None:
        try:
            kept.remove()
        except errors.CellferryError as error:
            self._screen.note(f"the cell's checkpoints are still in the store: {error.what}")

    def _remember(self, key: tuple[str, str], tries: Tries) -> None:
        """The same cell, run again by hand, finds what this one has saved."""
        self._unfinished[key] = tries.run
        while len(self._unfinished) > REMEMBERED:
            del self._unfinished[next(iter(self._unfinished))]
