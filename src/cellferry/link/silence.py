"""A line for whoever waits for a kernel that gives no answer, though it should: no wait is without a text."""

from __future__ import annotations

import time
from pathlib import Path

from cellferry.screen import Screen

SILENT_S = 5.0
"""So long an answer may take that a kernel gives beside the cell that it runs, by threads of its own."""
FAR_SILENT_S = 10.0
"""As ``SILENT_S`` over a network, which is asked first whether it is to blame (``redial.SILENT_S`` and ``redial.ASK_S``)."""
BOOT_S = 20.0
"""So long a kernel may take to start on a busy machine."""
GOES_ON_S = 2.0
"""After so long a cell that was interrupted is shown to go on."""
_AGAIN = {1: "interrupt it again, or wait", 2: "a third interrupt ends its kernel, with all that lives only there"}


class Silence:
    """What one link has asked for and not been given. Times are on time.monotonic()."""

    def __init__(self, worker: str, silent_s: float = SILENT_S) -> None:
        """``silent_s``: so long an answer may take without a text."""
        self._worker, self._silent_s = worker, silent_s
        self._since_s: float | None = None
        self._due_s = silent_s
        self._shown = False
        self._presses = 0
        self._pressed_s = 0.0
        self.pid = 0
        """Of the kernel, where it is on this machine."""

    def asked(self, *, boots: bool = False) -> None:
        """An answer is due, from now on unless one is already; ``boots``: by a kernel that may have to start first."""
        if self._since_s is not None:
            return
        self._since_s, self._due_s = time.monotonic(), BOOT_S if boots and not _is_stopped(self.pid) else self._silent_s

    def heard(self) -> None:
        """Something came: the kernel lives."""
        self._since_s = None

    def pressed(self, times: int) -> None:
        """The user interrupts the running cell, for the n-th time; 0: it is over."""
        self._presses, self._pressed_s = times, time.monotonic()

    def show(self, screen: Screen) -> None:
        """Say it, or take it away again. Called now and then by the thread that waits."""
        text = self._text(time.monotonic())
        if text or self._shown:
            screen.progress(text)
        self._shown = bool(text)

    def _text(self, now_s: float) -> str:
        if self._since_s is not None and now_s - self._since_s >= self._due_s:
            stopped = _is_stopped(self.pid)
            why = "it is stopped (SIGSTOP)" if stopped else "it starts, is stopped, or runs code that holds the interpreter"
            ways = f"end it: interrupt, then %remote down {self._worker}"
            if self._presses:
                ways = _AGAIN.get(self._presses, "its kernel is being ended")
            return f"the kernel of {self._worker} has not answered for {now_s - self._since_s:.0f} s: {why}; {ways}"
        if self._presses and now_s - self._pressed_s >= GOES_ON_S:
            again = _AGAIN.get(self._presses, "its kernel is being ended")
            return f"the cell was interrupted {now_s - self._pressed_s:.0f} s ago and goes on on {self._worker}; {again}"
        return ""


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace") if pid else ""
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] in (["T"], ["t"])
