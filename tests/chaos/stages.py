"""Where the cells of a run go, and what can be done to it: a machine with sshd, or the simulated cloud."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.schedule import Schedule
from ledger.postgres import Server
from testbeds import namespaces
from testbeds.clock import Clock
from testbeds.far import Far
from testbeds.needs import command

CALM = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (0, 0)}"
ROOM_BYTES = 96 << 20
"""The disk on which workers have their folders."""
SLOW = ("root", "tbf", "rate", "16mbit", "burst", "32kb", "latency", "400ms")
RESET_EVERY_S = 0.05
GUEST = re.compile(r"cellferry[./]guest")
"""A kernel: a module of this environment, or one brought into another."""


@dataclass(frozen=True)
class Worker:
    """The processes of one worker, by their ids here."""

    keeper: int
    server: int
    kernel: int


class Stage(ABC):
    """``words``: what the cells say after ``%%remote``. ``settings``: of the notebook, as environment variables."""

    words: str
    settings: Mapping[str, str]

    @abstractmethod
    def pids(self) -> dict[int, str]:
        """Every process of ours there, with its command."""

    @abstractmethod
    def cut(self, for_s: float) -> None:
        """Let nothing pass between notebook and worker for so long."""

    @abstractmethod
    def fill(self) -> None:
        """Leave no room where workers have their folders."""

    @abstractmethod
    def empty(self) -> None:
        """Undo ``fill``."""

    @abstractmethod
    def left(self) -> list[str]:
        """Files and machines that are still there after everything was ended."""

    def calm(self) -> None:
        """Undo all faults."""
        self.empty()

    def workers(self) -> list[Worker]:
        """Those that are whole at this moment."""
        found = {pid: words for pid, words in self.pids().items() if "cellferry" in words}
        parents = {pid: _parent(pid) for pid in found}
        whole = []
        for kernel in (pid for pid, words in found.items() if GUEST.search(words)):
            server = parents.get(kernel, 0)
            keeper = parents.get(server, 0)
            if keeper in found and "cellferry.worker" in found[server] and "cellferry.worker" in found[keeper]:
                whole.append(Worker(keeper, server, kernel))
        return whole


def _parent(pid: int) -> int:
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


class SshStage(Stage):
    """A host in namespaces with its own network, disk and processes; the software on it is shared by all runs."""

    def __init__(self, far: Far, folder: Path) -> None:
        self._far, self._narrow = far, threading.Lock()
        config, known = far.configuration(folder)
        self.words = "host=box"
        self.settings = {
            "CELLFERRY_SSH_CONFIG": str(config),
            "CELLFERRY_SSH_KNOWN_HOSTS": str(known),
            "CELLFERRY_START_TIMEOUT_S": "60",
        }
        # its own /tmp is a file system of its own, where the workers' folders are
        self._as_root("mount", "-o", f"remount,size={ROOM_BYTES}", "/tmp")

    def _as_root(self, *argv: str) -> None:
        pid = str(self._far.host.pid)
        namespaces.run(["nsenter", "-t", pid, "-m", "-n", "--", *argv])

    def pids(self) -> dict[int, str]:
        return {process.outer_pid: " ".join(process.argv) for process in self._far.host.processes()}

    def cut(self, for_s: float) -> None:
        self._far.host.partition()
        time.sleep(for_s)
        self._far.host.partition(False)

    def lose(self, percent: int, for_s: float) -> None:
        """Lose so many packets in each direction for so long."""
        self._far.host.drop(percent)
        time.sleep(for_s)
        self._far.host.drop(0)

    def slow(self, for_s: float) -> None:
        """Let everything wait in a queue before a narrow wire: delay, as far as this kernel can make it (it has no netem)."""
        with self._narrow:  # two at once follow each other
            self._as_root(command("tc"), "qdisc", "replace", "dev", "eth0", *SLOW)
            time.sleep(for_s)
            self._as_root(command("tc"), "qdisc", "del", "dev", "eth0", "root")

    def fill(self) -> None:
        self._far.host.run(["dd", "if=/dev/zero", "of=/tmp/fill", "bs=64k"], check=False)

    def empty(self) -> None:
        self._far.host.run(["rm", "-f", "/tmp/fill"])

    def calm(self) -> None:
        super().calm()
        self._far.host.partition(False)

    def left(self) -> list[str]:
        # the private folder in which the workers' lie stays, empty
        look = "rmdir /tmp/cfs-* 2>/dev/null; ls -d /tmp/* 2>/dev/null"
        there = self._far.host.run(["sh", "-c", look], check=False).stdout.split()
        return [f"file {name} on the machine" for name in there]


class DemoStage(Stage):
    """The simulated cloud: workers are processes of this machine, their folders on a small file system of their own. ``clock``:
    that of the machine, where it jumps; ``state``: the folder of the ledger, unless that is in ``server``."""

    def __init__(self, schedule: Schedule, place: Path, clock: Clock | None, state: Path, server: Server | None = None) -> None:
        self._clock, self._state, self._server = clock, state, server
        self._hands = ThreadPoolExecutor(1)
        """Linux ends the database's server with the thread that started it: this one stays."""
        self.words = f"provider=demo cpus=2 budget=0.05{' spot' if schedule.spot else ''}"
        self._place = place
        self.settings = {
            "CELLFERRY_DEMO_WEATHER": CALM,
            "CELLFERRY_WORKER_DIR": str(place),
            "CELLFERRY_LOCAL_TRANSPORT": schedule.transport,
            "CELLFERRY_START_TIMEOUT_S": "60",
            "CELLFERRY_BUDGET": "0.5",
            **({"CELLFERRY_LEDGER": server.url(server.new_database())} if server else {}),
            **(clock.environment if clock else {}),
        }

    def pids(self) -> dict[int, str]:
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if str(self._place) in words and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = words
        return found

    def cut(self, for_s: float) -> None:
        """There is no wire that could be cut: all connections are reset, those made meanwhile too."""
        ends = time.monotonic() + for_s
        while time.monotonic() < ends:
            for port in self._ports():
                words = ["state", "established", f"( dport = :{port} or sport = :{port} )"]
                subprocess.run([command("ss"), "-K", "-t", *words], capture_output=True, check=False)
            threading.Event().wait(RESET_EVERY_S)

    def _ports(self) -> Iterator[int]:
        for ready in self._place.glob("*/ready.json"):
            with suppress(OSError, ValueError, KeyError):
                yield int(json.loads(ready.read_text())["port"])

    def jump(self, ahead_s: int, for_s: float) -> None:
        """Set the wall clock of notebook and worker, and set it right again."""
        assert self._clock is not None
        self._clock.set_ahead(ahead_s)
        time.sleep(for_s)
        self._clock.set_ahead(0)

    def lock_ledger(self, for_s: float) -> None:
        """Somebody begins to write in it, and does not go on."""
        with closing(sqlite3.connect(f"file:{self._state}/ledger.sqlite?mode=rw", uri=True, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(for_s)
            other.execute("ROLLBACK")

    def restart_ledger(self, for_s: float) -> None:
        """PostgreSQL is away for so long."""
        assert self._server is not None
        self._server.stop()
        time.sleep(for_s)
        self._hands.submit(self._server.start).result()

    def notice(self, in_s: float) -> None:
        """The provider tells every machine that it takes it back."""
        for folder in self._place.glob("*/"):
            if (folder / "ready.json").exists():
                with suppress(OSError):
                    told = {"what": "(simulated) spot interruption", "at_unix_s": time.time() + in_s}
                    (folder / "notice.part").write_text(json.dumps(told))
                    (folder / "notice.part").rename(folder / "notice")

    def fill(self) -> None:
        with suppress(OSError), (self._place / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def empty(self) -> None:
        (self._place / "fill").unlink(missing_ok=True)

    def left(self) -> list[str]:
        return [f"file {path} of a machine" for path in self._place.iterdir()]


@contextmanager
def demo_place() -> Iterator[Path]:
    """A small file system with a short path; needs root."""
    place = Path(tempfile.mkdtemp(prefix="w"))
    try:
        subprocess.run([command("mount"), "-t", "tmpfs", "-o", f"size={ROOM_BYTES},mode=700", "tmpfs", str(place)], check=True)
        try:
            yield place
        finally:
            subprocess.run([command("umount"), "-l", str(place)], check=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def send_signal(pid: int, number: int) -> None:
    """A process may have ended meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
