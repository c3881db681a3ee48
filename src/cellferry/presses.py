"""The user's interrupts while something remote goes on: each is counted, and none falls between two steps.

Python's own way, a KeyboardInterrupt wherever the program happens to be, suits code that may be left at any moment. A cell that runs
elsewhere may not: what is interrupted must be told so first, and a second press must find the first one dealt with, not the code
that deals with it.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

ESCAPE = 3
"""The press that ends even the tidying up after the first one."""


def _nothing() -> None:
    pass


class Presses:
    """A region of the program in which SIGINT comes here. In it a press raises KeyboardInterrupt as ever, but

    - not while ``held``: then it is only counted, and ``take`` tells;
    - not again while the first one is on its way out of the region, before the third.

    Does nothing in a thread that gets no signals, and where SIGINT is ignored.
    """

    def __init__(self) -> None:
        self.count = 0
        self._seen = self._holds = 0
        self._leaving = 0
        self._patience: float = math.inf
        self._wake: Callable[[], object] = _nothing
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):  # else it is ignored, or ends the process: as somebody wants it
                self._before = before
                signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
        if error is None and self.take():
            raise KeyboardInterrupt

    def _pressed(self, _signum: int, _frame: object) -> None:
        self.count += 1
        self._wake()
        if self._holds and self.count - self._seen < self._patience:
            return
        if self._leaving:
            self._leaving += 1
            if self._leaving < ESCAPE:
                self._seen = self.count
                return
        else:
            self._leaving = 1
        self._seen = self.count
        raise KeyboardInterrupt

    @contextmanager
    def held(self, wake: Callable[[], object] = _nothing, *, patience: float = math.inf) -> Iterator[None]:
        """No press raises in here, up to that many; ``wake`` is called with each, by the signal's handler."""
        before = self._wake, self._patience
        self._wake, self._patience = wake, patience
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._wake, self._patience = before

    @contextmanager
    def raising(self) -> Iterator[None]:
        """A press raises again in here, inside of ``held``; first those that nobody has dealt with."""
        holds, self._holds, self._leaving = self._holds, 0, 0
        try:
            if self.take():
                raise KeyboardInterrupt
            yield
        finally:
            self._holds = holds
            self._leaving = 0

    def take(self) -> bool:
        """Whether there is a press that nobody has dealt with; the caller does, with one."""
        if self._seen >= self.count:
            return False
        self._seen += 1
        return True

    def put_back(self) -> None:
        """The one that was raised is to be dealt with by whoever asks next."""
        self._seen = max(0, self._seen - 1)


@contextmanager
def one_less() -> Iterator[None]:
    """While an error is shown, the cell is over: an interrupt would only hide why it failed. The next one is obeyed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    signal.signal(signal.SIGINT, lambda _signum, _frame: signal.signal(signal.SIGINT, before))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def unbroken() -> Iterator[None]:
    """No press is dealt with in here; those that came are afterwards, as one. For the moment in which a process or a folder is
    made: broken off in the middle of that, whoever cleans up would not know of it."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    presses: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *press: presses.append(press))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if presses:
            before(*presses[-1])
