"""The tables of databases that had no version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "meta", sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String, nullable=False)
    )
    op.create_table(
        "documents",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("identifier", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "identifier"),
    )
    op.create_table("log", _index(), sa.Column("entry", sa.LargeBinary, nullable=False))
    op.create_table(
        "resources",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("identifier", sa.String, primary_key=True),
        sa.Column("resource", sa.LargeBinary, nullable=False),
    )
    _create_nodes()
    op.create_table(
        "receipts",
        _index(),
        sa.Column("invalidation_id", sa.String, nullable=False, unique=True),
        sa.Column("distribution_id", sa.String, nullable=False),
        sa.Column("paths", sa.Text, nullable=False),
        sa.Column("issued_at", sa.Float, nullable=False),
        sa.Column("completed_at", sa.Float),
        sa.Column("nodes", sa.Text),
    )


def _index() -> "sa.Column[int]":
    return sa.Column("index", _log_index(), primary_key=True, autoincrement=False)


def _log_index() -> "sa.types.TypeEngine[int]":
    return sa.Integer().with_variant(sa.BigInteger, "postgresql")


def _create_nodes() -> None:
    texts = ("region", "pop", "http_address", "admin_address")
    op.create_table(
        "nodes",
        sa.Column("identifier", sa.String, primary_key=True),
        sa.Column("role", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in texts),
        sa.Column("acknowledged_index", _log_index(), nullable=False),
        sa.Column("lease_seconds", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("unleased_since", sa.Float, nullable=False),
        sa.Column("has_left", sa.Integer, nullable=False),
        sa.Column("rejections", sa.Text, nullable=False),
    )
