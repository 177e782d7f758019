"""Containers with the modelled internet between them: every program and every population of viewers has a network of its own, and the relays are on all of them.

Nothing else is on two, so that relays are the only way from one to another. What a container sends to an address that is not in its network goes to the default
gateway, which is an address of the relays: they take what is for one of their own, and forward nothing.

In the lab's /16: 0 the database; 1 the control planes, which stand side by side; 11 to 200 the other programs; 201 to 250 the viewers of population k, as in a lab of
processes; 251 from where relays connect, an address for each place of clients; 252 the internet, where this machine meets the relays; 253 where relays listen: a
program at 10.77.N.4 is reached at 10.77.253.N.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from lab.cluster.container_networks import PLANES, NetworkDefinition, ViewersPlace
from lab.topology.internet import links_of
from lab.topology.layout import CONTROL_PLANE_ID, WAN_ID, Advertised, NodeSpec, Role
from lab.topology.links import OPERATOR
from lab.topology.model import Population, Topology
from lab.topology.relay_file import admin_proxy, link_document, proxy_document

MOST_PROGRAMS: Final = 190
"""Beside the control planes."""
_DATABASE, _PLANES, _FIRST_PROGRAM, _FIRST_POPULATION = 0, 1, 11, 201
_SOURCES, _INTERNET, _LISTENING = 251, 252, 253
_MACHINE, _RELAYS, _GATEWAY, _PROGRAM = 1, 2, 3, 4
_SOURCES_OF_POPULATIONS, _SOURCE_OF_OPERATOR = 100, 200
INTERNET: Final = "internet"


@dataclass(frozen=True)
class RelayedNetworks:
    """See container_networks.NetworkPlan."""

    topology: Topology
    nodes: tuple[NodeSpec, ...]
    base: str
    """The first two numbers of every address."""

    @cached_property
    def _programs(self) -> list[NodeSpec]:
        return [node for node in self.nodes if node.role not in (Role.CONTROL_PLANE, Role.WAN)]

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        """The third number of every network that the relays join, by its name."""
        populations = [name for name, _ in self.topology.population_places()]
        return {
            CONTROL_PLANE_ID: _PLANES,
            **{node.id: number for number, node in enumerate(self._programs, start=_FIRST_PROGRAM)},
            **{name: number for number, name in enumerate(populations, start=_FIRST_POPULATION)},
        }

    @property
    def population_sources(self) -> Sequence[str]:
        """This machine's own address on the network of each."""
        names = [name for name, _ in self.topology.population_places()]
        return [f"{self.base}.{self._numbers[name]}.{_MACHINE}/32" for name in names]

    @property
    def desk(self) -> str:
        return CONTROL_PLANE_ID

    @property
    def of_prometheus(self) -> Sequence[str]:
        return (CONTROL_PLANE_ID, *(node.id for node in self._programs))

    @property
    def of_load_master(self) -> Sequence[str]:
        return ("load", INTERNET)

    @property
    def hosts(self) -> Mapping[str, str]:
        """Origins by name, as they are called in a configuration."""
        origins = [node for node in self._programs if node.role is Role.ORIGIN]
        return {node.id: self._listening(node.id) for node in origins}

    @property
    def trusted_proxies(self) -> str:
        return f"{self.base}.{_SOURCES}.0/24"

    @property
    def notes(self) -> Sequence[str]:
        base = self.base
        return (
            "Every program, and every population of viewers, has a network of its own. The service `wan` is on all of them and the only way between them:",
            "it is the default gateway of each, forwards nothing, and relays what is for an address of its own; wan.yaml says how far the places are apart.",
            f"A program at {base}.N.{_PROGRAM} is reached at {base}.{_LISTENING}.N, where a relay listens for it.",
        )

    @property
    def definitions(self) -> Sequence[NetworkDefinition]:
        database = f"{self.base}.{_DATABASE}"
        return (
            *(self._definition(name, number) for name, number in self._numbers.items()),
            NetworkDefinition(
                INTERNET,
                f"{self.base}.{_INTERNET}.0/22",
                f"{self.base}.{_LISTENING + 1}.0/24",
                f"{self.base}.{_INTERNET}.{_MACHINE}",
                comment="Where this machine meets the relays: it is the place `operator`, and so is a container of yours that joins it.",
            ),
            NetworkDefinition(
                "database",
                f"{database}.0/24",
                is_internal=True,
                comment="Control planes and the database that they share: nobody else can reach it, and it asks for no password.",
            ),
            NetworkDefinition(
                "load",
                is_internal=True,
                comment="Locust's master and workers among themselves; internal, so that it is nobody's default gateway.",
            ),
        )

    def _definition(self, name: str, number: int) -> NetworkDefinition:
        """Nobody leaves it by this machine; and viewers of this machine that connect from its address there are to be seen as that."""
        net = f"{self.base}.{number}"
        return NetworkDefinition(
            name, f"{net}.0/24", f"{net}.128/25", f"{net}.{_MACHINE}", f"{net}.{_GATEWAY}", is_translated=False
        )

    @property
    def viewers(self) -> Sequence[ViewersPlace]:
        routers = [node for node in self._programs if node.role is Role.DNS_ROUTER]
        router = self._listening(routers[0].id) if routers else ""
        return tuple(
            ViewersPlace(
                name=name.partition("-")[2],
                region=each.region,
                client_subnet=each.client_subnet,
                users=each.users,
                router=router,
                networks=(name, "load"),
            )
            for name, each in self.topology.population_places()
        )

    @property
    def client_subnets(self) -> Sequence[Mapping[str, str]]:
        """A query without a client subnet comes from the relays' address of the client's place."""
        regions = [(self._source_of_region(each.name), each.name) for each in self.topology.regions]
        populations = [
            (self._source_of_population(number), each.region) for number, _, each in self._numbered_populations()
        ]
        operator = (self._source(_SOURCE_OF_OPERATOR), self.topology.default_region)
        return [{"cidr": f"{source}/32", "region": region} for source, region in (*regions, *populations, operator)]

    def attachments(self, node_id: str) -> Mapping[str, str]:
        if node_id == WAN_ID:
            joined = {name: f"{self.base}.{number}.{_RELAYS}" for name, number in self._numbers.items()}
            return {**joined, INTERNET: f"{self.base}.{_INTERNET}.{_RELAYS}"}
        if node_id in PLANES:
            return {CONTROL_PLANE_ID: f"{self.base}.{_PLANES}.{_PROGRAM + PLANES.index(node_id)}", "database": ""}
        return {node_id: self._own(node_id)}

    def grpc_host(self, plane: str) -> str:
        return f"{self.base}.{_LISTENING}.{_PLANES + PLANES.index(plane)}"

    def listens_at(self, _node: NodeSpec) -> str:
        return "0.0.0.0"

    def reached_at(self, node: NodeSpec) -> Advertised:
        """At the relays, for everybody: from where one comes they see by its address."""
        ports = self.topology.ports
        match node.role:
            case Role.EDGE | Role.REGIONAL:
                host = self._listening(node.id)
                return Advertised(f"{host}:{ports.viewer}", f"{host}:{ports.admin}")
            case Role.DNS_ROUTER:
                host = self._listening(node.id)
                return Advertised("", f"{host}:{ports.admin}", f"{host}:53")
            case Role.ORIGIN:
                return Advertised(f"{self._listening(node.id)}:{ports.origin}")
            case Role.CONTROL_PLANE | Role.WAN:
                return Advertised()

    @property
    def relays(self) -> Mapping[str, Any]:
        """Without an outgoing address for all: a proxy of the user's own leads from the relays' address in the network where its server is."""
        return {
            "api": f"0.0.0.0:{self.topology.ports.wan}",
            "seed": self.topology.seed or 0,
            "places": [*self._places()],
            "proxies": [*self._grpc_proxies(), *(each for node in self._programs for each in self._proxies_of(node))],
            "links": [link_document(link) for link in links_of(self.topology)],
        }

    def _places(self) -> Iterator[Mapping[str, Any]]:
        for region in self.topology.regions:
            names = [node.id for node in self._programs if node.region == region.name]
            if region.name == self._home:
                names.insert(0, CONTROL_PLANE_ID)
            networks = [f"{self.base}.{self._numbers[name]}.0/24" for name in names]
            source = self._source_of_region(region.name)
            yield {"name": region.name, "networks": [*networks, f"{source}/32"], "outgoing_address": source}
        for number, name, _ in self._numbered_populations():
            network, source = f"{self.base}.{self._numbers[name]}.0/24", self._source_of_population(number)
            yield {"name": name, "networks": [network, f"{source}/32"], "outgoing_address": source}
        source = self._source(_SOURCE_OF_OPERATOR)
        networks = [f"{self.base}.{_INTERNET}.0/22", f"{source}/32"]
        yield {"name": OPERATOR, "networks": networks, "outgoing_address": source}

    def _grpc_proxies(self) -> Iterator[Mapping[str, Any]]:
        port = self.topology.ports.control_plane.grpc
        for plane in PLANES:
            listen, upstream = f"{self.grpc_host(plane)}:{port}", f"{self.attachments(plane)[CONTROL_PLANE_ID]}:{port}"
            yield proxy_document(plane, listen, upstream, self._home)

    def _proxies_of(self, node: NodeSpec) -> Iterator[Mapping[str, Any]]:
        reached = self.reached_at(node)
        if reached.http:
            sees = {"client_address": "proxy-v2"} if node.role is Role.EDGE else {}
            yield proxy_document(node.id, reached.http, self._upstream(node, reached.http), node.region) | sees
        if reached.dns:
            dns = proxy_document(node.id, reached.dns, self._upstream(node, reached.dns), node.region)
            yield dns | {"transport": "both"}
        if reached.admin:
            upstream = self._upstream(node, reached.admin)
            yield proxy_document(admin_proxy(node.id), reached.admin, upstream, node.region)

    def _upstream(self, node: NodeSpec, reached_at: str) -> str:
        """The same port at the program's own address."""
        return f"{self._own(node.id)}:{reached_at.rpartition(':')[2]}"

    @property
    def _home(self) -> str:
        """Where the control plane stands."""
        return self.topology.regions[0].name

    def _numbered_populations(self) -> Iterator[tuple[int, str, Population]]:
        for number, (name, each) in enumerate(self.topology.population_places(), start=1):
            yield number, name, each

    def _own(self, node_id: str) -> str:
        return f"{self.base}.{self._numbers[node_id]}.{_PROGRAM}"

    def _listening(self, node_id: str) -> str:
        return f"{self.base}.{_LISTENING}.{self._numbers[node_id]}"

    def _source(self, number: int) -> str:
        """In no network of the engine, which would take it for one of its containers' and translate it."""
        return f"{self.base}.{_SOURCES}.{number}"

    def _source_of_region(self, region: str) -> str:
        return self._source(1 + [each.name for each in self.topology.regions].index(region))

    def _source_of_population(self, number: int) -> str:
        return self._source(_SOURCES_OF_POPULATIONS + number)
