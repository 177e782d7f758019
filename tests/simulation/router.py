"""The DNS router's process around the real RouterApplier and Responder, and viewers who hold its answers: for their TTL, or for ever.

Routing is never safety: viewers are owed the same of whatever edge they come to. What is asked of the router itself is asked when the faults are over: it names the
edges that hold a lease, and no others.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

import dns.message
import dns.rdatatype

from control_plane.nodes import NodeDescription, Role
from dns_router.applier import RouterApplier
from dns_router.counters import Counters
from dns_router.responder import Responder
from proto.cdn.v1 import configuration_pb2
from proto.node_machine import NodeMachine
from proto.process_identity import MOST_PREDECESSORS
from proto.state_files import StateFileStatistics
from tests.builders import distribution_message, origin_message
from tests.simulation.plan import ROUTER, VIEWERS
from tests.simulation.session import ControlPlane, Process
from tests.simulation.stored import DISTRIBUTION_ID
from tests.simulation.virtual_files import VirtualFiles
from tests.simulation.world import Network, World

ZONE = "cdn.localhost"
SITE = "d1.cdn.localhost"
TTL_SECONDS = 2
NETWORK = ipaddress.ip_network("192.0.2.0/24")
CLIENT = "198.51.100.7"

ROUTING_TABLE = configuration_pb2.RoutingTable(
    zone=ZONE, regions=["us-east-1"], default_region="us-east-1", answer_ttl_seconds=TTL_SECONDS, maximum_answers=8
)
DISTRIBUTION = distribution_message(origin_message("192.0.2.200", 80), id=DISTRIBUTION_ID, domain_name=SITE)
_QUERY = dns.message.make_query(SITE, dns.rdatatype.A, id=1).to_wire()


class RouterProcess(Process):
    """It answers with what it was told last, with a lease or without."""

    def __init__(self, world: World, network: Network, plane: ControlPlane) -> None:
        super().__init__(world, network, ROUTER)
        self.description = NodeDescription(ROUTER, Role.DNS_ROUTER, "us-east-1", "IAD89-P1", "192.0.2.53:53", "")
        self.files = VirtualFiles()
        self._plane = plane

    def start(self) -> None:
        """With what is on the disk."""
        self.begin((self.identity.number, *self.identity.predecessors)[:MOST_PREDECESSORS])
        self.files.statistics = StateFileStatistics()
        self._responder = Responder(Counters(), self.world.dice("answers of the router"))
        applier = RouterApplier(self.files, self._responder, Counters(), {})
        applier.recover()
        self.session = self._plane.session_of(self, self.description, NodeMachine, applier)
        self.session.connect()

    def follow(self, plane: ControlPlane) -> None:
        """The address leads to another control plane."""
        self._plane = plane
        if self.is_up:
            self.session.plane = plane

    def crash(self) -> None:
        """As kill -9 does."""
        if self.is_up:
            self.is_up = False
            self.session.disconnect()

    def addresses(self) -> Sequence[str]:
        """What a resolver is told; nothing by a router that knows nothing yet."""
        said = self._responder.respond_to_datagram(_QUERY, CLIENT)
        return () if said is None else _addresses(said)


class Viewer:
    """Comes to an edge that the router has named once."""

    def __init__(self, router: RouterProcess, number: int, *, keeps_its_answer: bool) -> None:
        self._router = router
        self._keeps_its_answer = keeps_its_answer
        self._dice = router.world.dice(f"viewer {number}")
        self._resolved_at = -float(TTL_SECONDS)
        self.address: str | None = None

    def edge(self) -> str | None:
        """The address of the edge that it goes to now; None: it has never known any."""
        router, now = self._router, self._router.world.now
        must_ask = self.address is None or (not self._keeps_its_answer and now >= self._resolved_at + TTL_SECONDS)
        can_ask = router.is_up and not router.network.is_still(ROUTER) and router.network.reaches(VIEWERS, ROUTER)
        if must_ask and can_ask:
            addresses = router.addresses()
            if addresses:
                self.address, self._resolved_at = self._dice.choice(addresses), now
        return self.address


def address_of(number: int) -> str:
    """Of a node."""
    return str(NETWORK[number])


@lru_cache(maxsize=1024)
def _addresses(said: bytes) -> tuple[str, ...]:
    answer = dns.message.from_wire(said).answer
    return tuple(sorted(str(record) for records in answer for record in records))
