"""Space on the worker's disk that is kept free, so that a cell can still be written down, and clean up, when the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cellferry.parcels.bare import advice_of, says
from cellferry.parcels.parcel import Refused

RESERVE_BYTES = 1 << 20
STEP_BYTES = 64 << 10
"""One run's own files take a few blocks; the rest of a step is for what the cell needs to clean up."""
SPARE_BYTES = 4 * RESERVE_BYTES
"""The reserve is filled again only where so much is free: it must not take what a cell has just won."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


class Reserve:
    """A file of ``RESERVE_BYTES`` that gives way step by step. Not safe for several threads at once: ``Queue`` holds a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._fill()

    def write(self, act: Callable[[], T]) -> tuple[T, bool]:
        """What ``act`` returns, and whether the reserve had to give way for it. ``act`` is repeated, so it must replace what
        it began. Raises its OSError, ENOSPC once nothing is left to give."""
        spent = False
        while True:
            try:
                return act(), spent
            except OSError as error:
                if error.errno not in NO_ROOM or not self._spend():
                    raise
                spent = True

    def refill(self) -> None:
        """Take the space back that there is again; called when a run has ended."""
        if self._size < RESERVE_BYTES:
            self._fill()

    def _spend(self) -> bool:
        if not self._size:
            return False
        self._size = max(0, self._size - STEP_BYTES)
        try:
            os.truncate(self._path, self._size)
        except OSError:
            self._size = 0
        return True

    def _fill(self) -> None:
        try:
            space = os.statvfs(self._path.parent)
            if space.f_bavail * space.f_frsize < SPARE_BYTES:
                return
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, RESERVE_BYTES)
            finally:
                os.close(file)
            self._size = RESERVE_BYTES
        except OSError:
            return  # a disk that is small, or full from the start, has no reserve


def refusal(error: BaseException) -> dict[str, Any]:
    """The frame that tells a client why its cell was not taken; ``no_room``: because the disk is full; ``root``: the value
    that is to blame, "" where none is; ``advice``: what to do, where the error knows."""
    root, reason = (error.name, error.reason) if isinstance(error, Refused) else ("", error)
    no_room = isinstance(reason, OSError) and reason.errno in NO_ROOM
    about = {"error": type(reason).__name__, "what": says(reason), "advice": advice_of(reason)}
    return {"op": "refused", **about, "root": root, "no_room": no_room}
