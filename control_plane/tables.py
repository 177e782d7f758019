"""The tables of the control plane's database. Every statement over them is in `store.py`, `invalidation_rows.py`, `ledger.py`, `election.py` and `backup.py`; what they
were before, and what a change of them needs, in `migrations/`. A change here is a revision there (`schema.py`)."""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

LogIndex = Integer().with_variant(BigInteger, "postgresql")
"""SQLite's integers have no width."""

versions = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))
"""Of the tables, as Alembic keeps it: one row."""

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))

documents = Table(
    "documents",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("kind", String, nullable=False),
    Column("identifier", String, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("kind", "identifier"),
)

log = Table(
    "log",
    metadata,
    Column("index", LogIndex, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
)

digests = Table(
    "digests",
    metadata,
    Column("index", LogIndex, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),
)
"""Of the log's history up to each entry that is retained, and up to the one before the oldest: a node that stands there still gets entries."""

resources = Table(
    "resources",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("identifier", String, primary_key=True),
    Column("revision", LogIndex, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What the log amounts to at its head: the content of a snapshot. `revision` is the index of the entry that has put it."""

resource_references = Table(
    "resource_references",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("identifier", String, primary_key=True),
    Column("target_kind", Integer, primary_key=True, autoincrement=False),
    Column("target_identifier", String, primary_key=True),
    Index("references_by_target", "target_kind", "target_identifier"),
)
"""Which resource refers to which other one."""

nodes = Table(
    "nodes",
    metadata,
    Column("identifier", String, primary_key=True),
    Column("role", Integer, nullable=False),
    Column("region", String, nullable=False),
    Column("pop", String, nullable=False),
    Column("http_address", String, nullable=False),
    Column("admin_address", String, nullable=False),
    Column("acknowledged_index", LogIndex, nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("unleased_since", Float, nullable=False),
    Column("has_left", Integer, nullable=False),
    Column("rejections", Text, nullable=False),
    Column("clock", Text),
    Column("process", LogIndex, nullable=False, server_default="0"),
)
"""`last_seen` and `unleased_since` are seconds of the clock whose anchor is beside them, as JSON; where it is null, seconds since the epoch."""

receipts = Table(
    "receipts",
    metadata,
    Column("index", LogIndex, primary_key=True, autoincrement=False),
    Column("invalidation_id", String, nullable=False, unique=True),
    Column("distribution_id", String, nullable=False),
    Column("paths", Text, nullable=False),
    Column("issued_at", Float, nullable=False),
    Column("completed_at", Float),
    Column("nodes", Text),
    Column("issued_clock", Text),
    Column("completed_clock", Text),
)
"""One row per invalidation from the moment it is committed; incomplete while `completed_at` is null. The clocks are anchors as of `nodes`: the first of `issued_at`,
the other of all other times."""

_is_pending = receipts.c.completed_at.is_(None)
Index("receipts_pending", receipts.c.index, sqlite_where=_is_pending, postgresql_where=_is_pending)

invalidations = Table(
    "invalidations",
    metadata,
    Column("distribution_id", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("index", LogIndex, nullable=False),
    Column("identifier", String, nullable=False, unique=True),
    Column("caller_reference", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("file_paths", Integer, nullable=False),
    Column("wildcard_paths", Integer, nullable=False),
    Column("paths", Text, nullable=False),
    UniqueConstraint("distribution_id", "index"),
    UniqueConstraint("distribution_id", "caller_reference"),
)
"""What the management API remembers of each distribution's invalidations, numbered from 1 within it."""

leadership = Table(
    "leadership",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("term", LogIndex, nullable=False),
    Column("holder", String, nullable=False),
    Column("grpc_address", String, nullable=False),
    Column("renewals", LogIndex, nullable=False),
)
"""At most one row, with `id` 1, and none where a single control plane owns the database: see `election.py`. `holder` is empty when a leader has resigned."""
