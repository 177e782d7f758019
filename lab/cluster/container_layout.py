"""From a topology to containers: whether it fits, what they are given, the ports that the machine publishes, and the routing table.

Addresses are fixed because they are answers: an edge tells the control plane the address that viewers reach it at, and the DNS router hands that out. All are in
one /16, which goes with the loopback range: 127.0.0.0/16 has 10.77.0.0/16, 127.1.0.0/16 has 10.78.0.0/16, so that labs side by side do not meet. Which they are, and
which networks there are, is for relayed_networks.py, or shared_networks.py where there is no distance. Ids, places and caches of nodes are those of topology/layout.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from lab.cluster.container_networks import NetworkPlan
from lab.cluster.relayed_networks import INTERNET, MOST_PROGRAMS, RelayedNetworks
from lab.cluster.shared_networks import SharedNetworks
from lab.errors import UsageError
from lab.topology.layout import HISTORY_FOLDER, SEED, WAN_ID, Layout, NodeSpec, Role, routing_table
from lab.topology.links import VIEWERS_PREFIX
from lab.topology.model import Topology

MOST_REGIONS, MOST_EDGES_OF_A_REGION, MOST_EDGES = 90, 42, 240
MOST_REGIONAL_CACHES, MOST_ROUTERS, MOST_ORIGINS = 240, 8, 100
_FIRST_RANGE = 77
# What the other services and networks of the file are called; no node and no region may be.
OTHER_SERVICES = frozenset(
    {"certificates", "postgres", "prometheus", "grafana", "demo-site", "lab", "load-plan", "load-master", WAN_ID}
)
OTHER_NETWORKS = frozenset({"backbone", "origins", "metrics", "database", "load", INTERNET})
# Programs that are the lab's own: what a node keeps, its certificate, and the limit of its container.
STATE, TLS = Path("/var/lib/cdnlab"), Path("/etc/cdnlab/tls")
RELAYS_MEMORY_MIB: Final = 640
"""The bound of docs/wan.md for what is under way, and the program."""
_MEMORY_BESIDE_THE_CACHE_MIB = 128
_CACHE_OVERHEAD = 2


def history_of(node_id: str) -> str:
    """The folder in a node's container where it keeps a history while a run asks for it."""
    return str(STATE / node_id / HISTORY_FOLDER)


@dataclass(frozen=True)
class ContainerLayout:
    """Everything about the containers of a topology that is not the form of a file. UsageError when it does not fit."""

    topology: Topology

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise UsageError("\n".join(f"{self.topology.source}: {problem}" for problem in problems))

    @cached_property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """As processes: of these the ids, roles, places and budgets hold for containers too."""
        return Layout(self.topology, STATE).nodes()

    @cached_property
    def networks(self) -> NetworkPlan:
        plan = RelayedNetworks if self.topology.has_relays else SharedNetworks
        return plan(self.topology, self.nodes, self.base)

    @property
    def seed_flag(self) -> str:
        """Of every program; who runs Compose by hand says another one with the variable."""
        return f"{SEED} ${{CDNLAB_SEED:-{self.topology.seed or 0}}}"

    def of_role(self, role: Role) -> list[NodeSpec]:
        return [node for node in self.nodes if node.role is role]

    @cached_property
    def _range(self) -> int:
        return int(IPv4Network(self.topology.loopback).network_address) >> 16 & 0xFF

    @property
    def base(self) -> str:
        """The first two numbers of every address."""
        return f"10.{(_FIRST_RANGE + self._range) % 256}"

    @property
    def host(self) -> str:
        """Where this machine publishes ports."""
        return str(IPv4Network(self.topology.loopback).network_address + 1)

    def memory_mib(self, node: NodeSpec) -> int:
        """A cache takes more than what it stores: entries have heads, and what is under way is not stored yet."""
        cache_mib = int(dict(pairwise(node.flags)).get("--cache-bytes", "0")) >> 20
        return _MEMORY_BESIDE_THE_CACHE_MIB + _CACHE_OVERHEAD * cache_mib

    @cached_property
    def published(self) -> Mapping[str, int]:
        """Ports of this machine by the middle of the variable that moves them; each edge has one of its own."""
        ports = self.topology.ports
        plane = ports.control_plane
        fixed = {"API": plane.api, "ADMIN": plane.admin, "DNS": ports.dns, "VIEWER": ports.viewer}
        if self.topology.has_relays:
            fixed["WAN"] = ports.wan
        wanted = {"API_2": plane.api + 10, "ADMIN_2": plane.admin + 10, "API_3": plane.api + 20}
        wanted |= {"ADMIN_3": plane.admin + 20, "PROMETHEUS": 9090, "LOCUST": 8089, "GRAFANA": 3000}
        wanted |= {_variable(edge.id): ports.viewer + 1 for edge in self.of_role(Role.EDGE)}
        taken = set(fixed.values())
        for name, port in wanted.items():
            fixed[name] = next(each for each in range(port, 1 << 16) if each not in taken)
            taken.add(fixed[name])
        return fixed

    def routing_table(self) -> dict[str, Any]:
        """As with processes; beside the topology's own subnets, viewers are known by where their queries come from."""
        table = routing_table(self.topology, has_own_sources=False)
        return table | {"clientSubnets": [*self.networks.client_subnets, *table["clientSubnets"]]}

    def _problems(self) -> Iterator[str]:
        """Why it does not fit into containers."""
        topology = self.topology
        for what, count, most in self._counts():
            if count > most:
                yield f"{count} {what}: in containers there can be {most}; `--runner processes` has room for more"
        for origin in topology.origins:
            if origin.name in OTHER_SERVICES or origin.name.startswith(("load-", "control-plane-", VIEWERS_PREFIX)):
                yield f"origin {origin.name}: in containers that is another service; give it another name"
        networks = {region.name: "region" for region in topology.regions}
        if topology.has_relays:
            networks = {origin.name: "origin" for origin in topology.origins}
        for name, what in networks.items():
            if name in OTHER_NETWORKS:
                yield f"{what} {name}: in containers that is another network; give it another name"

    def _counts(self) -> Iterator[tuple[str, int, int]]:
        """What there is, how many, and how many there can be."""
        topology = self.topology
        edges = {region.name: 0 for region in topology.regions}
        for pop in topology.pops:
            edges[pop.region] += pop.edges
        caches = sum(each.count for each in topology.regional_caches)
        yield "regions", len(topology.regions), MOST_REGIONS
        yield from ((f"edges in {region}", count, MOST_EDGES_OF_A_REGION) for region, count in edges.items())
        yield "edges", sum(edges.values()), MOST_EDGES
        yield "regional caches", caches, MOST_REGIONAL_CACHES
        yield "routers", len(topology.routers), MOST_ROUTERS
        yield "origins", len(topology.origins), MOST_ORIGINS
        if topology.has_relays:
            programs = sum(edges.values()) + caches + len(topology.routers) + len(topology.origins)
            yield "programs with relays between them", programs, MOST_PROGRAMS


def _variable(node_id: str) -> str:
    """`edge-iad89-p1-1` is moved by CDNLAB_EDGE_IAD89_P1_1_PORT."""
    return node_id.upper().replace("-", "_")


def published_variable(node: NodeSpec) -> str:
    """The same for a node."""
    return _variable(node.id)
