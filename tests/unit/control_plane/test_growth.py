"""What an invalidation costs does not grow with those before it: counted in steps of the database's own machine, which do not depend on time."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from control_plane.ledger import SqlLedger
from control_plane.receipts import IssuedInvalidation, NodeReceipt, Receipt
from control_plane.state import Invalidate, InvalidationRecord
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2

RETAINED = 100
"""Both of the history of a distribution and of receipts, so that the steady state is reached soon."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    monkeypatch.setattr("control_plane.ledger.RETAINED_RECEIPTS", RETAINED)
    with contextlib.closing(SqlStore(tmp_path, lambda: 1_000.0, retained_entries=100_000)) as opened:
        for driver in drivers_of(opened):
            driver.execute("PRAGMA synchronous = OFF")  # nothing is killed here
        yield opened


def drivers_of(store: SqlStore) -> list[sqlite3.Connection]:
    """Of the connection that writes and of the one that reads; there is one of each."""
    with store.engine.connect() as writer, store.reader.connect() as reader:
        found = [connection.connection.driver_connection for connection in (writer, reader)]
    return [driver for driver in found if isinstance(driver, sqlite3.Connection)]


def create(store: SqlStore) -> None:
    """What CreateInvalidation does with the database."""
    index = store.head_index + 1
    completed_index = index - 1
    message = configuration_pb2.Invalidation(id=f"I{index}", distribution_id="E1", paths=["/a"])
    record = InvalidationRecord(f"I{index}", "E1", index, ("/a",), f"r{index}", datetime(2026, 11, 21, tzinfo=UTC))
    with store.transaction() as transaction:
        assert transaction.invalidations.with_reference("E1", f"r{index}") is None
        transaction.append(Invalidate(message))
        transaction.invalidations.add(record)
        transaction.invalidations.in_progress("E1", completed_index)
        transaction.invalidations.forget_oldest("E1", RETAINED, completed_index)


def complete(store: SqlStore) -> None:
    """The newest receipt."""
    index = store.head_index
    issued = IssuedInvalidation(f"I{index}", "E1", index, ("/a",), 1_000.0)
    SqlLedger(store).save([], [], [Receipt(issued, 1_000.5, (NodeReceipt("edge-1", "acknowledged", 1_000.4),))])


def look(store: SqlStore) -> None:
    """Everything that asks for one of them, or for the newest."""
    ledger = SqlLedger(store)
    assert ledger.receipt(f"I{store.head_index}") is not None and list(ledger.pending_invalidations()) == []
    with store.transaction() as transaction:
        assert transaction.invalidations.get(f"I{store.head_index}") is not None
        assert len(transaction.invalidations.newest("E1", 10)) == 10


def steps_of(store: SqlStore, action: Callable[[SqlStore], None]) -> int:
    """Instructions of SQLite's virtual machine, on both connections."""
    total = 0

    def count() -> int:
        nonlocal total
        total += 1
        return 0

    drivers = drivers_of(store)
    for driver in drivers:
        driver.set_progress_handler(count, 1)
    try:
        action(store)
    finally:
        for driver in drivers:
            driver.set_progress_handler(None, 0)
    return total


def grow(store: SqlStore, number: int) -> None:
    while store.head_index < number:
        create(store)
        complete(store)


@pytest.mark.parametrize("action", [create, complete, look])
def test_an_invalidation_costs_the_same_after_hundreds_of_others(
    store: SqlStore, action: Callable[[SqlStore], None]
) -> None:
    grow(store, RETAINED + 20)
    early = steps_of(store, action)
    grow(store, 3 * RETAINED)
    late = steps_of(store, action)
    assert early > 10 and abs(late - early) <= early // 20


def test_what_is_kept_is_bounded(store: SqlStore) -> None:
    grow(store, 3 * RETAINED)
    with store.reading() as connection:
        for table in ("receipts", "invalidations"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == RETAINED
        assert connection.exec_driver_sql("SELECT count(*) FROM documents").scalar_one() == 0


def test_every_statement_finds_its_rows_by_an_index(store: SqlStore) -> None:
    grow(store, 20)
    statements: set[tuple[str, tuple[object, ...]]] = set()

    def remember(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        rows = parameters if isinstance(parameters, list) else [parameters]
        if not statement.startswith(("BEGIN", "PRAGMA")):
            statements.update((statement, tuple(row)) for row in rows)

    for engine in (store.engine, store.reader):
        event.listen(engine, "before_cursor_execute", remember)
    create(store)
    complete(store)
    look(store)
    assert len(statements) > 10
    event.remove(store.reader, "before_cursor_execute", remember)
    with store.reading() as connection:
        for statement, parameters in statements:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            scans = [step[3] for step in plan if step[3].startswith("SCAN")]
            assert scans in ([], ["SCAN receipts USING INDEX receipts_pending"]), statement  # that one is what waits
