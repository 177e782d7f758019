"""From a topology to processes: node ids, loopback addresses and command lines (docs/contracts.md), and the routing table.

Offsets in the loopback range, a /24 for each kind: .0.1 is shared (management API, DNS, and the edges of the first POP for
browsers, who resolve `*.localhost` to it); .10+k.n is edge n of POP k; .100.n regional caches; .150.n routers; .200.n origins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from lab.topology.geography import latency_matrix
from lab.topology.model import Cache, Pop, RegionalCache, Topology

CONTROL_PLANE_ID = "control-plane"
API_REGION = "us-east-1"
ACCESS_KEY_ID = "cdnlab"
SECRET_ACCESS_KEY = "cdnlab-secret"  # noqa: S105 - public on purpose: the endpoint is reachable from this machine only

ALLOW_FAULTS = "--allow-faults"
"""Of a program in a lab, and nowhere else: /faults is there on its admin port."""

_FIRST_POP, _REGIONALS, _ROUTERS, _ORIGINS = 11, 100, 150, 200


class Role(StrEnum):
    """What a node is, in the words of `cdnlab status --json`."""

    CONTROL_PLANE = "control_plane"
    EDGE = "edge"
    REGIONAL = "regional"
    DNS_ROUTER = "dns_router"
    ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that a node will bind. Several may share one (SO_REUSEPORT)."""

    address: str
    is_datagram: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One process: who it is, where others find it (empty: nowhere), what it binds, how it is started."""

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


@dataclass(frozen=True, slots=True)
class Layout:
    """All processes of a topology, the control plane first."""

    topology: Topology
    state_dir: Path

    def nodes(self) -> tuple[NodeSpec, ...]:
        return (self.control_plane(), *self._routers(), *self._regionals(), *self._edges(), *self._origins())

    @property
    def api(self) -> str:
        return self._first_address(self.topology.ports.control_plane.api)

    @property
    def shared_http(self) -> str:
        """Where browsers find the edges of the first POP."""
        return self._first_address(self.topology.ports.viewer)

    @property
    def routing_table_path(self) -> Path:
        return self.state_dir / "routing-table.json"

    @property
    def secret_access_key_path(self) -> Path:
        return self.state_dir / "secret-access-key"

    def tls_dir(self, node_id: str) -> Path:
        """The certificate and key of a program that speaks gRPC."""
        return self.state_dir / "tls" / node_id

    def node_dir(self, node_id: str) -> Path:
        return self.state_dir / "nodes" / node_id

    def control_plane(self) -> NodeSpec:
        timing, ports = self.topology.timing, self.topology.ports.control_plane
        api, grpc, admin = (self._first_address(port) for port in (ports.api, ports.grpc, ports.admin))
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
        )

    def _edges(self) -> Iterator[NodeSpec]:
        for index, pop in enumerate(self.topology.pops):
            for number in range(1, pop.edges + 1):
                yield self._edge(index, pop, number)

    def _edge(self, index: int, pop: Pop, number: int) -> NodeSpec:
        host = self._host(_FIRST_POP + index, number)
        node_id = f"edge-{pop.name.lower()}-{number}"
        shared = self.shared_http if index == 0 else ""
        return self._cache_node(node_id, Role.EDGE, (pop.region, pop.name), host, pop.cache, shared)

    def _regionals(self) -> Iterator[NodeSpec]:
        taken = 0
        for cache in self.topology.regional_caches:
            for number in range(1, cache.count + 1):
                taken += 1
                host = self._host(_REGIONALS, taken)
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
        flags = {
            "--node-id": node_id,
            "--role": role.value,
            "--region": region,
            "--pop": pop,
            "--listen": http,
            "--admin": admin,
            "--control-plane": self._grpc,
            "--tls-dir": str(self.tls_dir(node_id)),
            "--state-dir": str(self.node_dir(node_id)),
            **_cache_flags(cache),
            "--access-log": str(self.node_dir(node_id) / "access.log"),
        }
        listeners: tuple[Listener, ...] = (Listener(http), Listener(admin))
        if shared:
            flags["--listen-shared"] = shared
            listeners = (*listeners, Listener(shared, is_shared=True))
        told = (*_flatten(flags), ALLOW_FAULTS)
        return NodeSpec(node_id, role, region, pop, http, admin, "", listeners, "edge_node", told)

    def _routers(self) -> Iterator[NodeSpec]:
        for number, router in enumerate(self.topology.routers, start=1):
            host = self._host(_ROUTERS, number)
            # The first one is where people look for it: at the lab's first address.
            port = self.topology.ports.dns
            dns = self._first_address(port) if number == 1 else f"{host}:{port}"
            admin = f"{host}:{self.topology.ports.admin}"
            node_id = f"dns-{number}"
            flags = {
                "--node-id": node_id,
                "--region": router.region,
                "--listen": dns,
                "--admin": admin,
                "--control-plane": self._grpc,
                "--tls-dir": str(self.tls_dir(node_id)),
                "--state-dir": str(self.node_dir(node_id)),
            }
            listeners = (Listener(dns, is_datagram=True), Listener(dns), Listener(admin))
            place, told = (router.region, ""), (*_flatten(flags), ALLOW_FAULTS)
            yield NodeSpec(node_id, Role.DNS_ROUTER, *place, "", admin, dns, listeners, "dns_router", told)

    def _origins(self) -> Iterator[NodeSpec]:
        for number, origin in enumerate(self.topology.origins, start=1):
            host = self._host(_ORIGINS, number)
            http, admin = f"{host}:{self.topology.ports.origin}", f"{host}:{self.topology.ports.admin}"
            flags = {"--node-id": origin.name, "--listen": http, "--admin": admin}
            listeners = (Listener(http), Listener(admin))
            place = (origin.region, "")
            yield NodeSpec(origin.name, Role.ORIGIN, *place, http, admin, "", listeners, "origin", _flatten(flags))

    @property
    def _grpc(self) -> str:
        return self._first_address(self.topology.ports.control_plane.grpc)

    def _first_address(self, port: int) -> str:
        return f"{self._host(0, 1)}:{port}"

    def _host(self, group: int, number: int) -> str:
        base = int(IPv4Network(self.topology.loopback).network_address)
        return str(IPv4Address(base + (group << 8) + number))


def routing_table(topology: Topology) -> dict[str, Any]:
    """The JSON form of cdn.v1.RoutingTable: what the router answers from."""
    matrix = latency_matrix({region.name: region.coordinates for region in topology.regions})
    for override in topology.latencies:
        pair = (override.from_region, override.to_region)
        matrix[pair if pair in matrix else (pair[1], pair[0])] = override.milliseconds
    return {
        "zone": topology.zone,
        "regions": [region.name for region in topology.regions],
        "defaultRegion": topology.default_region,
        "latencies": [
            {"fromRegion": one, "toRegion": other, "milliseconds": milliseconds}
            for (one, other), milliseconds in matrix.items()
        ],
        "clientSubnets": [{"cidr": each.client_subnet, "region": each.region} for each in topology.populations],
        "answerTtlSeconds": topology.timing.answer_ttl_seconds,
        "maximumAnswers": topology.maximum_answers,
    }


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
