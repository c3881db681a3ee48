"""The worker as one object: what the routes show and do, and how it ends."""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellferry import __version__
from cellferry.guest.stops import TURN, Turn
from cellferry.model import PROTOCOL
from cellferry.worker.acceptor import Acceptor
from cellferry.worker.decisions import Decisions
from cellferry.worker.keeper import ENDED, EXIT_CODES
from cellferry.worker.kept import note_lost
from cellferry.worker.kernel import Kernel, tail
from cellferry.worker.lease import LeaseWatch, agreed_end, boottime
from cellferry.worker.limits import Limits
from cellferry.worker.runs import listing
from cellferry.worker.settings import WorkerSettings, write_atomically

if TYPE_CHECKING:
    from cellferry.worker.metrics import Sampler

WHY_ENDED = {"money": "its money was spent", "notice": "the provider took its machine back"}
"""For a client that hears of the kernel's end before that of the worker."""
TERM_S = 1.0
"""How long the kernel and what it started may take to end by themselves."""
END_MOST_S = 10.0
"""How long all of an end may take before this process leaves the rest to its keeper."""


@dataclass(frozen=True)
class WorkerCore:
    """Put together by ``launcher``; used by the HTTP routes. All methods may be called from every thread."""

    folder: Path
    settings: WorkerSettings
    kernel: Kernel
    lease: LeaseWatch
    acceptor: Acceptor
    limits: Limits
    decisions: Decisions

    @cached_property
    def sampler(self) -> Sampler:
        """What the machine does; begun by the server, which comes after the kernel."""
        from cellferry.worker.metrics import Sampler

        sampler = Sampler()
        sampler.start()
        return sampler

    @property
    def work(self) -> Path:
        """The directory that remote cells run in."""
        return self.folder / "work"

    def status(self) -> dict[str, Any]:
        """The answer of ``GET /cellferry/v1/status``; fields are only ever added.

        ``kernel.exitcode``, ``signal``, ``oom`` and ``log_tail`` tell how the previous kernel ended
        (``ended_generation``, ``ended_s_ago``); before any has ended they are empty.
        """
        return {
            "protocol": PROTOCOL,
            "version": __version__,
            "worker_id": self.settings.worker_id,
            "kernel": self._kernel_status(),
            "lease": self._lease_status(),
            "decisions": self.decisions.last(),
            "work": str(self.work),
            "cwd": self._cwd(),
            "disk_free_bytes": shutil.disk_usage(self.folder).free,
            **_memory(),
        }

    def _cwd(self) -> str:
        """Where its cells run at the moment: the kernel's working directory, which may be the notebook's own folder."""
        try:
            return os.readlink(f"/proc/{self.kernel.view().pid}/cwd")  # noqa: PTH115 - no file of ours
        except OSError:
            return str(self.work)

    def runs(self) -> list[dict[str, Any]]:
        """The answer of ``GET /cellferry/v1/runs``: see ``worker.runs.listing``."""
        return listing(self.folder / "runs")

    def interrupt(self, run: str = "") -> None:
        """Interrupt what the kernel runs, or ``run`` alone, wherever that is on its way."""
        if not run:
            self.kernel.interrupt()  # from here: it arrives also while a C call holds the interpreter
        elif not Turn(self.folder / TURN).signal(run, self.kernel.interrupt):
            self.kernel.stop_run(run)

    def _kernel_status(self) -> dict[str, Any]:
        view = self.kernel.view()
        end = view.last_end
        return {
            "state": view.state,
            "pid": view.pid,
            "ready": view.ready,
            "generation": view.generation,
            "exitcode": end.exitcode if end else None,
            "signal": end.signal if end else None,
            "oom": bool(end and end.oom),
            "asked": bool(end and end.asked),
            "why": end.why if end else "",
            "ended_generation": end.generation if end else None,
            "ended_s_ago": boottime() - end.at_s if end else None,
            "log_tail": end.log_tail if end else tail(self.folder / "kernel.log", 1000),
        }

    def _lease_status(self) -> dict[str, Any]:
        facts, lease = self.lease.facts(), self.lease.lease
        return {
            "idle_s": lease.idle_s,
            "grace_s": lease.grace_s,
            "ends_unix_s": lease.ends_unix_s,
            "interrupted": self.limits.interrupted,
            "links": facts.links,
            "busy": facts.busy,
            "ends_in_s": self.lease.remaining_s(),
        }

    def extend(self, told: dict[str, Any]) -> None:
        """Another lease from now on: ``idle_s``, ``ends_unix_s``; what is not told stays. Raises TypeError, ValueError.

        ``ends_in_s``: the same end from now on, which counts where the clocks of both ends disagree: somebody set one.
        """
        lease = self.lease.lease
        ends, idle_s = told.get("ends_unix_s", lease.ends_unix_s), told.get("idle_s", lease.idle_s)
        ends = None if ends is None else agreed_end(float(ends), told.get("ends_in_s"), time.time())
        self.lease.extend(replace(lease, idle_s=float(idle_s), ends_unix_s=ends))
        # for a watchdog of the machine's own, where the provider has one
        write_atomically(self.folder / "lease.json", {"ends_unix_s": ends})

    def note_kernel_end(self) -> None:
        """The kernel has ended: the lease counts anew, and ``status.json`` tells a client on this machine at once."""
        view = self.kernel.view()
        end = view.last_end
        if end is not None:
            note_lost(self.folder / "runs", view.pid)
            self.decisions.note("kernel ended", end.why or end.signal or f"exit code {end.exitcode}")
        self.lease.kernel_ended()
        try:
            write_atomically(self.folder / "status.json", self.status())
        except OSError:
            pass  # a full disk: the route says it as well, a little later

    def end(self, reason: str) -> None:
        """End the kernel, all that it started, and this process. Runs in the lease's thread; does not return."""
        last = threading.Timer(END_MOST_S, os._exit, (EXIT_CODES[reason],))  # whatever hangs below: the keeper does the rest
        last.daemon = True
        last.start()
        print(f"the worker ends: {reason}", flush=True)
        try:
            (self.folder / ENDED).write_text(reason, "utf-8")
        except OSError:
            pass  # a full disk, or the folder is gone: ending matters more than the note
        self.acceptor.close()
        (self.folder / "worker.sock").unlink(missing_ok=True)
        self.kernel.end(term_s=TERM_S, why=WHY_ENDED.get(reason, ""))
        # The server holds nothing that must be written, and its loop may be stuck: no orderly end is waited for.
        os._exit(EXIT_CODES[reason])


def _memory() -> dict[str, int]:
    """Size of the machine's memory and what is left of it; empty where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return {}
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return {
        "memory_total_bytes": values.get("MemTotal", 0),
        "memory_available_bytes": values.get("MemAvailable", 0),
    }
