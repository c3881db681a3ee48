"""The tables, as the last migration leaves them; a test compares the two."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

REVISIONS = ("0001", "0002", "0003")
"""Every revision of the schema, the newest last. Read before Alembic is loaded; a test compares it with the scripts."""


class Words(TypeDecorator[str]):
    """Text from people and file systems, made storable: a name that is not UTF-8 is escaped, NUL goes (PostgreSQL has no
    place for it). The same happens to what is looked for, so it is found again."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "")

    def process_literal_param(self, value: str | None, dialect: Dialect) -> str:
        raise NotImplementedError("values are bound, never written into a statement")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def _words(name: str, **options: Any) -> Column[str]:
    return Column(name, Words, nullable=False, **options)


def _money(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=False, **options)


def _time(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _number() -> Column[int]:
    """A row's own number. SQLite counts by itself only in a column of the very type INTEGER."""
    return Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


reservations = Table(
    "reservations",
    metadata,
    _words("token", primary_key=True),
    _words("state"),
    _money("reserved_microusd"),
    _money("spent_microusd"),
    _words("person"),
    _words("notebook"),
    _words("cell"),
    _words("worker"),
    _words("provider"),
    _words("region"),
    _words("zone"),
    _words("instance"),
    Column("spot", Boolean, nullable=False),
    _money("microusd_per_hour"),
    _time("at_unix_s"),
    _words("client"),
    _time("started_unix_s"),
    _time("metered_unix_s"),
    _time("ended_unix_s"),
    _words("record"),
    Index(None, "state"),
    Index(None, "person", "notebook"),
)
"""One row for each machine that was ever asked for; the columns are the fields of ``nouns.Reservation``."""

spend = Table(
    "spend",
    metadata,
    Column("token", Words, ForeignKey(reservations.c.token), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    _money("microusd"),
    _time("seconds"),
    Index(None, "day"),
)
"""What of a reservation was spent in which UTC day (``days``); the rows of one token add up to its ``spent_microusd``."""

receipts = Table(
    "receipts",
    metadata,
    _number(),
    _words("token"),
    _words("kind"),
    _words("person"),
    _words("notebook"),
    _words("cell"),
    _words("worker"),
    _time("started_unix_s"),
    _time("ended_unix_s"),
    _money("microusd"),
    Column("estimated", Boolean, nullable=False),
    Column("day", Integer, nullable=False),
    _words("run", server_default=text("''")),
    Index(None, "token"),
    Index(None, "day"),
)

limits = Table(
    "limits",
    metadata,
    _words("person", primary_key=True),
    _words("period", primary_key=True),
    _words("key", primary_key=True),
    _money("microusd"),
)

identity = Table("identity", metadata, _words("id", primary_key=True))
"""One row: the ledger's own name, which the machines that it pays for carry as a tag."""

refusals = Table(
    "refusals",
    metadata,
    _number(),
    _words("provider"),
    _words("region"),
    _words("zone"),
    _words("instance"),
    Column("spot", Boolean, nullable=False),
    _words("kind"),
    _words("what"),
    _time("at_unix_s"),
    Index(None, "at_unix_s"),
)
"""Tries that failed (``model.Refusal``), the newest few hundred."""
