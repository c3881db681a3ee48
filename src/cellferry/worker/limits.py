"""What the user is told when money or the machine comes to an end, and the interrupt that follows.

``LeaseWatch`` decides when; its thread calls ``tick``, ``interrupt`` and ``kill`` here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from cellferry.model import LAST_S
from cellferry.worker.kernel import Kernel
from cellferry.worker.lease import LeaseWatch

NOTICE = "notice"
"""File in the worker's folder, written in one step by whoever hears it from the provider: the machine will be taken away.
``{"what": "...", "at_unix_s": ...}``."""
WARN_AT = 0.8
SPARE_S = 30.0
"""So long before the machine is gone a cell is interrupted: its results must get home. Never more than half of what is left."""

WHY = {
    "money": "the worker's money is spent",
    "notice": "the provider takes the machine back",
    "cell": "the cell has reached its limit (budget= or timeout=)",
}


class Limits:
    """Warnings, notices and interrupts of one worker."""

    def __init__(self, folder: Path, kernel: Kernel, microusd_per_hour: int = 0, name: str = "NAME") -> None:
        self._notice, self._kernel, self._microusd_per_hour, self._name = folder / NOTICE, kernel, microusd_per_hour, name
        self._warned_of: float | None = None
        self._taken_at: float | None = None
        self.interrupted = ""
        """Why a cell was interrupted last, "" for never; in the worker's status."""

    def tick(self, lease: LeaseWatch) -> None:
        """Look for a notice, and whether it is time to warn; called about once a second."""
        self._look_for_notice(lease)
        ends, since = lease.lease.ends_unix_s, lease.lease.since_unix_s
        if ends is None or since is None or self._warned_of == ends:
            return
        now = time.time()
        if now >= since + WARN_AT * (ends - since):
            self._warned_of = ends
            spent = ""
            if self._microusd_per_hour:
                dollars = self._microusd_per_hour * (now - since) / 3600e6
                spent = f" (${dollars:.2f} so far)" if dollars >= 0.01 else f" (${dollars:.4f} so far)"
            self._kernel.say(
                f"{WARN_AT:.0%} of this worker's money is spent{spent}: it ends in {_span(ends - now)}, running cells are "
                f"interrupted then; for more: %remote extend {self._name} AMOUNT"
            )

    def interrupt(self, why: str) -> None:
        """Interrupt the running cell and tell its client why."""
        self.interrupted = why
        self._kernel.say(f"{WHY[why]}: the cell is interrupted, what it has made comes home", why)
        self._kernel.interrupt()

    def terminate(self, why: str) -> None:
        """The cell did not listen: its kernel, and what it started in its group, may still put things in order."""
        self._kernel.say(f"{WHY[why]}, and it goes on in spite of interrupts: its kernel is ended")
        self._kernel.terminate(f"{WHY[why]}, and it did not listen to interrupts")

    def kill(self, why: str) -> None:
        """Not even that helped."""
        self._kernel.kill(f"{WHY[why]}, and it did not listen to interrupts")

    def _look_for_notice(self, lease: LeaseWatch) -> None:
        try:
            told = json.loads(self._notice.read_text("utf-8"))
            at, what = float(told["at_unix_s"]), str(told["what"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if at == self._taken_at:
            return
        self._taken_at = at
        left = max(0.0, at - time.time())
        lease.must_end(at - max(LAST_S, min(SPARE_S, left / 2)), "notice")
        self._kernel.say(f"{what}: the machine is gone in {_span(left)}; a running cell is interrupted before that")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
