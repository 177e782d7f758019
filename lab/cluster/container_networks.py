"""What a lab in containers has to know of its networks, whichever of two plans it has: with relays between the places (relayed_networks.py), or without
distance (shared_networks.py). Pure values; how they are written into a Compose file is compose_file.py's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lab.topology.layout import Advertised, NodeSpec

PLANES = ("control-plane", "control-plane-2", "control-plane-3")
"""The second and the third are those of the profile `replicas`."""


@dataclass(frozen=True, slots=True)
class NetworkDefinition:
    """A network of the engine."""

    name: str
    subnet: str = ""
    """Empty: the engine's choice."""
    dynamic: str = ""
    """Where addresses that nobody fixed are taken from; empty: anywhere."""
    gateway: str = ""
    """This machine's own address; empty: the engine's choice."""
    default_gateway: str = ""
    """Where containers send what is for elsewhere, if that is not this machine."""
    is_internal: bool = False
    is_translated: bool = True
    """Whether this machine takes part of who sends from it to another network (masquerading)."""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ViewersPlace:
    """Viewers in containers."""

    name: str
    region: str
    client_subnet: str
    users: int
    router: str
    """Host of the router that they ask; empty: there is none."""
    networks: tuple[str, ...]


class NetworkPlan(Protocol):
    """Which networks there are, who is on them, and where everybody is told to find the others."""

    @property
    def definitions(self) -> Sequence[NetworkDefinition]:
        """In the order of the file."""

    @property
    def notes(self) -> Sequence[str]:
        """What people should know of the addresses, for the head of the file."""

    @property
    def viewers(self) -> Sequence[ViewersPlace]:
        """Each with load of its own."""

    @property
    def population_sources(self) -> Sequence[str]:
        """Of each population of the topology: the network that viewers on this machine connect from to be there; empty: there is none."""

    @property
    def desk(self) -> str:
        """The network of whoever works at the control plane: it is found there by its name."""

    @property
    def of_prometheus(self) -> Sequence[str]:
        """It asks every program directly: it is an instrument, and no part of what is modelled."""

    @property
    def of_load_master(self) -> Sequence[str]:
        """Where workers find it, and where this machine does."""

    @property
    def hosts(self) -> Mapping[str, str]:
        """Names that caches know, beside those of their networks."""

    @property
    def trusted_proxies(self) -> str:
        """Whom edges believe when they say who a viewer is; empty: nobody."""

    @property
    def client_subnets(self) -> Sequence[Mapping[str, str]]:
        """Where a query comes from by its address, as the routing table has it."""

    @property
    def relays(self) -> Mapping[str, Any]:
        """What the relays are told (docs/wan.md); empty when there are none."""

    def attachments(self, node_id: str) -> Mapping[str, str]:
        """The networks that a node, or another control plane, is on, with its fixed address there (empty: any)."""

    def grpc_host(self, plane: str) -> str:
        """Where nodes find a control plane."""

    def listens_at(self, node: NodeSpec, /) -> str:
        """The host that a node binds for content."""

    def reached_at(self, node: NodeSpec) -> Advertised:
        """Where the others find a node."""
