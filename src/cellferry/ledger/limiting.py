"""Limits that are remembered: ``%remote budget 20 --per day``."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from cellferry.ledger.nouns import Limit
from cellferry.ledger.schema import limits as table


def set_limit(connection: Connection, limit: Limit, person: str) -> None:
    """In place of what was there."""
    if limit.microusd < 0:
        raise ValueError("an amount of money is never negative")
    remove_limit(connection, limit, person)
    connection.execute(insert(table).values(person=person, period=limit.period, key=limit.key, microusd=limit.microusd))


def remove_limit(connection: Connection, limit: Limit, person: str) -> None:
    """Silent if it is not there."""
    this = (table.c.person == person) & (table.c.period == limit.period) & (table.c.key == limit.key)
    connection.execute(delete(table).where(this))


def limits(connection: Connection, person: str, notebook: str) -> list[Limit]:
    """One for each period, and one for each cell, in the order of their names; what is for a notebook goes before what
    is for any."""
    rows = connection.execute(select(table).where(table.c.person == person).order_by(table.c.period, table.c.key))
    found: dict[tuple[str, str], Limit] = {}
    for row in rows:
        if row.period == "notebook" and row.key not in ("", notebook):
            continue
        found[row.period, row.key if row.period == "cell" else ""] = Limit(row.period, row.key, row.microusd)
    return list(found.values())
