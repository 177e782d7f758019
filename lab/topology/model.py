"""A topology: which regions, POPs, caches, routers and origins a lab consists of. The file's form is in docs/topology.md.

Values only. A `Topology` that exists is right: it checks itself when it is made and reports all its problems at once, each with
its line. Reading YAML is reader.py's, places on the globe geography.py's, addresses and command lines layout.py's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import chain, pairwise

from lab.topology.geography import Coordinates
from lab.topology.links import DEFAULT_LAST_MILE, LAST_MILES, LINK_JOINT, OPERATOR, VIEWERS_PREFIX, GivenLink
from lab.topology.problems import Problem, TopologyError
from proto.seeds import MOST_SEED

LOOPBACK = IPv4Network("127.0.0.0/8")
DEFAULT_LOOPBACK = "127.0.0.0/16"
# Layout gives each POP and each kind of node a /24 of its own (layout.py).
LARGEST_LOOPBACK_PREFIX = 16
MAXIMUM_POPS = 80
# A node's address is N, and N + 100 is where the others find it (addresses.py).
MAXIMUM_NODES_OF_A_KIND = 100
MAXIMUM_REGIONS = 200
MAXIMUM_POPULATIONS = 50
EVICTION_POLICIES = ("fifo", "lru", "s3fifo", "sieve", "wtinylfu")
# What a node takes as a disk tier at all (docs/contracts.md).
SMALLEST_DISK_MIB = 8
# A lease has to outlast at least one lost heartbeat.
HEARTBEATS_PER_LEASE = 2

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_POP_NAME = re.compile(r"[A-Z]{3}[0-9]{1,3}-[A-Z][0-9]{1,2}")
_ZONE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Region:
    """A place in the world."""

    name: str
    airport: str
    coordinates: Coordinates
    line: int = field(default=0, compare=False)

    def problems(self) -> Iterator[Problem]:
        if not _NAME.fullmatch(self.name):
            yield Problem(self.line, f"region {self.name!r}: a name is made of a-z, 0-9 and '-', for example us-east-1")
        if LINK_JOINT in self.name:
            yield Problem(self.line, f"region {self.name}: {LINK_JOINT} stands between the two ends of a link")
        if self.name == OPERATOR or self.name.startswith(VIEWERS_PREFIX):
            yield Problem(
                self.line, f"region {self.name}: that is how the lab names the places of viewers and of its operator"
            )


@dataclass(frozen=True, slots=True)
class Cache:
    """What one cache node may keep. No `eviction_policy` means the node's own default, no `disk_mib` that it has no disk tier."""

    memory_mib: int
    eviction_policy: str = ""
    disk_mib: int = 0


@dataclass(frozen=True, slots=True)
class Pop:
    """A group of edges in one place."""

    name: str
    region: str
    edges: int
    cache: Cache
    line: int = field(default=0, compare=False)

    def problems(self) -> Iterator[Problem]:
        if not _POP_NAME.fullmatch(self.name):
            yield Problem(self.line, f"POP {self.name!r}: a name is an airport, a number and a part, as in FRA56-P1")


@dataclass(frozen=True, slots=True)
class RegionalCache:
    """The second tier in one region."""

    region: str
    count: int
    cache: Cache
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Router:
    """A DNS router in one region."""

    region: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin of the lab's own."""

    name: str
    region: str
    line: int = field(default=0, compare=False)

    def problems(self) -> Iterator[Problem]:
        if not _NAME.fullmatch(self.name):
            yield Problem(self.line, f"origin {self.name!r}: a name is made of a-z, 0-9 and '-', for example origin-1")


@dataclass(frozen=True, slots=True)
class Population:
    """Viewers of one region, known to the router by their subnet; how they get to the internet is their last mile."""

    region: str
    client_subnet: str
    users: int
    last_mile: str = DEFAULT_LAST_MILE
    line: int = field(default=0, compare=False)

    def problems(self) -> Iterator[Problem]:
        yield from cidr_problems("client_subnet", self.client_subnet, self.line)
        if self.last_mile not in LAST_MILES:
            yield Problem(self.line, f"last_mile {self.last_mile!r}: there are {', '.join(LAST_MILES)}")


@dataclass(frozen=True, slots=True)
class ControlPlanePorts:
    """Ports on the first address of the loopback range."""

    api: int = 4566
    grpc: int = 4567
    admin: int = 4568


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; edges, caches and origins each have an address of their own."""

    viewer: int = 8080
    origin: int = 8080
    dns: int = 8053
    admin: int = 9100
    wan: int = 8474
    control_plane: ControlPlanePorts = ControlPlanePorts()

    def on_first_address(self) -> tuple[tuple[str, int], ...]:
        """What shares the first address of the range: the control plane, the first router, the relays' API, and edges for browsers."""
        ports = self.control_plane
        names = (
            "control_plane api",
            "control_plane grpc",
            "control_plane admin",
            "viewer_port",
            "dns_port",
            "wan_port",
        )
        return tuple(zip(names, (ports.api, ports.grpc, ports.admin, self.viewer, self.dns, self.wan), strict=True))

    def problems(self, line_of: Callable[[str], int]) -> Iterator[Problem]:
        """Each collision once, on the later line of the two keys."""
        ordered = sorted(self.on_first_address(), key=lambda pair: pair[1])
        pairs = [(one, other, port) for (one, port), (other, next_port) in pairwise(ordered) if port == next_port]
        own = (
            ("viewer_port", self.viewer),
            ("origin_port", self.origin),
            ("dns_port", self.dns),
            ("control_plane grpc", self.control_plane.grpc),
        )
        pairs += [(name, "admin_port", port) for name, port in own if port == self.admin]
        for one, other, port in pairs:
            line = max(line_of(one.split()[0]), line_of(other.split()[0]))
            yield Problem(line, f"port {port} is used twice: by {one} and by {other}")


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast the lab notices and forgets."""

    heartbeat_seconds: float = 1.0
    lease_seconds: float = 5.0
    answer_ttl_seconds: int = 5


@dataclass(frozen=True, slots=True)
class Topology:
    """All of a lab. `origins_are_external`: content comes from applications that are not the lab's. `has_relays`: there is distance between its places."""

    name: str
    zone: str
    loopback: str
    ports: Ports
    timing: Timing
    regions: tuple[Region, ...]
    pops: tuple[Pop, ...]
    regional_caches: tuple[RegionalCache, ...]
    routers: tuple[Router, ...]
    origins: tuple[Origin, ...]
    origins_are_external: bool
    populations: tuple[Population, ...]
    links: tuple[GivenLink, ...]
    has_relays: bool
    default_region: str
    maximum_answers: int
    demo_distribution: bool
    seed: int | None = None
    """From which every random choice of the lab follows (docs/repeating.md); None: none was given."""
    source: str = field(default="topology", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise TopologyError(self.source, problems)

    def line_of(self, key: str) -> int:
        """Where a key of the file is; the first line when it is not there."""
        return self.lines.get(key, 1)

    def population_places(self) -> Iterator[tuple[str, Population]]:
        """What the place of each population is called: by its region, and by its number there if it is not the first."""
        numbers: dict[str, int] = {}
        for each in self.populations:
            number = numbers[each.region] = numbers.get(each.region, 0) + 1
            yield f"{VIEWERS_PREFIX}{each.region}" + (f"-{number}" if number > 1 else ""), each

    def _problems(self) -> Iterator[Problem]:
        yield from self._own_problems()
        checked: Iterable[Region | Pop | Origin | Population | GivenLink]
        checked = (*self.regions, *self.pops, *self.origins, *self.populations, *self.links)
        yield from chain.from_iterable(part.problems() for part in checked)
        yield from self.ports.problems(self.line_of)
        yield from self._loopback_problems()
        yield from self._missing()
        yield from self._duplicates()
        yield from self._unknown_regions()
        yield from self._wrong_links()
        yield from self._too_many()

    def _own_problems(self) -> Iterator[Problem]:
        if not _NAME.fullmatch(self.name):
            yield Problem(self.line_of("name"), f"name {self.name!r}: made of a-z, 0-9 and '-'")
        if not _ZONE.fullmatch(self.zone):
            yield Problem(self.line_of("zone"), f"zone {self.zone!r}: not a domain name")
        if self.seed is not None and not 0 <= self.seed <= MOST_SEED:
            yield Problem(self.line_of("seed"), f"seed {self.seed}: a whole number from 0 to {MOST_SEED}")
        timing = self.timing
        if timing.lease_seconds < HEARTBEATS_PER_LEASE * timing.heartbeat_seconds:
            message = f"lease_seconds {timing.lease_seconds:g}: shorter than {HEARTBEATS_PER_LEASE} heartbeats"
            yield Problem(self.line_of("lease_seconds"), message)

    def _loopback_problems(self) -> Iterator[Problem]:
        line = self.line_of("loopback")
        found = list(cidr_problems("loopback", self.loopback, line, "127.1.0.0/16"))
        yield from found
        if found:
            return
        network = ip_network(self.loopback)
        if not (isinstance(network, IPv4Network) and network.subnet_of(LOOPBACK)):
            yield Problem(line, f"loopback {self.loopback}: not a part of {LOOPBACK}")
        elif network.prefixlen > LARGEST_LOOPBACK_PREFIX:
            message = f"too small, every POP takes a /24 of it: give at least a /{LARGEST_LOOPBACK_PREFIX}"
            yield Problem(line, f"loopback {self.loopback}: {message}")

    def _missing(self) -> Iterator[Problem]:
        if not self.regions:
            yield Problem(
                self.line_of("regions"), "no region: give at least one, as in {name: us-east-1, airport: IAD}"
            )
        if not self.pops:
            yield Problem(self.line_of("pops"), "no POP: viewers have nobody to ask")
        if not self.origins and not self.origins_are_external:
            message = "no origin: list at least one, or write `origins: external` when content comes from elsewhere"
            yield Problem(self.line_of("origins"), message)
        if self.demo_distribution and not self.origins and self.origins_are_external:
            message = "demo_distribution needs an origin of the lab's own"
            yield Problem(self.line_of("demo_distribution"), message)

    def _duplicates(self) -> Iterator[Problem]:
        named = [
            *(("region", region.name, region.line) for region in self.regions),
            *(("POP", pop.name, pop.line) for pop in self.pops),
            *(("origin", origin.name, origin.line) for origin in self.origins),
            *(("regional caches of", cache.region, cache.line) for cache in self.regional_caches),
            *(("client_subnet", each.client_subnet, each.line) for each in self.populations),
            *(("place", name, each.line) for name, each in self.population_places()),
        ]
        first: dict[tuple[str, str], int] = {}
        for kind, name, line in named:
            if first.setdefault((kind, name), line) != line:
                yield Problem(line, f"{kind} {name} is there twice: first on line {first[kind, name]}")
        for origin in self.origins:
            if origin.name in ("control-plane", "wan") or origin.name.startswith(("edge-", "regional-", "dns-")):
                yield Problem(origin.line, f"origin {origin.name}: that is how the lab names its other nodes")

    def _unknown_regions(self) -> Iterator[Problem]:
        known = {region.name for region in self.regions}
        parts: Iterable[Pop | RegionalCache | Router | Origin | Population]
        parts = (*self.pops, *self.regional_caches, *self.routers, *self.origins, *self.populations)
        references = [(part.region, part.line) for part in parts]
        if self.default_region:
            references.append((self.default_region, self.line_of("default_region")))
        for name, line in references:
            if name not in known:
                yield Problem(line, f"unknown region {name!r}: there are {', '.join(sorted(known)) or 'none'}")

    def _wrong_links(self) -> Iterator[Problem]:
        regions = [region.name for region in self.regions]
        viewers = [*(name for name, _ in self.population_places()), OPERATOR]
        first: dict[frozenset[str], int] = {}
        for link in self.links:
            unknown = [end for end in link.between if end not in (*regions, *viewers)]
            for end in unknown:
                yield Problem(link.line, f"unknown place {end!r}: there are {', '.join([*regions, *viewers])}")
            if not unknown and not link.ends.intersection(regions):
                yield Problem(
                    link.line, f"a link between {' and '.join(link.between)}: viewers have links with regions only"
                )
            if first.setdefault(link.ends, link.line) != link.line:
                names = " and ".join(link.between)
                yield Problem(link.line, f"the link between {names} is there twice: first on line {first[link.ends]}")

    def _too_many(self) -> Iterator[Problem]:
        if len(self.pops) > MAXIMUM_POPS:
            yield Problem(self.line_of("pops"), f"{len(self.pops)} POPs: {MAXIMUM_POPS} at most fit on one machine")
        if len(self.regions) > MAXIMUM_REGIONS:
            yield Problem(self.line_of("regions"), f"{len(self.regions)} regions: {MAXIMUM_REGIONS} at most")
        if len(self.populations) > MAXIMUM_POPULATIONS:
            yield Problem(
                self.line_of("populations"), f"{len(self.populations)} populations: {MAXIMUM_POPULATIONS} at most"
            )
        kinds = {
            "regional_caches": sum(cache.count for cache in self.regional_caches),
            "routers": len(self.routers),
            "origins": len(self.origins),
        }
        for kind, count in kinds.items():
            if count > MAXIMUM_NODES_OF_A_KIND:
                yield Problem(self.line_of(kind), f"{count} {kind}: {MAXIMUM_NODES_OF_A_KIND} at most")


def cidr_problems(name: str, text: str, line: int, example: str = "10.1.0.0/16") -> Iterator[Problem]:
    """Nothing, or why `text` is not a network."""
    network = _network(text, strict=False)
    if network is None:
        yield Problem(line, f"{name} {text!r}: not a network such as {example}")
    elif _network(text, strict=True) is None:
        yield Problem(line, f"{name} {text!r}: bits are set behind the prefix; did you mean {network}?")


def _network(text: str, *, strict: bool) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=strict)
    except ValueError:
        return None
