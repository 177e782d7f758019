"""A row of `nodes` is about one process: two may have the identity of one node."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """From processes that were not told apart: 0 is none, so each node's next process is another one, and the lease of the one before is waited for."""
    number = sa.Integer().with_variant(sa.BigInteger, "postgresql")
    op.add_column("nodes", sa.Column("process", number, nullable=False, server_default="0"))
