"""A bare ``ipykernel`` through ``jupyter_client``: what a local cell costs."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping

from benchmarks.contender import Samples, Step, timed, timed_each
from benchmarks.notebook import LineWatch, Notebook, printing_cell


class BareKernel:
    """Cells run in the notebook's own kernel; nothing is remote."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {
            "tiny": self.tiny, "value": self.value, "lines": self.lines, "rate": self.rate, "cold": self.cold,
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


def _import_client() -> None:
    importlib.import_module("jupyter_client.manager")
