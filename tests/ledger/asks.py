"""What the tests ask for, and the tables seen from below."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from cellferry.ledger import Ask, Ledger

NOW = 1_763_985_600.0
"""2025-11-24 12:00 UTC."""
DAY = 86400.0
DOLLAR = 1_000_000
HOURLY = 3600 * 100
"""A price, micro-dollars per hour, that makes 100 a second."""


def ask(token: str, amount: int = DOLLAR, at: float = NOW, **other: Any) -> Ask:
    told: dict[str, Any] = {
        "token": token, "person": "ana", "notebook": "a.ipynb", "cell": "c1", "worker": "train", "provider": "aws",
        "region": "us-east-1", "zone": "us-east-1a", "instance": "p4d.24xlarge", "spot": False,
        "microusd_per_hour": HOURLY, "amount_microusd": amount, "at_unix_s": at, "client": "ana@box pid 7",
    }  # fmt: skip
    return Ask(**told | other)


def rows(ledger: Ledger, query: str) -> list[Any]:
    """A question to the tables themselves."""
    with ledger._reading() as connection:
        return list(connection.execute(text(query)).all())


def empty(connection: Connection) -> None:
    """Take every row out of every table."""
    for table in ("spend", "receipts", "reservations", "limits", "refusals"):
        connection.execute(text(f"DELETE FROM {table}"))
