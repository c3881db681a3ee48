"""What time costs, whatever somebody does to the wall clock."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cellferry.fleet.clock import Stopwatch, boot, boot_s, now_for, since_now, steady_now
from cellferry.ledger.metering import at_end, at_meter
from cellferry.ledger.money import cost_microusd
from cellferry.ledger.nouns import Reservation
from cellferry.model import Lease

DAY_S = 86400.0
START = 1_700_000_000.0
LEASE = Lease(600.0, None, START + DAY_S, START, 5_000.0, "this boot")
ROW = Reservation(
    "t", "running", 10**9, 0, "ana", "a.ipynb", "", "w", "demo", "", "", "", False, 4_000_000, START, "", START, START, 0.0, ""
)
waits = st.lists(st.tuples(st.floats(0, 3600), st.floats(-400 * DAY_S, 400 * DAY_S)), min_size=1, max_size=20)


@given(waits)
def test_readings_follow_the_time_that_has_gone_by(waits: list[tuple[float, float]]) -> None:
    """However far, and however often, the wall clock is set between two readings."""
    row, boot_now_s = ROW, 5_000.0
    for waited_s, wall_is_ahead_s in waits:
        boot_now_s += waited_s
        wall = START + (boot_now_s - 5_000.0) + wall_is_ahead_s
        now = steady_now(LEASE, wall, boot_now_s, "this boot")
        before, row = row, at_meter(row, now)
        assert row.spent_microusd >= before.spent_microusd
    gone_s = sum(waited_s for waited_s, _ in waits)
    exact = cost_microusd(ROW.microusd_per_hour, gone_s)
    assert abs(row.spent_microusd - min(exact, ROW.reserved_microusd)) <= 2, "nobody pays for a clock"
    assert at_end(row, now, None).spent_microusd == row.spent_microusd


@given(st.floats(-1e9, 1e9), st.sampled_from(["", "another boot"]))
def test_where_nothing_better_is_known_the_wall_clock_counts(ahead_s: float, this_boot: str) -> None:
    assert steady_now(LEASE, START + ahead_s, 6_000.0, this_boot) == START + ahead_s
    assert steady_now(replace(LEASE, boot=""), START + ahead_s, 6_000.0, "") == START + ahead_s


def test_a_lease_of_this_boot() -> None:
    lease = since_now(Lease(600.0, None, None, START))
    assert boot() and lease.boot == boot() and lease.since_boot_s is not None and lease.since_boot_s <= boot_s()
    assert 0 <= now_for(lease) - START < 60, "a moment has gone by since it began, whenever that was"
    assert Stopwatch().seconds >= 0
