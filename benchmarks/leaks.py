"""Did every process end? All that the benchmark starts carries one variable in its environment, however it detaches."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "CELLFERRY_BENCHMARK_RUN"
POLL_S = 0.25


def marked(run_id: str) -> dict[int, str]:
    """Live processes of this run, other than this one: pid -> command line."""
    found: dict[int, str] = {}
    needle = f"{MARK}={run_id}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = command.strip()
    return found


def still_running(run_id: str, patience_s: float) -> dict[int, str]:
    """Processes of this run that are there after ``patience_s`` seconds (leases and grace times need a few)."""
    end = time.monotonic() + patience_s
    while (found := marked(run_id)) and time.monotonic() < end:
        time.sleep(POLL_S)
    return found


def end_by_force(pids: dict[int, str]) -> None:
    """Kill what was left over; only processes that carry the run's mark get here."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
