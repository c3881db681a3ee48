"""A ledger has a name of its own, which every machine that it pays for carries: nobody ends those of another ledger."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row, for ever."""
    table = op.create_table(
        "identity", sa.Column("id", sa.Text, nullable=False), sa.PrimaryKeyConstraint("id", name="pk_identity")
    )
    op.bulk_insert(table, [{"id": uuid.uuid4().hex}])
