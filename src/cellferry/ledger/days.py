"""Which UTC day, and which month, money is spent in. Pure. A day is a number: 0 is 1 January 1970."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from cellferry.ledger.money import cost_microusd

DAY_S = 86400
EPOCH = date(1970, 1, 1)


def day_of(unix_s: float) -> int:
    """The day in which this moment lies."""
    return math.floor(unix_s / DAY_S)


def day_name(day: int) -> str:
    """As people write it: "2026-11-25"."""
    return (EPOCH + timedelta(days=day)).isoformat()


def days_of_month(unix_s: float) -> tuple[int, int]:
    """First and last day of the month in which this moment lies."""
    first = (EPOCH + timedelta(days=day_of(unix_s))).replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return (first - EPOCH).days, (following - EPOCH).days - 1


def moment(unix_s: float) -> str:
    """For people: "2026-11-25 14:03 UTC"."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True)
class DayShare:
    """What of a machine's money and time fell into one day."""

    day: int
    microusd: int
    seconds: float


def spread(
    amount_microusd: int, microusd_per_hour: int, started_unix_s: float, since_unix_s: float, now_unix_s: float
) -> list[DayShare]:
    """How money that was metered from ``since`` to ``now`` divides into days: each gets what its time costs, as far as
    the amount goes, and the last one what is left over (a price that somebody else named).

    The cost of a time is the difference of what the machine had cost at its two ends, so that parts, each rounded, add
    up to the whole, whenever the meter was read.
    """
    shares = []
    for day in range(day_of(since_unix_s), day_of(max(now_unix_s, since_unix_s)) + 1):
        begin, end = max(since_unix_s, day * DAY_S), min(now_unix_s, (day + 1) * DAY_S)
        until, before = (cost_microusd(microusd_per_hour, at - started_unix_s) for at in (end, begin))
        part = max(0, min(until - before, amount_microusd))
        amount_microusd -= part
        shares.append(DayShare(day, part, max(0.0, end - begin)))
    last = shares.pop()
    return [*shares, DayShare(last.day, last.microusd + amount_microusd, last.seconds)]
