"""What every store promises (edge_node/storage/protocol.py), asked of each of them by the same suite."""

from collections.abc import Callable

import pytest

from edge_node.caching.entries import Arrival, make_entry, with_body
from edge_node.caching.entry import ENTRY_OVERHEAD_BYTES, Entry
from edge_node.caching.freshness import Lifetime, LifetimeRule
from edge_node.caching.key import CacheKey
from edge_node.storage.memory import LARGEST_SHARE_OF_BUDGET, MemoryStore
from edge_node.storage.protocol import Store

CAPACITY = 64 * 1024
LARGEST = CAPACITY // LARGEST_SHARE_OF_BUDGET
STORES: dict[str, Callable[[], Store]] = {"memory": lambda: MemoryStore(CAPACITY)}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest) -> Store:
    return STORES[request.param]()


def key_of(name: str) -> CacheKey:
    return ("E1", b"", name.encode(), b"", None, (), ())


def entry_of(name: str, body: bytes = b"hello") -> Entry:
    entry = make_entry(
        key_of(name), f"/{name}", (200, b"OK"), (), Lifetime(60, LifetimeRule.MAX_AGE), Arrival(1, 0.0, 0.0)
    )
    return with_body(entry, [body], len(body))


def put(store: Store, name: str, body: bytes = b"hello") -> Entry | None:
    """As a fill does it; None when the store does not admit the body."""
    writer = store.open_writer(len(body))
    if writer is None or not writer.reserve(len(body)):
        return None
    entry = entry_of(name, body)
    writer.commit(entry)
    return entry


def test_what_is_committed_is_found(store: Store) -> None:
    entry = put(store, "a")
    assert store.lookup(key_of("a")) is entry and store.peek(key_of("a")) is entry
    assert store.lookup(key_of("b")) is None
    assert store.statistics.entries == 1


def test_an_unfinished_write_is_no_entry(store: Store) -> None:
    writer = store.open_writer(None)
    assert writer is not None and writer.reserve(1_000)
    assert store.statistics.used_bytes == 1_000
    assert store.statistics.entries == 0
    writer.abort()
    writer.abort()
    assert store.statistics.used_bytes == 0
    assert not writer.reserve(1)
    writer.commit(entry_of("a"))
    assert store.lookup(key_of("a")) is None and store.statistics.used_bytes == 0


def test_a_later_entry_replaces_an_earlier_one(store: Store) -> None:
    put(store, "a", b"old")
    used = store.statistics.used_bytes
    entry = put(store, "a", b"new")
    assert store.lookup(key_of("a")) is entry
    assert (store.statistics.entries, store.statistics.used_bytes) == (1, used)


def test_what_is_removed_is_gone_and_gives_its_room_back(store: Store) -> None:
    put(store, "a")
    store.remove(key_of("a"))
    store.remove(key_of("a"))
    assert store.lookup(key_of("a")) is None
    assert (store.statistics.entries, store.statistics.used_bytes) == (0, 0)


def test_clear_forgets_all_entries(store: Store) -> None:
    writer = store.open_writer(None)
    assert writer is not None and writer.reserve(100)
    for name in "abc":
        put(store, name)
    store.clear()
    assert all(store.peek(key_of(name)) is None for name in "abc")
    assert (store.statistics.entries, store.statistics.used_bytes) == (0, 100)


def test_a_body_that_is_known_to_be_too_large_is_not_begun(store: Store) -> None:
    assert store.open_writer(LARGEST) is None
    assert store.open_writer(LARGEST - ENTRY_OVERHEAD_BYTES) is not None


def test_a_body_that_turns_out_to_be_too_large_is_given_up(store: Store) -> None:
    writer = store.open_writer(None)
    assert writer is not None
    assert writer.reserve(LARGEST)
    assert not writer.reserve(1)
    assert store.statistics.used_bytes == 0


def test_the_budget_holds_also_for_many_bodies_at_once(store: Store) -> None:
    writers = [store.open_writer(None) for _ in range(3 * LARGEST_SHARE_OF_BUDGET)]
    admitted = sum(writer is not None and writer.reserve(LARGEST) for writer in writers)
    assert admitted == LARGEST_SHARE_OF_BUDGET
    assert store.statistics.used_bytes <= CAPACITY


def test_entries_make_room_for_bodies_that_arrive(store: Store) -> None:
    number = 0
    while not store.statistics.evictions:
        put(store, str(number), bytes(2_000))
        number += 1
    evictions = store.statistics.evictions
    writer = store.open_writer(None)
    assert writer is not None and writer.reserve(LARGEST)
    assert store.statistics.evictions > evictions
    assert store.statistics.used_bytes <= CAPACITY


def test_a_lookup_counts_as_a_use_and_a_peek_does_not(store: Store) -> None:
    put(store, "used", bytes(1_000))
    put(store, "peeked", bytes(1_000))
    number = 0
    while not store.statistics.evictions:
        store.lookup(key_of("used"))
        store.peek(key_of("peeked"))
        put(store, str(number), bytes(1_000))
        number += 1
    assert store.peek(key_of("used")) is not None
    assert store.peek(key_of("peeked")) is None
