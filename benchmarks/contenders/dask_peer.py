"""dask.distributed: one worker process, values sent to it directly and not through the scheduler."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.contender import Samples, Step, payload, same_ends, timed_each, timed_setup
from benchmarks.pages import warm_pages


def _nothing() -> None:
    pass


def _add(x: int) -> int:
    return x + 1


def _ends(array: Any) -> tuple[float, float]:
    return float(array[0]), float(array[-1])


class DaskPeer:
    """A local cluster of one worker with one thread, over TCP or over mutual TLS."""

    def __init__(self, tls: bool) -> None:
        self.steps: Mapping[str, Step] = {
            "tiny": self.tiny, "value": self.value, "array": self.array, "rate": self.rate, "cold": self.cold,
        }
        self._tls = tls
        self._library: Any = None
        self._cluster: Any = None
        self._client: Any = None
        self._turn = 0

    def setup(self) -> None:
        """Import dask, start a cluster, get the first result."""
        import distributed

        library: Any = distributed  # what is used of it is untyped
        secured = {"security": library.Security.temporary(), "protocol": "tls"} if self._tls else {}
        self._library = library
        self._cluster = library.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None, **secured
        )
        self._client = library.Client(self._cluster, direct_to_workers=True)
        self._call(_nothing)

    def teardown(self) -> None:
        """End client and cluster."""
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def tiny(self, count: int) -> Samples:
        """Tasks that do nothing."""
        return {"cell_s": timed_each(lambda: self._call(_nothing), count)}

    def value(self, count: int) -> Samples:
        """Tasks with a small value each way."""
        return {"cell_s": timed_each(self._one_value, count)}

    def rate(self, count: int) -> Samples:
        """Tasks in a row: seconds for each."""
        return {"cell_s": [sum(self.tiny(count)["cell_s"]) / count]}

    def array(self, size: int, turn: int) -> Samples:
        """One array scattered, another gathered, both directly."""
        return {"out_s": [self._out(size, turn)], "home_s": [self._home(size, turn)]}

    def cold(self) -> Samples:
        """Import, start, first result."""
        return timed_setup(self)

    def _call(self, function: Any, *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, pure=False).result()

    def _one_value(self) -> None:
        self._turn += 1
        assert self._call(_add, self._turn) == self._turn + 1

    def _out(self, size: int, turn: int) -> float:
        array = payload(size, turn)
        warm_pages(2 * size)
        begin = time.perf_counter()
        future = self._client.scatter(array, direct=True, hash=False)
        ends = self._call(_ends, future)
        taken = time.perf_counter() - begin
        same_ends(ends, size, turn)
        return taken

    def _home(self, size: int, turn: int) -> float:
        future = self._client.submit(payload, size, turn, pure=False)
        self._library.wait(future)
        warm_pages(2 * size)
        begin = time.perf_counter()
        array = self._client.gather(future, direct=True)
        taken = time.perf_counter() - begin
        same_ends((array[0], array[-1]), size, turn)
        return taken
