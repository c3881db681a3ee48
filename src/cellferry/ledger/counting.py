"""What counts under a limit: spent, and held; and what is said when something does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, select

from cellferry.errors import BudgetExceeded
from cellferry.ledger.days import day_name, day_of, days_of_month, moment
from cellferry.ledger.money import MICROUSD, dollars, dollars_down
from cellferry.ledger.nouns import Ask, Balance, Limit, Reservation
from cellferry.ledger.schema import reservations, spend

MOST_HOLDERS = 5
"""How many of those who hold money a message names; the largest come first."""
HELD = reservations.c.reserved_microusd - reservations.c.spent_microusd


class Who(NamedTuple):
    """For whom a limit counts."""

    person: str
    notebook: str
    cell: str = ""


def _rows_of(limit: Limit, who: Who) -> ColumnElement[bool]:
    """The reservations that count under the limit."""
    if limit.period == "person":
        return reservations.c.person == (limit.key or who.person)
    if limit.period == "notebook":
        return and_(reservations.c.person == who.person, reservations.c.notebook == (limit.key or who.notebook))
    if limit.period == "cell":
        cell = limit.key or who.cell
        return and_(
            reservations.c.person == who.person, reservations.c.notebook == who.notebook, reservations.c.cell == cell
        )
    return reservations.c.person == who.person


def _days_of(limit: Limit, now: float) -> tuple[int, int] | None:
    """First and last day that count under the limit; None: all."""
    if limit.period == "day":
        return day_of(now), day_of(now)
    return days_of_month(now) if limit.period in ("month", "person") else None


def balance(connection: Connection, limit: Limit, who: Who, now: float) -> Balance:
    """How the limit stands. What is held counts whatever its day: it may be spent in any that comes."""
    rows, days = _rows_of(limit, who), _days_of(limit, now)
    held = connection.scalar(select(func.sum(HELD)).where(rows, reservations.c.state != "ended"))
    if days is None:
        spent = connection.scalar(select(func.sum(reservations.c.spent_microusd)).where(rows))
    else:
        both = spend.join(reservations, spend.c.token == reservations.c.token)
        spent = connection.scalar(
            select(func.sum(spend.c.microusd)).select_from(both).where(rows, spend.c.day.between(*days))
        )
    spent, held = int(spent or 0), int(held or 0)
    return Balance(limit, spent, held, max(0, limit.microusd - spent - held))


def check_fits(connection: Connection, ask: Ask | Reservation, more: int, limits: Sequence[Limit], now: float) -> None:
    """Raises BudgetExceeded if ``more`` does not fit under one of the limits; names the one with the least left."""
    if more <= 0:
        return  # what is free fits also under a limit that was lowered since
    who = Who(ask.person, ask.notebook, ask.cell)
    standing = [balance(connection, limit, who, now) for limit in limits]
    tight = min(standing, key=lambda found: found.left_microusd, default=None)
    if tight is None or more <= tight.left_microusd:
        return
    holders = [
        Reservation(**row._mapping)
        for row in connection.execute(
            select(reservations)
            .where(_rows_of(tight.limit, who), reservations.c.state != "ended", HELD > 0)
            .order_by(HELD.desc(), reservations.c.at_unix_s)
        )
    ]
    raise exceeded(ask, more, tight, holders, now)


def exceeded(
    ask: Ask | Reservation, more: int, tight: Balance, holders: Sequence[Reservation], now: float
) -> BudgetExceeded:
    """The error that says which limit, its amounts, and who holds the rest."""
    kind = f"{ask.provider} {ask.instance}".strip()
    what = (
        f"{dollars(more)} for worker {ask.worker} ({kind}) does not fit under the limit {limit_name(tight.limit, ask, now)}: "
        f"of {dollars(tight.limit.microusd)}, {dollars(tight.spent_microusd)} is spent and "
        f"{dollars(tight.reserved_microusd)} held, so {dollars_down(tight.left_microusd)} is left"
    )
    if holders:
        what += ". It is held by:\n" + "\n".join(_holder_lines(holders))
    return BudgetExceeded(what, _advice(tight, more, holders))


def limit_name(limit: Limit, ask: Ask | Reservation, now: float) -> str:
    """As people call it."""
    if limit.period == "day":
        return f"of {ask.person} for the day {day_name(day_of(now))} (UTC)"
    if limit.period == "month":
        return f"of {ask.person} for the month {day_name(day_of(now))[:7]} (UTC)"
    if limit.period == "person":
        return f"set on {limit.key or ask.person} for the month {day_name(day_of(now))[:7]} (UTC)"
    if limit.period == "notebook":
        return f"of the notebook {limit.key or ask.notebook}"
    return "of this cell"


def _holder_lines(holders: Sequence[Reservation]) -> Iterable[str]:
    for row in holders[:MOST_HOLDERS]:
        yield (
            f"  {dollars(row.held_microusd)}: worker {row.worker} ({row.state}) of {row.notebook}, {row.person}, "
            f"{row.client}, since {moment(row.at_unix_s)}"
        )
    if len(holders) > MOST_HOLDERS:
        rest = holders[MOST_HOLDERS:]
        yield f"  {dollars(sum(row.held_microusd for row in rest))}: {len(rest)} more"


def _advice(tight: Balance, more: int, holders: Sequence[Reservation]) -> str:
    needed = -(-(tight.spent_microusd + tight.reserved_microusd + more) // MICROUSD)
    period = tight.limit.period
    if period == "cell":
        raised = f"give the cell more (`budget={needed}`)"
    elif period == "person":
        raised = "ask whoever set it for more"
    else:
        raised = f"raise it (`%remote budget {needed} --per {period}`)"
    ended = f", or end a worker that holds money (`%remote down {holders[0].worker}`)" if holders else ""
    return f"{raised}{ended}"
