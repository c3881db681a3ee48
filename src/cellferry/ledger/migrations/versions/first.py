"""The first tables.

They are written out here, not taken from ``schema``, which goes on changing.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _words(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _money(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _times(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names]


def _number() -> sa.Column[Any]:
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False)


def upgrade() -> None:
    """From an empty database."""
    op.create_table(
        "reservations",
        *_words("token", "state"),
        *_money("reserved_microusd", "spent_microusd"),
        *_words("person", "notebook", "cell", "worker", "provider", "region", "zone", "instance"),
        sa.Column("spot", sa.Boolean, nullable=False),
        *_money("microusd_per_hour"),
        *_times("at_unix_s"),
        *_words("client"),
        *_times("started_unix_s", "metered_unix_s", "ended_unix_s"),
        *_words("record"),
        sa.PrimaryKeyConstraint("token", name="pk_reservations"),
    )
    op.create_index("ix_reservations_state", "reservations", ["state"])
    op.create_index("ix_reservations_person_notebook", "reservations", ["person", "notebook"])
    op.create_table(
        "spend",
        *_words("token"),
        sa.Column("day", sa.Integer, nullable=False),
        *_money("microusd"),
        *_times("seconds"),
        sa.PrimaryKeyConstraint("token", "day", name="pk_spend"),
        sa.ForeignKeyConstraint(["token"], ["reservations.token"], name="fk_spend_token"),
    )
    op.create_index("ix_spend_day", "spend", ["day"])
    _receipts_limits_refusals()


def _receipts_limits_refusals() -> None:
    op.create_table(
        "receipts",
        _number(),
        *_words("token", "kind", "person", "notebook", "cell", "worker"),
        *_times("started_unix_s", "ended_unix_s"),
        *_money("microusd"),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_receipts"),
    )
    op.create_index("ix_receipts_token", "receipts", ["token"])
    op.create_index("ix_receipts_day", "receipts", ["day"])
    op.create_table(
        "limits",
        *_words("person", "period", "key"),
        *_money("microusd"),
        sa.PrimaryKeyConstraint("person", "period", "key", name="pk_limits"),
    )
    op.create_table(
        "refusals",
        _number(),
        *_words("provider", "region", "zone", "instance"),
        sa.Column("spot", sa.Boolean, nullable=False),
        *_words("kind", "what"),
        *_times("at_unix_s"),
        sa.PrimaryKeyConstraint("number", name="pk_refusals"),
    )
    op.create_index("ix_refusals_at_unix_s", "refusals", ["at_unix_s"])
