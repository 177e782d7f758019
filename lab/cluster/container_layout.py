"""From a topology to containers: their addresses, the networks they are on, the ports that the machine publishes, and the routing table.

A place is a network: viewers and edges of a region share one, and a viewer is where it asks from. Addresses are fixed because they are answers:
an edge tells the control plane the address that viewers reach it at, and the DNS router hands that out. All are in one /16, which goes with the
loopback range: 127.0.0.0/16 has 10.77.0.0/16, 127.1.0.0/16 has 10.78.0.0/16, so that labs side by side do not meet.

Offsets in it: N is the Nth region; 100 to 103 the backbone (100 control planes and edges, 101 regional caches, 102 routers, 103 whoever needs no fixed
address); 200 the origins; 240 the database; 250 the metrics of the origins. Ids, places and caches of nodes are those of topology/layout.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network
from itertools import pairwise
from pathlib import Path
from typing import Any

from lab.cluster.interface import PopulationRecord
from lab.errors import UsageError
from lab.topology.layout import CONTROL_PLANE_ID, Layout, NodeSpec, Role, routing_table
from lab.topology.model import Topology

MOST_REGIONS, MOST_EDGES_OF_A_REGION, MOST_EDGES = 90, 42, 240
MOST_REGIONAL_CACHES, MOST_ROUTERS, MOST_ORIGINS = 240, 8, 100
_FIRST, _FIRST_ROUTER = 11, 53
_FIRST_RANGE = 77
# What the other services and networks of the file are called; no node and no region may be.
OTHER_SERVICES = frozenset(
    {"certificates", "postgres", "prometheus", "grafana", "demo-site", "lab", "load-plan", "load-master"}
)
OTHER_NETWORKS = frozenset({"backbone", "origins", "metrics", "database", "load"})
# Programs that are the lab's own: what a node keeps, its certificate, and the limit of its container.
STATE, TLS = Path("/var/lib/cdnlab"), Path("/etc/cdnlab/tls")
_MEMORY_BESIDE_THE_CACHE_MIB = 128
_CACHE_OVERHEAD = 2


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
    def backbone(self) -> str:
        """The first three numbers of control planes and edges on the operator's own network."""
        return f"{self.base}.100"

    @property
    def host(self) -> str:
        """Where this machine publishes ports."""
        return str(IPv4Network(self.topology.loopback).network_address + 1)

    def place(self, region: str) -> str:
        """The first three numbers of a region's network."""
        number = 1 + [each.name for each in self.topology.regions].index(region)
        return f"{self.base}.{number}"

    def routers_in(self, region: str) -> list[str]:
        """Every router has an address in every place, so that a viewer's query arrives from the viewer's address there."""
        return [f"{self.place(region)}.{_FIRST_ROUTER + number}" for number in range(len(self.topology.routers))]

    @cached_property
    def addresses(self) -> Mapping[str, Mapping[str, str]]:
        """Of each node: the networks that it is on, and its fixed address there (empty: any)."""
        found: dict[str, Mapping[str, str]] = {CONTROL_PLANE_ID: {"backbone": f"{self.backbone}.2", "database": ""}}
        in_place = dict.fromkeys((region.name for region in self.topology.regions), _FIRST)
        for number, edge in enumerate(self.of_role(Role.EDGE)):
            viewers = f"{self.place(edge.region)}.{in_place[edge.region]}"
            in_place[edge.region] += 1
            found[edge.id] = {edge.region: viewers, "backbone": f"{self.backbone}.{_FIRST + number}", "origins": ""}
        for number, cache in enumerate(self.of_role(Role.REGIONAL)):
            found[cache.id] = {"backbone": f"{self.base}.101.{_FIRST + number}", "origins": ""}
        for number, router in enumerate(self.of_role(Role.DNS_ROUTER)):
            places = {region.name: self.routers_in(region.name)[number] for region in self.topology.regions}
            found[router.id] = places | {"backbone": f"{self.base}.102.{_FIRST_ROUTER + number}"}
        for number, origin in enumerate(self.of_role(Role.ORIGIN)):
            found[origin.id] = {"origins": f"{self.base}.200.{_FIRST + number}", "metrics": ""}
        return found

    def reached_at(self, node: NodeSpec) -> str:
        """Where viewers reach an edge, edges a regional cache, and caches an origin: host:port."""
        networks, ports = self.addresses[node.id], self.topology.ports
        match node.role:
            case Role.EDGE:
                return f"{networks[node.region]}:{ports.viewer}"
            case Role.ORIGIN:
                return f"{networks['origins']}:{ports.origin}"
            case _:
                return f"{networks['backbone']}:{ports.viewer}"

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
        wanted = {"API_2": plane.api + 10, "ADMIN_2": plane.admin + 10, "API_3": plane.api + 20}
        wanted |= {"ADMIN_3": plane.admin + 20, "PROMETHEUS": 9090, "LOCUST": 8089, "GRAFANA": 3000}
        wanted |= {_variable(edge.id): ports.viewer + 1 for edge in self.of_role(Role.EDGE)}
        taken = set(fixed.values())
        for name, port in wanted.items():
            fixed[name] = next(each for each in range(port, 1 << 16) if each not in taken)
            taken.add(fixed[name])
        return fixed

    @property
    def place_populations(self) -> tuple[PopulationRecord, ...]:
        """Viewers in containers: they come from the network of their region."""
        users: dict[str, int] = {}
        for each in self.topology.populations:
            users[each.region] = users.get(each.region, 0) + each.users
        return tuple(PopulationRecord(region, f"{self.place(region)}.0/24", count) for region, count in users.items())

    def routing_table(self) -> dict[str, Any]:
        """As with processes; beside the topology's own subnets, viewers are known by the network that they are on.

        Who asks through a published port comes from a gateway; which network's, the engine decides.
        """
        table = routing_table(self.topology)
        regions = [region.name for region in self.topology.regions]
        places = [{"cidr": f"{self.place(region)}.0/24", "region": region} for region in regions]
        gateways = [
            {"cidr": f"{self.place(region)}.1/32", "region": self.topology.default_region} for region in regions
        ]
        return table | {"clientSubnets": [*places, *gateways, *table["clientSubnets"]]}

    def _problems(self) -> Iterator[str]:
        """Why it does not fit into containers."""
        topology = self.topology
        edges = {region.name: 0 for region in topology.regions}
        for pop in topology.pops:
            edges[pop.region] += pop.edges
        counts = (
            ("regions", len(topology.regions), MOST_REGIONS),
            *((f"edges in {region}", count, MOST_EDGES_OF_A_REGION) for region, count in edges.items()),
            ("edges", sum(edges.values()), MOST_EDGES),
            ("regional caches", sum(each.count for each in topology.regional_caches), MOST_REGIONAL_CACHES),
            ("routers", len(topology.routers), MOST_ROUTERS),
            ("origins", len(topology.origins), MOST_ORIGINS),
        )
        for what, count, most in counts:
            if count > most:
                yield f"{count} {what}: in containers there can be {most}; `--runner processes` has room for more"
        for origin in topology.origins:
            if origin.name in OTHER_SERVICES or origin.name.startswith(("load-", "control-plane-")):
                yield f"origin {origin.name}: in containers that is another service; give it another name"
        for region in topology.regions:
            if region.name in OTHER_NETWORKS:
                yield f"region {region.name}: in containers that is another network; give it another name"


def _variable(node_id: str) -> str:
    """`edge-iad89-p1-1` is moved by CDNLAB_EDGE_IAD89_P1_1_PORT."""
    return node_id.upper().replace("-", "_")


def published_variable(node: NodeSpec) -> str:
    """The same for a node."""
    return _variable(node.id)
