"""Sent as text to the notebook kernel and run there: times ``%%remote`` from inside, as the local cell feels it.

Names begin with ``_bench_`` so that no cell under test can mean them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.getipython import get_ipython

_bench_shell: Any = get_ipython()


def _bench_remote(body: str, count: int = 1) -> list[float]:
    """Seconds of each of ``count`` runs of the same remote cell."""
    taken = []
    for _ in range(count):
        begin = time.perf_counter()
        _bench_shell.run_cell_magic("remote", "", body)
        taken.append(time.perf_counter() - begin)
    return taken


def _bench_small_values(count: int, start: int) -> list[float]:
    """Seconds of ``y = x + 1`` with a new ``x`` each time; ``y`` must be home when it returns."""
    taken = []
    for number in range(start, start + count):
        _bench_shell.user_ns["x"] = number
        taken += _bench_remote("y = x + 1")
        if _bench_shell.user_ns["y"] != number + 1:
            raise AssertionError("y did not come home")
    return taken


def _bench_payload(name: str, size: int, turn: int) -> None:
    """Bind ``name`` to a new float64 array of ``size`` bytes without repeating chunks (see ``contender.payload``)."""
    import numpy as np

    count = size // 8
    _bench_shell.user_ns[name] = np.arange(turn * count, (turn + 1) * count, dtype="f8")


def _bench_hash(name: str) -> float:
    """Seconds to hash an array once with XXH3-128, in one thread."""
    import xxhash

    view = memoryview(_bench_shell.user_ns[name]).cast("B")
    begin = time.perf_counter()
    xxhash.xxh3_128_digest(view)
    return time.perf_counter() - begin


def _bench_load() -> float:
    """Seconds of ``%load_ext cellferry``."""
    begin = time.perf_counter()
    _bench_shell.run_line_magic("load_ext", "cellferry")
    return time.perf_counter() - begin
