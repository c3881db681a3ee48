"""Memory: warm pages before a timed step, and the peak of a process during one."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable
from pathlib import Path

KIB = 1024
PAGE = 4096


def warm_pages(size: int) -> None:
    """Touch and free ``size`` bytes, so that a timed step does not pay for pages that the machine's host took back.

    Works for other processes of the machine too, since the freed pages go to the kernel's common list.
    """
    import numpy as np

    area = mmap.mmap(-1, max(size, PAGE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_HUGEPAGE)
    pages = np.frombuffer(area, dtype="u1")
    pages[::PAGE] = 1
    del pages
    area.close()


def available_bytes() -> int:
    """Memory that can be used without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * KIB
    return 0


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * KIB
    return 0


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory of some processes together."""
    return sum(_status_bytes(pid, "VmRSS") for pid in pids)


def peak_bytes(pids: Iterable[int]) -> int:
    """The peaks of resident memory of some processes, added up; those that have ended count as zero."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += _status_bytes(pid, "VmHWM")
    return total


def proportional_bytes(pids: Iterable[int]) -> int:
    """What some processes use together, a page that several have mapped divided among them (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * KIB for line in lines if line.startswith("Pss:"))
    return total


class PeakMeter:
    """How far the resident memory of some processes rose above where it stood (sum of their peaks, bytes)."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._base: dict[int, int] = {}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM falls back to the present VmRSS
            self._base[pid] = _status_bytes(pid, "VmRSS")

    def rise(self) -> int:
        """Bytes above the start; processes that have ended count as zero."""
        total = 0
        for pid, base in self._base.items():
            try:
                total += max(0, _status_bytes(pid, "VmHWM") - base)
            except FileNotFoundError:
                continue
        return total
