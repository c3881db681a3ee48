"""A receipt names the run that it is for: one that was let go is noted by whoever sees its end, and counts once."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Receipts that are there name none."""
    op.add_column("receipts", sa.Column("run", sa.Text, nullable=False, server_default=sa.text("''")))
