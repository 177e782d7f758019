"""Which clock the times of receipts and nodes are of. Those of before have none: they are seconds since the epoch, and compared with nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """From times without clocks."""
    for table, column in (("receipts", "issued_clock"), ("receipts", "completed_clock"), ("nodes", "clock")):
        op.add_column(table, sa.Column(column, sa.Text))
