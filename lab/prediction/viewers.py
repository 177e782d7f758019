"""Which edge a viewer asks: the router's answer to its resolver, kept for its TTL, as the load generator does it (docs/request-routing.md). Pure.

Exact where a region has one edge. With several, the router takes turns from one question to the next, and whose question comes when nobody knows beforehand: which of
them a viewer has is drawn, so it is an expectation, and only what all of them do together is to be compared with a run.
"""

from collections.abc import Sequence
from random import Random

from lab.prediction.network import Network
from lab.prediction.tiers import PredictedCache


class Router:
    """Answers resolvers."""

    __slots__ = ("_edges", "_nearest", "_rng", "ttl_seconds")

    def __init__(self, network: Network, ttl_seconds: float) -> None:
        self._edges = network.edges
        self._nearest = network.nearest
        self._rng = Random("router")
        self.ttl_seconds = ttl_seconds

    def edges_of(self, region: str) -> Sequence[PredictedCache]:
        """Of the nearest region that has some."""
        return self._edges[self._nearest[region][0]]

    def turn(self, edges: int) -> int:
        """Which of so many edges comes first in the next answer. Counted on from a known start, the turns of a few viewers that all ask every few seconds would be the
        same ones for ever, which in a run the jitter of their questions keeps from happening."""
        return self._rng.randrange(edges)


class ViewerPlace:
    """A viewer's resolver, and the edge that it has from it."""

    __slots__ = ("_edge", "_edges", "_router", "_valid_until")

    def __init__(self, router: Router, region: str) -> None:
        self._router = router
        self._edges = router.edges_of(region)
        self._edge = self._edges[0]
        self._valid_until = float("-inf")

    def edge(self, now: float) -> PredictedCache:
        """Of the answer in hand, or of a new one."""
        if now >= self._valid_until:
            self._edge = self._edges[self._router.turn(len(self._edges))]
            self._valid_until = now + self._router.ttl_seconds
        return self._edge


class Crowd:
    """The viewers of a trace, which says at most in which region each was: they ask in turn."""

    def __init__(self, router: Router, seats: Sequence[str]) -> None:
        """`seats`: the regions of all viewers, mixed (loadtests.workload.seating_order)."""
        self._everybody = [ViewerPlace(router, region) for region in seats]
        by_region: dict[str, list[ViewerPlace]] = {}
        for region, place in zip(seats, self._everybody, strict=True):
            by_region.setdefault(region, []).append(place)
        self._by_region = by_region
        self._turns = dict.fromkeys((*by_region, ""), 0)

    def edge(self, region: str, now: float) -> PredictedCache:
        """For a request from this region; from one that has no viewers here, or from nowhere, any viewer asks."""
        places = self._by_region.get(region)
        if places is None:
            region, places = "", self._everybody
        turn = self._turns[region]
        self._turns[region] = turn + 1
        return places[turn % len(places)].edge(now)
