"""Ray: an actor in another process, values through its shared-memory object store."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.contender import Samples, Step, payload, same_ends, timed_each, timed_setup
from benchmarks.pages import warm_pages

STORE_BYTES = 4608 << 20
"""Room for four payloads of 1 GiB, so that nothing is evicted or spilled to disk."""


def _actor_class(ray: Any) -> Any:
    """The actor; made in a function because its decorator needs Ray."""

    @ray.remote
    class Actor:
        def nothing(self) -> None:
            pass

        def add(self, x: int) -> int:
            return x + 1

        def ends(self, array: Any, copy: bool) -> tuple[float, float]:
            kept = array.copy() if copy else array
            return float(kept[0]), float(kept[-1])

        def make(self, size: int, turn: int) -> None:
            import numpy as np

            count = size // 8
            self.made = np.arange(turn * count, (turn + 1) * count, dtype="f8")

        def give(self) -> Any:
            return self.made

    return Actor


class RayPeer:
    """One actor on one CPU, no dashboard; authentication by token is Ray's default and stays on."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {
            "tiny": self.tiny, "value": self.value, "array": self.array, "rate": self.rate, "cold": self.cold,
        }
        self._ray: Any = None
        self._actor: Any = None
        self._turn = 0

    def setup(self) -> None:
        """Import Ray, start it, get the first result of an actor."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        self._ray = ray
        ray.init(
            num_cpus=1, include_dashboard=False, object_store_memory=STORE_BYTES, log_to_driver=False,
            logging_level=logging.ERROR, _temp_dir=tempfile.mkdtemp(prefix="ray-"),
        )
        self._actor = _actor_class(ray).remote()
        ray.get(self._actor.nothing.remote())

    def teardown(self) -> None:
        """End Ray's processes."""
        if self._ray is not None:
            self._ray.shutdown()

    def tiny(self, count: int) -> Samples:
        """Actor calls that do nothing."""
        return {"cell_s": timed_each(lambda: self._ray.get(self._actor.nothing.remote()), count)}

    def value(self, count: int) -> Samples:
        """Actor calls with a small value each way."""
        return {"cell_s": timed_each(self._add, count)}

    def rate(self, count: int) -> Samples:
        """Actor calls in a row: seconds for each."""
        return {"cell_s": [sum(self.tiny(count)["cell_s"]) / count]}

    def array(self, size: int, turn: int) -> Samples:
        """One array out, another home: as Ray gives it (read-only), and made writable by the receiver."""
        return {
            "out_s": [self._out(size, 2 * turn, copy=False)],
            "out_writable_s": [self._out(size, 2 * turn + 1, copy=True)],
            "home_s": [self._home(size, 2 * turn, copy=False)],
            "home_writable_s": [self._home(size, 2 * turn + 1, copy=True)],
        }

    def cold(self) -> Samples:
        """Import, start, first result."""
        return timed_setup(self)

    def _add(self) -> None:
        self._turn += 1
        assert self._ray.get(self._actor.add.remote(self._turn)) == self._turn + 1

    def _out(self, size: int, turn: int, copy: bool) -> float:
        array = payload(size, turn)
        warm_pages(2 * size)
        begin = time.perf_counter()
        ends = self._ray.get(self._actor.ends.remote(self._ray.put(array), copy))
        taken = time.perf_counter() - begin
        same_ends(ends, size, turn)
        return taken

    def _home(self, size: int, turn: int, copy: bool) -> float:
        self._ray.get(self._actor.make.remote(size, turn))
        warm_pages(2 * size)
        begin = time.perf_counter()
        array = self._ray.get(self._actor.give.remote())
        if copy:
            array = array.copy()
        taken = time.perf_counter() - begin
        same_ends((array[0], array[-1]), size, turn)
        return taken
