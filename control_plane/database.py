"""What the store asks of a database, and SQLite as one. PostgreSQL is in `postgres.py`, which is loaded only where it is used.

Two engines: one writes, in transactions that have the log to themselves; the other reads what is committed, and can do nothing else.
"""

import fcntl
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, QueuePool, Table, create_engine, event
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.pool import StaticPool

from proto.host_clock import host_seconds

DATABASE_NAME: Final = "control-plane.sqlite3"

OPENING_SECONDS: Final = 5.0
"""How long the start waits for somebody else's lock on the file."""

TURN_SECONDS: Final = 0.25
TURN_PAUSE_SECONDS: Final = 0.001
"""How long the turn to write is waited for, and between two looks."""

_POSTGRES: Final = "control_plane.postgres"

Row = Mapping[str, object]


class Database:
    """An open database; `name` is what messages call it."""

    has_one_writer = True
    """Whether a transaction that writes waits for every other one."""

    def __init__(self, name: str, engine: Engine, reader: Engine, insert: Callable[[Table], Any]) -> None:
        self.name = name
        self.engine = engine
        self.reader = reader
        self._insert = insert

    def close(self) -> None:
        """Let go of it."""
        self.engine.dispose()
        self.reader.dispose()

    def put(self, connection: Connection, table: Table, keys: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows, which have the same columns; where the keys are there already, the other columns are replaced."""
        statement = self._insert(table)
        replaced = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=replaced), list(rows))

    def put_if_missing(self, connection: Connection, table: Table, row: Row) -> bool:
        """Insert a row unless there is one with its key; whether it was inserted."""
        return bool(connection.execute(self._insert(table).on_conflict_do_nothing(), [row]).rowcount == 1)

    def has_opened(self, _busy_milliseconds: int) -> None:
        """From now on a write waits for somebody else's lock for so long."""

    def lock_log(self, _connection: Connection) -> None:
        """Until the transaction ends nobody else appends: indexes are handed out under this lock, so commit order is index order."""

    def begin_view(self, _connection: Connection) -> None:
        """What is read on this connection from now on is of one moment."""

    def announce(self, _connection: Connection) -> None:
        """Have all who listen told of the log, once the transaction has committed."""

    def version(self, _connection: Connection) -> int:
        """A number beside the tables, by which programs from before know a database that they cannot read; 0: none."""
        return 0

    def set_version(self, _connection: Connection, _version: int) -> None:
        """See `version`."""


class SqliteDatabase(Database):
    """One file, created if need be, with a write-ahead log. Commits reach the disk before they return."""

    def __init__(self, path: Path) -> None:
        connecting = {"check_same_thread": False, "timeout": OPENING_SECONDS}
        engine = create_engine(_url(path), poolclass=StaticPool, connect_args=connecting)
        event.listen(engine, "connect", _configure_writer)
        turns = TurnFile(path.with_name(f"{path.name}-turn"))
        event.listen(engine, "begin", turns.begin)
        # A second one for what is asked while a view is open.
        reader = create_engine(_url(path), poolclass=QueuePool, pool_size=2, connect_args=connecting)
        event.listen(reader, "connect", _configure_reader)
        super().__init__(str(path), engine, reader, sqlite_insert)
        self._turns = turns

    def close(self) -> None:
        """See Database."""
        super().close()
        self._turns.close()

    def has_opened(self, busy_milliseconds: int) -> None:
        """See Database."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {busy_milliseconds}")

    def begin_view(self, connection: Connection) -> None:
        """See Database."""
        connection.exec_driver_sql("BEGIN")

    def version(self, connection: Connection) -> int:
        """See Database: SQLite's own."""
        number: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        return number

    def set_version(self, connection: Connection, version: int) -> None:
        """See Database."""
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")


def open_database(folder: Path, address: str | None, limit_seconds: float) -> Path | Database:
    """The one at an address of PostgreSQL, which answers within `limit_seconds` or has failed; without an address the folder, which `SqlStore` opens. The driver is
    loaded only where it is used: most control planes have none, and it takes a tenth of a second."""
    if address is None:
        return folder
    database: Database = importlib.import_module(_POSTGRES).open_database(address, limit_seconds)
    return database


def _url(path: Path) -> URL:
    """Not written as text: a path may have characters that mean something in a URL."""
    return URL.create("sqlite+pysqlite", database=str(path))


def _configure_writer(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not guessed by the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _configure_reader(connection: Any, record: object) -> None:
    _configure_writer(connection, record)
    connection.execute("PRAGMA query_only = ON")


class TurnFile:
    """Who waits for SQLite's write lock gets it before whoever asks later.

    SQLite itself only tries again, with pauses that grow: one process that writes without a pause leaves another one none. So a process takes the lock on this file
    first, keeps it while it waits for the other lock, and gives it back when it has that. Where the file cannot be had, it is as SQLite does it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self._descriptor = -1

    def close(self) -> None:
        """No transaction is begun any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def begin(self, connection: Connection) -> None:
        """Take the write lock at once."""
        is_ours = self._take()
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            if is_ours:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _take(self) -> bool:
        """Not for ever: whoever has it may stand still."""
        deadline = host_seconds() + TURN_SECONDS
        while self._descriptor >= 0:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if host_seconds() > deadline:
                    return False
                time.sleep(TURN_PAUSE_SECONDS)
            else:
                return True
        return False
