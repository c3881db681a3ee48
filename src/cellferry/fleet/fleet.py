"""The workers of this process: start or share one for a cell, show them, end them, explain a failed one."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from cellferry.config import Cellferry
from cellferry.errors import CellferryError, LinkError, RequestError, WorkerError
from cellferry.fleet import diagnosis
from cellferry.fleet.states import Choice, Entry, WorkerRow, after, choose
from cellferry.link.identity import make_identity
from cellferry.model import CellRequest, Lease, Order, Worker
from cellferry.providers.base import Progress, Provider
from cellferry.providers.registry import load_provider

DIAGNOSIS_S = 8.0
SETTLE_S = 2.0
"""A link may break a moment before its kernel is seen dead: a well-looking worker is asked again for this long."""
ASK_S = 1.0
PAUSE_S = 0.05
STATUS_S = 2.0


class Fleet:
    """One for each session. All methods may be called from every thread; ``close`` also runs at the process's exit."""

    def __init__(self, config: Cellferry) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        self._providers: dict[str, Provider] = {}
        self._pid = os.getpid()
        atexit.register(self.close)

    def acquire(self, request: CellRequest, progress: Progress) -> tuple[Worker, bool]:
        """The worker for a cell, and whether it is a fresh one (nothing of the notebook is on it).

        Cells that name the same worker, or name none and ask for the same hardware, share one; if it is being started
        in another thread this waits for it, and a worker found dead is replaced. Raises RequestError, and
        WorkerStartError or DiskFull from the provider.
        """
        while True:
            with self._changed:
                choice = choose(request, self._entries)
                if choice.action == "wait":
                    self._changed.wait()
                    continue
                entry = self._entries.get(choice.name)
                if choice.action == "start":
                    self._entries[choice.name] = Entry(choice.name, request.hardware, env=request.env)
            if choice.action == "start":
                return self._start(choice, request, progress), True
            if entry is not None and entry.worker is not None:
                if self._provider(entry.worker.provider).alive(entry.worker):
                    return entry.worker, False
                self._remove(entry, "lost")

    def peek(self, request: CellRequest) -> str:
        """The name of the worker that ``acquire`` would give for this request. Raises RequestError as it does."""
        with self._changed:
            return choose(request, self._entries).name

    def workers(self) -> list[Worker]:
        """The workers of this fleet that have been started and not ended; whether they live, ``alive`` says."""
        with self._changed:
            entries = list(self._entries.values())
        return [entry.worker for entry in entries if entry.worker is not None and self.alive(entry.worker)]

    def alive(self, worker: Worker) -> bool:
        """Whether the worker still exists; quick, for whoever waits on it."""
        return self._provider(worker.provider).alive(worker)

    def status(self, *, everyone: bool = False) -> list[WorkerRow]:
        """The workers of this process; with ``everyone`` also those that other processes of this user started."""
        with self._changed:
            entries = list(self._entries.values())
        rows = [self._row(entry) for entry in entries]
        if everyone:
            known = {entry.worker.id for entry in entries if entry.worker}
            for worker in self._found():
                if worker.id not in known:
                    found = Entry(worker.name, worker.hardware, "ready", worker)
                    rows.append(self._row(found, ours=False))
        return rows

    def down(self, name: str | None = None, *, everyone: bool = False) -> list[str]:
        """End the worker of that name, or all of them, and return the names of those ended.

        Only this process's workers, unless ``everyone``. Raises RequestError when no worker has the name.
        """
        with self._changed:
            entries = [entry for entry in self._entries.values() if entry.worker and name in (None, entry.name)]
        for entry in entries:
            self._remove(entry, "stop")
        ended = [entry.name for entry in entries]
        if everyone:
            for worker in self._found():
                if name in (None, worker.name):
                    self._provider(worker.provider).stop(worker)
                    ended.append(worker.name)
        if name is not None and not ended:
            known = ", ".join(row.name for row in self.status(everyone=everyone)) or "none"
            raise RequestError(
                f"there is no worker {name!r}; running: {known}",
                "see them with `%remote status`, or `cellferry status` in a terminal",
            )
        return ended

    def diagnose(self, worker: Worker, *, generation: int | None = None) -> WorkerError:
        """Why the connection to this worker broke, within 10 s: KernelDied, DiskFull or WorkerLost, with advice.

        Called when a link ended unexpectedly. ``generation`` is the kernel that it was connected to, if known. Changes
        nothing: the next ``acquire`` replaces a worker that is gone.
        """
        provider = self._provider(worker.provider)
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
                if now - answered > SETTLE_S:
                    return diagnosis.broken_link(worker.name)
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
            if entry.worker is not None:
                try:
                    self._remove(entry, "stop")
                except (OSError, CellferryError, RuntimeError):
                    continue  # the others are to be ended as well; a worker also ends by its own lease

    # -- acting ---------------------------------------------------------------------------------------------------

    def _start(self, choice: Choice, request: CellRequest, progress: Progress) -> Worker:
        idle_s = request.idle_s if request.idle_s is not None else self._config.idle_s
        try:
            provider = self._provider(request.providers[0] if request.providers else "local")
            lease = Lease(idle_s=idle_s, grace_s=self._config.grace_s)
            worker = provider.start(Order(request, choice.name, lease), progress)
        except BaseException:
            with self._changed:
                del self._entries[choice.name]
                self._changed.notify_all()
            raise
        with self._changed:
            self._entries[choice.name] = after(self._entries[choice.name], "started", worker)
            self._changed.notify_all()
        return worker

    def _remove(self, entry: Entry, why: Any) -> None:
        """End an entry's worker and forget it; once, even if two threads want it at the same time."""
        assert entry.worker is not None
        with self._changed:
            current = self._entries.get(entry.name)
            if current is None or current.worker is not entry.worker or current.state != "ready":
                return
            self._entries[entry.name] = after(current, why)
        try:
            self._provider(entry.worker.provider).stop(entry.worker)
        finally:
            with self._changed:
                del self._entries[entry.name]
                self._changed.notify_all()

    def _provider(self, name: str) -> Provider:
        with self._changed:
            if name not in self._providers:
                self._providers[name] = load_provider(name, self._config, _certificate)
            return self._providers[name]

    def _found(self) -> list[Worker]:
        return list(self._provider("local").find())

    def _row(self, entry: Entry, *, ours: bool = True) -> WorkerRow:
        worker = entry.worker
        if worker is None:
            return WorkerRow(entry.name, "", entry.state, ours=ours)
        try:
            told = _ask_status(worker, STATUS_S)
        except LinkError:
            told = {"lease": {}}
        return WorkerRow(
            entry.name,
            worker.provider,
            entry.state,
            id=worker.id,
            pid=worker.pid,
            started_unix_s=worker.started_unix_s,
            links=told["lease"].get("links"),
            busy=told["lease"].get("busy"),
            ends_in_s=told["lease"].get("ends_in_s"),
            memory_available_bytes=told.get("memory_available_bytes"),
            ours=ours,
        )

    def _explain_kernel(self, worker: Worker, generation: int | None) -> WorkerError | None:
        for ask in (_noted_status, lambda each: _ask_status(each, ASK_S)):
            status = ask(worker)
            error = diagnosis.explain_status(worker.name, status, generation) if status else None
            if error is not None:
                return error
        return None

    def _explain_end(self, provider: Provider, worker: Worker) -> WorkerError:
        folder = worker.folder
        if folder is not None and folder.exists() and shutil.disk_usage(folder).free < diagnosis.DISK_LOW_BYTES:
            return diagnosis.disk_full(worker.name, str(folder))
        return diagnosis.lost(worker.name, provider.describe_end(worker))


def _noted_status(worker: Worker) -> dict[str, Any] | None:
    """What a worker on this machine noted when a kernel of its ended a moment ago: its server may not be up yet."""
    if worker.folder is None:
        return None
    try:
        note = worker.folder / "status.json"
        if time.time() - note.stat().st_mtime > diagnosis.RECENT_S:
            return None
        status: dict[str, Any] = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return status


def _ask_status(worker: Worker, timeout_s: float) -> dict[str, Any]:
    from cellferry.link.http import WorkerHttp  # needed when something is shown or broken, not for the first cell

    return WorkerHttp(worker.endpoint, timeout_s=timeout_s).get("status")


def _certificate(folder: Path) -> str:
    return make_identity(folder).cert_pem
