"""What happens in one run, from its seed. Pure: the same seed gives the same faults, wherever and whenever it runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Provider = Literal["ssh", "demo"]

NOTEBOOK_KILLED = "notebook killed"
DEADLY = ("kernel killed", "server killed", "keeper killed", "spot notice")
"""Faults that take a cell's worker, or its kernel, away."""
LASTING_S: dict[str, tuple[float, float]] = {
    "notebook stopped": (0.5, 4.0),
    "partition": (1.0, 12.0),
    "loss": (3.0, 6.0),
    "slow": (3.0, 6.0),
    "disk full": (2.0, 4.0),
    "worker stopped": (1.0, 6.0),
    "spot notice": (5.0, 10.0),
    "clock jump": (1.0, 6.0),
    "ledger locked": (4.0, 15.0),
    "ledger restarted": (1.0, 8.0),
    "pressed twice": (0.03, 0.12),
}
"""Faults that last, and how long; those of a moment are not here. A spot notice comes so long before the end."""
ALL = (NOTEBOOK_KILLED, "kernel killed", "server killed", "keeper killed", "notebook stopped", "partition", "disk full",
       "worker stopped")  # fmt: skip
KINDS: dict[Provider, tuple[str, ...]] = {"ssh": (*ALL, "loss", "slow"), "demo": (*ALL, "spot notice")}
CLOCK_JUMP = "clock jump"
"""Beside the others, in every third run of the simulated cloud, which takes place on this machine."""
LEDGER_LOCKED = "ledger locked"
"""Beside the others, in every sixth run of the simulated cloud: by somebody who looks into it and begins to write."""
LEDGER_RESTARTED = "ledger restarted"
"""Beside the others, in every twelfth run of the simulated cloud, whose ledger is in PostgreSQL then."""
PRESSED_TWICE = "pressed twice"
"""Beside the others, in every fifth run: the user interrupts the cell, and once more so much later."""
KERNEL_STOPPED = "kernel stopped"
"""Beside the others, in every fifth run: the worker's kernel is stopped for good, and the user presses three times."""
BESIDE = (CLOCK_JUMP, LEDGER_LOCKED, LEDGER_RESTARTED, PRESSED_TWICE, KERNEL_STOPPED)
MOST_AHEAD_S = 7200
LONG_S = 13.0
"""Longer than Linux keeps a TCP connection whose other end takes nothing; one notebook in four is stopped for so long."""


@dataclass(frozen=True)
class Fault:
    """``kind`` happens when cell ``cell`` has shown its output number ``tick``, and lasts ``for_s`` (0: a moment)."""

    kind: str
    cell: int
    tick: int
    for_s: float = 0.0
    percent: int = 0
    """Of packets that are lost."""
    ahead_s: int = 0
    """By how much the wall clock is wrong."""

    def __str__(self) -> str:
        lasting = f" {self.for_s:.1f}s" if self.for_s else ""
        how = f" {self.percent}%" if self.percent else f" {self.ahead_s:+d}s for" if self.ahead_s else ""
        return f"{self.kind}{how}{lasting} @{self.cell}.{self.tick}"


@dataclass(frozen=True)
class Schedule:
    """One run. ``detached``: cells that are let go and brought home. ``transport``: of the simulated cloud's workers."""

    seed: int
    provider: Provider
    transport: str
    detached: frozenset[int]
    faults: tuple[Fault, ...]

    @property
    def spot(self) -> bool:
        return self.has("spot notice")

    def has(self, kind: str) -> bool:
        """Whether such a fault is in it."""
        return any(fault.kind == kind for fault in self.faults)


def schedule_of(seed: int, cells: int, ticks: int) -> Schedule:
    """The run of a seed, for a story of so many remote cells (numbered from 1) that show so many outputs each (from 0)."""
    chance = random.Random(seed)
    provider: Provider = "ssh" if seed % 2 else "demo"
    kinds = KINDS[provider]
    chosen = [kinds[seed // 2 % len(kinds)], *chance.choices(kinds, k=chance.choice((0, 1, 1, 2)))]
    faults: list[Fault] = []
    for kind in chosen:
        cell = chance.randint(1, cells)
        if kind in DEADLY and any(other.kind in DEADLY and other.cell == cell for other in faults):
            continue
        faults.append(_fault(chance, kind, cell, ticks))
    if provider == "demo" and seed % 6 == 0:
        faults.append(_jump(random.Random(f"clock {seed}"), cells, ticks))
    if provider == "demo" and seed % 12 == 6:
        faults.append(_beside(LEDGER_LOCKED, random.Random(f"ledger {seed}"), cells, ticks))
    if provider == "demo" and seed % 24 == 0:
        faults.append(_beside(LEDGER_RESTARTED, random.Random(f"ledger {seed}"), cells, ticks))
    if seed % 5 in (1, 4):
        faults.append(_beside(KERNEL_STOPPED if seed % 5 == 1 else PRESSED_TWICE, random.Random(f"presses {seed}"), cells, ticks))
    tls = any(fault.kind == "partition" for fault in faults) or chance.random() < 0.5
    deadly = {fault.cell for fault in faults if fault.kind in DEADLY}
    detached = frozenset(cell for cell in range(1, cells + 1) if cell not in deadly and chance.random() < 0.15)
    ordered = tuple(sorted(faults, key=lambda fault: (fault.cell, fault.tick, fault.kind)))
    return Schedule(seed, provider, "tls" if tls else "unix", detached, ordered)


def _jump(chance: random.Random, cells: int, ticks: int) -> Fault:
    """Minutes or hours, forwards or backwards, and back again."""
    ahead_s = chance.choice((-1, 1)) * chance.choice((60, 600, MOST_AHEAD_S))
    for_s = round(chance.uniform(*LASTING_S[CLOCK_JUMP]), 1)
    return Fault(CLOCK_JUMP, chance.randint(1, cells), chance.randrange(ticks), for_s, ahead_s=ahead_s)


def _beside(kind: str, chance: random.Random, cells: int, ticks: int) -> Fault:
    """A lock on the ledger is long enough that a cell ends under it, and shorter than a machine waits for its money."""
    for_s = round(chance.uniform(*LASTING_S.get(kind, (0.0, 0.0))), 2)
    return Fault(kind, chance.randint(1, cells), chance.randrange(ticks), for_s)


def _fault(chance: random.Random, kind: str, cell: int, ticks: int) -> Fault:
    least, most = LASTING_S.get(kind, (0.0, 0.0))
    for_s = round(chance.uniform(least, most), 1)
    if kind == "notebook stopped" and chance.random() < 0.25:
        for_s = LONG_S
    return Fault(kind, cell, chance.randrange(ticks), for_s, chance.randint(10, 30) if kind == "loss" else 0)
