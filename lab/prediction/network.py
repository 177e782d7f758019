"""The caches of a topology, joined into tiers: edges, regional caches, in a what-if a shield before the origin. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.model.configuration import Peer, Role
from edge_node.policy.parent_selection import rank_regionals
from edge_node.storage.eviction.registry import DEFAULT_POLICY
from lab.errors import UsageError
from lab.prediction.content import Content
from lab.prediction.copy_store import CopyStore
from lab.prediction.tiers import ParentChoice, PredictedCache, PredictedOrigin, Upstream
from lab.topology.internet import region_delays
from lab.topology.model import Cache, Topology

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is different from the topology; None: as it says."""

    edge_bytes: int | None = None
    """Memory of each edge."""
    regional_bytes: int | None = None
    """Memory of each regional cache, and of the shield."""
    policy: str | None = None
    """Of all caches."""
    ttl_seconds: float | None = None
    """What origins say of everything that may be stored."""
    pops: int | None = None
    """Only the first so many of the topology."""
    has_regional: bool | None = None
    shield: str | None = None
    """The region of one more cache, that all regional caches (without those: all edges) ask instead of the origin. Labs have none."""

    def without_edge_bytes(self) -> "WhatIf":
        """All else that is different."""
        return replace(self, edge_bytes=None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cache is."""

    tier: str
    node: str
    region: str
    pop: str


@dataclass(frozen=True, slots=True)
class Network:
    """Caches by where they are, and the origin behind them."""

    caches: Mapping[Place, PredictedCache]
    edges: Mapping[str, Sequence[PredictedCache]]
    """By region, in the order in which the router takes turns among them."""
    nearest: Mapping[str, Sequence[str]]
    """For each region those with edges, nearest first."""
    origin: PredictedOrigin
    invalidations: InvalidationLog
    distribution_id: str


class OneParent:
    """There is but one."""

    __slots__ = ("_parent",)

    def __init__(self, parent: Upstream) -> None:
        self._parent = parent

    def __call__(self, content: Content) -> Upstream:
        """See ParentChoice."""
        del content
        return self._parent


class NearestRegional:
    """As an edge of a region chooses: the nearest region with regional caches, in it by rendezvous hashing of distribution and target."""

    def __init__(
        self, caches: Mapping[Place, PredictedCache], delays: Mapping[str, float], distribution_id: str
    ) -> None:
        self._caches = {place.node: cache for place, cache in caches.items()}
        self._peers = [Peer(place.node, Role.REGIONAL, place.region, place.pop, "", 0, "") for place in caches]
        self._delays = delays
        self._distribution_id = distribution_id.encode()
        self._chosen: dict[bytes, PredictedCache] = {}

    def __call__(self, content: Content) -> Upstream:
        """See ParentChoice."""
        chosen = self._chosen.get(content.key)
        if chosen is None:
            hash_input = self._distribution_id + content.target.encode("latin-1", "replace")
            first = rank_regionals(self._peers, self._delays, hash_input, lambda _: False)[0]
            chosen = self._chosen[content.key] = self._caches[first.id]
        return chosen


def build_network(topology: Topology, wanted: WhatIf, distribution_id: str) -> Network:
    """UsageError when the topology cannot be as wanted, or has what is not modelled."""
    _refuse_what_is_not_modelled(topology, wanted)
    builder = _Builder(topology, wanted, distribution_id)
    edges = builder.edges()
    nearest = {
        region.name: sorted(edges, key=lambda other, of=region.name: (builder.delay(of, other), other))  # type: ignore[misc]
        for region in topology.regions
    }
    return Network(builder.caches, edges, nearest, builder.origin, builder.invalidations, distribution_id)


def _refuse_what_is_not_modelled(topology: Topology, wanted: WhatIf) -> None:
    """All of it at once."""
    on_disk = [each.name for each in topology.pops if each.cache.disk_mib]
    on_disk += [f"regional caches of {each.region}" for each in topology.regional_caches if each.cache.disk_mib]
    problems = []
    if on_disk:
        problems.append(f"disk tiers are not modelled: set disk_mib to 0 for {', '.join(on_disk)}")
    if wanted.pops is not None and not 1 <= wanted.pops <= len(topology.pops):
        problems.append(f"{wanted.pops} POPs: topology {topology.name} has {len(topology.pops)}")
    if wanted.has_regional and not topology.regional_caches:
        problems.append(f"topology {topology.name} has no regional caches to predict with")
    regions = [each.name for each in topology.regions]
    if wanted.shield is not None and wanted.shield not in regions:
        problems.append(f"shield in {wanted.shield}: topology {topology.name} has the regions {', '.join(regions)}")
    if problems:
        raise UsageError("; ".join(problems))


class _Builder:
    """Makes caches from the origin on."""

    def __init__(self, topology: Topology, wanted: WhatIf, distribution_id: str) -> None:
        self.caches: dict[Place, PredictedCache] = {}
        self.origin = PredictedOrigin()
        self.invalidations = InvalidationLog()
        self._topology = topology
        self._wanted = wanted
        self._distribution_id = distribution_id
        self._delays = region_delays(topology)

    def delay(self, one: str, other: str) -> float:
        """One way, milliseconds; a pair that nobody knows is farther than any other."""
        return self._delays.get((one, other), self._delays.get((other, one), 0.0 if one == other else inf))

    def edges(self) -> dict[str, list[PredictedCache]]:
        """By region. Their order is that of the router: the first edge of each POP, then the second of each, and so on."""
        top = self._shield()
        regionals = self._regionals(top)
        ranked: dict[str, list[tuple[int, str, PredictedCache]]] = {}
        for pop in self._topology.pops[: self._wanted.pops]:
            choice = self._choice_in(pop.region, regionals, top)
            for number in range(1, pop.edges + 1):
                place = Place("edge", f"edge-{pop.name.lower()}-{number}", pop.region, pop.name)
                cache = self._cache(place, pop.cache, self._wanted.edge_bytes, choice)
                ranked.setdefault(pop.region, []).append((number, pop.name, cache))
        return {region: [each[2] for each in sorted(of, key=lambda one: one[:2])] for region, of in ranked.items()}

    def _shield(self) -> Upstream:
        region = self._wanted.shield
        if region is None:
            return self.origin
        sizes = [each.cache for each in self._topology.regional_caches] or [each.cache for each in self._topology.pops]
        place = Place("shield", f"shield-{region}", region, "")
        return self._cache(place, sizes[0], self._wanted.regional_bytes, OneParent(self.origin))

    def _regionals(self, top: Upstream) -> dict[Place, PredictedCache]:
        if self._wanted.has_regional is False:
            return {}
        made = {}
        for each in self._topology.regional_caches:
            for number in range(1, each.count + 1):
                place = Place("regional", f"regional-{each.region}-{number}", each.region, "")
                made[place] = self._cache(place, each.cache, self._wanted.regional_bytes, OneParent(top))
        return made

    def _choice_in(self, region: str, regionals: Mapping[Place, PredictedCache], top: Upstream) -> ParentChoice:
        if not regionals:
            return OneParent(top)
        delays = {place.region: self.delay(region, place.region) for place in regionals}
        nearest = min((delay, name) for name, delay in delays.items())[1]
        there = [cache for place, cache in regionals.items() if place.region == nearest]
        if len(there) == 1:
            return OneParent(there[0])
        return NearestRegional(regionals, delays, self._distribution_id)

    def _cache(self, place: Place, size: Cache, wanted_bytes: int | None, choice: ParentChoice) -> PredictedCache:
        capacity = size.memory_mib * MIB if wanted_bytes is None else wanted_bytes
        policy = self._wanted.policy or size.eviction_policy or DEFAULT_POLICY
        store = CopyStore(capacity, policy)
        cache = self.caches[place] = PredictedCache(store, self.invalidations, self._distribution_id, choice)
        return cache
