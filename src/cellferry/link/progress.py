"""How far a transfer has come, told in one line that changes, once it takes more than half a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from cellferry.parcels.placeholder import human_bytes

_PATIENCE_S = 0.5
_STEP_S = 0.2
_CELLS = 24


class Progress:
    """One transfer of ``total_bytes``. ``show`` gets the whole line each time; ``""`` takes it away."""

    def __init__(
        self, what: str, total_bytes: int, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._total, self._show, self._clock = what, total_bytes, show, clock
        self._moved = 0
        self._began = clock()
        self._next = self._began + _PATIENCE_S
        self._shown = False

    def moved(self, size_bytes: int) -> None:
        """So many more bytes have arrived."""
        self._moved += size_bytes
        now = self._clock()
        if size_bytes and now >= self._next:
            self._next, self._shown = now + _STEP_S, True
            self._show(bar(self._what, self._moved, self._total, now - self._began))

    def done(self) -> None:
        """Nothing more comes, whether all went well or not."""
        if self._shown:
            self._show("")


def bar(what: str, moved: int, total: int, seconds: float) -> str:
    """``sending  [######------]  1.2 GiB of 4.0 GiB  310.0 MiB/s``. Pure."""
    share = min(1.0, moved / total) if total else 1.0
    filled = round(share * _CELLS)
    speed = f"  {human_bytes(int(moved / seconds))}/s" if seconds else ""
    return f"{what}  [{'#' * filled}{'-' * (_CELLS - filled)}]  {human_bytes(moved)} of {human_bytes(total)}{speed}"
