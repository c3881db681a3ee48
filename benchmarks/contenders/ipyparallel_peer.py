"""ipyparallel: one engine; cells through ``%%px``, values through push and pull."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.contender import Samples, Step, payload, same_ends, timed_each, timed_setup
from benchmarks.pages import warm_pages

MAKE = """
import numpy as np
y = np.arange({turn} * {size} // 8, ({turn} + 1) * {size} // 8, dtype="f8")
"""


class IpyparallelPeer:
    """A controller, a hub and one engine on this machine, plain or with CurveZMQ."""

    def __init__(self, curve: bool) -> None:
        self.steps: Mapping[str, Step] = {
            "tiny": self.tiny, "value": self.value, "array": self.array, "rate": self.rate, "lines": self.lines,
            "cold": self.cold,
        }
        self._curve = curve
        self._cluster: Any = None
        self._view: Any = None
        self._shell: Any = None
        self._turn = 0

    def setup(self) -> None:
        """Import ipyparallel, start its cluster, run the first cell in an IPython shell with ``%%px``."""
        import ipyparallel  # type: ignore[import-untyped]
        from IPython.core.interactiveshell import InteractiveShell

        arguments = [f"--IPController.enable_curve={self._curve}"]
        self._cluster = ipyparallel.Cluster(n=1, log_level=40, controller_args=arguments)
        client = self._cluster.start_and_connect_sync(activate=False)
        self._view = client[0]
        self._shell = InteractiveShell.instance()
        self._view.block = True
        self._view.activate()
        self._px("pass")

    def teardown(self) -> None:
        """End engine and controller."""
        if self._view is not None:
            self._view.client.close()
        if self._cluster is not None:
            self._cluster.stop_cluster_sync()

    def tiny(self, count: int) -> Samples:
        """``%%px`` cells that do nothing."""
        return {"cell_s": timed_each(lambda: self._px("pass"), count)}

    def value(self, count: int) -> Samples:
        """``x`` pushed, ``y = x + 1`` run, ``y`` pulled."""
        return {"cell_s": timed_each(self._one_value, count)}

    def rate(self, count: int) -> Samples:
        """``%%px`` cells in a row: seconds for each."""
        return {"cell_s": [sum(self.tiny(count)["cell_s"]) / count]}

    def array(self, size: int, turn: int) -> Samples:
        """One array pushed, another pulled."""
        return {"out_s": [self._out(size, turn)], "home_s": [self._home(size, turn)]}

    def lines(self, count: int) -> Samples:
        """A ``%%px`` cell that prints many lines; the output is watched as it comes in."""
        begin = time.perf_counter()
        result = self._view.execute(f"for _i in range({count}): print(_i)", block=False)
        first_s = None
        while not (result.ready() and result.stdout.count("\n") == count):
            result.wait_for_output(0.001) if result.ready() else result.wait(0.001)
            if first_s is None and result.stdout:
                first_s = time.perf_counter() - begin
        total_s = time.perf_counter() - begin
        if result.stdout.splitlines() != [str(number) for number in range(count)]:
            raise AssertionError("lines are missing or out of order")
        return {"total_s": [total_s], "first_s": [total_s if first_s is None else first_s]}

    def cold(self) -> Samples:
        """Import, start, first result."""
        return timed_setup(self)

    def _px(self, body: str) -> None:
        self._shell.run_cell_magic("px", "", body)

    def _one_value(self) -> None:
        self._turn += 1
        self._view.push({"x": self._turn})
        self._px("y = x + 1")
        assert self._view.pull("y") == self._turn + 1

    def _out(self, size: int, turn: int) -> float:
        array = payload(size, turn)
        warm_pages(2 * size)
        begin = time.perf_counter()
        self._view.push({"x": array})
        taken = time.perf_counter() - begin
        self._px("ends = (float(x[0]), float(x[-1])); del x")
        same_ends(self._view.pull("ends"), size, turn)
        return taken

    def _home(self, size: int, turn: int) -> float:
        self._px(MAKE.format(size=size, turn=turn))
        warm_pages(2 * size)
        begin = time.perf_counter()
        array = self._view.pull("y")
        taken = time.perf_counter() - begin
        self._px("del y")
        same_ends((array[0], array[-1]), size, turn)
        return taken
