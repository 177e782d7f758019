"""A prediction of one cache against libCacheSim: the same series, the same bytes, the same number of hits, through keys, lifetimes and stores."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.prediction.caching_rules import RULES_OF_TRACES
from lab.prediction.network import WhatIf, build_network
from lab.prediction.simulation import OriginAnswers, Simulation
from lab.prediction.stored_copy import StoredCopy
from lab.topology.choice import TopologyChoice
from lab.topology.reader import find_topology
from loadtests.traces.trace_request import TraceRequest
from tests.traces.synthetic import zipf_trace

libcachesim = pytest.importorskip("libcachesim", reason="libcachesim has no wheel for this platform")

pytestmark = pytest.mark.slow

SIMULATED = {"lru": "LRU", "fifo": "FIFO", "sieve": "Sieve", "s3fifo": "S3FIFO"}
REQUESTS, OBJECTS = 12_000, 3_000
HEAD_BYTES = 100
LIFETIME_SECONDS = 10_000_000.0


def target_of(number: int) -> str:
    """All of one length, so that sizes are what differs in cost."""
    return f"/{number:08}"


def overhead_bytes() -> int:
    """What a copy costs beside its body."""
    network = build_network(find_topology(TopologyChoice("tiny")), WhatIf(), RULES_OF_TRACES.distribution_id)
    edge = network.edges["us-east-1"][0]
    Simulation(network, RULES_OF_TRACES, OriginAnswers(head_bytes=HEAD_BYTES)).ask(request_of(0, 1, 1), edge)
    (copy,) = edge.store.copies.values()
    assert isinstance(copy, StoredCopy)
    return copy.cost_bytes - 1


def request_of(at: int, number: int, size: int) -> TraceRequest:
    return TraceRequest(at / 1000, target_of(number), size, "", LIFETIME_SECONDS)


def predicted_hits(policy: str, series: Sequence[int], sizes: Sequence[int], capacity: int) -> int:
    """Of the edge, over an origin alone."""
    wanted = WhatIf(edge_bytes=capacity, policy=policy, has_regional=False)
    network = build_network(find_topology(TopologyChoice("tiny")), wanted, RULES_OF_TRACES.distribution_id)
    simulation = Simulation(network, RULES_OF_TRACES, OriginAnswers(head_bytes=HEAD_BYTES))
    (edge,) = network.edges["us-east-1"]
    for at, number in enumerate(series):
        simulation.ask(request_of(at, number, sizes[number]), edge)
    assert edge.counts.refresh_hits == 0 and edge.counts.evictions + edge.store.evictions > 1_000
    return edge.counts.hits


def simulated_hits(policy: str, series: Sequence[int], costs: Sequence[int], capacity: int, folder: Path) -> int:
    path = folder / "series.csv"
    path.write_text("".join(f"{at},{number},{costs[number]}\n" for at, number in enumerate(series)), encoding="ascii")
    columns = libcachesim.ReaderInitParam(has_header=False, delimiter=",")
    columns.time_field, columns.obj_id_field, columns.obj_size_field = 1, 2, 3
    columns.obj_id_is_num = True
    reader = libcachesim.TraceReader(str(path), libcachesim.TraceType.CSV_TRACE, columns)
    simulator: Any = getattr(libcachesim, SIMULATED[policy])(capacity, hashpower=16)
    miss_ratio: float = simulator.process_trace(reader)[0]
    return round(len(series) * (1 - miss_ratio))


@pytest.mark.parametrize("policy", SIMULATED)
def test_objects_of_one_size(policy: str, tmp_path: Path) -> None:
    series = zipf_trace(0.9, 5, REQUESTS, OBJECTS)
    cost = 1_000 + overhead_bytes()
    capacity = 300 * cost  # a multiple of ten objects: shares of queues are whole ones in bytes as in numbers
    ours = predicted_hits(policy, series, [1_000] * (OBJECTS + 1), capacity)
    assert ours == simulated_hits(policy, series, [cost] * (OBJECTS + 1), capacity, tmp_path)


@pytest.mark.parametrize("policy", ["lru", "fifo"])
def test_objects_of_many_sizes(policy: str, tmp_path: Path) -> None:
    series = zipf_trace(0.9, 6, REQUESTS, OBJECTS)
    rng = random.Random(7)
    sizes = [rng.choice((100, 2_000, 9_000, 40_000)) + rng.randrange(100) for _ in range(OBJECTS + 1)]
    beside = overhead_bytes()
    costs = [size + beside for size in sizes]
    ours = predicted_hits(policy, series, sizes, 2_000_000)
    assert ours == simulated_hits(policy, series, costs, 2_000_000, tmp_path)
