"""The arithmetic: exact, and never to the disadvantage of a limit."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cellferry.ledger import cost_microusd, dollars, seconds_for
from cellferry.ledger.days import DAY_S, day_name, day_of, days_of_month, moment, spread
from cellferry.ledger.money import dollars_down

PRICES = st.integers(0, 10**9)
AMOUNTS = st.integers(0, 10**12)
SECONDS = st.floats(0, 1e8)
MOMENTS = st.floats(1.5e9, 2.5e9)


@given(PRICES, SECONDS)
def test_a_cost_is_the_smallest_whole_number_that_is_enough(price: int, seconds: float) -> None:
    cost, exact = cost_microusd(price, seconds), price * Fraction(seconds) / 3600
    assert exact <= cost < exact + 1


@given(PRICES, SECONDS, SECONDS)
def test_a_longer_time_never_costs_less(price: int, one: float, other: float) -> None:
    assert cost_microusd(price, min(one, other)) <= cost_microusd(price, max(one, other))


@given(AMOUNTS, st.integers(1, 10**9))
@example(1, 3)
def test_the_time_that_money_pays_for_costs_no_more_than_it(amount: int, price: int) -> None:
    seconds = seconds_for(amount, price)
    assert cost_microusd(price, seconds) <= amount
    assert (
        cost_microusd(price, math.nextafter(seconds, math.inf)) > amount or Fraction(seconds) * price == amount * 3600
    )


def test_what_is_free() -> None:
    assert cost_microusd(0, 1e9) == 0 == cost_microusd(5, -1)
    assert seconds_for(0, 0) == math.inf and seconds_for(-5, 10) == 0.0


@pytest.mark.parametrize(
    ("microusd", "shown"),
    [
        (0, "$0.00"), (1, "$0.000001"), (10, "$0.00001"), (4200, "$0.0042"), (4249, "$0.0042"), (9_999, "$0.01"),
        (10_000, "$0.01"), (1_294_999, "$1.29"), (1_295_001, "$1.30"), (20_000_000, "$20.00"), (-1_290_000, "-$1.29"),
        (1_234_567_890, "$1234.57"),
    ],
)  # fmt: skip
def test_dollars(microusd: int, shown: str) -> None:
    assert dollars(microusd) == shown


@given(st.integers(-(10**12), 10**12))
def test_dollars_show_what_is_there(microusd: int) -> None:
    text = dollars(microusd)
    assert re.fullmatch(r"-?\$\d+\.\d{2,6}", text)
    shown = Fraction(text.replace("$", "")) * 10**6
    assert (shown == 0) == (microusd == 0)
    assert abs(shown - microusd) <= 5000 and 2 * abs(shown - microusd) <= abs(shown)


@given(AMOUNTS)
def test_what_is_left_is_never_rounded_up_to_a_cent(microusd: int) -> None:
    shown = Fraction(dollars_down(microusd).replace("$", "")) * 10**6
    assert shown <= microusd or microusd < 10_000


@given(MOMENTS)
def test_days_and_months(unix_s: float) -> None:
    day, (first, last) = day_of(unix_s), days_of_month(unix_s)
    assert day * DAY_S <= unix_s < (day + 1) * DAY_S and first <= day <= last and 28 <= last - first + 1 <= 31
    assert day_name(first)[:7] == day_name(day)[:7] == day_name(last)[:7] and day_name(first).endswith("-01")
    assert day_name(last + 1).endswith("-01") and moment(unix_s).startswith(day_name(day))


@given(st.integers(1, 10**9), MOMENTS, st.lists(st.floats(0, 4 * DAY_S), min_size=1, max_size=6))
def test_readings_divide_into_days_as_the_whole_does(price: int, start: float, waits: list[float]) -> None:
    """However often a meter is read: each day gets what its time costs, the sum is the cost of the whole."""
    found: dict[int, int] = {}
    seconds, since = 0.0, start
    for wait in waits:
        now = since + wait
        amount = cost_microusd(price, now - start) - cost_microusd(price, since - start)
        for share in spread(amount, price, start, since, now):
            found[share.day] = found.get(share.day, 0) + share.microusd
            seconds += share.seconds
        since = now
    assert sum(found.values()) == cost_microusd(price, since - start)
    assert seconds == pytest.approx(since - start)
    for day, microusd in found.items():
        inside = min(since, (day + 1) * DAY_S) - max(start, day * DAY_S)
        assert abs(microusd - price * Fraction(inside) / 3600) <= 2


def test_money_that_no_time_explains_falls_into_the_last_day() -> None:
    start = 20_000 * DAY_S - 10.0
    shares = spread(5_000, 3600, start, start, start + 20)
    assert [(share.day, share.microusd, share.seconds) for share in shares] == [(19_999, 10, 10), (20_000, 4_990, 10)]
