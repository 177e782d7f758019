"""Containers without distance between their places (`relays: false`): a network for the viewers and edges of each region, one for the operator, one for the origins.

A viewer is where it asks from: the router has an address in every place. Offsets in the lab's /16: N is the Nth region; 100 to 103 the backbone (100 control planes
and edges, 101 regional caches, 102 routers, 103 whoever needs no fixed address); 200 the origins; 240 the database; 250 the metrics of the origins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lab.cluster.container_networks import PLANES, NetworkDefinition, ViewersPlace
from lab.topology.layout import Advertised, NodeSpec, Role
from lab.topology.model import Topology

_FIRST_PLANE, _FIRST, _FIRST_ROUTER = 2, 11, 53


@dataclass(frozen=True)
class SharedNetworks:
    """See container_networks.NetworkPlan."""

    topology: Topology
    nodes: tuple[NodeSpec, ...]
    base: str
    """The first two numbers of every address."""

    @property
    def population_sources(self) -> Sequence[str]:
        return [""] * len(self.topology.populations)

    @property
    def desk(self) -> str:
        return "backbone"

    @property
    def of_prometheus(self) -> Sequence[str]:
        return ("backbone", "metrics")

    @property
    def of_load_master(self) -> Sequence[str]:
        return ("load",)

    @property
    def hosts(self) -> Mapping[str, str]:
        return {}

    @property
    def trusted_proxies(self) -> str:
        return ""

    @property
    def relays(self) -> Mapping[str, Any]:
        return {}

    @property
    def notes(self) -> Sequence[str]:
        return (
            f"{self.base}.N.0/24 is a place, .100 to .103 the backbone, .200 the origins, .250 the metrics of the origins; routing-table.json has the same.",
        )

    @property
    def definitions(self) -> Sequence[NetworkDefinition]:
        base = self.base
        return (
            *(self._definition(region.name, self._place(region.name)) for region in self.topology.regions),
            NetworkDefinition(
                "backbone",
                f"{base}.100.0/22",
                f"{base}.103.0/24",
                f"{base}.100.1",
                comment="The operator's own network: control plane, both tiers, router, Prometheus.",
            ),
            NetworkDefinition(
                "origins",
                f"{base}.200.0/24",
                f"{base}.200.128/25",
                f"{base}.200.1",
                is_internal=True,
                comment="No way in or out: whoever is not connected to it cannot reach an origin.",
            ),
            NetworkDefinition("metrics", f"{base}.250.0/24", is_internal=True),
            NetworkDefinition(
                "database",
                f"{base}.240.0/24",
                is_internal=True,
                comment="Control planes and the database that they share: nobody else can reach it, and it asks for no password.",
            ),
            NetworkDefinition("load", comment="Locust's master and workers among themselves."),
        )

    def _definition(self, name: str, place: str) -> NetworkDefinition:
        return NetworkDefinition(name, f"{place}.0/24", f"{place}.128/25", f"{place}.1")

    @property
    def viewers(self) -> Sequence[ViewersPlace]:
        """One for each region that has any: they come from its network, and reach the others as the internet has them."""
        users: dict[str, int] = {}
        for each in self.topology.populations:
            users[each.region] = users.get(each.region, 0) + each.users
        regions = [region.name for region in self.topology.regions]
        return tuple(
            ViewersPlace(
                name=region,
                region=region,
                client_subnet=f"{self._place(region)}.0/24",
                users=count,
                router=self._router_in(region, 0) if self.topology.routers else "",
                networks=(region, *(other for other in regions if other != region), "load"),
            )
            for region, count in users.items()
        )

    @property
    def client_subnets(self) -> Sequence[Mapping[str, str]]:
        """Viewers are known by the network that they are on. Who asks through a published port comes from a gateway; which network's, the engine decides."""
        regions = [region.name for region in self.topology.regions]
        places = [{"cidr": f"{self._place(region)}.0/24", "region": region} for region in regions]
        home = self.topology.default_region
        return [*places, *({"cidr": f"{self._place(region)}.1/32", "region": home} for region in regions)]

    def attachments(self, node_id: str) -> Mapping[str, str]:
        return self._attachments[node_id]

    @cached_property
    def _attachments(self) -> Mapping[str, Mapping[str, str]]:
        return dict((*self._of_planes(), *self._of_caches(), *self._of_others()))

    def _of_planes(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        for number, plane in enumerate(PLANES, start=_FIRST_PLANE):
            yield plane, {"backbone": f"{self.base}.100.{number}", "database": ""}

    def _of_caches(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        in_place = dict.fromkeys((region.name for region in self.topology.regions), _FIRST)
        for number, edge in enumerate(self._of_role(Role.EDGE), start=_FIRST):
            viewers = f"{self._place(edge.region)}.{in_place[edge.region]}"
            in_place[edge.region] += 1
            yield edge.id, {edge.region: viewers, "backbone": f"{self.base}.100.{number}", "origins": ""}
        for number, cache in enumerate(self._of_role(Role.REGIONAL), start=_FIRST):
            yield cache.id, {"backbone": f"{self.base}.101.{number}", "origins": ""}

    def _of_others(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        for number, router in enumerate(self._of_role(Role.DNS_ROUTER)):
            places = {region.name: self._router_in(region.name, number) for region in self.topology.regions}
            yield router.id, places | {"backbone": f"{self.base}.102.{_FIRST_ROUTER + number}"}
        for number, origin in enumerate(self._of_role(Role.ORIGIN), start=_FIRST):
            yield origin.id, {"origins": f"{self.base}.200.{number}", "metrics": ""}

    def grpc_host(self, plane: str) -> str:
        """By name; the others know each other by address, since a certificate's name is another."""
        return plane if plane == PLANES[0] else self.attachments(plane)["backbone"]

    def listens_at(self, node: NodeSpec) -> str:
        """Content of origins on their own network only; the admin port also answers Prometheus on the network `metrics`."""
        return self.attachments(node.id)["origins"] if node.role is Role.ORIGIN else "0.0.0.0"

    def reached_at(self, node: NodeSpec) -> Advertised:
        """Edges by viewers in their place, regional caches by edges over the backbone, origins by caches."""
        networks, ports = self.attachments(node.id), self.topology.ports
        match node.role:
            case Role.EDGE:
                return Advertised(f"{networks[node.region]}:{ports.viewer}", f"{networks['backbone']}:{ports.admin}")
            case Role.REGIONAL:
                return Advertised(f"{networks['backbone']}:{ports.viewer}", f"{networks['backbone']}:{ports.admin}")
            case Role.DNS_ROUTER:
                return Advertised("", f"{networks['backbone']}:{ports.admin}", f"{networks['backbone']}:53")
            case Role.ORIGIN:
                return Advertised(f"{networks['origins']}:{ports.origin}")
            case Role.CONTROL_PLANE | Role.WAN:
                return Advertised()

    def _of_role(self, role: Role) -> list[NodeSpec]:
        return [node for node in self.nodes if node.role is role]

    def _place(self, region: str) -> str:
        """The first three numbers of a region's network."""
        return f"{self.base}.{1 + [each.name for each in self.topology.regions].index(region)}"

    def _router_in(self, region: str, number: int) -> str:
        """Every router has an address in every place, so that a viewer's query arrives from the viewer's address there."""
        return f"{self._place(region)}.{_FIRST_ROUTER + number}"
