"""Which run an interrupt is for, and what has become of that run meanwhile.

An interrupt is a signal to the whole kernel, and a signal finds whatever runs just then. A cell that is still waiting for its turn,
or being unpacked, has nothing yet that a signal could end (ipykernel ignores it there); a cell that is over has nothing any more.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

Verdict = Literal["signal", "later", "dropped", "over"]
"""What an interrupt comes to: the user's code runs and gets the signal; it will be interrupted before its first line; it had not
begun and never will; there is nothing to interrupt."""


TURN = "turn"
"""The file of ``Turn`` in the worker's folder."""
_NAME_BYTES = 256


class Turn:
    """Which run's code the kernel executes, in a file: the worker's server signals that kernel too, also while it holds its own
    interpreter. Who signals does so under the file's lock, so that no signal finds the run after the one that it is for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_now(self, run: str, flags: int = 0) -> None:
        """This run's code from now on; "": none's. ``flags``: for ``open``. Without the file (a full disk) nobody outside may signal."""
        with suppress(OSError), self._locked(os.O_WRONLY | flags) as file:
            os.pwrite(file, run.encode().ljust(_NAME_BYTES), 0)  # as long as ever: a full disk does not matter

    def signal(self, run: str, act: Callable[[], None]) -> bool:
        """Call ``act`` if it is this run's turn, which does not end meanwhile; whether it was."""
        with suppress(OSError), self._locked(os.O_RDONLY) as file:
            if os.pread(file, _NAME_BYTES, 0).rstrip() == run.encode():
                act()
                return True
        return False

    @contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        file = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


class Stops:
    """The runs of one kernel. All methods may be called from every thread. ``interrupt`` sends the signal."""

    def __init__(self, turn: Turn, interrupt: Callable[[], None]) -> None:
        self._turn, self._interrupt = turn, interrupt
        turn.is_now("", os.O_CREAT)
        self._lock = threading.Lock()
        self._begun: set[str] = set()
        self._asked: set[str] = set()
        self._dropped: set[str] = set()
        self._executing = ""

    def begin(self, run: str) -> bool:
        """It is this run's turn; False if it was dropped meanwhile, and must not run."""
        with self._lock:
            if run in self._dropped:
                return False
            self._begun.add(run)
            return True

    def execute(self, run: str) -> None:
        """From now on a signal finds the user's code. Raises KeyboardInterrupt if somebody has asked for that before."""
        with self._lock:
            self._executing = run
            asked = run in self._asked
            self._turn.is_now(run)
        if asked:
            raise KeyboardInterrupt

    def executed(self) -> None:
        """The user's code is over: an interrupt that comes for it finds nothing."""
        with self._lock:
            self._executing = ""
            self._turn.is_now("")

    def asked(self, run: str) -> bool:
        """Whether the run is to be interrupted as soon as it can be."""
        return run in self._asked

    def over(self, run: str) -> None:
        """Nothing of it will run any more."""
        with self._lock:
            for runs in (self._begun, self._asked, self._dropped):
                runs.discard(run)

    def stop(self, run: str, *, waits: bool) -> Verdict:
        """Somebody interrupts ``run``, which gets the signal if it executes. ``waits``: it has not ended, as far as the caller
        knows."""
        with self._lock:
            if run and run == self._executing:
                self._interrupt()  # under the lock: its code is not over before it has the signal
                return "signal"
            if not waits:
                return "over"
            if run in self._begun:
                self._asked.add(run)
                return "later"
            self._dropped.add(run)
            return "dropped"
