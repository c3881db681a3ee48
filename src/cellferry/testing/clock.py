"""A clock that only the test moves."""

from __future__ import annotations


class FakeClock:
    """Call it for the time in seconds; ``clock.now_s += 60`` lets a minute pass. For whatever takes a clock as argument."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
