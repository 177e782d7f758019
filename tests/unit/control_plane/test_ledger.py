"""The registry and the receipts: one suite for the database and for the one in memory that the simulation runs on."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import Connection, insert, update

from control_plane import tables
from control_plane.database import open_database
from control_plane.ledger import SqlLedger
from control_plane.nodes import (
    NOTHING_ACKNOWLEDGED,
    NodeDescription,
    Rejection,
    Resource,
    ResourceKind,
    Role,
    SavedNode,
)
from control_plane.receipts import IssuedInvalidation, NodeReceipt, Receipt
from control_plane.state import Invalidate, StoreError
from control_plane.store import COPY_MARK, SqlStore
from control_plane.unsaved import Ledger
from proto.cdn.v1 import configuration_pb2, sync_pb2
from tests.simulation.world import MemoryLedger


class Subject(Protocol):
    """A ledger, and a way to commit an invalidation to its log."""

    ledger: Ledger

    def invalidate(self, identifier: str) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.memory = MemoryLedger("log-1", lambda receipt: None)
        self.ledger: Ledger = self.memory

    def invalidate(self, identifier: str) -> None:
        index = self.memory.head_index + 1
        issued = IssuedInvalidation(identifier, "D1", index, ("/a", "/b/*"), 1_000.0)
        self.memory.append(issued, sync_pb2.Entry(index=index), 1_000.0)


class InDatabase:
    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.sql = SqlLedger(store)
        self.ledger: Ledger = self.sql

    def invalidate(self, identifier: str) -> None:
        message = configuration_pb2.Invalidation(id=identifier, distribution_id="D1", paths=["/a", "/b/*"])
        with self.store.transaction() as transaction:
            transaction.append(Invalidate(message))


pytest_plugins = ("tests.postgres",)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InDatabase]:
    address = request.getfixturevalue("postgres_address") if request.param == "postgresql" else None
    store = SqlStore(open_database(tmp_path, address, 5.0), lambda: 1_000.0)
    yield InDatabase(store)
    store.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "memory":
        yield InMemory()
        return
    address = request.getfixturevalue("postgres_address") if request.param == "postgresql" else None
    with contextlib.closing(SqlStore(open_database(tmp_path, address, 5.0), lambda: 1_000.0)) as store:
        yield InDatabase(store)


def node(identifier: str, index: int = 3) -> SavedNode:
    return SavedNode(
        description=NodeDescription(identifier, Role.REGIONAL, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81"),
        acknowledged_index=index,
        lease_seconds=5.0,
        last_seen=7.5,
        unleased_since=2.5,
        has_left=True,
        rejections=(Rejection(Resource(ResourceKind.DISTRIBUTION, "D1"), 2, "unknown field"),),
    )


def receipt(index: int) -> Receipt:
    issued = IssuedInvalidation(f"I{index}", "D1", index, ("/a", "/b/*"), 1_000.0)
    lines = (
        NodeReceipt("edge-1", "acknowledged", acknowledged_at=1_000.5),
        NodeReceipt("edge-2", "left_out", left_out_since=900.0),
    )
    return Receipt(issued, 1_000.5, lines)


def test_nodes_are_replaced_and_removed(subject: Subject) -> None:
    subject.ledger.save([node("a"), node("b"), node("c")], [], [])
    subject.ledger.save([node("b", 9)], ["a"], [])
    assert sorted(subject.ledger.saved_nodes(), key=lambda saved: saved.description.identifier) == [
        node("b", 9),
        node("c"),
    ]


def test_rejections_of_before_they_named_resources_are_read(database: InDatabase) -> None:
    """What they are of is not known: the node says it when it connects."""
    database.sql.save([node("a")], [], [])
    with database.store.writing() as connection:
        old = json.dumps([{"index": 2, "reason": "unknown field"}])
        connection.execute(update(tables.nodes).values(rejections=old))
    (saved,) = database.sql.saved_nodes()
    assert saved.rejections == (Rejection(Resource(ResourceKind.UNKNOWN), 2, "unknown field"),)


def test_an_invalidation_is_pending_until_its_receipt_is_saved(subject: Subject) -> None:
    subject.invalidate("I1")
    subject.invalidate("I2")
    assert list(subject.ledger.pending_invalidations()) == [receipt(1).invalidation, receipt(2).invalidation]
    subject.ledger.save([], [], [receipt(1)])
    assert [pending.index for pending in subject.ledger.pending_invalidations()] == [2]
    assert subject.ledger.head_index == 2


def test_the_digest_of_each_position_is_known_up_to_the_head(subject: Subject) -> None:
    ledger = subject.ledger
    assert (ledger.digest_at(0), ledger.digest_at(1)) == (b"", None)
    subject.invalidate("I1")
    first = ledger.digest_at(1)
    subject.invalidate("I2")
    assert ledger.digest_at(1) == first and len({ledger.digest_at(index) for index in (0, 1, 2)}) == 3
    assert ledger.digest_at(3) is None and ledger.digest_at(2**64 - 1) is None


def test_a_receipt_is_kept_line_by_line(database: InDatabase) -> None:
    database.invalidate("I1")
    assert database.sql.receipt("I\0") is None, "it is found nowhere, and no mistake of the database"
    pending = database.sql.receipt("I1")
    assert pending is not None and pending.completed_at is None and pending.nodes == ()
    database.sql.save([], [], [receipt(1)])
    assert database.sql.receipt("I1") == receipt(1)
    assert database.sql.receipt("I2") is None


def test_a_receipt_that_was_written_line_by_line_before_is_read(database: InDatabase) -> None:
    database.invalidate("I1")
    database.sql.save([], [], [receipt(1)])
    with database.store.writing() as connection:
        old = json.dumps([asdict(line) for line in receipt(1).nodes])
        connection.execute(update(tables.receipts).values(nodes=old))
    assert database.sql.receipt("I1") == receipt(1)


def test_a_receipt_of_no_node_at_all_is_kept(database: InDatabase) -> None:
    database.invalidate("I1")
    nobody = Receipt(receipt(1).invalidation, 1_000.5, ())
    database.sql.save([], [], [nobody])
    assert database.sql.receipt("I1") == nobody


def test_what_is_complete_is_known_by_its_newest_index(subject: Subject) -> None:
    assert subject.ledger.completed_index == 0
    for number in range(1, 4):
        subject.invalidate(f"I{number}")
    assert subject.ledger.completed_index == 0
    subject.ledger.save([], [], [receipt(1), receipt(2)])
    assert subject.ledger.completed_index == 2


def leased(identifier: str, index: int, *refused: Resource) -> SavedNode:
    rejections = tuple(Rejection(resource, index, "unknown field") for resource in refused)
    return replace(node(identifier, index), rejections=rejections)


DISTRIBUTION, POLICY = Resource(ResourceKind.DISTRIBUTION, "D1"), Resource(ResourceKind.CACHE_POLICY, "P1")


def test_what_all_have_acknowledged_is_one_number_beside_their_rows(database: InDatabase) -> None:
    for number in range(1, 5):
        database.invalidate(f"I{number}")
    database.sql.save([leased("a", 1), leased("b", 4), replace(leased("gone", 0), lease_seconds=0.0)], [], [])
    assert not database.sql.is_deployed([DISTRIBUTION], 3) and database.sql.completed_index == 0
    database.sql.save_settled(3)
    assert database.sql.is_deployed([DISTRIBUTION], 3) and not database.sql.is_deployed([DISTRIBUTION], 4)
    assert database.sql.completed_index == 3
    database.sql.save([], [], [receipt(4)])
    assert database.sql.is_deployed([DISTRIBUTION], 4), "the receipt says that all have it"


def test_what_refers_to_something_refused_is_not_deployed(database: InDatabase) -> None:
    database.invalidate("I1")
    database.sql.save([leased("a", 1, POLICY), leased("b", 1)], [], [])
    database.sql.save_settled(1)
    assert not database.sql.is_deployed([DISTRIBUTION, POLICY], 1) and database.sql.is_deployed([DISTRIBUTION], 1)


def test_one_that_has_confirmed_nothing_is_not_covered_by_what_all_others_have(database: InDatabase) -> None:
    database.invalidate("I1")
    database.sql.save([leased("starts-over", NOTHING_ACKNOWLEDGED), leased("b", 1)], [], [])
    database.sql.save_settled(1)
    assert not database.sql.is_deployed([DISTRIBUTION], 1)


def test_another_log_forgets_what_all_had_acknowledged(database: InDatabase) -> None:
    database.sql.save_settled(7)
    with database.store.writing() as connection:
        connection.execute(insert(tables.meta).values(key=COPY_MARK, value=""))
    database.store.become_another_log()
    assert database.sql.completed_index == 0


def test_who_leads_no_longer_writes_nothing(database: InDatabase) -> None:
    def fence(_connection: Connection) -> None:
        raise StoreError("is led by another control plane")

    deposed = SqlLedger(database.store, fence)
    with pytest.raises(StoreError):
        deposed.save_settled(3)
    with pytest.raises(StoreError):
        deposed.save([node("a")], [], [])
    assert database.sql.completed_index == 0 and database.sql.saved_nodes() == []


def test_an_invalidation_that_is_not_told_yet_is_not_among_those_that_wait(database: InDatabase) -> None:
    """Another process may commit one between the beginning of a term and the reading of those that wait: it is told when the log is looked at."""
    database.invalidate("I1")
    database.store.head_index = 0
    assert database.sql.pending_invalidations() == []


def test_a_digest_that_is_trimmed_is_not_remembered(tmp_path: Path) -> None:
    store = SqlStore(tmp_path, lambda: 1_000.0, retained_entries=10)
    trimmed = InDatabase(store)
    trimmed.invalidate("I1")
    assert trimmed.sql.digest_at(1)
    for number in range(2, 30):
        trimmed.invalidate(f"I{number}")
    assert trimmed.sql.digest_at(1) is None
    store.close()


def test_receipts_are_kept_for_a_bounded_number_of_entries(
    database: InDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.ledger.RETAINED_RECEIPTS", 2)
    for number in range(1, 6):
        database.invalidate(f"I{number}")
        database.sql.save([], [], [receipt(number)])
    kept = [database.sql.receipt(f"I{number}") for number in range(1, 6)]
    assert kept == [None, None, None, receipt(4), receipt(5)]


def test_a_receipt_that_waits_is_kept_however_old_it_is(database: InDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.ledger.RETAINED_RECEIPTS", 2)
    for number in range(1, 6):
        database.invalidate(f"I{number}")
    database.sql.save([node("a")], [], [receipt(1)])
    assert [pending.index for pending in database.sql.pending_invalidations()] == [2, 3, 4, 5]
