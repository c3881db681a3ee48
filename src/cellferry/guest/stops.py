"""Which run an interrupt is for, and what has become of that run meanwhile.

An interrupt is a signal to the whole kernel, and a signal finds whatever runs just then. A cell that is still waiting for its turn,
or being unpacked, has nothing yet that a signal could end (ipykernel ignores it there); a cell that is over has nothing any more.
"""

from __future__ import annotations

import threading
from typing import Literal

Verdict = Literal["signal", "later", "dropped", "over"]
"""What an interrupt comes to: the user's code runs and gets the signal; it will be interrupted before its first line; it had not
begun and never will; there is nothing to interrupt."""


class Stops:
    """The runs of one kernel. All methods may be called from every thread."""

    def __init__(self) -> None:
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
        if asked:
            raise KeyboardInterrupt

    def executed(self) -> None:
        """The user's code is over."""
        self._executing = ""

    def asked(self, run: str) -> bool:
        """Whether the run is to be interrupted as soon as it can be."""
        return run in self._asked

    def over(self, run: str) -> None:
        """Nothing of it will run any more."""
        with self._lock:
            for runs in (self._begun, self._asked, self._dropped):
                runs.discard(run)

    def stop(self, run: str, *, waits: bool) -> Verdict:
        """Somebody interrupts ``run``. ``waits``: it has not ended, as far as the caller knows."""
        with self._lock:
            if run == self._executing:
                return "signal"
            if not waits:
                return "over"
            if run in self._begun:
                self._asked.add(run)
                return "later"
            self._dropped.add(run)
            return "dropped"
