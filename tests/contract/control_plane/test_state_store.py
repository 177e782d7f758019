"""What the management API relies on in a store, held against the one in memory that its tests use and the real one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.state import (
    Change,
    Document,
    Invalidate,
    PutDistribution,
    PutRoutingTable,
    RemoveDistribution,
    Store,
)
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2
from tests.fakes_control import FakeStore


@pytest.fixture(params=["fake", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeStore()
        return
    with contextlib.closing(SqlStore(tmp_path, lambda: 1_000.0)) as sql_store:
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
    PutDistribution(configuration_pb2.Distribution(id="E1")),
    Invalidate(configuration_pb2.Invalidation(id="I1", distribution_id="E1", paths=["/*"])),
    RemoveDistribution("E1"),
    PutRoutingTable(configuration_pb2.RoutingTable(zone="cdn.localhost")),
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
