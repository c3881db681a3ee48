"""The board: one small file for each process that has workers or runs, for whoever shows what goes on.

A notice and no authority: money and machines are the ledger's, runs are the workers'. It is written in one step, at most
ten times a second, and lost notices harm nobody: nothing here ever raises because of the disk.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cellferry.config import Cellferry, state_folder
from cellferry.model import Offer, Worker
from cellferry.providers.base import Progress
from cellferry.screen import Cell

FOLDER = "board"
PAUSE_S = 0.1
"""The least time between two writes."""
MOST_ENDED = 50
"""So many ended runs are kept on it."""
FAILED_S = 600.0
"""A worker that could not be started is shown for so long."""
PHASES = ("requested", "booting", "environment", "data", "ready")
STEPS = ("packing", "worker", "sending", "running")
"""The steps of a cell whose beginnings ``journey`` takes the time of; "home" and "done" follow."""

_numbers = itertools.count()
_ANOTHER_TRY = re.compile(r"\d+\. ")
_ENVIRONMENT = re.compile(r"environment|software|packages|Python")
_BOOTING = re.compile(r"boot|started|connecting|asks for|is given")


def board_folder(config: Cellferry) -> Path:
    """Where the boards lie, made if it is not there; private. Raises OSError."""
    folder = state_folder(config) / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class Board:
    """What one fleet shows. All methods may be called from every thread, are quick, and never raise."""

    def __init__(self, config: Cellferry, notebook: str = "", kernel_id: str = "") -> None:
        self._config, self._notebook, self._kernel_id = config, notebook, kernel_id
        self._pid, self._number = os.getpid(), next(_numbers)
        self._lock, self._due = threading.Lock(), threading.Event()
        self._workers: dict[str, dict[str, Any]] = {}
        self._there: dict[str, Worker] = {}
        self._runs: list[dict[str, Any]] = []
        self._current: dict[str, Any] | None = None
        self._writer: threading.Thread | None = None
        self._closed, self._closing = False, threading.Event()

    # -- workers -------------------------------------------------------------------------------------------------

    def starting(self, name: str, words: str, progress: Progress, notebook: str = "") -> Progress:
        """A worker is being started; returns a ``progress`` that also tells the board."""
        row = {
            "name": name, "worker": "", "provider": "", "state": "starting", "words": words, "detail": "", "error": "",
            "notebook": notebook or self._notebook, "phases": [{"phase": "requested", "at_unix_s": time.time()}],
        }  # fmt: skip
        with self._changing():
            self._workers[name] = row

        def tell(line: str) -> None:
            with self._changing():
                _hear(row, line)
                if self._current is not None and self._current["phase"] == "worker":
                    self._current["detail"] = line
            progress(line)

        return tell

    def started(self, worker: Worker) -> None:
        """It accepts connections. Where a cell waits for it, what the cell needs comes next, and then it is ready."""
        with self._changing():
            self._there[worker.name] = worker
            row = self._workers.get(worker.name)
            if row is not None:
                row |= {"worker": worker.id, "provider": worker.provider, "detail": ""}
                _reach(row, "data")
                if self._current is None:
                    _ready(row)

    def failed(self, name: str, error: BaseException) -> None:
        """It could not be started."""
        with self._changing():
            if (row := self._workers.get(name)) is not None:
                what = getattr(error, "what", "") or str(error) or type(error).__name__
                row |= {"state": "failed", "error": what, "detail": "", "failed_unix_s": time.time()}

    def ending(self, name: str) -> None:
        """It is told to end."""
        with self._changing():
            if (row := self._workers.get(name)) is not None:
                row["state"] = "ending"

    def gone(self, name: str) -> None:
        """It is no more; or nobody wants to see any longer that it failed."""
        with self._changing():
            self._workers.pop(name, None)
            self._there.pop(name, None)

    def taken(self, name: str) -> bool:
        """Whether a worker of that name is on this board."""
        with self._lock:
            return name in self._workers

    # -- the running cell ----------------------------------------------------------------------------------------

    def begin(self, cell: Cell, worker: str) -> None:
        """A cell begins; ``worker``: the name of the one that it will use."""
        run = {
            "run": uuid.uuid4().hex, "notebook": self._notebook, "cell_id": cell.cell_id or "", "number": cell.number,
            "worker": worker, "worker_id": "", "phase": STEPS[0], "status": "running", "began_unix_s": time.time(),
            "ended_unix_s": None, "microusd_per_hour": 0, "microusd": 0, "simulated": False, "hardware": "", "provider": "",
            "instance": "", "region": "", "spot": False, "environment": "", "detail": "",
        }  # fmt: skip
        with self._changing():
            self._current = run
            self._runs.append(run)

    def name_run(self, run: str) -> None:
        """The running cell is called so on its worker."""
        with self._changing():
            if self._current is not None:
                self._current["run"] = run

    def clock(self) -> list[float]:
        """A list for the times at which the steps of the running cell begin; each time added is a step."""
        return _Clock(self.step)

    def step(self, phase: str) -> None:
        """The running cell has come so far."""
        with self._changing():
            run = self._current
            if run is None or phase == STEPS[0]:
                return
            run |= {"phase": phase, "detail": ""}
            if phase == "sending" and run["worker"] in self._there:
                run |= _about(self._there[run["worker"]])
            if phase == "running":
                self._all_arrived()

    def uses(self, worker: Worker) -> None:
        """The running cell goes to this worker, also where it asked for another."""
        with self._changing():
            self._there[worker.name] = worker
            if self._current is not None:
                self._current |= _about(worker)

    def cost(self, microusd: int) -> None:
        """What the running cell came to."""
        with self._changing():
            if self._current is not None:
                self._current["microusd"] = microusd

    def end(self, status: str, *, detail: str = "", environment: str = "") -> None:
        """The running cell is done, or ("detached") left to its worker, which tells the rest. One that never left this process
        is forgotten: its own error tells all."""
        with self._changing():
            run, self._current = self._current, None
            if run is None:
                return
            if run["phase"] == STEPS[0]:
                self._runs.remove(run)
            run |= {"status": status, "detail": detail, "environment": environment}
            run |= {"phase": "running"} if status == "detached" else {"phase": "done", "ended_unix_s": time.time()}
            ended = [each for each in self._runs if each["status"] != "running"]
            for each in ended[:-MOST_ENDED]:
                self._runs.remove(each)
            self._all_arrived()

    def _all_arrived(self) -> None:
        for row in self._workers.values():
            if row["state"] == "starting" and row["worker"]:
                _ready(row)

    # -- the file ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take the notice away. Repeatable; does nothing in a process forked off from this one."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed, writer = True, self._writer
        self._due.set()
        self._closing.set()
        if writer is not None:
            writer.join()
            with contextlib.suppress(OSError):
                self._path().unlink(missing_ok=True)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            yield
            if self._closed or os.getpid() != self._pid:
                return
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_on, name="cellferry-board", daemon=True)
                self._writer.start()
        self._due.set()

    def _write_on(self) -> None:
        while self._due.wait():
            self._due.clear()
            with self._lock:
                if self._closed:
                    return
                text = json.dumps(self._content())
            with contextlib.suppress(OSError):  # a full disk: the next change tries again
                _write(self._path(), text)
            self._closing.wait(PAUSE_S)

    def _content(self) -> dict[str, Any]:
        now = time.time()
        old = [n for n, row in self._workers.items() if row["state"] == "failed" and now - row["failed_unix_s"] > FAILED_S]
        for name in old:
            del self._workers[name]
        return {
            "v": 1, "host": socket.gethostname(), "pid": self._pid, "started_s": _started_s(self._pid), "notebook": self._notebook,
            "kernel_id": self._kernel_id, "workers": list(self._workers.values()), "runs": self._runs,
        }  # fmt: skip

    def _path(self) -> Path:
        name = f"{socket.gethostname()}-{self._pid}" + (f"-{self._number}" if self._number else "")
        return board_folder(self._config) / f"{name}.json"


def read_boards(folder: Path) -> list[dict[str, Any]]:
    """The boards of all processes of this machine that live; those of dead ones are removed. Called by whoever shows them.

    The folder may be shared by several machines: nobody can see from here which processes live on another.
    """
    found, here = [], socket.gethostname()
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["host"] != here:
                continue
            if abs(_started_s(int(content["pid"])) - float(content["started_s"])) < 2.0:
                found.append(content)
            else:
                path.unlink(missing_ok=True)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it was removed meanwhile, or is of a version that cannot be read
    return found


class _Clock(list[float]):
    """The times of a cell's steps; whoever adds one tells the board."""

    def __init__(self, step: Callable[[str], None]) -> None:
        super().__init__([time.perf_counter()])
        self._step = step

    def append(self, at_s: float) -> None:
        super().append(at_s)
        self._step(STEPS[min(len(self), len(STEPS)) - 1])


def _hear(row: dict[str, Any], line: str) -> None:
    """What a provider's line of progress tells of the phase; the words are the providers' own."""
    row["detail"] = line
    if _ANOTHER_TRY.match(line):
        del row["phases"][1:]
    elif _ENVIRONMENT.search(line):
        _reach(row, "environment")
    elif _BOOTING.search(line):
        _reach(row, "booting")


def _reach(row: dict[str, Any], phase: str) -> None:
    """This phase begins, and with it every one before that nobody has seen."""
    missing = PHASES[PHASES.index(row["phases"][-1]["phase"]) + 1 : PHASES.index(phase) + 1]
    row["phases"] += [{"phase": each, "at_unix_s": time.time()} for each in missing]


def _ready(row: dict[str, Any]) -> None:
    row["state"] = "ready"
    _reach(row, "ready")


def _about(worker: Worker) -> dict[str, Any]:
    """What a run's record says of the worker that it is on."""
    offer = worker.offer
    return {
        "worker": worker.name, "worker_id": worker.id, "provider": worker.provider, "spot": worker.spot,
        "microusd_per_hour": worker.microusd_per_hour, "simulated": worker.simulated, "hardware": hardware_of(offer),
        "instance": offer.instance if offer else "", "region": offer.region if offer else "",
    }  # fmt: skip


def hardware_of(offer: Offer | None) -> str:
    """ "1x A100 40 GiB, 12 CPUs, 85 GiB"; "" where it is not known."""
    parts: list[str] = []
    if offer is None:
        return ""
    if offer.gpu_count:
        each = f" {offer.gpu_memory_bytes / (1 << 30):.0f} GiB" if offer.gpu_memory_bytes else ""
        parts.append(f"{offer.gpu_count}x {offer.gpu.upper()}{each}")
    parts += [f"{offer.cpus} CPUs"] if offer.cpus else []
    parts += [f"{offer.memory_bytes / (1 << 30):.0f} GiB"] if offer.memory_bytes else []
    return ", ".join(parts)


def _started_s(pid: int) -> float:
    """When a process began; -1e9 if there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        return -1e9 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return -1e9


def _write(path: Path, text: str) -> None:
    """In one step, for this user alone."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
