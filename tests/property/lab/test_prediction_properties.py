"""Predictions of two tiers against a slow reference, and the store of a prediction against the edge node's."""

from dataclasses import dataclass, replace
from random import Random

import hypothesis.strategies as st
from hypothesis import given, settings

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry import Entry, EntryTemplate
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.memory import MemoryStore
from lab.prediction.caching_rules import CachingRules, Rule, policy_of
from lab.prediction.content import Content
from lab.prediction.copy_store import CopyStore
from lab.prediction.network import WhatIf, build_network
from lab.prediction.simulation import Invalidation, OriginAnswers, Simulation
from lab.prediction.stored_copy import StoredCopy
from lab.prediction.tiers import NOTHING_KNOWN
from lab.topology.choice import TopologyChoice
from lab.topology.reader import find_topology
from loadtests.traces.trace_request import TraceRequest
from tests.depth import examples
from tests.property.lab.slow_tiers import SlowCache, SlowOrigin

EDGE_BYTES, REGIONAL_BYTES, HEAD_BYTES = 20_000, 30_000, 100
PATHS = [f"/{folder}/{number}" for folder in "ab" for number in range(8)]
SIZES = (1, 500, 1_500, 2_170, 2_181, 3_400, 5_000)
"""About where the budgets no longer admit a body, too."""
LIFETIMES = dict(zip(PATHS, (30, None, 5, 90, 30, 0, 30, 30) * 2, strict=True))
RULES = CachingRules((Rule("*", policy_of(2, 20, 50, has_queries=True)),), "E1")
_FAILURE = find_topology(TopologyChoice("two-tier-failure"))
ONE_REGIONAL = replace(_FAILURE, regional_caches=(replace(_FAILURE.regional_caches[0], count=1),))


@dataclass(frozen=True)
class Step:
    wait: float
    path: str
    edge: int
    size: int | None
    """What the object becomes before."""
    lifetime: int | None
    knows: bool
    """The viewer asks with the ETag of its last answer for this path."""
    invalidates: str


def series_of(rng: Random) -> list[Step]:
    """Long enough for copies to leave, to age and to be asked for again at either edge. Drawn at once: of what hypothesis draws step by step hardly any is."""
    weights = [(rank + 1) ** -0.8 for rank in range(len(PATHS))]
    return [
        Step(
            wait=rng.choice((0.0, 0.25, 0.5, 1.0, 3.75)),
            path=path,
            edge=rng.randrange(2),
            size=rng.choice(SIZES) if rng.random() < 0.08 else None,
            lifetime=LIFETIMES[path] if rng.random() < 0.9 else rng.choice((None, 0, 1, 5, 30, 90)),
            knows=rng.random() < 0.3,
            invalidates=rng.choice(("/a/*", "/*", "/b/1")) if rng.random() < 0.02 else "",
        )
        for path in rng.choices(PATHS, weights, k=400)
    ]


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 2**32))
def test_two_tiers_are_as_the_slow_reference_has_them(seed: int) -> None:
    """Two edges over one regional cache: each count, at each node and at the origin."""
    rng = Random(seed)
    series = series_of(rng)
    origin = SlowOrigin({path: rng.choice(SIZES) for path in PATHS})
    patterns: list[str] = []
    regional = SlowCache(REGIONAL_BYTES, HEAD_BYTES, origin, origin, patterns)
    edges = [SlowCache(EDGE_BYTES, HEAD_BYTES, regional, origin, patterns) for _ in range(2)]
    moments = _moments(series)
    invalidations = [
        Invalidation(at, (step.invalidates,)) for at, step in zip(moments, series, strict=True) if step.invalidates
    ]
    wanted = WhatIf(EDGE_BYTES, REGIONAL_BYTES, "lru", pops=1)
    network = build_network(ONE_REGIONAL, wanted, "E1")
    simulation = Simulation(network, RULES, OriginAnswers(head_bytes=HEAD_BYTES), invalidations)
    simulated = network.edges["us-east-1"]
    seen: dict[str, int] = {}
    for now, step in zip(moments, series, strict=True):
        if step.invalidates:
            patterns.append(step.invalidates)
        origin.sizes[step.path] = step.size or origin.sizes[step.path]
        origin.lifetimes[step.path] = step.lifetime
        tag = seen.get(step.path) if step.knows else None
        answer = edges[step.edge].get(step.path, now, tag)
        request = TraceRequest(now, step.path, origin.sizes[step.path], "", step.lifetime)
        told = simulation.ask(request, simulated[step.edge], NOTHING_KNOWN if tag is None else tag)
        assert told == answer.size
        seen[step.path] = answer.size
    result = simulation.result()
    counts_of = [*(edge.counts for edge in simulated), result.of_tier("regional")]
    for slow, counts in zip((*edges, regional), counts_of, strict=True):
        assert (counts.hits, counts.refresh_hits, counts.misses) == (slow.hits, slow.refreshed, slow.misses)
    assert (result.origin.requests, result.origin.sent_bytes) == (origin.fetches, origin.sent)


def _moments(series: list[Step]) -> list[float]:
    now, moments = 0.0, []
    for step in series:
        now += step.wait + 0.0625  # so that no two are at one moment: invalidations come before what follows them
        moments.append(now)
    return moments


TEMPLATE = EntryTemplate(
    200, b"OK", b"", CacheMetadata(60.0, LifetimeRule.MAX_AGE), b"", is_plain=True, is_strict=False
)
HEAD = b"Content-Length: 00000\r\n\r\n"


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(["lru", "fifo", "sieve", "s3fifo"]),
    st.lists(
        st.tuples(
            st.sampled_from(("find", "find", "fill", "fill", "remove")), st.integers(0, 14), st.sampled_from(SIZES)
        ),
        max_size=150,
    ),
)
def test_the_store_of_a_prediction_is_that_of_an_edge_node(policy: str, series: list[tuple[str, int, int]]) -> None:
    """What is found, what it costs, who leaves: `MemoryStore` with its writer, and `CopyStore`."""
    real = MemoryStore(EDGE_BYTES, POLICIES[policy])
    ours = CopyStore(EDGE_BYTES, policy)
    for verb, number, size in series:
        key = b"E1\n/%d" % number
        found, copy = (real.lookup(key), ours.lookup(key)) if verb == "find" else (None, None)
        assert (found is None) == (copy is None)
        if verb == "fill":
            content = Content(key, f"/{number}", RULES.rules[0].policy)
            content.head_bytes = len(HEAD)
            content.answered_bytes = size
            ours.put(StoredCopy(content, 0.0, 0))
            writer = real.open_writer(key, size)
            if (
                writer is not None
                and all(writer.add(b"x" * (size // 2)) for _ in range(2))
                and writer.add(b"x" * (size % 2))
            ):
                writer.commit(Entry(key, HEAD + b"x" * size, None, TEMPLATE, 0))
        if verb == "remove":
            real.remove(key)
            there = ours.copies.get(key)
            if there is not None:
                ours.remove(there)
        assert real.statistics.used_bytes == ours.used_bytes
        assert real.statistics.evictions == ours.evictions
        assert real.statistics.entries == len(ours.copies)
