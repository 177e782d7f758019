"""Several predictions at once: every combination of what is asked for, over one reading of the requests. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from lab.errors import UsageError
from lab.prediction.caching_rules import CachingRules
from lab.prediction.network import WhatIf, build_network
from lab.prediction.profile_viewers import Asked, ProfileDriver
from lab.prediction.simulation import Invalidation, OriginAnswers, Prediction, Simulation
from lab.prediction.viewers import Crowd, Router
from lab.topology.model import Topology
from loadtests.traces.trace_request import TraceRequest
from loadtests.workload import Population, seating_order

MOST_COMBINATIONS = 64
"""All of them are in memory together, each with its own caches."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What is to be compared: each combination of one value of each. Nothing of a kind: as the topology says."""

    edge_bytes: Sequence[int] = ()
    regional_bytes: Sequence[int] = ()
    policies: Sequence[str] = ()
    ttl_seconds: Sequence[float] = ()
    pops: Sequence[int] = ()
    has_regional: Sequence[bool] = ()
    shields: Sequence[str | None] = ()

    def combinations(self) -> list[WhatIf]:
        """UsageError when there are too many."""
        found = [
            WhatIf(edge, regional, policy, ttl, pops, has_regional, shield)
            for edge, regional in product(self.edge_bytes or (None,), self.regional_bytes or (None,))
            for policy, ttl in product(self.policies or (None,), self.ttl_seconds or (None,))
            for pops, has_regional in product(self.pops or (None,), self.has_regional or (None,))
            for shield in self.shields or (None,)
        ]
        if len(found) > MOST_COMBINATIONS:
            raise UsageError(f"{len(found)} combinations are too many: at most {MOST_COMBINATIONS} in one call")
        return found


@dataclass(frozen=True, slots=True)
class Setting:
    """What all combinations have in common."""

    topology: Topology
    rules: CachingRules
    answers: OriginAnswers
    invalidations: Sequence[Invalidation] = ()


class _Run:
    """One combination under way."""

    def __init__(self, setting: Setting, wanted: WhatIf) -> None:
        topology = setting.topology
        network = build_network(topology, wanted, setting.rules.distribution_id)
        answers = replace(setting.answers, ttl_seconds=wanted.ttl_seconds)
        self.simulation = Simulation(network, setting.rules, answers, setting.invalidations)
        self.router = Router(network, float(topology.timing.answer_ttl_seconds))


def predict_trace(
    setting: Setting, combinations: Sequence[WhatIf], requests: Iterable[TraceRequest]
) -> list[Prediction]:
    """One prediction for each combination, in their order. The viewers of the topology ask in turn, those of the request's region if it says one."""
    runs = [_Run(setting, wanted) for wanted in combinations]
    seats = seats_of(setting.topology)
    pairs = [(run.simulation, Crowd(run.router, seats)) for run in runs]
    for request in requests:
        for simulation, crowd in pairs:
            simulation.ask(request, crowd.edge(request.region, request.at_seconds))
    return [run.simulation.result() for run in runs]


def predict_profile(setting: Setting, combinations: Sequence[WhatIf], asked: Iterable[Asked]) -> list[Prediction]:
    """The same for a profile. What a viewer has seen is the same in all of them."""
    runs = [_Run(setting, wanted) for wanted in combinations]
    drivers = [ProfileDriver(run.simulation, run.router) for run in runs]
    for each in asked:
        tag = ""
        for driver in drivers:
            tag = driver.ask(each)
        each.answered(each.wanted, tag)
    return [run.simulation.result() for run in runs]


def populations_of(topology: Topology) -> tuple[Population, ...]:
    """As the load generator has them. UsageError when there are none."""
    if not topology.populations:
        raise UsageError(
            f"topology {topology.name} has no populations: nobody asks (`populations` in docs/topology.md)"
        )
    return tuple(Population(each.region, each.client_subnet, each.users) for each in topology.populations)


def seats_of(topology: Topology) -> list[str]:
    """The regions of all viewers, mixed as they are seated."""
    return [each.region for each in seating_order(populations_of(topology))]


def memory_series(smallest: int, largest: int) -> Iterator[int]:
    """Powers of two of MiB, in bytes."""
    size = smallest
    while size <= largest:
        yield size << 20
        size *= 2
