"""How long, by a clock that nobody can set: what a machine costs follows the time that has gone by, not what a wall clock says.

The clock of the kernel since its boot goes on while the machine sleeps, and is the same for every process of the machine. Where two
moments lie in one boot, the time between them is its; elsewhere (another machine, after a restart) only wall clocks are left.
"""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from pathlib import Path

from cellferry.model import Lease

BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot_s() -> float:
    """Seconds since the boot of this machine, those in which it slept included."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@functools.cache
def boot() -> str:
    """Which boot of which machine this is; "" where the system does not say."""
    try:
        return BOOT.read_text("ascii").strip()
    except OSError:
        return ""


def since_now(lease: Lease) -> Lease:
    """The lease, whose money begins to flow at this moment, with that moment on the boot's clock as well."""
    return replace(lease, since_boot_s=boot_s(), boot=boot())


def steady_now(lease: Lease, wall_unix_s: float, boot_now_s: float, this_boot: str) -> float:
    """Now, in seconds since 1970, on the wall clock as it was set when the lease's money began to flow. Pure.

    ``wall_unix_s``: what the wall clock says now, which counts where nothing better is known.
    """
    known = lease.boot and lease.boot == this_boot and lease.since_unix_s is not None and lease.since_boot_s is not None
    if not known:
        return wall_unix_s
    assert lease.since_unix_s is not None and lease.since_boot_s is not None
    return lease.since_unix_s + max(0.0, boot_now_s - lease.since_boot_s)


def now_for(lease: Lease) -> float:
    """``steady_now`` of this process."""
    return steady_now(lease, time.time(), boot_s(), boot())


class Stopwatch:
    """Measures one span. ``began_unix_s``: when, by the wall clock of then."""

    def __init__(self) -> None:
        self.began_unix_s, self._began_s = time.time(), boot_s()

    @property
    def seconds(self) -> float:
        """Since it was made; never negative, whoever sets the wall clock meanwhile."""
        return max(0.0, boot_s() - self._began_s)
