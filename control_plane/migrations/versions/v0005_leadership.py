"""Several control planes may share a database: which of them leads, and in which term."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """From the tables of a single control plane."""
    log_index = sa.Integer().with_variant(sa.BigInteger, "postgresql")
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("term", log_index, nullable=False),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("grpc_address", sa.String, nullable=False),
        sa.Column("renewals", log_index, nullable=False),
    )
