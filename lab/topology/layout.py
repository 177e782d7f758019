"""From a topology to processes: node ids, addresses and command lines (docs/contracts.md), and the routing table. Which addresses there are is addresses.py's."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lab.topology.addresses import LoopbackRange, relayed
from lab.topology.internet import region_delays
from lab.topology.model import Cache, Pop, RegionalCache, Topology

CONTROL_PLANE_ID = "control-plane"
WAN_ID = "wan"
"""The relays between the places."""
API_REGION = "us-east-1"
ACCESS_KEY_ID = "cdnlab"
SECRET_ACCESS_KEY = "cdnlab-secret"  # noqa: S105 - public on purpose: the endpoint is reachable from this machine only


ALLOW_FAULTS = "--allow-faults"
"""Of a program in a lab, and nowhere else: /faults is there on its admin port."""


HISTORY_FOLDER = "history"
"""Of a node, in its folder: where it keeps a history while a run asks for it."""
SEED = "--seed"


class Role(StrEnum):
    """What a node is, in the words of `cdnlab status --json`."""

    CONTROL_PLANE = "control_plane"
    EDGE = "edge"
    REGIONAL = "regional"
    DNS_ROUTER = "dns_router"
    ORIGIN = "origin"
    WAN = "wan"


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that a node will bind. Several may share one (SO_REUSEPORT)."""

    address: str
    is_datagram: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Advertised:
    """Where the other programs of a lab find a node, host:port; empty for what it does not have. With relays these are theirs."""

    http: str = ""
    admin: str = ""
    dns: str = ""

    @property
    def content(self) -> str:
        """What it is there for: where viewers, tiers or resolvers reach it."""
        return self.http or self.dns


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One process: who it is, where this machine reaches it (empty: nowhere), what it binds, how it is started."""

    id: str
    role: Role
    region: str
    pop: str
    http: str
    admin: str
    dns: str
    listeners: tuple[Listener, ...]
    module: str
    flags: tuple[str, ...]
    advertised: Advertised = Advertised()

    @property
    def control_plane(self) -> str:
        """Where it finds it; empty: it does not look for it."""
        flags = dict(zip(self.flags[::2], self.flags[1::2], strict=False))
        return flags.get("--control-plane", "")


@dataclass(frozen=True, slots=True)
class Layout:
    """All processes of a topology: the control plane first, and before whoever wants to reach it the relays."""

    topology: Topology
    state_dir: Path

    def nodes(self) -> tuple[NodeSpec, ...]:
        relays = (self._wan(),) if self.topology.has_relays else ()
        return (self.control_plane(), *relays, *self.programs())

    def programs(self) -> tuple[NodeSpec, ...]:
        """All that speak to each other over links, but for the control plane."""
        return (*self._routers(), *self._regionals(), *self._edges(), *self._origins())

    @property
    def range(self) -> LoopbackRange:
        return LoopbackRange(self.topology.loopback)

    @property
    def api(self) -> str:
        return self._own(self.topology.ports.control_plane.api)

    @property
    def shared_http(self) -> str:
        """Where browsers find the edges of the first POP."""
        return self._own(self.topology.ports.viewer)

    @property
    def routing_table_path(self) -> Path:
        return self.state_dir / "routing-table.json"

    @property
    def wan_path(self) -> Path:
        """What the relays are told."""
        return self.state_dir / "wan.yaml"

    @property
    def secret_access_key_path(self) -> Path:
        return self.state_dir / "secret-access-key"

    def tls_dir(self, node_id: str) -> Path:
        """The certificate and key of a program that speaks gRPC."""
        return self.state_dir / "tls" / node_id

    def node_dir(self, node_id: str) -> Path:
        return self.state_dir / "nodes" / node_id

    def _history_of(self, node_id: str) -> str:
        return str(self.node_dir(node_id) / HISTORY_FOLDER)

    def control_plane(self) -> NodeSpec:
        timing, ports = self.topology.timing, self.topology.ports.control_plane
        api, grpc, admin = (self._own(port) for port in (ports.api, ports.grpc, ports.admin))
        flags = {
            "--api": api,
            "--grpc": grpc,
            "--admin": admin,
            "--state-dir": str(self.node_dir(CONTROL_PLANE_ID)),
            "--zone": self.topology.zone,
            "--routing-table": str(self.routing_table_path),
            "--access-key-id": ACCESS_KEY_ID,
            "--secret-access-key-file": str(self.secret_access_key_path),
            "--tls-dir": str(self.tls_dir(CONTROL_PLANE_ID)),
            "--heartbeat-seconds": f"{timing.heartbeat_seconds:g}",
            "--lease-seconds": f"{timing.lease_seconds:g}",
            "--history": self._history_of(CONTROL_PLANE_ID),
            **self._seed_flags(),
        }
        return NodeSpec(
            id=CONTROL_PLANE_ID,
            role=Role.CONTROL_PLANE,
            region=self.topology.regions[0].name,
            pop="",
            http=api,
            admin=admin,
            dns="",
            listeners=(Listener(api), Listener(grpc), Listener(admin)),
            module="control_plane",
            flags=(*_flatten(flags), ALLOW_FAULTS),
            advertised=Advertised(api, admin),
        )

    def _wan(self) -> NodeSpec:
        """Its listeners for each of the others are those of `relay_listeners`."""
        api = self._own(self.topology.ports.wan)
        region = self.topology.regions[0].name
        flags = ("--config", str(self.wan_path))
        listeners = (Listener(api), *self.relay_listeners())
        return NodeSpec(WAN_ID, Role.WAN, region, "", "", api, "", listeners, "lab.wan", flags)

    def relay_listeners(self) -> Iterator[Listener]:
        """Where relays listen for the others."""
        for node in self.programs():
            if node.advertised.dns:
                yield Listener(node.advertised.dns, is_datagram=True)
            found = (node.advertised.content, node.advertised.admin, node.control_plane)
            yield from (Listener(each) for each in found if each)

    def _control_plane_for(self, host: str) -> str:
        """As the program at that address finds it. gRPC cannot bind a source: so who it is, is told by the address that it dials."""
        port = self.topology.ports.control_plane.grpc
        return f"{relayed(host)}:{port}" if self.topology.has_relays else self._own(port)

    def _edges(self) -> Iterator[NodeSpec]:
        for index, pop in enumerate(self.topology.pops):
            for number in range(1, pop.edges + 1):
                yield self._edge(index, pop, number)

    def _edge(self, index: int, pop: Pop, number: int) -> NodeSpec:
        host = self.range.edge(index + 1, number)
        node_id = f"edge-{pop.name.lower()}-{number}"
        shared = self.shared_http if index == 0 else ""
        return self._cache_node(node_id, Role.EDGE, (pop.region, pop.name), host, pop.cache, shared)

    def _regionals(self) -> Iterator[NodeSpec]:
        taken = 0
        for cache in self.topology.regional_caches:
            for number in range(1, cache.count + 1):
                taken += 1
                host = self.range.regional(taken)
                place = (cache.region, f"{self._site_of(cache)}-R{number}")
                node_id = f"regional-{cache.region}-{number}"
                yield self._cache_node(node_id, Role.REGIONAL, place, host, cache.cache)

    def _site_of(self, cache: RegionalCache) -> str:
        """A regional cache stands beside the region's first POP, else at its airport."""
        for pop in self.topology.pops:
            if pop.region == cache.region:
                return pop.name.partition("-")[0]
        return next(f"{region.airport}1" for region in self.topology.regions if region.name == cache.region)

    def _cache_node(
        self, node_id: str, role: Role, place: tuple[str, str], host: str, cache: Cache, shared: str = ""
    ) -> NodeSpec:
        http, admin = f"{host}:{self.topology.ports.viewer}", f"{host}:{self.topology.ports.admin}"
        region, pop = place
        advertised = self._advertised(http=http, admin=admin)
        flags = {
            "--node-id": node_id,
            "--role": role.value,
            "--region": region,
            "--pop": pop,
            "--listen": http,
            "--admin": admin,
            **(self._relayed_flags(advertised, host) if self.topology.has_relays else {}),
            "--control-plane": self._control_plane_for(host),
            "--tls-dir": str(self.tls_dir(node_id)),
            "--state-dir": str(self.node_dir(node_id)),
            **_cache_flags(cache),
            "--access-log": str(self.node_dir(node_id) / "access.log"),
            "--history": self._history_of(node_id),
            **self._seed_flags(),
        }
        listeners: tuple[Listener, ...] = (Listener(http), Listener(admin))
        if shared:
            flags["--listen-shared"] = shared
            listeners = (*listeners, Listener(shared, is_shared=True))
        told = (*_flatten(flags), ALLOW_FAULTS)
        return NodeSpec(node_id, role, region, pop, http, admin, "", listeners, "edge_node", told, advertised)

    def _relayed_flags(self, advertised: Advertised, source: str) -> dict[str, str]:
        """Of a cache: what it tells the others, whom it believes when a relay says who a viewer is, and from where it connects."""
        return {
            "--advertise": advertised.http,
            "--advertise-admin": advertised.admin,
            "--trusted-proxies": f"{self.range.relays}/32",
            "--source-address": source,
        }

    def _advertised(self, http: str = "", admin: str = "", dns: str = "") -> Advertised:
        """Without relays, what a program binds."""
        if not self.topology.has_relays:
            return Advertised(http, admin, dns)
        return Advertised(*(_relayed(each) for each in (http, admin, dns)))

    def _routers(self) -> Iterator[NodeSpec]:
        for number, router in enumerate(self.topology.routers, start=1):
            host = self.range.router(number)
            # The first one is where people look for it: at the lab's first address.
            port = self.topology.ports.dns
            dns = self._own(port) if number == 1 else f"{host}:{port}"
            admin = f"{host}:{self.topology.ports.admin}"
            node_id = f"dns-{number}"
            advertised = self._advertised(admin=admin, dns=f"{host}:{port}" if self.topology.has_relays else dns)
            flags = {
                "--node-id": node_id,
                "--region": router.region,
                "--listen": dns,
                "--admin": admin,
                "--advertise": advertised.dns,
                "--advertise-admin": advertised.admin,
                "--control-plane": self._control_plane_for(host),
                "--tls-dir": str(self.tls_dir(node_id)),
                "--state-dir": str(self.node_dir(node_id)),
                "--history": self._history_of(node_id),
                **self._seed_flags(),
            }
            listeners = (Listener(dns, is_datagram=True), Listener(dns), Listener(admin))
            place, told = (router.region, ""), (*_flatten(flags), ALLOW_FAULTS)
            yield NodeSpec(node_id, Role.DNS_ROUTER, *place, "", admin, dns, listeners, "dns_router", told, advertised)

    def _origins(self) -> Iterator[NodeSpec]:
        for number, origin in enumerate(self.topology.origins, start=1):
            host = self.range.origin(number)
            http, admin = f"{host}:{self.topology.ports.origin}", f"{host}:{self.topology.ports.admin}"
            flags = {"--node-id": origin.name, "--listen": http, "--admin": admin}
            flags |= {"--history": self._history_of(origin.name), **self._seed_flags()}
            listeners = (Listener(http), Listener(admin))
            yield NodeSpec(
                id=origin.name,
                role=Role.ORIGIN,
                region=origin.region,
                pop="",
                http=http,
                admin=admin,
                dns="",
                listeners=listeners,
                module="origin",
                flags=_flatten(flags),
                advertised=self._advertised(http=http),
            )

    def _seed_flags(self) -> dict[str, str]:
        """Each program derives its own from it, by its id."""
        seed = self.topology.seed
        return {} if seed is None else {SEED: str(seed)}

    def _own(self, port: int) -> str:
        return f"{self.range.own}:{port}"


def routing_table(topology: Topology, *, has_own_sources: bool = True) -> dict[str, Any]:
    """The JSON form of cdn.v1.RoutingTable: what the router answers from. `has_own_sources`: populations come from their networks of loopback."""
    addresses = LoopbackRange(topology.loopback)
    sources = [
        {"cidr": addresses.viewers(number), "region": each.region}
        for number, each in enumerate(topology.populations, start=1)
    ]
    return {
        "zone": topology.zone,
        "regions": [region.name for region in topology.regions],
        "defaultRegion": topology.default_region,
        "latencies": [
            {"fromRegion": one, "toRegion": other, "milliseconds": milliseconds}
            for (one, other), milliseconds in region_delays(topology).items()
        ],
        "clientSubnets": [
            *({"cidr": each.client_subnet, "region": each.region} for each in topology.populations),
            *(sources if topology.has_relays and has_own_sources else ()),
        ],
        "answerTtlSeconds": topology.timing.answer_ttl_seconds,
        "maximumAnswers": topology.maximum_answers,
    }


def _relayed(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{relayed(host)}:{port}" if address else ""


def _cache_flags(cache: Cache) -> dict[str, str]:
    """What the topology does not say is not said to the node either."""
    flags = {"--cache-bytes": str(cache.memory_mib << 20)}
    if cache.eviction_policy:
        flags["--eviction-policy"] = cache.eviction_policy
    if cache.disk_mib:
        flags["--disk-bytes"] = str(cache.disk_mib << 20)
    return flags


def _flatten(flags: dict[str, str]) -> tuple[str, ...]:
    return tuple(part for flag in flags.items() for part in flag)
