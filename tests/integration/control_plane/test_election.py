"""The seat of the leader in a real PostgreSQL: one at a time takes it, and what the one before writes is refused."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from control_plane.election import DeposedError, Election, fence, listen
from control_plane.leadership import Seat
from control_plane.ledger import SqlLedger
from control_plane.nodes import NodeDescription, Role, SavedNode
from control_plane.postgres import PostgresDatabase
from control_plane.published_tables import PublishedTables
from control_plane.resource_kinds import put_distribution
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2
from tests.integration.sync_harness import until

pytest_plugins = ("tests.postgres",)


@pytest.fixture
def store(postgres_address: str) -> Iterator[SqlStore]:
    with contextlib.closing(SqlStore(PostgresDatabase(postgres_address, 5.0), lambda: 1_000.0)) as opened:
        yield opened


def ledger_of(store: SqlStore, term: int) -> SqlLedger:
    return SqlLedger(store, lambda connection: fence(connection, term))


def node(index: int) -> SavedNode:
    description = NodeDescription("edge-1", Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
    return SavedNode(description, index, 5.0, 7.5, 2.5, has_left=False, rejections=())


def test_of_many_who_find_it_vacant_one_takes_it(postgres_address: str, store: SqlStore) -> None:
    assert store.head_index == 0  # the tables are there
    terms: list[int | None] = []

    def take(name: str) -> None:
        with contextlib.closing(Election(postgres_address, name, f"{name}:1")) as election:
            terms.append(election.take(Seat()))

    threads = [threading.Thread(target=take, args=(f"plane-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(terms, key=str) == [1, None, None, None, None, None]


def test_a_leader_from_before_writes_nothing(postgres_address: str, store: SqlStore) -> None:
    with (
        contextlib.closing(Election(postgres_address, "a", "a:1")) as first,
        contextlib.closing(Election(postgres_address, "b", "b:1")) as second,
    ):
        term = first.take(Seat())
        assert term == 1 and first.renew(term)
        ledger_of(store, term).save([node(3)], [], [])
        assert second.take(Seat(1, "a", "a:1", 0)) is None, "it was renewed since"
        assert second.take(second.read()) == 2
        assert not first.renew(term)
        with pytest.raises(DeposedError):
            ledger_of(store, term).save([node(9)], [], [])
        ledger_of(store, 2).save([node(4)], [], [])
        assert [saved.acknowledged_index for saved in ledger_of(store, 2).saved_nodes()] == [4]
        first.resign(term)
        assert second.read().holder == "b", "of a term that is over nobody resigns"
        second.resign(2)
        assert second.read().holder == ""


def test_a_leader_from_before_publishes_none_of_its_tables(postgres_address: str, store: SqlStore) -> None:
    """It won the seat, stood still, and goes on with the start of its term."""
    tables = PublishedTables(configuration_pb2.RoutingTable(zone="a.test"), configuration_pb2.GeoTable())
    of_the_next = PublishedTables(configuration_pb2.RoutingTable(zone="b.test"), configuration_pb2.GeoTable())
    with (
        contextlib.closing(Election(postgres_address, "a", "a:1")) as first,
        contextlib.closing(Election(postgres_address, "b", "b:1")) as second,
    ):
        term = first.take(Seat())
        assert term == 1 and second.take(second.read()) == 2
        of_the_next.publish(store, lambda connection: fence(connection, 2))
        published = store.head_index
        with pytest.raises(DeposedError):
            tables.publish(store, lambda connection: fence(connection, 1))
        store.start_at_head()
        assert store.head_index == published


def test_nobody_takes_the_seat_in_the_middle_of_a_write(postgres_address: str, store: SqlStore) -> None:
    with (
        contextlib.closing(Election(postgres_address, "a", "a:1")) as first,
        contextlib.closing(Election(postgres_address, "b", "b:1")) as second,
    ):
        term = first.take(Seat())
        assert term == 1
        with store.writing() as connection:
            fence(connection, term)
            assert first.renew(term), "a renewal does not wait for it"
            with pytest.raises(OSError, match="cannot be asked who leads"):
                second.take(second.read())
        assert second.take(second.read()) == 2


async def test_who_listens_is_told_of_entries_and_of_leaders(postgres_address: str, store: SqlStore) -> None:
    told: list[int] = []
    task = asyncio.create_task(listen(postgres_address, lambda: told.append(1)))
    try:
        await until(lambda: len(told) == 1, "it listens")
        with store.transaction() as transaction:
            transaction.append(put_distribution(configuration_pb2.Distribution(id="D1")))
        await until(lambda: len(told) == 2, "the entry")
        with contextlib.closing(Election(postgres_address, "a", "a:1")) as election:
            assert election.take(Seat()) == 1
            await until(lambda: len(told) == 3, "the leader")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
