"""Sentences about every eviction policy that hold for whatever history of requests, sizes and removals."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.storage.eviction.frequency_sketch import HALVING_CHUNK, FrequencySketch
from edge_node.storage.eviction.ghost_queue import FEWEST_STALE_TO_COMPACT, GhostQueue
from edge_node.storage.eviction.protocol import MOST_USES, EvictionPolicy
from edge_node.storage.eviction.queue import Queue
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.eviction.s3fifo import S3Fifo
from tests.depth import examples
from tests.traces.replay import Cached

CAPACITY_BYTES = 200
MOST_COST_BYTES = 60

NAMES = st.sampled_from(sorted(POLICIES))
OBJECTS = st.integers(0, 40)
COSTS = st.one_of(st.just(1), st.integers(1, 30), st.integers(1, MOST_COST_BYTES))
REQUESTS = st.tuples(st.sampled_from(["get", "get", "get", "get", "remove", "refresh"]), OBJECTS, COSTS)
HISTORIES = st.lists(REQUESTS, min_size=20, max_size=150)


@dataclass
class Store:
    """A table of nodes under a budget; knows no order, and so says what a policy may not get wrong."""

    policy: EvictionPolicy[Cached]
    admits_before_it_evicts: bool = False
    cached: dict[int, Cached] = field(default_factory=dict)
    evicted: list[Cached] = field(default_factory=list)

    @property
    def used_bytes(self) -> int:
        return sum(node.cost_bytes for node in self.cached.values())

    def request(self, verb: str, number: int, cost_bytes: int) -> None:
        node = self.cached.get(number)
        if node is None and verb == "get":
            self.admit(number, Cached(b"%d" % number, cost_bytes))
        elif node is not None and verb == "get":
            self.leave(self.policy.touch(node))
        elif node is not None and verb == "remove":
            self.policy.remove(self.cached.pop(number))
        elif node is not None:
            new = self.cached[number] = Cached(node.key, cost_bytes)
            self.policy.replace(node, new)
            self.make_room(0)

    def admit(self, number: int, node: Cached) -> None:
        if not self.admits_before_it_evicts:
            self.make_room(node.cost_bytes)
        self.cached[number] = node
        self.policy.admit(node)
        self.make_room(0)

    def make_room(self, bytes_wanted: int) -> None:
        while self.used_bytes + bytes_wanted > CAPACITY_BYTES:
            victim = self.policy.evict()
            assert victim is not None, "bytes in use, and nothing to evict"
            self.leave(victim)

    def leave(self, victim: Cached | None) -> None:
        if victim is not None:
            assert self.cached.pop(int(victim.key)) is victim, "a victim that was not admitted"
            self.evicted.append(victim)


def queues_of(policy: EvictionPolicy[Cached]) -> list[Queue[Cached]]:
    parts = [getattr(policy, name) for name in type(policy).__slots__]  # type: ignore[attr-defined]  # each policy has them
    return [part for part in parts if isinstance(part, Queue)]


def check_lists(store: Store) -> None:
    """Each admitted node is once in the lists, and the links of both directions and the bytes agree."""
    assert Counter(map(id, store.policy.nodes())) == Counter(map(id, store.cached.values()))
    for queue in queues_of(store.policy):
        older = None
        cost_bytes = 0
        for node in queue:
            assert node.older is older
            assert node.queue == queue.number
            assert 0 <= node.uses <= MOST_USES
            cost_bytes += node.cost_bytes
            older = node
        assert queue.newest is older
        assert queue.cost_bytes == cost_bytes


@given(NAMES, HISTORIES, st.booleans())
@settings(max_examples=examples(50))
def test_every_admitted_object_is_in_the_lists_once_and_the_budget_holds(
    name: str, history: list[tuple[str, int, int]], admits_before_it_evicts: bool
) -> None:
    store = Store(POLICIES[name](CAPACITY_BYTES), admits_before_it_evicts)
    for verb, number, cost_bytes in history:
        store.request(verb, number, cost_bytes)
        check_lists(store)
        assert store.used_bytes <= CAPACITY_BYTES


@given(NAMES, HISTORIES)
def test_who_left_keeps_no_neighbour_alive(name: str, history: list[tuple[str, int, int]]) -> None:
    store = Store(POLICIES[name](CAPACITY_BYTES))
    for verb, number, cost_bytes in history:
        store.request(verb, number, cost_bytes)
        here = set(map(id, store.cached.values()))
        assert all(
            (node.newer, node.older, node.queue) == (None, None, 0) for node in store.evicted if id(node) not in here
        )


@given(NAMES, HISTORIES)
def test_evicting_empties_the_policy_and_gives_back_each_object_once(
    name: str, history: list[tuple[str, int, int]]
) -> None:
    store = Store(POLICIES[name](CAPACITY_BYTES))
    for verb, number, cost_bytes in history:
        store.request(verb, number, cost_bytes)
    while (victim := store.policy.evict()) is not None:
        store.leave(victim)
        check_lists(store)
    assert not store.cached
    assert all(queue.cost_bytes == 0 for queue in queues_of(store.policy))


@given(HISTORIES)
def test_there_are_never_more_ghosts_than_the_most_objects_that_were_stored(
    history: list[tuple[str, int, int]],
) -> None:
    policy = S3Fifo[Cached](CAPACITY_BYTES)
    store = Store(policy)
    most_stored = 0
    for verb, number, cost_bytes in history:
        store.request(verb, number, cost_bytes)
        most_stored = max(most_stored, len(store.cached))
        assert len(policy._ghosts) <= 0.9 * most_stored + 1


@given(st.lists(st.tuples(st.sampled_from(["remember", "recall", "trim"]), st.integers(0, 30)), max_size=400))
def test_ghosts_are_a_queue_without_doubles_from_which_one_may_be_called_back(history: list[tuple[str, int]]) -> None:
    ghosts = GhostQueue()
    expected: list[int] = []
    most = 0
    for verb, number in history:
        if verb == "remember":
            ghosts.remember(b"%d" % number)
            expected += [number] if number not in expected else []
        elif verb == "recall":
            assert ghosts.recall(b"%d" % number) == (number in expected)
            expected = [ghost for ghost in expected if ghost != number]
        else:
            ghosts.trim(number)
            expected = expected[-number:] if number else []
        assert len(ghosts) == len(expected)
        most = max(most, len(expected))
        assert len(ghosts._order) <= 2 * most + FEWEST_STALE_TO_COMPACT + 1


HASHES = st.integers(0, 2**64 - 1)


@given(st.integers(1, 50), st.lists(HASHES, max_size=60))
def test_a_sketch_never_counts_too_low(entries: int, hashes: list[int]) -> None:
    sketch = FrequencySketch(entries)
    for hash64 in hashes:
        sketch.add(hash64)
    assert all(sketch.estimate(hash64) >= count for hash64, count in Counter(hashes).items())


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=20, max_size=60),
    st.sampled_from([0, HALVING_CHUNK - 10, HALVING_CHUNK]),
)
def test_halving_many_counters_at_once_is_halving_each(counts: list[int], offset: int) -> None:
    sketch = FrequencySketch(2 * HALVING_CHUNK // 14)
    sketch._counters[offset : offset + len(counts)] = array("I", counts)
    size = len(sketch._counters)
    sketch.halve()
    assert len(sketch._counters) == size
    assert list(sketch._counters[offset : offset + len(counts)]) == [count // 2 for count in counts]
    assert sum(sketch._counters) == sum(count // 2 for count in counts)
