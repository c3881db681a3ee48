"""What was spent on what: receipts, sums, and the tries that failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from cellferry.ledger.days import DAY_S, day_name, day_of
from cellferry.ledger.nouns import By, CostRow, Receipt
from cellferry.ledger.schema import receipts, refusals, reservations, spend
from cellferry.model import Refusal

REFUSALS_KEPT = 500
REFUSAL_KEPT_S = 30 * DAY_S
"""What a provider refused a month ago says nothing of today."""
WORDS_KEPT = 2000
"""Characters of a provider's own words."""


def note_receipt(connection: Connection, receipt: Receipt) -> None:
    """Once, however often it is told: that of a run once for each machine and kind, whatever else is said of it."""
    told = asdict(receipt)
    names = ("token", "kind", "run") if receipt.run else tuple(told)
    same = and_(*(receipts.c[name] == told[name] for name in names))
    if connection.scalar(select(receipts.c.number).where(same)) is None:
        connection.execute(insert(receipts).values(**told, day=day_of(receipt.ended_unix_s)))


def receipts_of(connection: Connection, person: str | None, since: float | None) -> list[Receipt]:
    """The oldest first."""
    columns = [receipts.c[field.name] for field in fields(Receipt)]
    query = select(*columns).order_by(receipts.c.ended_unix_s, receipts.c.number)
    if person is not None:
        query = query.where(receipts.c.person == person)
    if since is not None:
        query = query.where(receipts.c.ended_unix_s >= since)
    return [Receipt(**row._mapping) for row in connection.execute(query)]


@dataclass
class _Sums:
    machine: int = 0
    estimated: int = 0
    seconds: float = 0.0
    runs: int = 0


def costs(connection: Connection, by: By, person: str | None, since: float | None) -> list[CostRow]:
    """What ``Ledger.costs`` returns."""
    sums: defaultdict[Any, _Sums] = defaultdict(_Sums)
    chosen = [] if since is None else [receipts.c.day >= day_of(since)]
    key = receipts.c[by]
    if by != "cell":
        for found, microusd, seconds in _machines(connection, by, person, since):
            sums[found].machine, sums[found].seconds = int(microusd), float(seconds)
    for found, kind, estimated, microusd, seconds, count in _receipts(connection, key, person, chosen):
        row = sums[found]
        row.estimated += int(microusd) if estimated else 0
        row.runs += count if kind == "cell" else 0
        if by == "cell" and kind == "cell":
            row.machine, row.seconds = row.machine + int(microusd), row.seconds + float(seconds)
    rows = [
        CostRow(day_name(found) if by == "day" else found, row.machine, row.estimated, row.seconds, row.runs)
        for found, row in sums.items()
    ]
    if by == "day":
        return sorted(rows, key=lambda row: row.key)
    return sorted(rows, key=lambda row: (-row.machine_microusd - row.estimated_microusd, row.key))


def _machines(connection: Connection, by: By, person: str | None, since: float | None) -> Iterable[Any]:
    """Key, micro-dollars and seconds."""
    key = spend.c.day if by == "day" else reservations.c[by]
    query = select(key, func.sum(spend.c.microusd), func.sum(spend.c.seconds)).group_by(key)
    query = query.select_from(spend.join(reservations, spend.c.token == reservations.c.token))
    if person is not None:
        query = query.where(reservations.c.person == person)
    if since is not None:
        query = query.where(spend.c.day >= day_of(since))
    return connection.execute(query).all()


def _receipts(
    connection: Connection, key: ColumnElement[Any], person: str | None, chosen: list[ColumnElement[bool]]
) -> Iterable[Any]:
    """Key, kind, whether estimated, micro-dollars, seconds and how many."""
    seconds = func.sum(receipts.c.ended_unix_s - receipts.c.started_unix_s)
    query = select(key, receipts.c.kind, receipts.c.estimated, func.sum(receipts.c.microusd), seconds, func.count())
    query = query.where(*chosen).group_by(key, receipts.c.kind, receipts.c.estimated)
    if person is not None:
        query = query.where(receipts.c.person == person)
    return connection.execute(query).all()


def note_refusal(connection: Connection, refusal: Refusal) -> None:
    """And forget what is too old, or too much."""
    told = asdict(refusal) | {"what": refusal.what[:WORDS_KEPT]}
    connection.execute(insert(refusals).values(**told))
    newest = (
        select(refusals.c.number).order_by(refusals.c.at_unix_s.desc(), refusals.c.number.desc()).limit(REFUSALS_KEPT)
    )
    too_old = refusals.c.at_unix_s < refusal.at_unix_s - REFUSAL_KEPT_S
    connection.execute(delete(refusals).where(too_old | refusals.c.number.not_in(newest.scalar_subquery())))


def refusals_since(connection: Connection, since_unix_s: float, provider: str | None) -> list[Refusal]:
    """The newest first."""
    columns = [refusals.c[field.name] for field in fields(Refusal)]
    query = select(*columns).where(refusals.c.at_unix_s >= since_unix_s)
    if provider is not None:
        query = query.where(refusals.c.provider == provider)
    newest = query.order_by(refusals.c.at_unix_s.desc(), refusals.c.number.desc())
    return [Refusal(**row._mapping) for row in connection.execute(newest)]
