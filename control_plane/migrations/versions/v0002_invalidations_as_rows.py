"""The invalidations of a distribution, which were one document for each and a list of all of them, are rows; receipts that wait are found by an index, and old ones are
gone; entries have digests."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Row = dict[str, Any]

RETAINED_RECEIPTS = 10_000


def upgrade() -> None:
    """From the tables without a version."""
    invalidations = _create_tables()
    connection = op.get_bind()
    documents = sa.table("documents", sa.column("kind"), sa.column("identifier"), sa.column("body"))
    bodies = sa.select(documents.c.identifier, documents.c.body)
    records = connection.execute(bodies.where(documents.c.kind == "invalidation"))
    remembered = {row.identifier: row.body for row in records}
    for distribution_id, history in connection.execute(bodies.where(documents.c.kind == "invalidation_history")).all():
        for number, entry in enumerate(json.loads(history)["entries"], 1):
            record = json.loads(remembered[entry["id"]])
            row = {"distribution_id": distribution_id, "number": number} | _columns(entry, record)
            connection.execute(invalidations.insert().values(row))
    connection.execute(documents.delete().where(documents.c.kind.in_(("invalidation", "invalidation_history"))))
    nodes = sa.table("nodes", sa.column("rejections"))
    connection.execute(nodes.update().values(rejections="[]"))  # named no resources; nodes say them again
    _forget_old_receipts(connection)


def _columns(entry: Row, record: Row) -> Row:
    kept = ("index", "caller_reference", "created_at", "file_paths", "wildcard_paths")
    return {name: entry[name] for name in kept} | {"identifier": entry["id"], "paths": json.dumps(record["paths"])}


def _create_tables() -> sa.Table:
    log_index = sa.Integer().with_variant(sa.BigInteger, "postgresql")
    waiting = sa.text("completed_at IS NULL")
    op.create_index("receipts_pending", "receipts", ["index"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "digests",
        sa.Column("index", log_index, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    return op.create_table(
        "invalidations",
        sa.Column("distribution_id", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("index", log_index, nullable=False),
        sa.Column("identifier", sa.String, nullable=False, unique=True),
        sa.Column("caller_reference", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("file_paths", sa.Integer, nullable=False),
        sa.Column("wildcard_paths", sa.Integer, nullable=False),
        sa.Column("paths", sa.Text, nullable=False),
        sa.UniqueConstraint("distribution_id", "index"),
        sa.UniqueConstraint("distribution_id", "caller_reference"),
    )


def _forget_old_receipts(connection: sa.Connection) -> None:
    receipts = sa.table("receipts", sa.column("index"), sa.column("completed_at"))
    newest_complete = sa.select(sa.func.max(receipts.c.index)).where(receipts.c.completed_at.is_not(None))
    newest: int | None = connection.execute(newest_complete).scalar_one()
    if newest is not None:
        connection.execute(receipts.delete().where(receipts.c.index <= newest - RETAINED_RECEIPTS))
