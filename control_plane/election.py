"""The seat of the leader, as a row that several control planes write to (`leadership.py` says by which rules), and the ear for what they tell each other.

Everything here waits for the server, within bounds, so it is called in a thread of its own; one call at a time.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, TypeVar

import psycopg
from sqlalchemy import Connection, select

from control_plane import tables
from control_plane.leadership import Seat
from control_plane.postgres import CHANNEL, BoundedConnection, connect
from control_plane.state import StoreError

LIMIT_SECONDS: Final = 0.5
"""Of one statement: a leader that hears nothing for longer has no tenure left to save."""

DEAF_SECONDS: Final = 1.0
"""Between two attempts to listen. What is missed meanwhile is found by those who look by themselves."""

_Answer = TypeVar("_Answer")

_READ: Final = "SELECT term, holder, grpc_address, renewals FROM leadership WHERE id = 1"


class DeposedError(StoreError):
    """Another control plane leads; nothing has been written."""


def fence(connection: Connection, term: int) -> None:
    """Have the transaction fail unless the term is still this one, and nobody take the seat before it has ended."""
    seat = tables.leadership.c
    held = select(seat.term).where(seat.id == 1, seat.term == term).with_for_update(read=True, key_share=True)
    if connection.execute(held).scalar_one_or_none() is None:
        raise DeposedError(f"is led by another control plane since the term {term}")


class Election:
    """One control plane's connection to the seat, opened anew after each error. OSError when the server cannot be asked."""

    def __init__(self, address: str, holder: str, grpc_address: str) -> None:
        self._address = address
        self._holder = holder
        self._grpc_address = grpc_address
        self._connection: BoundedConnection | None = None

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read(self) -> Seat:
        """As it is now."""
        return self._ask(_read_seat)

    def take(self, seen: Seat) -> int | None:
        """Take the seat that was seen so; the term, durable, or None when it is another one by now."""

        def take(connection: BoundedConnection) -> int | None:
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit = on")
                connection.execute("INSERT INTO leadership VALUES (1, 0, '', '', 0) ON CONFLICT DO NOTHING")
                row = connection.execute(f"{_READ} FOR UPDATE").fetchone()
                if row is None or Seat(*row) != seen:
                    return None
                taken = (seen.term + 1, self._holder, self._grpc_address)
                update = "UPDATE leadership SET term = %s, holder = %s, grpc_address = %s, renewals = 0 WHERE id = 1"
                connection.execute(update, taken)
                connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
                return seen.term + 1

        return self._ask(take)

    def renew(self, term: int) -> bool:
        """Count up; False when the term is another one."""

        def renew(connection: BoundedConnection) -> bool:
            update = "UPDATE leadership SET renewals = renewals + 1 WHERE id = 1 AND term = %s AND holder = %s"
            return connection.execute(update, (term, self._holder)).rowcount == 1

        return self._ask(renew)

    def resign(self, term: int) -> None:
        """Leave the seat to whoever comes first, without a wait."""

        def resign(connection: BoundedConnection) -> None:
            connection.execute("UPDATE leadership SET holder = '' WHERE id = 1 AND term = %s", (term,))
            connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))

        self._ask(resign)

    def _ask(self, question: Callable[[BoundedConnection], _Answer]) -> _Answer:
        try:
            if self._connection is None:
                self._connection = connect(self._address, LIMIT_SECONDS)
                self._connection.autocommit = True
                self._connection.execute(
                    "SET synchronous_commit = off"
                )  # a renewal that is lost is one that was missed
            return question(self._connection)
        except psycopg.Error as error:
            self.close()
            raise OSError(f"the database cannot be asked who leads: {error}") from error


def _read_seat(connection: BoundedConnection) -> Seat:
    row = connection.execute(_READ).fetchone()
    return Seat() if row is None else Seat(*row)


async def listen(address: str, on_news: Callable[[], None]) -> None:
    """Call `on_news` whenever somebody has announced something, until cancelled."""
    while True:
        with contextlib.suppress(psycopg.Error):
            connection = await asyncio.to_thread(_listening, address)
            try:
                on_news()  # whatever was announced before
                await _hear(connection, on_news)
            finally:
                connection.close()
        await asyncio.sleep(DEAF_SECONDS)


def _listening(address: str) -> BoundedConnection:
    connection = connect(address, LIMIT_SECONDS)
    connection.autocommit = True
    connection.execute(f"LISTEN {CHANNEL}")
    return connection


async def _hear(connection: BoundedConnection, on_news: Callable[[], None]) -> None:
    """Until the connection breaks."""
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        try:
            connection.pgconn.consume_input()
            has_news = False
            while connection.pgconn.notifies() is not None:
                has_news = True
        except psycopg.Error:
            if not broken.done():
                broken.set_result(None)
        else:
            if has_news:
                on_news()

    descriptor = connection.fileno()
    loop.add_reader(descriptor, readable)
    try:
        await broken
    finally:
        loop.remove_reader(descriptor)
