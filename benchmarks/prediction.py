"""How fast predictions are: a million requests of a Zipf workload through two tiers, on one core.

    python -m benchmarks.prediction [--requests 1000000] [--objects 100000] [--most-seconds 20]

CPU time of the process counts, so that a busy machine changes little. Exit status 1 when the default policy takes longer than `--most-seconds` for a million.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate

from lab.prediction.caching_rules import RULES_OF_TRACES
from lab.prediction.network import WhatIf
from lab.prediction.simulation import OriginAnswers, Prediction
from lab.prediction.what_ifs import Setting, predict_trace
from lab.topology.choice import TopologyChoice
from lab.topology.model import EVICTION_POLICIES, Topology
from lab.topology.reader import find_topology
from loadtests.traces.trace_request import TraceRequest

ZIPF_EXPONENT = 0.9
LARGEST_BYTES = 60_000
REQUESTS_A_SECOND = 1_000.0
LIFETIME_SECONDS = 60.0
DEFAULT_POLICY = "s3fifo"


def requests_of(count: int, objects: int) -> list[TraceRequest]:
    """Made before anything is measured."""
    rng = random.Random(1)
    weights = list(accumulate((rank + 1) ** -ZIPF_EXPONENT for rank in range(objects)))
    sizes = [rng.randrange(100, LARGEST_BYTES) for _ in range(objects)]
    numbers = rng.choices(range(objects), cum_weights=weights, k=count)
    return [
        TraceRequest(at / REQUESTS_A_SECOND, f"/objects/{number}", sizes[number], "", LIFETIME_SECONDS)
        for at, number in enumerate(numbers)
    ]


def measured(topology: Topology, policy: str, requests: Sequence[TraceRequest]) -> tuple[float, Prediction]:
    """CPU seconds for a million, and what came of them."""
    setting = Setting(topology, RULES_OF_TRACES, OriginAnswers())
    began = time.process_time()
    (prediction,) = predict_trace(setting, [WhatIf(policy=policy)], requests)
    return (time.process_time() - began) * 1_000_000 / len(requests), prediction


def report(requests: Sequence[TraceRequest]) -> Iterator[tuple[str, float]]:
    """One line for each policy."""
    topology = find_topology(TopologyChoice("default"))
    for policy in EVICTION_POLICIES:
        seconds, prediction = measured(topology, policy, requests)
        edge = prediction.of_tier("edge").hit_ratio or 0.0
        print(f"{policy:9} {seconds:6.1f} s of CPU for a million requests, hit ratio of edges {edge:.1%}")
        yield policy, seconds


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--most-seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    seconds = dict(report(requests_of(arguments.requests, arguments.objects)))
    return 1 if seconds[DEFAULT_POLICY] > arguments.most_seconds else 0


if __name__ == "__main__":
    sys.exit(main())
