"""After any order of events, crashes included: what is reserved, spent and released adds up, and every limit holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from cellferry.errors import BudgetExceeded, LedgerError
from cellferry.ledger import Limit, Reservation, cost_microusd, open_ledger
from cellferry.ledger.days import day_of, days_of_month

from .asks import DAY, NOW, ask, empty, rows
from .conftest import Database

PEOPLE, NOTEBOOKS, CELLS = ("ana", "bo"), ("a.ipynb", "b.ipynb"), ("c1", "c2")
LIMITS = [
    Limit("cell", "", 400_000), Limit("notebook", "", 700_000), Limit("day", "", 600_000),
    Limit("month", "", 900_000), Limit("person", "", 1_000_000),
]  # fmt: skip
AMOUNTS = st.integers(0, 500_000)
WAITS = st.one_of(st.floats(0, 3000), st.sampled_from([0.0, DAY / 2, DAY, 31 * DAY]))


@dataclass(frozen=True)
class Known:
    """What the test knows of one reservation, kept by the simplest arithmetic there is."""

    person: str
    notebook: str
    cell: str
    price: int
    reserved: int
    state: str = "reserved"
    spent: int = 0
    started: float = 0.0
    read: float = 0.0

    def at(self, now: float) -> Known:
        if self.state != "running" or now <= self.read:
            return self
        cost = cost_microusd(self.price, now - self.started)
        return replace(self, spent=max(self.spent, min(self.reserved, cost)), read=now)


class Events(RuleBasedStateMachine):
    """Whatever a fleet, its crashes and its neighbours do to a ledger. ``database`` is set by the test."""

    database: Database
    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.known: dict[str, Known] = {}
        self.ledger = open_ledger(self.database.config)
        with self.ledger._writing() as connection:
            empty(connection)

    def teardown(self) -> None:
        try:
            for token in self.known:
                self.end(token, None)
            assert self.ledger.open() == []
            self.check_each_row()
        finally:
            self.ledger.close()

    def counted(self, limit: Limit, who: Known) -> int:
        """Spent and held under a limit, from the rows and nothing else."""
        days = {"day": (day_of(self.now),) * 2, "month": days_of_month(self.now), "person": days_of_month(self.now)}
        first, last = days.get(limit.period, (0, 10**6))
        same = {
            token
            for token, row in self.known.items()
            if row.person == who.person
            and (limit.period not in ("notebook", "cell") or row.notebook == who.notebook)
            and (limit.period != "cell" or row.cell == who.cell)
        }
        spent = sum(row.microusd for row in self.spend() if row.token in same and first <= row.day <= last)
        return spent + sum(
            row.reserved - row.spent for row in map(self.known.get, same) if row and row.state != "ended"
        )

    def spend(self) -> list[Any]:
        return rows(self.ledger, "SELECT * FROM spend")

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        target=tokens,
        person=st.sampled_from(PEOPLE),
        notebook=st.sampled_from(NOTEBOOKS),
        cell=st.sampled_from(CELLS),
        price=st.sampled_from([0, 1, 360_000, 5_000_000]),
        amount=AMOUNTS,
    )
    def reserve(self, person: str, notebook: str, cell: str, price: int, amount: int) -> object:
        new = Known(person, notebook, cell, price, amount)
        token = f"t{len(self.known)}"
        fits = all(self.counted(limit, new) + amount <= limit.microusd for limit in LIMITS)
        wanted = ask(
            token, amount, self.now, person=person, notebook=notebook, cell=cell, microusd_per_hour=price, worker=token
        )
        try:
            self.ledger.reserve(wanted, LIMITS, self.now)
        except BudgetExceeded:
            assert not fits
            assert self.ledger.get(token) is None
            return multiple()
        assert fits or not amount
        self.known[token] = new
        return token

    @rule(token=tokens, amount=AMOUNTS)
    def ask_again(self, token: str, amount: int) -> None:
        row = self.ledger.reserve(ask(token, amount, self.now), LIMITS, self.now)
        assert row == self.ledger.get(token) and row.person == self.known[token].person

    @rule(token=tokens)
    def start(self, token: str) -> None:
        row = self.known[token]
        try:
            self.ledger.started(token, f"record of {token}", self.now)
        except LedgerError:
            assert row.state == "ended"
            return
        assert row.state != "ended"
        if row.state == "reserved":
            self.known[token] = replace(row, state="running", started=self.now, read=self.now)

    @rule(token=tokens, back=st.sampled_from([0.0, 0.0, 5.0, 5000.0]))
    def meter(self, token: str, back: float) -> None:
        self.ledger.meter(token, self.now - back)
        self.known[token] = self.known[token].at(self.now - back)

    @rule(token=tokens, more=AMOUNTS)
    def extend(self, token: str, more: int) -> None:
        row = self.known[token]
        metered = row.at(self.now)
        try:
            self.ledger.extend(token, more, LIMITS, self.now)
        except LedgerError:
            assert row.state == "ended"
        except BudgetExceeded:
            assert more and any(self.counted(limit, row) + more > limit.microusd for limit in LIMITS)
        else:
            assert row.state != "ended"
            self.known[token] = replace(metered, reserved=row.reserved + more)

    @rule(token=tokens, told=st.none() | AMOUNTS)
    def stop(self, token: str, told: int | None) -> None:
        self.end(token, told)

    def end(self, token: str, told: int | None) -> None:
        self.ledger.end(token, self.now, spent_microusd=told)
        row = self.known[token]
        if row.state != "ended":
            row = row.at(self.now)
            spent = row.spent if told is None else min(told, row.reserved)
            self.known[token] = replace(row, state="ended", spent=spent)

    @rule()
    def crash(self) -> None:
        """The process goes between two calls (within one: ``test_races``); another opens the same database."""
        lost, self.ledger = self.ledger, open_ledger(self.database.config)
        lost._engine.dispose()

    @invariant()
    def check_each_row(self) -> None:
        by_token: Counter[str] = Counter()
        for part in self.spend():
            by_token[part.token] += part.microusd
            assert part.microusd >= 0
        there = {row.token: Reservation(**row._mapping) for row in rows(self.ledger, "SELECT * FROM reservations")}
        assert set(there) == set(self.known)
        for token, known in self.known.items():
            row = there[token]
            assert (row.state, row.reserved_microusd, row.spent_microusd) == (known.state, known.reserved, known.spent)
            assert by_token[token] == row.spent_microusd, "nothing is spent twice, or on no day"
            assert min(row.spent_microusd, row.held_microusd, row.released_microusd) >= 0
            assert row.reserved_microusd == row.spent_microusd + row.held_microusd + row.released_microusd

    @invariant()
    def check_limits(self) -> None:
        for who in {(row.person, row.notebook, row.cell): row for row in self.known.values()}.values():
            for found in self.ledger.balances(LIMITS, who.person, who.notebook, self.now, who.cell):
                counted = found.spent_microusd + found.reserved_microusd
                assert counted == self.counted(found.limit, who) <= found.limit.microusd
                assert found.left_microusd == found.limit.microusd - counted


EVERY_TIME, NIGHTLY = {"sqlite": 12, "postgres": 5}, {"sqlite": 60, "postgres": 20}


@pytest.mark.parametrize(
    ("steps", "examples"),
    [
        pytest.param(12, dict.fromkeys(EVERY_TIME, 10), id="12"),
        pytest.param(50, EVERY_TIME, marks=pytest.mark.slow, id="50"),
        pytest.param(50, NIGHTLY, marks=[pytest.mark.slow, pytest.mark.nightly], id="50-nightly"),
    ],
)
def test_any_order_of_events(database: Database, steps: int, examples: dict[str, int]) -> None:
    machine = type("Here", (Events,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples[database.kind],
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
