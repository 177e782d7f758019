"""PostgreSQL as the store's database, which several control planes may share. Loaded only where it is used (`database.open_database`).

All that waits for the server is bounded here, since an event loop waits with it; and the server ends the transactions of those who stand still in the middle of one,
since
everybody waits for their locks.
"""

from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, QueuePool, create_engine
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from control_plane.database import Database
from proto.host_clock import host_seconds

CHANNEL: Final = "cdnlab"
"""Of NOTIFY: whoever listens looks again at the log, and at who leads."""

CONNECT_SECONDS: Final = 2
IDLE_TRANSACTION_MILLISECONDS: Final = 1_000
"""A process that stands still in the middle of a transaction (SIGSTOP, a cut) has its locks for so long."""

_LOG_LOCK: Final = (0x63646E, 1)
_POOL: Final = 3

_Result = TypeVar("_Result")


def name_of(address: str) -> str:
    """What messages call the database: never its password."""
    parts = conninfo_to_dict(address)
    place = f"{parts.get('host') or 'the local socket'}:{parts.get('port') or 5432}"
    return f"{parts.get('dbname') or parts.get('user') or ''} at {place}"


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a server that does not answer within `limit_seconds`, and is closed then: what became of the transaction is not known."""

    limit_seconds = 5.0

    def wait(self, gen: PQGen[_Result], interval: float = 0.1, timeout: float | None = None) -> _Result:
        """See psycopg."""
        limit_seconds = self.limit_seconds if timeout is None else timeout
        deadline = host_seconds() + limit_seconds
        try:
            return super().wait(gen, interval, limit_seconds)
        except psycopg.Error:
            if host_seconds() < deadline:
                raise
            self.close()
            raise psycopg.OperationalError(f"the server has not answered for {limit_seconds:g} s") from None


def connect(address: str, limit_seconds: float, *, is_reader: bool = False) -> BoundedConnection:
    """A connection with the bounds of this file."""
    milliseconds = round(limit_seconds * 1000)
    options = {
        "idle_in_transaction_session_timeout": IDLE_TRANSACTION_MILLISECONDS,
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "default_transaction_read_only": "on" if is_reader else "off",
    }
    flags = " ".join(f"-c {name}={value}" for name, value in options.items())
    bounded = make_conninfo(address, connect_timeout=CONNECT_SECONDS, options=flags, application_name="cdnlab")
    connection = BoundedConnection.connect(bounded)
    connection.limit_seconds = limit_seconds
    return connection


class PostgresDatabase(Database):
    """A database of a server, at an address as libpq has it."""

    has_one_writer = False

    def __init__(self, address: str, limit_seconds: float) -> None:
        self.address = address
        engine, reader = (self._engine(limit_seconds, is_reader=is_reader) for is_reader in (False, True))
        super().__init__(name_of(address), engine, reader, postgres_insert)

    def _engine(self, limit_seconds: float, *, is_reader: bool) -> Engine:
        def creator() -> BoundedConnection:
            return connect(self.address, limit_seconds, is_reader=is_reader)

        return create_engine("postgresql+psycopg://", creator=creator, poolclass=QueuePool, pool_size=_POOL)

    def lock_log(self, connection: Connection) -> None:
        """See Database."""
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, %s)", _LOG_LOCK)

    def begin_view(self, connection: Connection) -> None:
        """See Database."""
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def announce(self, connection: Connection) -> None:
        """See Database."""
        connection.exec_driver_sql("SELECT pg_notify(%s, '')", (CHANNEL,))


def open_database(address: str, limit_seconds: float) -> Database:
    """See database.open_database."""
    return PostgresDatabase(address, limit_seconds)
