"""Machines and money: planning, ledgers, and workers of the simulated cloud, which are real processes of this machine."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import ledger, placement
from benchmarks.contender import Samples, Step

TESTS = Path(__file__).parents[2] / "tests"
AT_ONCE = 50
PATIENCE_S = 600.0
CALM = {"stock_out": 0.0, "no_quota": 0.0, "spot_life_s": None, "boot_s": (0.0, 0.0)}


class Machines:
    """Measures each of them in this process."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {
            "placement": self.placement, "ledger": self.ledger, "first-cell": self.first_cell, "at-once": self.at_once
        }  # fmt: skip
        self._postgres: Any = None

    def setup(self) -> None:
        """A PostgreSQL server of its own, where Debian's package is installed."""
        module = _load(TESTS / "ledger" / "postgres.py")
        programs = module.programs()
        self._postgres = module.Server(programs, fsync=True) if programs else None

    def teardown(self) -> None:
        if self._postgres is not None:
            self._postgres.end()

    def placement(self) -> Samples:
        """Seconds to plan over 10,000 offers, for four requests."""
        return {f"{name}_s": [value / 1e3] for name, value in placement.measure().items()}

    def ledger(self) -> Samples:
        """Transactions a second on SQLite and, if there is one, on PostgreSQL."""
        server = self._postgres
        url = server.url(server.new_database()) if server else ""
        found = ledger.measure(url, machines=100)
        return {name.removesuffix("_per_s"): [value] for name, value in found.items() if name.endswith("_per_s")}

    def first_cell(self) -> Samples:
        """Seconds from a machine that has booted (which takes no time here) to a cell's result, on a new worker."""
        with _Cloud() as cloud:
            cloud.use("warm")  # the modules of this process are loaded
            begun = time.perf_counter()
            cloud.use("measured")
            return {"first_s": [time.perf_counter() - begun]}

    def at_once(self) -> Samples:
        """Seconds until ``AT_ONCE`` workers have been reserved, started and used; then until all have ended."""
        with _Cloud() as cloud, ThreadPoolExecutor(AT_ONCE) as pool:
            begun = time.perf_counter()
            list(pool.map(cloud.use, [f"w{number}" for number in range(AT_ONCE)]))
            used = time.perf_counter()
            list(pool.map(cloud.fleet.down, [f"w{number}" for number in range(AT_ONCE)]))
            ended = time.perf_counter()
            left = [*cloud.fleet.provider("demo").machines(), *cloud.fleet.purse.open()]
            if left:
                raise AssertionError(f"{len(left)} machines or reservations are left")
        return {"used_s": [used - begun], "ended_s": [ended - used], "each_s": [(ended - begun) / AT_ONCE]}


class _Cloud:
    """A fleet on the simulated cloud with a ledger of its own."""

    def __enter__(self) -> _Cloud:
        from cellferry.config import Cellferry
        from cellferry.fleet.fleet import Fleet

        self._state = tempfile.TemporaryDirectory(prefix="cfb-")
        config = Cellferry(state_dir=self._state.name, demo_weather=CALM, start_timeout_s=PATIENCE_S)
        self.fleet = Fleet(config, "benchmark.ipynb")
        return self

    def use(self, name: str) -> None:
        """One worker, and one cell on it."""
        from cellferry.model import CellRequest, Hardware

        request = CellRequest(Hardware(gpu="t4", gpu_count=1), providers=("demo",), budget_microusd=1_000_000, name=name)
        worker, _fresh = self.fleet.acquire(request, lambda _line: None)
        _run_cell(worker.endpoint, name)

    def __exit__(self, *_exc: object) -> None:
        self.fleet.down()
        self.fleet.close()
        self._state.cleanup()


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


def _load(path: Path) -> ModuleType:
    """A module of the tests: the same server as theirs."""
    import sys

    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
