"""A viewer's stub resolver: A records of one name through the lab's router, with the viewer's own client subnet.

EDNS Client Subnet as RFC 7871 has it: the address cut to 24 bits (section 11.1). UDP first, TCP when the answer is cut
(RFC 1035 section 4.2.1). Answers are kept for their TTL and not a moment longer. With several routers, one that is silent or fails (SERVFAIL) has
the next one asked, and whoever has answered is asked first from then on (RFC 1035 section 7.2).
"""

import struct
from random import Random
from typing import NamedTuple

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import gevent.socket

from loadtests.plan import Address
from proto.host_clock import host_nanoseconds

# Common stub resolvers ask again after a second or more; three tries of each router bound a lookup.
TRY_SECONDS = 1.0
TRIES = 3
CLIENT_SUBNET_BITS = 24
# RFC 9715: what fits a path without fragments.
MAXIMUM_UDP_BYTES = 1232


class ResolutionError(Exception):
    """The name has no address for this viewer now."""


class Answer(NamedTuple):
    """Addresses in the order of the answer."""

    addresses: tuple[str, ...]
    ttl_seconds: float
    asked_ns: int
    """Before the router was asked, of the host's clock."""


class _ServerFailureError(OSError):
    """A router that says that it cannot answer: another one may."""


class Resolver:
    """Asks `servers` on behalf of one viewer address; the cache holds the one name that a viewer uses."""

    def __init__(
        self, servers: tuple[Address, ...], name: str, client_address: str, rng: Random, source: str = ""
    ) -> None:
        """`source`: the address to ask from; empty: the system's choice."""
        self._servers = servers
        self._local = (source, 0) if source else None
        self._name = name
        self._client_subnet = dns.edns.ECSOption(client_address, CLIENT_SUBNET_BITS)
        self._rng = rng
        self._cached = Answer((), 0.0, 0)
        self._valid_until = 0.0

    def answer(self, now: float) -> Answer:
        """The one in hand, or a new one. ResolutionError when there is none."""
        if now >= self._valid_until:
            self._cached = self._ask()
            self._valid_until = now + self._cached.ttl_seconds
        return self._cached

    def forget(self) -> None:
        """None of the addresses worked: ask again before the next use."""
        self._valid_until = 0.0

    def _ask(self) -> Answer:
        last_problem = ""
        servers = self._servers  # several requests of a viewer may ask at the same time
        for number in range(TRIES * len(servers)):
            server = servers[number % len(servers)]
            try:
                answer = self._ask_once(server)
            except (OSError, EOFError, dns.exception.DNSException) as error:
                last_problem = f"no answer from {server}: {str(error) or type(error).__name__}"
                if isinstance(error, _ServerFailureError) and len(servers) == 1:
                    raise ResolutionError(f"{self._name}: {error}") from error
            else:
                self._servers = (server, *(each for each in servers if each != server))
                return answer
        raise ResolutionError(f"{self._name}: {last_problem}")

    def _ask_once(self, server: Address) -> Answer:
        query = dns.message.make_query(
            self._name,
            dns.rdatatype.A,
            use_edns=0,
            payload=MAXIMUM_UDP_BYTES,
            options=[self._client_subnet],
            id=self._rng.randrange(1 << 16),
        )
        wire, asked_ns = query.to_wire(), host_nanoseconds()
        reply = dns.message.from_wire(self._over_udp(server, wire))
        if reply.flags & dns.flags.TC:
            reply = dns.message.from_wire(self._over_tcp(server, wire))
        if not query.is_response(reply):
            raise OSError("the answer belongs to another question")
        return self._read(reply, asked_ns)

    def _read(self, reply: dns.message.Message, asked_ns: int) -> Answer:
        """An authoritative no is an answer: only silence, or a router that fails, is worth another try."""
        if reply.rcode() == dns.rcode.SERVFAIL:
            raise _ServerFailureError("SERVFAIL")
        if reply.rcode() != dns.rcode.NOERROR:
            raise ResolutionError(f"{self._name}: {dns.rcode.to_text(reply.rcode())}")
        records = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A]
        addresses = tuple(record.address for rrset in records for record in rrset)
        if not addresses:
            raise ResolutionError(f"{self._name}: no address")
        return Answer(addresses, float(min(rrset.ttl for rrset in records)), asked_ns)

    def _over_udp(self, server: Address, wire: bytes) -> bytes:
        """Connected, so that only the router's own answers arrive."""
        with gevent.socket.socket(_family(server.host), gevent.socket.SOCK_DGRAM) as udp:
            udp.settimeout(TRY_SECONDS)
            if self._local is not None:
                udp.bind(self._local)
            udp.connect((server.host, server.port))
            udp.send(wire)
            return bytes(udp.recv(65535))

    def _over_tcp(self, server: Address, wire: bytes) -> bytes:
        with gevent.socket.create_connection((server.host, server.port), TRY_SECONDS, self._local) as tcp:
            tcp.sendall(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", _receive_exactly(tcp, 2))
            return _receive_exactly(tcp, length)


def _receive_exactly(tcp: gevent.socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = tcp.recv(count - len(received))
        if not piece:
            raise EOFError("the router closed the connection in the middle of an answer")
        received += piece
    return received


def _family(host: str) -> int:
    return int(gevent.socket.AF_INET6 if ":" in host else gevent.socket.AF_INET)
