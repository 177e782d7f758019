"""The tables of the control plane's database, and how it is opened. Every statement over them is in `store.py`, `invalidation_rows.py`, `ledger.py` and `backup.py`; what
they were before, and what a change of them needs, in `schema.py`."""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.pool import StaticPool

metadata = MetaData()

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
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
)

digests = Table(
    "digests",
    metadata,
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),
)
"""Of the log's history up to each entry that is retained, and up to the one before the oldest: a node that stands there still gets entries."""

resources = Table(
    "resources",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("identifier", String, primary_key=True),
    Column("revision", Integer, nullable=False),
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
    Column("acknowledged_index", Integer, nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("unleased_since", Float, nullable=False),
    Column("has_left", Integer, nullable=False),
    Column("rejections", Text, nullable=False),
    Column("clock", Text),
)
"""`last_seen` and `unleased_since` are seconds of the clock whose anchor is beside them, as JSON; where it is null, seconds since the epoch."""

receipts = Table(
    "receipts",
    metadata,
    Column("index", Integer, primary_key=True, autoincrement=False),
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

Index("receipts_pending", receipts.c.index, sqlite_where=receipts.c.completed_at.is_(None))

invalidations = Table(
    "invalidations",
    metadata,
    Column("distribution_id", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("index", Integer, nullable=False),
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


def open_engine(path: Path) -> Engine:
    """One connection to the database file, created if need be, without its tables (`schema.py`). Commits reach the disk before they return."""
    engine = create_engine(
        _url(path),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0},
    )
    event.listen(engine, "connect", _configure_connection)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def open_reader(path: Path) -> Engine:
    """A second connection that sees what is committed, also while a transaction is open on the first."""
    engine = create_engine(
        _url(path),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0},
    )
    event.listen(engine, "connect", _configure_connection)
    return engine


def _url(path: Path) -> URL:
    """Not written as text: a path may have characters that mean something in a URL."""
    return URL.create("sqlite+pysqlite", database=str(path))


def _configure_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not guessed by the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock at once: indexes are handed out under it, so commit order is index order."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
