"""The workers of this process: start or share one for a cell, show them, end them, explain a failed one."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellferry.config import Cellferry
from cellferry.errors import CellferryError, LedgerError, LinkError, RequestError, WorkerError
from cellferry.fleet import diagnosis
from cellferry.fleet.asking import ask_status, is_full, noted_status, others_use
from cellferry.fleet.board import Board
from cellferry.fleet.clock import now_for
from cellferry.fleet.once import once
from cellferry.fleet.rows import worker_row
from cellferry.fleet.states import Choice, Ended, Entry, WorkerRow, after, candidates, choose, set_up, where
from cellferry.link.identity import make_identity
from cellferry.model import CellRequest, Lease, Order, Worker, WorkerId
from cellferry.providers.base import Progress, Provider
from cellferry.providers.registry import load_provider

if TYPE_CHECKING:
    from cellferry.fleet.hunt import Hunt
    from cellferry.fleet.purse import Purse
    from cellferry.fleet.reap import Reaped
    from cellferry.ledger import Reservation

DIAGNOSIS_S = 8.0
SETTLE_S = 2.0
"""A link may break a moment before its kernel is seen dead: a well-looking worker is asked again for this long."""
ASK_S = 1.0
PAUSE_S = 0.05
AT_ONCE = 16


class Fleet:
    """One for each session. All methods may be called from every thread; ``close`` also runs at the process's exit."""

    def __init__(self, config: Cellferry, notebook: str = "", kernel_id: str = "", board: Board | None = None) -> None:
        """``notebook``: its path, for limits and reports; "" for a command. ``kernel_id``: Jupyter's, for the board.
        ``board``: one that is kept by somebody else, and outlives this fleet."""
        self._config = config
        self._notebook = notebook
        self._boards = [] if board else [Board(config, notebook, kernel_id)]
        self.board = board or self._boards[0]
        self.ask: Callable[[str], bool] | None = None
        """Asks the user a question with yes or no, in the thread that calls; set by doors that can."""
        self._failed: dict[str, BaseException] = {}
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        self._providers: dict[str, Provider] = {}
        self.left: set[WorkerId] = set()
        """Workers on which cells go on without this process: its end does not end them."""
        self.trouble = ""
        """Why the last look may not have seen every worker; "" where it has."""
        self.silent: set[WorkerId] = set()
        """Workers that did not answer when they were asked last."""
        self.brought: set[str] = set()
        """Runs that were brought home here."""
        self._pid = os.getpid()
        atexit.register(self.close)

    def acquire(self, request: CellRequest, progress: Progress) -> tuple[Worker, bool]:
        """The worker for a cell, and whether it is a fresh one (nothing of the notebook is on it).

        Cells that name the same worker, or name none and ask for the same hardware, share one; if it is being started
        in another thread this waits for it, and a worker found dead is replaced. Raises RequestError, and
        WorkerStartError, DiskFull or BudgetError. With ``request.meanwhile`` the first cell does not wait for the machine
        that it asks for: it gets a worker here, and later cells do until that machine is there.
        """
        if request.meanwhile:
            return self._meanwhile(request, progress)
        while True:
            with self._changed:
                choice = choose(request, self._entries)
                if choice.action == "wait":
                    progress(f"worker {choice.name} is being started by another cell")
                    self._changed.wait(SETTLE_S)
                    continue
                entry = self._entries.get(choice.name)
                if choice.action == "start":
                    self._entries[choice.name] = _entry(choice.name, request)
            if choice.action == "start":
                return self._start(choice, request, progress), True
            if entry is not None and entry.worker is not None:
                if self.provider(entry.worker.provider).alive(entry.worker):
                    return entry.worker, False
                self._remove(entry, "lost")

    def shared(self, request: CellRequest) -> bool:
        """Whether the cell names a worker that another process of this user has started on this machine."""
        if not request.name or request.name in self._entries or candidates(request, self._config) != ("local",):
            return False
        from cellferry.fleet.adopt import named_here

        return named_here(self.provider("local"), request) is not None

    def start(self, name: str, request: CellRequest, progress: Progress) -> Worker:
        """A worker under this name, whatever a cell would call it: for a door that starts one for a notebook. Raises as
        ``acquire`` does."""
        with self._changed:
            self._entries[name] = _entry(name, request)
        return self._start(Choice("start", name), request, progress)

    def peek(self, request: CellRequest) -> str:
        """The name of the worker that ``acquire`` would give for this request. Raises RequestError as it does."""
        with self._changed:
            return choose(request, self._entries).name

    def workers(self) -> list[Worker]:
        """The workers of this fleet that have been started and not ended; whether they live, ``alive`` says."""
        with self._changed:
            entries = list(self._entries.values())
        return [entry.worker for entry in entries if entry.worker is not None and self.alive(entry.worker)]

    def latest(self, worker: Worker) -> Worker:
        """The worker as it is known now: its lease may have been extended."""
        with self._changed:
            entry = self._entries.get(worker.name)
        return entry.worker if entry is not None and entry.worker is not None and entry.worker.id == worker.id else worker

    def everywhere(self) -> list[Worker]:
        """The workers of this fleet, and those that other processes of this person started and that live."""
        return [*self.workers(), *self.found()]

    def alive(self, worker: Worker) -> bool:
        """Whether the worker still exists; quick, for whoever waits on it."""
        return self.provider(worker.provider).alive(worker)

    def status(self, *, everyone: bool = False) -> list[WorkerRow]:
        """The workers of this process, and those of its notebook that an earlier kernel has left; with ``everyone`` all that processes
        of this user started. ``trouble`` says where some may be missing."""
        with self._changed:
            entries = list(self._entries.values())
        ours = {entry.worker.id for entry in entries if entry.worker}
        found = self.found() if everyone else self._left(ours)
        entries += [Entry(worker.name, worker.hardware, "ready", worker) for worker in found if worker.id not in ours]
        with ThreadPoolExecutor(max(1, min(len(entries), AT_ONCE))) as pool:  # one that is silent holds up no other
            return list(pool.map(lambda each: worker_row(each, self._spent, ours=not each.worker or each.worker.id in ours), entries))

    def _left(self, ours: set[WorkerId]) -> list[Worker]:
        from cellferry.fleet.left import left_workers

        self.trouble = ""
        try:
            return [each.worker for each in left_workers(self.purse, self.provider, ours)]
        except LedgerError as error:
            self.trouble = error.what
            return []

    def own_ids(self) -> set[WorkerId]:
        """Of the workers of this process."""
        with self._changed:
            return {entry.worker.id for entry in self._entries.values() if entry.worker}

    def down(self, name: str | None = None, *, everyone: bool = False, by_hand: bool = True) -> list[Ended]:
        """End the worker of that name, or all of them; say which ended, and what they came to.

        ``by_hand``: a person wants it, so those of its notebook that an earlier kernel has left end as well, and the cells that are
        dropped are named; else only this process's. ``everyone``: all of this user. Raises RequestError when none has the name.
        """
        from cellferry.fleet.ending import Which, end_named

        with self._changed:
            entries = {each.worker.id: each for each in self._entries.values() if each.worker and name in (None, each.name)}
        ours = [entry.worker for entry in entries.values() if entry.worker]
        which: Which = "everybody's" if everyone else "the notebook's" if by_hand else "ours"
        ended = end_named(self, self._config, name, ours, lambda gone: self._remove(entries[gone.id], "stop"), which)
        if everyone and self.purse.kept:
            from cellferry.fleet.reap import settle_dead

            settle_dead(self.purse, self.provider)
        return ended

    def _spent(self, token: str) -> Reservation | None:
        return self.purse.spent(token) if token else None

    def diagnose(self, worker: Worker, *, generation: int | None = None, certain: bool = False) -> WorkerError | None:
        """Why the connection to this worker broke, within 10 s: KernelDied, DiskFull or WorkerLost, with advice.

        Called when a link ended unexpectedly. ``generation`` is the kernel that it was connected to, if known. Changes
        nothing: the next ``acquire`` replaces a worker that is gone. ``certain``: one look, and None unless it is known that
        there is nothing to connect to again; only then is there None.
        """
        provider = self.provider(worker.provider)
        started, trouble, answered = time.monotonic(), "", 0.0
        while (now := time.monotonic()) < started + DIAGNOSIS_S - (ASK_S if trouble else 0.0):
            if not provider.alive(worker):
                return self._explain_end(provider, worker)
            try:
                error = self._explain_kernel(worker, generation)
            except LinkError as failure:
                trouble = failure.what
            else:
                trouble, answered = "", answered or now
                if error is not None:
                    return error
                if now - answered > SETTLE_S and not certain:
                    return diagnosis.broken_link(worker.name)
            if certain:
                return diagnosis.over(worker, now_for(worker.lease))
            threading.Event().wait(PAUSE_S)
        if not provider.alive(worker):
            return self._explain_end(provider, worker)
        return diagnosis.unreachable(worker.name, trouble)

    def close(self) -> None:
        """End every worker that this process started. Repeatable; does nothing in a process forked off from it."""
        if os.getpid() != self._pid:
            return
        atexit.unregister(self.close)
        for entry in list(self._entries.values()):
            # one that is paid for lives on: its lease ends it
            if entry.worker is not None and not entry.worker.token and entry.worker.id not in self.left:
                try:
                    if entry.named and others_use(entry.worker):
                        continue  # it ends when they have left
                    self._remove(entry, "stop")
                except (OSError, CellferryError, RuntimeError):
                    continue  # the others are to be ended as well; a worker also ends by its own lease
        if "purse" in vars(self):
            self.purse.close()
        for board in self._boards:
            board.close()
        for provider in list(self._providers.values()):
            provider.close()

    # -- money: its modules are loaded by the first worker that is not a plain one on this machine ------------------

    @once
    def purse(self) -> Purse:
        from cellferry.fleet.purse import Purse

        return Purse(self._config, self._notebook, self.alive)

    @once
    def hunt(self) -> Hunt:
        from cellferry.fleet.hunt import Hunt

        return Hunt(self._config, self.provider, self.purse)

    def extend(self, name: str, more_microusd: int) -> Worker:
        """Let a worker run longer, for so much more money. Raises RequestError, BudgetExceeded, LedgerError, LinkError."""
        with self._changed:
            entry = self._entries.get(name)
        if entry is None or entry.worker is None:
            raise RequestError(f"there is no worker {name!r} to extend", "see them with `%remote status`")
        worker = entry.worker
        if not worker.microusd_per_hour:
            raise RequestError(f"worker {name!r} costs nothing: it ends by its idle time alone", "idle= on a cell changes that")
        from cellferry.fleet.adopt import tell_lease

        lease = self.purse.extend(worker, more_microusd)
        tell_lease(worker, lease)
        renewed = replace(worker, lease=lease)
        with self._changed:
            self._entries[name] = replace(self._entries[name], worker=renewed)
        return renewed

    def reap(self) -> list[Reaped]:
        """End machines that nobody owns, at every provider that is set up; settle the money of those that are gone."""
        from cellferry.fleet.reap import reap

        return reap(self.purse, self.provider, dict.fromkeys([*set_up(self._config), "demo"]))

    def _meanwhile(self, request: CellRequest, progress: Progress) -> tuple[Worker, bool]:
        wanted = replace(request, meanwhile=False)
        with self._changed:
            choice = choose(request, self._entries)
            if choice.action == "start":
                self._entries[choice.name] = _entry(choice.name, wanted)
        failure = self._failed.pop(choice.name, None)
        if failure is not None:
            raise failure
        if choice.action == "reuse":
            return self.acquire(wanted, progress)
        if choice.action == "start":
            try:
                threading.Thread(target=self._start_apart, args=(choice, wanted), name="cellferry-hunt", daemon=True).start()
            except BaseException:
                self._entries.pop(choice.name)  # later cells would wait for it
                raise
        here = CellRequest(providers=("local",), name=f"{choice.name}-meanwhile", env=request.env,
                           environment=request.environment, line=request.line)  # fmt: skip
        return self.acquire(here, progress)

    def _start_apart(self, choice: Choice, request: CellRequest) -> None:
        try:
            self._start(choice, request, lambda _line: None)
        except BaseException as error:  # told to the next cell that asks for this worker
            self._failed[choice.name] = error

    def _start(self, choice: Choice, request: CellRequest, progress: Progress) -> Worker:
        try:
            told = self.board.starting(choice.name, request.line, progress, self._notebook)
            worker = self._started(choice.name, request, told)
        except BaseException as error:
            self.board.failed(choice.name, error)
            with self._changed:
                del self._entries[choice.name]
                self._changed.notify_all()
            raise
        with self._changed:
            self._entries[choice.name] = after(self._entries[choice.name], "started", worker)
            self._changed.notify_all()
        self.board.started(worker)
        return worker

    def _started(self, name: str, request: CellRequest, progress: Progress) -> Worker:
        idle_s = request.idle_s if request.idle_s is not None else self._config.idle_s
        names = candidates(request, self._config)
        if names == ("local",):
            from cellferry.fleet.adopt import named_here

            shared = named_here(self.provider("local"), request)
            if shared is not None:
                self.left.add(shared.id)  # whoever started it ends it
                return shared
            lease = Lease(idle_s=idle_s, grace_s=self._config.grace_s)
            return self.provider("local").start(Order(request, name, lease), progress)
        from cellferry.fleet.adopt import adopt

        there = adopt(self.purse, self.provider, name, request, names)
        return there or self.hunt.start(request, name, idle_s, progress)

    def _remove(self, entry: Entry, why: Any) -> None:
        """End an entry's worker and forget it; once, even if two threads want it at the same time."""
        assert entry.worker is not None
        with self._changed:
            current = self._entries.get(entry.name)
            if current is None or current.worker is not entry.worker or current.state != "ready":
                return
            self._entries[entry.name] = after(current, why)
        self.board.ending(entry.name)
        try:
            self.provider(entry.worker.provider).stop(entry.worker)
            if entry.worker.token:
                self.purse.ended(entry.worker.token)
        finally:
            self.board.gone(entry.name)
            with self._changed:
                del self._entries[entry.name]
                self._changed.notify_all()

    def provider(self, name: str) -> Provider:
        """The provider of that name, made by its first use. Raises RequestError if it cannot be used."""
        with self._changed:
            if name not in self._providers:
                self._providers[name] = load_provider(name, self._config, _certificate)
            self._providers[name].ask = self.ask
            return self._providers[name]

    def found(self) -> list[Worker]:
        """Workers of this user that other processes started: local ones as they are found, others as the ledger knows.

        Where that cannot be asked, ``trouble`` says so, and the others are there.
        """
        from cellferry.fleet.adopt import elsewhere

        ours, self.trouble, known = self.own_ids(), "", list[Worker]()
        try:
            known = list(elsewhere(self.purse, self.provider))
        except LedgerError as error:
            self.trouble = error.what
        return [worker for worker in [*self.provider("local").find(), *known] if worker.id not in ours]

    def _explain_kernel(self, worker: Worker, generation: int | None) -> WorkerError | None:
        if is_full(worker.folder):  # its server may not be able to say so
            return diagnosis.disk_full(worker.name, str(worker.folder))
        for ask in (noted_status, lambda each: ask_status(each, ASK_S)):
            status = ask(worker)
            error = diagnosis.explain_status(worker.name, status, generation) if status else None
            if error is not None:
                return error
        return None

    def _explain_end(self, provider: Provider, worker: Worker) -> WorkerError:
        if is_full(worker.folder):
            return diagnosis.disk_full(worker.name, str(worker.folder))
        return diagnosis.lost(worker.name, provider.describe_end(worker))


def _entry(name: str, request: CellRequest) -> Entry:
    return Entry(name, request.hardware, env=request.env, where=where(request), named=bool(request.name))


def _certificate(folder: Path) -> str:
    return make_identity(folder).cert_pem
