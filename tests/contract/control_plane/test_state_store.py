"""What the management API relies on in a store, held against the one in memory that its tests use and the real one."""

import contextlib
import itertools
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.database import open_database
from control_plane.resource_kinds import delete_distribution, put_distribution, put_routing_table
from control_plane.state import Change, Document, Invalidate, InvalidationRecord, Invalidations, Store
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2
from tests.fakes_control import FakeStore

pytest_plugins = ("tests.postgres",)


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeStore()
        return
    address = request.getfixturevalue("postgres_address") if request.param == "postgresql" else None
    with contextlib.closing(SqlStore(open_database(tmp_path, address, 5.0), lambda: 1_000.0)) as sql_store:
        yield sql_store


def document(identifier: str, kind: str = "distribution", **body: object) -> Document:
    return Document(kind, identifier, {"id": identifier, **body})


def test_what_was_put_is_there_in_the_next_transaction_and_in_this_one(store: Store) -> None:
    with store.transaction() as transaction:
        assert transaction.get("distribution", "E1") is None
        transaction.put(document("E1", text="é\n<&>", number=2**62, nested={"items": [True, None, 1.5]}))
        assert transaction.get("distribution", "E1") is not None
    with store.transaction() as transaction:
        found = transaction.get("distribution", "E1")
        assert found == document("E1", text="é\n<&>", number=2**62, nested={"items": [True, None, 1.5]})


def test_kinds_are_apart(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.put(document("x", "cache_policy"))
        assert transaction.get("distribution", "x") is None
        assert list(transaction.list("distribution")) == []
        transaction.delete("distribution", "x")
        assert transaction.get("cache_policy", "x") is not None


def test_lists_are_oldest_first_and_a_replacement_keeps_its_place(store: Store) -> None:
    with store.transaction() as transaction:
        for identifier in ("b", "a", "c"):
            transaction.put(document(identifier))
        transaction.put(document("b", changed=True))
        assert [found.identifier for found in transaction.list("distribution")] == ["b", "a", "c"]
    with store.transaction() as transaction:
        transaction.delete("distribution", "a")
        transaction.put(document("a"))
        assert [found.identifier for found in transaction.list("distribution")] == ["b", "c", "a"]
        assert transaction.list("distribution")[0].body == {"id": "b", "changed": True}


def test_deleting_what_is_not_there_does_nothing(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.delete("distribution", "never")


def test_a_body_that_was_read_is_a_copy(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.put(document("E1", items=[1]))
        found = transaction.get("distribution", "E1")
        assert found is not None
        found.body["items"].append(2)
        again = transaction.get("distribution", "E1")
        assert again is not None and again.body["items"] == [1]


CHANGES: list[Change] = [
    put_distribution(configuration_pb2.Distribution(id="E1")),
    Invalidate(configuration_pb2.Invalidation(id="I1", distribution_id="E1", paths=["/*"])),
    delete_distribution("E1"),
    put_routing_table(configuration_pb2.RoutingTable(zone="cdn.localhost")),
]


def test_indexes_count_up_by_one_across_transactions(store: Store) -> None:
    with store.transaction() as transaction:
        assert [transaction.append(change) for change in CHANGES[:2]] == [1, 2]
    with store.transaction() as transaction:
        assert [transaction.append(change) for change in CHANGES[2:]] == [3, 4]


def test_nothing_of_a_failed_transaction_remains(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.put(document("E1"))
        transaction.append(CHANGES[0])

    def fail() -> None:
        with store.transaction() as transaction:
            transaction.put(document("E2"))
            transaction.delete("distribution", "E1")
            assert transaction.append(CHANGES[1]) == 2
            raise KeyError("the operation refused")

    with pytest.raises(KeyError):
        fail()
    with store.transaction() as transaction:
        assert [found.identifier for found in transaction.list("distribution")] == ["E1"]
        assert transaction.append(CHANGES[1]) == 2


def record(index: int, distribution_id: str = "E1", paths: Sequence[str] = ("/a", "/b*")) -> InvalidationRecord:
    created_at = datetime(2026, 11, 21, 1, 2, 3, 4, UTC) + timedelta(seconds=index)
    return InvalidationRecord(f"I{index}", distribution_id, index, tuple(paths), f"r{index}", created_at)


def ids_of(invalidations: Invalidations, distribution_id: str = "E1", limit: int = 100) -> list[str]:
    return [summary.id for summary in invalidations.newest(distribution_id, limit)]


def test_an_invalidation_is_found_by_its_id_and_by_its_caller_reference(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.invalidations.add(record(1))
        transaction.invalidations.add(record(2, "E2"))
    with store.transaction() as transaction:
        invalidations = transaction.invalidations
        assert invalidations.get("I1") == record(1) and invalidations.get("I3") is None
        assert invalidations.with_reference("E1", "r1") == record(1)
        assert invalidations.with_reference("E2", "r1") is None and invalidations.with_reference("E1", "r3") is None


def test_invalidations_are_listed_newest_first_by_distribution(store: Store) -> None:
    with store.transaction() as transaction:
        invalidations = transaction.invalidations
        for index in (1, 3, 12, 40):
            invalidations.add(record(index))
        invalidations.add(record(5, "E2"))
        assert ids_of(invalidations) == ["I40", "I12", "I3", "I1"] and ids_of(invalidations, limit=2) == ["I40", "I12"]
        (summary,) = invalidations.newest("E1", 1, before_index=12)
        assert (summary.id, summary.index, summary.created_at) == ("I3", 3, record(3).created_at)
        assert invalidations.newest("E1", 5, before_index=1) == [] and ids_of(invalidations, "E3") == []


def test_what_is_in_progress_is_counted_by_kind_of_path(store: Store) -> None:
    with store.transaction() as transaction:
        invalidations = transaction.invalidations
        for index in (1, 3, 12):
            invalidations.add(record(index))
        invalidations.add(record(20, "E2", ["/x*", "/y*"]))
        found = invalidations.in_progress("E1", 1)
        assert (found.batches, found.file_paths, found.wildcard_paths) == (2, 2, 2)
        found = invalidations.in_progress("E1", 12)
        assert (found.batches, found.file_paths, found.wildcard_paths) == (0, 0, 0)


def test_the_oldest_complete_ones_are_forgotten_beyond_what_is_retained(store: Store) -> None:
    with store.transaction() as transaction:
        invalidations = transaction.invalidations
        for index in (1, 3, 12, 40):
            invalidations.add(record(index))
        invalidations.add(record(2, "E2"))
        invalidations.forget_oldest("E1", 2, completed_index=1)
        assert ids_of(invalidations) == ["I40", "I12", "I3"], "what is in progress stays"
        invalidations.forget_oldest("E1", 2, completed_index=40)
        assert ids_of(invalidations) == ["I40", "I12"] and ids_of(invalidations, "E2") == ["I2"]
        assert invalidations.get("I1") is None and invalidations.with_reference("E1", "r1") is None
        invalidations.forget_all("E1")
        assert ids_of(invalidations) == [] and ids_of(invalidations, "E2") == ["I2"]


def test_both_stores_remember_the_same_after_any_history(tmp_path: Path) -> None:
    """Random histories, the one in memory as the judge of the one in the database."""
    rng = random.Random(20261130)
    with contextlib.closing(SqlStore(tmp_path, lambda: 1_000.0)) as sql_store:
        fake = FakeStore()
        indexes = itertools.count(1)
        completed_index = 0
        for _ in range(300):
            index, distribution_id = next(indexes), rng.choice(("E1", "E2"))
            completed_index = rng.randint(completed_index, index)
            for store in (fake, sql_store):
                with store.transaction() as transaction:
                    transaction.invalidations.add(record(index, distribution_id))
                    transaction.invalidations.forget_oldest(distribution_id, 7, completed_index)
                    if index % 50 == 0:
                        transaction.invalidations.forget_all(distribution_id)
            with fake.transaction() as expected, sql_store.transaction() as found:
                for known in ("E1", "E2"):
                    assert ids_of(found.invalidations, known) == ids_of(expected.invalidations, known)
                    judged = expected.invalidations.in_progress(known, completed_index)
                    assert found.invalidations.in_progress(known, completed_index) == judged


def test_nothing_of_a_failed_transaction_remains_of_invalidations(store: Store) -> None:
    with contextlib.suppress(KeyError), store.transaction() as transaction:
        transaction.invalidations.add(record(1))
        raise KeyError("the operation refused")
    with store.transaction() as transaction:
        assert transaction.invalidations.get("I1") is None
