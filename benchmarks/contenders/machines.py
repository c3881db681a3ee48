"""What is decided and accounted for around a machine: planning over thousands of offers, and ledgers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import ledger, placement
from benchmarks.contender import Samples, Step

TESTS = Path(__file__).parents[2] / "tests"


class Machines:
    """Measures both in this process."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {"placement": self.placement, "ledger": self.ledger}
        self._postgres: Any = None

    def setup(self) -> None:
        """Nothing; the row that needs PostgreSQL starts it."""

    def teardown(self) -> None:
        """End PostgreSQL's server, which proves that nothing of it is left."""
        if self._postgres is not None:
            self._postgres.end()

    def placement(self) -> Samples:
        """Seconds of processor time to plan over 10,000 offers, for several requests."""
        return {f"{name}_s": [value / 1e3] for name, value in placement.measure().items()}

    def ledger(self, machines: int) -> Samples:
        """Transactions a second on SQLite and, where Debian's package is installed, on a PostgreSQL server of its own."""
        if self._postgres is None:
            module = _load(TESTS / "ledger" / "postgres.py")
            programs = module.programs()
            self._postgres = module.Server(programs, fsync=True) if programs else None
        server = self._postgres
        name = server.new_database() if server else ""
        found = ledger.measure(server.url(name) if server else "", machines)
        if server:
            server.drop_database(name)
        return {
            name.removesuffix("_ms") + "_s" if name.endswith("_ms") else name: [value / 1e3 if name.endswith("_ms") else value]
            for name, value in found.items()
        }


def _load(path: Path) -> ModuleType:
    """A module of the tests: the same server as theirs."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
