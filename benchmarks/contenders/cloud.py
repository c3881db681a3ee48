"""Workers of the simulated cloud, which are real processes of this machine: the first cell on one, and fifty at once."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import leaks
from benchmarks.contender import Samples, Step, timed
from benchmarks.notebook import Notebook
from benchmarks.pages import peak_bytes, proportional_bytes

PATIENCE_S = 150.0
CALM = {"stock_out": 0.0, "no_quota": 0.0, "spot_life_s": None, "boot_s": (0.0, 0.0)}
"""Nothing is sold out and a machine boots in no time: what is left is cellferry's own."""
CELL = "import numpy\ny = int(numpy.arange(4).sum())"
ON_DEMO = "provider=demo gpu=t4 budget=1"


class Cloud:
    """A notebook for the first cell; for many at once a fleet in this process, with a ledger of its own."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {"first-cell": self.first_cell, "at-once": self.at_once}
        self._folder = ""
        self._notebook: Notebook | None = None

    def setup(self) -> None:
        """A place for state and cache. The notebook is started by the step that needs it."""
        self._folder = tempfile.mkdtemp(prefix="cfd-")

    def teardown(self) -> None:
        """End the notebook and remove what was made."""
        if self._notebook is not None:
            self._notebook.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def first_cell(self) -> Samples:
        """Seconds of a cell's whole execute request when its worker must be found, paid for and started first: with its
        environment in the cache, with the notebook's own packages, and the same on a ``local`` worker, which is free."""
        return {
            "cached_s": [self._first(f"{ON_DEMO} env=auto")],
            "shared_s": [self._first(ON_DEMO)],
            "local_s": [self._first("provider=local")],
        }

    def _first(self, words: str) -> float:
        notebook = self._open()
        taken = timed(lambda: notebook.run(f"%%remote {words}\n{CELL}"))
        if notebook.value("y") != 6:
            raise AssertionError("y did not come home")
        notebook.run("del y\n%remote down --all")
        return taken

    def _open(self) -> Notebook:
        """The notebook, with everything in its cache that the step needs."""
        if self._notebook is None:
            environ = {"STATE_DIR": self._folder, "CACHE_DIR": f"{self._folder}/cache", "DEMO_WEATHER": repr(CALM)}
            self._notebook = Notebook(os.environ | {f"CELLFERRY_{name}": value for name, value in environ.items()})
            self._notebook.run("%load_ext cellferry")
            for words in (f"{ON_DEMO} env=auto", ON_DEMO, "provider=local"):
                self._first(words)
        return self._notebook

    def at_once(self, count: int) -> Samples:
        """Seconds until ``count`` workers have been found, reserved, started and used, and until all have ended; memory
        of all their processes: peaks (pages that they share counted for each), and what they use with shares divided."""
        with _Fleet(self._folder) as fleet, ThreadPoolExecutor(count) as pool:
            before = leaks.marked(os.environ[leaks.MARK])
            begun = time.perf_counter()
            tokens = list(pool.map(fleet.use, [f"w{number}" for number in range(count)]))
            used = time.perf_counter()
            pids = leaks.marked(os.environ[leaks.MARK]).keys() - before.keys()
            peak, proportional = peak_bytes(pids), proportional_bytes(pids)
            down = time.perf_counter()
            fleet.end(tokens)
            ended = time.perf_counter()
        return {
            "used_s": [used - begun], "ended_s": [ended - down], "each_s": [(used - begun + ended - down) / count],
            "peak_b": [float(peak)], "pss_b": [float(proportional)], "pss_each_b": [proportional / count],
        }  # fmt: skip


class _Fleet:
    """A fleet on the simulated cloud with a ledger of its own."""

    def __init__(self, folder: str) -> None:
        from cellferry.config import Cellferry
        from cellferry.fleet.fleet import Fleet

        self._state = tempfile.mkdtemp(dir=folder)
        self._fleet = Fleet(Cellferry(state_dir=self._state, demo_weather=CALM), "benchmark.ipynb")

    def __enter__(self) -> _Fleet:
        return self

    def use(self, name: str) -> str:
        """One worker, and one cell on it; the token of its money."""
        from cellferry.model import CellRequest, Hardware

        request = CellRequest(Hardware(gpu="t4", gpu_count=1), providers=("demo",), budget_microusd=1_000_000, name=name)
        worker, _fresh = self._fleet.acquire(request, lambda _line: None)
        _run_cell(worker.endpoint, name)
        return worker.token

    def end(self, tokens: list[str]) -> None:
        """All of them. Raises unless every machine is gone and every reservation is settled."""
        self._fleet.down()
        left = [*self._fleet.provider("demo").machines(), *self._fleet.purse.open()]  # type: ignore[attr-defined]
        rows = [self._fleet.purse.spent(token) for token in tokens]
        if left or not all(row and row.state == "ended" and row.spent_microusd > 0 for row in rows):
            raise AssertionError(f"not all has ended and is settled: {left}")

    def __exit__(self, *_exc: object) -> None:
        self._fleet.down()
        self._fleet.close()


def _run_cell(endpoint: Any, name: str) -> None:
    """``y = 1 + 1`` through a link as the notebook's."""
    from cellferry.link.session import KernelLink
    from cellferry.parcels.context import Unpacking
    from cellferry.parcels.packing import pack
    from cellferry.parcels.plan import PackPlan

    screen: Any = None
    values: dict[str, Any] = {}
    link = KernelLink(endpoint, screen, values, name, lambda _closed: None)
    link.open()
    try:
        frame = {
            "code": "y = 1 + 1", "above": "", "cell_id": None, "number": 1, "parent": {}, "stdin": False, "unbind": [],
            "returns": None, "fetch_limit": 1 << 20, "file": None, "cells": {}, "flags": 0, "unchanged": [], "imports": [],
            "submodules": [],
        }  # fmt: skip
        link.run(frame, pack(link.heap, values, PackPlan()))
        home = link.home(Unpacking(values), time.monotonic() + PATIENCE_S)
        if home.frame["reply"]["status"] != "ok" or home.arrived.roots["y"] != 2:
            raise AssertionError(f"the cell on {name} gave {home.frame['reply']}")
    finally:
        link.close()
