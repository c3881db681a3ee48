"""A bare ``ipykernel`` through ``jupyter_client``: what a local cell costs."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from benchmarks import leaks
from benchmarks.contender import Samples, Step, timed, timed_each
from benchmarks.notebook import LineWatch, Notebook, printing_cell
from benchmarks.pages import proportional_bytes


class BareKernel:
    """Cells run in the notebook's own kernel; nothing is remote."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {
            "tiny": self.tiny, "value": self.value, "lines": self.lines, "rate": self.rate, "cold": self.cold,
            "at-once": self.at_once,
        }
        self._notebook: Notebook | None = None
        self._turn = 0

    def setup(self) -> None:
        """Start the kernel, up to its first reply."""
        self._notebook = Notebook()
        self._notebook.run("pass")

    def teardown(self) -> None:
        """End the kernel."""
        if self._notebook is not None:
            self._notebook.close()

    def tiny(self, count: int) -> Samples:
        """Round trips of ``pass``."""
        return {"cell_s": timed_each(lambda: self._open().run("pass"), count)}

    def value(self, count: int) -> Samples:
        """Round trips with a small value out and a small value home."""
        return {"cell_s": [self._one_value() for _ in range(count)]}

    def lines(self, count: int) -> Samples:
        """A cell that prints many lines."""
        watch = LineWatch()
        self._open().run(printing_cell(count), seen=watch)
        return watch.finish(count)

    def rate(self, count: int) -> Samples:
        """Tiny cells in a row: seconds for each."""
        return {"cell_s": [sum(self.tiny(count)["cell_s"]) / count]}

    def cold(self) -> Samples:
        """Import, start and first reply; ``start_s`` without the import."""
        importing_s = timed(_import_client)
        start_s = timed(self.setup)
        return {"first_s": [importing_s + start_s], "start_s": [start_s]}

    def at_once(self, count: int) -> Samples:
        """Seconds until ``count`` kernels have been started and used, and until all have ended; their memory."""
        before = leaks.marked(os.environ[leaks.MARK])
        with ThreadPoolExecutor(count) as pool:
            begun = time.perf_counter()
            notebooks = list(pool.map(lambda _number: _used(), range(count)))
            used = time.perf_counter()
            pids = leaks.marked(os.environ[leaks.MARK]).keys() - before.keys()
            proportional = proportional_bytes(pids)
            down = time.perf_counter()
            list(pool.map(Notebook.close, notebooks))
            ended = time.perf_counter()
        return {"used_s": [used - begun], "ended_s": [ended - down], "pss_b": [float(proportional)]}

    def _one_value(self) -> float:
        self._turn += 1
        begin = time.perf_counter()
        texts = self._open().run(f"x = {self._turn}\ny = x + 1", {"y": "y"})
        taken = time.perf_counter() - begin
        assert texts["y"] == str(self._turn + 1)
        return taken

    def _open(self) -> Notebook:
        assert self._notebook is not None
        return self._notebook


def _used() -> Notebook:
    notebook = Notebook()
    notebook.run("y = 1 + 1")
    return notebook


def _import_client() -> None:
    importlib.import_module("jupyter_client.manager")
