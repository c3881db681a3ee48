"""The nouns of money: frozen, without I/O. Amounts in integer micro-dollars, times in seconds since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Period = Literal["cell", "notebook", "day", "month", "person"]
State = Literal["reserved", "running", "ended"]
By = Literal["notebook", "worker", "day", "person", "cell"]


@dataclass(frozen=True)
class Ask:
    """Money wanted for one machine, before it is asked for. ``token``: of the order, random, unique for ever."""

    token: str
    person: str
    notebook: str
    cell: str
    """Whose ``budget=`` counts; the caller decides whether the same cell run again is the same one."""
    worker: str
    """The worker's name: "train"."""
    provider: str
    region: str
    zone: str
    instance: str
    spot: bool
    microusd_per_hour: int
    amount_microusd: int
    """The worst case: what is held until it is spent or given back."""
    at_unix_s: float
    client: str
    """Who holds it, for other people to find: "user@host pid N"."""


@dataclass(frozen=True)
class Limit:
    """Most that may be spent, by one person.

    "cell" and "notebook" count for ever, "day" and "month" are those of UTC, "person" is a month's limit that a team
    sets on somebody. ``key``: the cell, the notebook or the person it is for; "": the one at hand. Not used otherwise.
    """

    period: Period
    key: str
    microusd: int


@dataclass(frozen=True)
class Reservation:
    """Money held for one machine, and what of it is spent. Times are 0.0 where something has not happened yet.

    ``reserved_microusd`` is all that was ever reserved under this token: spent, held, or given back at the end.
    """

    token: str
    state: State
    reserved_microusd: int
    spent_microusd: int
    person: str
    notebook: str
    cell: str
    worker: str
    provider: str
    region: str
    zone: str
    instance: str
    spot: bool
    microusd_per_hour: int
    at_unix_s: float
    client: str
    started_unix_s: float
    """When it began to cost money."""
    metered_unix_s: float
    """Up to when ``spent_microusd`` is counted."""
    ended_unix_s: float
    record: str
    """The worker, for ``records.worker_from_record``; "" while it has not started."""

    @property
    def held_microusd(self) -> int:
        """Reserved and not spent: nobody else can have it."""
        return 0 if self.state == "ended" else self.reserved_microusd - self.spent_microusd

    @property
    def released_microusd(self) -> int:
        """Reserved, not spent, and given back."""
        return self.reserved_microusd - self.spent_microusd if self.state == "ended" else 0


@dataclass(frozen=True)
class Receipt:
    """What one thing came to. "cell" tells which part of a machine's money a cell used, and adds nothing to it; "storage"
    and "egress" are estimates: shown, and counted against no limit."""

    token: str
    kind: Literal["cell", "machine", "storage", "egress"]
    person: str
    notebook: str
    cell: str
    worker: str
    started_unix_s: float
    ended_unix_s: float
    microusd: int
    estimated: bool
    run: str = ""
    """Of a cell: which run of it. A run has one receipt of each kind on a machine, whoever notes it; "" is none."""


@dataclass(frozen=True)
class Balance:
    """How a limit stands. ``left_microusd`` is never negative: a limit may be set below what is spent already."""

    limit: Limit
    spent_microusd: int
    reserved_microusd: int
    """Held by machines that exist or are being asked for: reserved and not spent."""
    left_microusd: int


@dataclass(frozen=True)
class CostRow:
    """One line of a report. ``key``: a notebook, worker, person, cell, or day ("2026-11-25", UTC)."""

    key: str
    machine_microusd: int
    """Metered time of machines; by cell: the share that its receipts say."""
    estimated_microusd: int
    """Storage and egress, estimated: to be labelled so wherever it is shown."""
    seconds: float
    """For which machines existed; by cell: for which it ran."""
    runs: int
    """Cells that have a receipt."""
