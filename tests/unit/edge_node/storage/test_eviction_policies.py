"""What each eviction policy does with a few objects, told one by one; and what all of them promise about memory and work."""

import hashlib
import tracemalloc
from collections.abc import Iterable

import pytest

from edge_node.storage.eviction.frequency_sketch import COUNTERS_PER_ENTRY, HASHES, FrequencySketch
from edge_node.storage.eviction.ghost_queue import GhostQueue
from edge_node.storage.eviction.protocol import MOST_USES, EvictionPolicy
from edge_node.storage.eviction.registry import DEFAULT_POLICY, POLICIES
from edge_node.storage.eviction.s3fifo import MAIN, SMALL, S3Fifo
from edge_node.storage.eviction.sieve import Sieve
from edge_node.storage.eviction.wtinylfu import PROBATION, PROTECTED, WINDOW, WTinyLfu
from tests.traces.replay import Cached, hits_of
from tests.traces.synthetic import zipf_trace

Policy = EvictionPolicy[Cached]


def make(name: str, capacity: int) -> Policy:
    return POLICIES[name](capacity)


def unsalted_hash(key: bytes) -> int:
    """In place of the interpreter's, which differs from process to process, where a test depends on counts."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def full_wtinylfu(capacity: int) -> tuple[WTinyLfu[Cached], list[Cached]]:
    """W-TinyLFU after it was filled and has evicted once: the newest, which the main part has no room for, and which is less popular than who entered it."""
    policy = WTinyLfu[Cached](capacity, key_hash=unsalted_hash)
    nodes = [Cached(n.to_bytes(2, "big")) for n in range(capacity)]
    for node in nodes:
        policy.admit(node)
    assert policy.evict() is nodes[-1]
    return policy, nodes


def admit(policy: Policy, names: str) -> dict[str, Cached]:
    """One object of one byte for each letter, admitted from left to right."""
    nodes = {name: Cached(name.encode()) for name in names}
    for node in nodes.values():
        policy.admit(node)
    return nodes


def touch(policy: Policy, nodes: dict[str, Cached], names: str) -> None:
    for name in names:
        assert policy.touch(nodes[name]) is None


def victims(policy: Policy, most: int = 1000) -> str:
    """Evict until nothing is left, or so many times; the letters in the order in which they leave."""
    left: list[str] = []
    while len(left) < most and (victim := policy.evict()) is not None:
        left.append(victim.key.decode())
    return "".join(left)


def letters(nodes: Iterable[Cached]) -> str:
    return "".join(node.key.decode() for node in nodes)


every_policy = pytest.mark.parametrize("name", POLICIES)


def test_the_default_is_one_of_the_five() -> None:
    assert set(POLICIES) == {"lru", "fifo", "sieve", "s3fifo", "wtinylfu"}
    assert DEFAULT_POLICY == "s3fifo"


# Each by itself


def test_fifo_does_not_look_at_hits() -> None:
    policy = make("fifo", 4)
    nodes = admit(policy, "abcd")
    touch(policy, nodes, "aab")
    assert victims(policy) == "abcd"


def test_lru_evicts_whose_last_use_is_longest_ago() -> None:
    policy = make("lru", 4)
    nodes = admit(policy, "abcd")
    touch(policy, nodes, "badd")
    assert victims(policy) == "cbad"


def test_sieve_spares_the_used_where_they_are_and_goes_on_from_there() -> None:
    policy = make("sieve", 5)
    nodes = admit(policy, "abcde")
    touch(policy, nodes, "acc")
    assert victims(policy, 1) == "b"  # the hand took the bit of `a` on its way
    assert letters(policy.nodes()) == "acde"
    assert victims(policy, 1) == "d"  # and that of `c`; it does not begin again at `a`
    admit(policy, "f")
    assert victims(policy) == "efac"  # to the newest, and round


def test_the_hand_of_sieve_survives_the_removal_of_the_node_under_it() -> None:
    policy = Sieve[Cached](4)
    nodes = admit(policy, "abcd")
    touch(policy, nodes, "a")
    assert victims(policy, 1) == "b"  # the hand is on `c` now
    policy.remove(nodes["c"])
    assert victims(policy) == "da"


def test_s3fifo_lets_the_unused_leave_by_the_small_queue() -> None:
    policy = S3Fifo[Cached](20)
    nodes = admit(
        policy, "ab" + "ABCDEFGHIJKLMNOPQR"
    )  # the small queue holds two; while nothing is evicted the others fill the main queue
    assert [nodes[name].queue for name in "abAR"] == [SMALL, SMALL, MAIN, MAIN]
    assert victims(policy, 1) == "a"
    assert admit(policy, "x")["x"].queue == SMALL
    assert victims(policy, 1) == "b"


def test_once_s3fifo_has_evicted_newcomers_join_the_small_queue_however_full_it_is() -> None:
    policy = S3Fifo[Cached](20)
    admit(policy, "ab" + "ABCDEFGHIJKLMNOPQR")
    assert victims(policy, 1) == "a"
    assert {node.queue for node in admit(policy, "uvwxyz").values()} == {SMALL}


def test_the_ghosts_of_s3fifo_are_trimmed_to_what_is_stored_after_removals_too() -> None:
    policy = S3Fifo[Cached](1000)
    nodes = admit(policy, "abcdefghijklmnopqrstuvwxyz")
    assert victims(policy, 10) == "abcdefghij"
    for name in "lmnopqrstuvwx":
        policy.remove(nodes[name])
    assert victims(policy, 1) == "k"  # of three stored; room for two ghosts and then this one
    assert [admit(policy, name)[name].queue for name in "ahijk"] == [SMALL, SMALL, MAIN, MAIN, MAIN]


def test_s3fifo_moves_up_what_was_used_twice_and_not_what_was_used_once() -> None:
    policy = S3Fifo[Cached](20)
    nodes = admit(policy, "ab" + "ABCDEFGHIJKLMNOPQ")
    touch(policy, nodes, "aab")
    assert victims(policy, 1) == "b"
    assert (nodes["a"].queue, nodes["a"].uses) == (MAIN, 0)


def test_s3fifo_takes_a_ghost_straight_to_the_main_queue_once() -> None:
    policy = S3Fifo[Cached](20)
    admit(policy, "ab" + "ABCDEFGHIJKLMNOPQR")
    assert victims(policy, 1) == "a"
    again = admit(policy, "a")["a"]
    assert again.queue == MAIN
    policy.remove(again)
    assert admit(policy, "a")["a"].queue == SMALL  # a removed object is no ghost


def test_the_main_queue_of_s3fifo_gives_an_object_one_more_round_for_each_use_up_to_three() -> None:
    policy = S3Fifo[Cached](10)
    nodes = admit(policy, "s" + "ABC")
    policy.remove(nodes["s"])
    touch(policy, nodes, "AAAAAAA" + "B")
    assert victims(policy) == "CBA"
    assert nodes["A"].uses == 0
    assert MOST_USES == 3


def test_wtinylfu_keeps_the_popular_against_a_scan() -> None:
    policy, nodes = full_wtinylfu(100)
    for _ in range(3):
        for node in nodes[:-1]:
            if node.queue:
                policy.touch(node)
    popular = [node for node in nodes if node.queue]
    for n in range(1000, 1200):
        if len(list(policy.nodes())) == 100:
            policy.evict()
        policy.admit(Cached(n.to_bytes(2, "big")))
    assert sum(node.queue != 0 for node in popular) >= 95


def test_a_second_hit_protects_and_the_overflow_goes_back_to_probation() -> None:
    policy, nodes = full_wtinylfu(101)  # a window of 1 and a main part of 100: 20 and 80
    assert [sum(node.queue == queue for node in nodes) for queue in (WINDOW, PROBATION, PROTECTED)] == [0, 20, 80]
    hit, next_out = nodes[5], nodes[20]
    assert (hit.queue, next_out.queue) == (PROBATION, PROTECTED)
    assert policy.touch(hit) is None
    assert (hit.queue, next_out.queue) == (PROTECTED, PROBATION)


def test_a_hit_evicts_where_the_segments_of_wtinylfu_overflow() -> None:
    policy, nodes = full_wtinylfu(100)  # a main part of 99: 19 and 79 leave one over, which goes to probation
    assert policy.touch(nodes[5]) is nodes[0]
    assert nodes[0].queue == 0
    assert policy.touch(nodes[6]) is None


def test_a_hit_that_pushes_nobody_back_evicts_nobody() -> None:
    policy, nodes = full_wtinylfu(100)
    policy.remove(nodes[50])  # was protected: room for one more
    assert policy.touch(nodes[5]) is None


def test_a_candidate_that_is_more_popular_takes_the_place_of_the_victim_at_once() -> None:
    policy, nodes = full_wtinylfu(100)
    candidate = Cached(b"back")
    for _ in range(2):  # each arrival counts
        policy.admit(candidate)
        policy.remove(candidate)
    policy.admit(candidate)
    assert policy.evict() is nodes[0]
    assert candidate.queue == PROBATION


def test_the_sketch_of_wtinylfu_grows_with_the_number_of_objects() -> None:
    policy = WTinyLfu[Cached](1000)
    for n in range(11):
        policy.admit(Cached(b"large%d" % n, cost_bytes=100))
    assert getattr(policy, "_sketch") is None  # noqa: B009 - nothing to decide yet; mypy would take it to stay None
    policy.evict()
    assert policy._sketch is not None
    assert policy._sketch.entries == 11
    for n in range(100):
        policy.admit(Cached(b"%d" % n))
    assert policy._sketch.entries == 88


def test_the_counts_of_wtinylfu_are_halved_after_32_hits_for_each_object() -> None:
    policy, nodes = full_wtinylfu(100)
    sketch = policy._sketch
    assert sketch is not None
    hit = nodes[30]
    for _ in range(32 * sketch.entries - 1):
        policy.touch(hit)
    high = sketch.estimate(unsalted_hash(hit.key))
    policy.touch(hit)
    assert sketch.estimate(unsalted_hash(hit.key)) == (high + 1) // 2


# What all of them promise


@every_policy
def test_an_empty_policy_has_no_victim(name: str) -> None:
    policy = make(name, 10)
    assert policy.evict() is None
    policy.remove(admit(policy, "a")["a"])
    assert policy.evict() is None
    assert list(policy.nodes()) == []


@every_policy
def test_a_newer_version_inherits_the_place_and_the_count(name: str) -> None:
    plain, refreshed = make(name, 8), make(name, 8)
    orders = []
    for policy in (plain, refreshed):
        nodes = admit(policy, "abcdefgh")
        left = [policy.evict()]
        left += [policy.touch(nodes[letter]) for letter in "ccheg" if nodes[letter].queue]
        if policy is refreshed:
            for old in [node for node in nodes.values() if node.queue]:
                new = Cached(old.key, cost_bytes=old.cost_bytes)
                policy.replace(old, new)
                assert (old.newer, old.older, old.queue) == (None, None, 0)
        orders.append("".join(node.key.decode() for node in left if node is not None) + victims(policy))
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list("abcdefgh")


@every_policy
def test_a_node_may_replace_itself(name: str) -> None:
    policy = make(name, 3)
    nodes = admit(policy, "abc")
    for node in nodes.values():
        policy.replace(node, node)
    assert letters(policy.nodes()) == "abc"
    assert victims(policy) in {"abc", "cab"}  # W-TinyLFU judges the newest first


def test_the_hand_of_sieve_stays_where_a_newer_version_is_put() -> None:
    policy = Sieve[Cached](4)
    nodes = admit(policy, "abcd")
    touch(policy, nodes, "a")
    assert victims(policy, 1) == "b"  # the hand is on `c` now
    policy.replace(nodes["c"], Cached(b"C"))
    assert victims(policy) == "Cda"


@pytest.mark.parametrize("name", [name for name, policy in POLICIES.items() if policy.touch_only_counts])
def test_a_touch_that_only_counts_can_be_written_in_line(name: str) -> None:
    """The same trace, with `touch` called and with what the store writes in its place, has the same hits."""
    trace = zipf_trace(0.9, seed=7, requests=20_000, objects=5_000)
    policy = make(name, 200)
    called = hits_of(policy, 200, trace)
    in_line = make(name, 200)
    cached: dict[int, Cached] = {}
    hits = 0
    for object_id in trace:
        node = cached.get(object_id)
        if node is None:
            if len(cached) == 200:
                victim = in_line.evict()
                assert victim is not None
                del cached[int.from_bytes(victim.key, "little")]
            node = cached[object_id] = Cached(object_id.to_bytes(8, "little"))
            in_line.admit(node)
        else:
            hits += 1
            if node.uses < MOST_USES:
                node.uses += 1
    assert hits == called


@every_policy
def test_nothing_is_kept_for_an_object_while_nothing_has_been_evicted(name: str) -> None:
    nodes = [Cached(b"%d" % n) for n in range(5_000)]
    policy = make(name, len(nodes))
    tracemalloc.start()
    try:
        for node in nodes:
            policy.admit(node)
            policy.touch(node)
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used_bytes < 2_000


@pytest.mark.parametrize(
    ("name", "most_bytes_each"), [("lru", 1), ("fifo", 1), ("sieve", 1), ("s3fifo", 160), ("wtinylfu", 130)]
)
def test_what_is_remembered_of_the_evicted_is_bounded_by_what_is_stored(name: str, most_bytes_each: int) -> None:
    """However tiny the objects are beside the capacity, and however many have left. Compiled, the hash of a ghost is an object twice: 153 bytes each for S3-FIFO."""
    stored = 3_000
    nodes = [Cached(b"%d" % n) for n in range(20_000)]
    policy = make(name, 10**9)
    tracemalloc.start()
    try:
        for count, node in enumerate(nodes):
            if count >= stored:
                policy.evict()
            policy.admit(node)
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used_bytes < stored * most_bytes_each + 2_000


class Watched(Cached):
    """Counts how often a link of any node is read or written."""

    __slots__ = ()
    followed = 0

    def __getattribute__(self, name: str) -> object:
        if name in ("newer", "older"):
            Watched.followed += 1
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("newer", "older"):
            Watched.followed += 1
        super().__setattr__(name, value)


def links_followed(name: str, capacity: int) -> float:
    """Links read or written for each request of a trace whose objects fit `capacity` in the same share."""
    trace = zipf_trace(0.8, seed=9, requests=20 * capacity, objects=10 * capacity)
    policy = make(name, capacity)
    cached: dict[int, Cached] = {}
    Watched.followed = 0
    for object_id in trace:
        node = cached.get(object_id)
        victim = None
        if node is not None:
            victim = policy.touch(node)
        else:
            if len(cached) == capacity:
                victim = policy.evict()
            node = cached[object_id] = Watched(object_id.to_bytes(8, "little"))
            policy.admit(node)
        if victim is not None:
            del cached[int.from_bytes(victim.key, "little")]
    return Watched.followed / len(trace)


@every_policy
def test_the_links_followed_for_a_request_do_not_grow_with_the_number_of_objects(name: str) -> None:
    few, many = links_followed(name, 100), links_followed(name, 2_000)
    assert many < 1.1 * few
    assert many < 40


# Their parts


def test_ghosts_are_forgotten_in_the_order_in_which_they_came_also_those_that_came_twice() -> None:
    ghosts = GhostQueue()
    for key in (b"a", b"b", b"c"):
        ghosts.remember(key)
    assert ghosts.recall(b"a")
    assert not ghosts.recall(b"a")
    ghosts.remember(b"a")  # now the youngest
    ghosts.trim(1)
    assert [ghosts.recall(key) for key in (b"b", b"c", b"a")] == [False, False, True]
    ghosts.trim(0)
    assert len(ghosts) == 0


def test_a_ghost_that_comes_back_again_and_again_leaves_nothing_behind() -> None:
    ghosts = GhostQueue()
    ghosts.remember(b"first")
    tracemalloc.start()
    try:
        for _ in range(10_000):
            ghosts.remember(b"again")
            assert ghosts.recall(b"again")
        traced = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    ours = [tracemalloc.Filter(True, name) for name in ("*ghost_queue*", __file__)]  # other threads allocate as well
    assert sum(statistic.size for statistic in traced.filter_traces(ours).statistics("filename")) < 3_000
    assert ghosts.recall(b"first")


def test_the_sketch_counts_and_fades() -> None:
    sketch = FrequencySketch(100)
    for _ in range(9):
        sketch.add(hash(b"often"))
    sketch.add(hash(b"once"))
    assert sketch.estimate(hash(b"often")) >= 9
    sketch.halve()
    assert 4 <= sketch.estimate(hash(b"often")) <= 5
    assert sketch.estimate(hash(b"once")) <= 1


def test_a_doubled_sketch_estimates_as_before_and_has_room_for_more() -> None:
    sketch = FrequencySketch(50)
    hashes = [(n * 0x9E3779B97F4A7C15) & (2**64 - 1) for n in range(200)]
    for turn, hash64 in enumerate(hashes):
        for _ in range(turn % 5):
            sketch.add(hash64)
    before = [sketch.estimate(hash64) for hash64 in hashes]
    sketch.double()
    assert [sketch.estimate(hash64) for hash64 in hashes] == before
    assert sketch.entries == 100


def test_the_sketch_has_the_shape_of_a_filter_that_errs_once_in_a_thousand() -> None:
    assert HASHES == 10
    assert 14.37 < COUNTERS_PER_ENTRY < 14.38


def test_a_counter_at_its_end_fades_instead_of_failing() -> None:
    sketch = FrequencySketch(1)
    sketch._counters[0] = 2**32 - 1
    sketch.add(0)  # place 0, step 0: ten times the same counter
    assert 2**31 - 1 <= sketch.estimate(0) < 2**32 - 1
