"""What a reservation comes to as time goes by (pure), and its division into days."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from cellferry.ledger.days import spread
from cellferry.ledger.money import cost_microusd
from cellferry.ledger.nouns import Ask, Reservation
from cellferry.ledger.schema import spend


def reservation_for(ask: Ask) -> Reservation:
    """As it is when its money is held, and nothing else has happened."""
    told: dict[str, Any] = asdict(ask)
    amount = told.pop("amount_microusd")
    return Reservation(
        **told,
        state="reserved",
        reserved_microusd=amount,
        spent_microusd=0,
        started_unix_s=0.0,
        metered_unix_s=0.0,
        ended_unix_s=0.0,
        record="",
    )


def at_meter(row: Reservation, now: float) -> Reservation:
    """As it is when its meter is read at ``now``. A reading from before the last one changes nothing."""
    if row.state != "running" or now <= row.metered_unix_s:
        return row
    cost = min(row.reserved_microusd, cost_microusd(row.microusd_per_hour, now - row.started_unix_s))
    return replace(row, spent_microusd=max(row.spent_microusd, cost), metered_unix_s=now)


def at_end(row: Reservation, now: float, spent_microusd: int | None) -> Reservation:
    """As it is when its machine is gone at ``now``, having cost ``spent_microusd`` (None: price times time)."""
    metered = at_meter(row, now)
    spent = metered.spent_microusd if spent_microusd is None else max(0, min(spent_microusd, row.reserved_microusd))
    return replace(metered, state="ended", spent_microusd=spent, ended_unix_s=now)


def book(connection: Connection, before: Reservation, after: Reservation) -> None:
    """Write what has been spent between two readings to its days.

    Money goes to the days from the last reading on, never to earlier ones, whose limits nobody looks at any more. What
    turns out to have cost less is taken from the last days first.
    """
    more = after.spent_microusd - before.spent_microusd
    if more < 0:
        _take_back(connection, after.token, -more)
    if after.state == "ended" and not after.started_unix_s and not more:
        return
    since = before.metered_unix_s or after.ended_unix_s
    until = max(after.metered_unix_s, since)
    for share in spread(max(more, 0), after.microusd_per_hour, after.started_unix_s, since, until):
        _add(connection, after.token, share.day, share.microusd, share.seconds)


def _add(connection: Connection, token: str, day: int, microusd: int, seconds: float) -> None:
    this = (spend.c.token == token) & (spend.c.day == day)
    more = {"microusd": spend.c.microusd + microusd, "seconds": spend.c.seconds + seconds}
    if connection.execute(update(spend).where(this).values(more)).rowcount == 0:
        connection.execute(insert(spend).values(token=token, day=day, microusd=microusd, seconds=seconds))


def _take_back(connection: Connection, token: str, microusd: int) -> None:
    rows = connection.execute(select(spend).where(spend.c.token == token).order_by(spend.c.day.desc())).all()
    for row in rows:
        part = min(row.microusd, microusd)
        microusd -= part
        this = (spend.c.token == token) & (spend.c.day == row.day)
        connection.execute(update(spend).where(this).values(microusd=row.microusd - part))
