"""A viewer's stub resolver: A records of one name through the lab's router, with the viewer's own client subnet.

EDNS Client Subnet as RFC 7871 has it: the address cut to 24 bits (section 11.1). UDP first, TCP when the answer is cut
(RFC 1035 section 4.2.1). Answers are kept for their TTL and not a moment longer.
"""

import struct
from dataclasses import dataclass
from random import Random

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import gevent.socket

from loadtests.plan import Address

# Common stub resolvers ask again after a second or more; three tries bound a lookup.
TRY_SECONDS = 1.0
TRIES = 3
CLIENT_SUBNET_BITS = 24
# RFC 9715: what fits a path without fragments.
MAXIMUM_UDP_BYTES = 1232


class ResolutionError(Exception):
    """The name has no address for this viewer now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Addresses in the order of the answer."""

    addresses: tuple[str, ...]
    ttl_seconds: float


class Resolver:
    """Asks `server` on behalf of one viewer address; the cache holds the one name that a viewer uses."""

    def __init__(self, server: Address, name: str, client_address: str, rng: Random, source: str = "") -> None:
        """`source`: the address to ask from; empty: the system's choice."""
        self._server = server
        self._local = (source, 0) if source else None
        self._name = name
        self._client_subnet = dns.edns.ECSOption(client_address, CLIENT_SUBNET_BITS)
        self._rng = rng
        self._cached = Answer((), 0.0)
        self._valid_until = 0.0

    def addresses(self, now: float) -> tuple[str, ...]:
        if now >= self._valid_until:
            self._cached = self._ask()
            self._valid_until = now + self._cached.ttl_seconds
        return self._cached.addresses

    def forget(self) -> None:
        """None of the addresses worked: ask again before the next use."""
        self._valid_until = 0.0

    def _ask(self) -> Answer:
        last_problem = ""
        for _ in range(TRIES):
            try:
                return self._ask_once()
            except (OSError, EOFError, dns.exception.DNSException) as error:
                last_problem = str(error) or type(error).__name__
        raise ResolutionError(f"{self._name}: no answer from {self._server}: {last_problem}")

    def _ask_once(self) -> Answer:
        query = dns.message.make_query(
            self._name,
            dns.rdatatype.A,
            use_edns=0,
            payload=MAXIMUM_UDP_BYTES,
            options=[self._client_subnet],
            id=self._rng.randrange(1 << 16),
        )
        wire = query.to_wire()
        reply = dns.message.from_wire(self._over_udp(wire))
        if reply.flags & dns.flags.TC:
            reply = dns.message.from_wire(self._over_tcp(wire))
        if not query.is_response(reply):
            raise OSError("the answer belongs to another question")
        return self._read(reply)

    def _read(self, reply: dns.message.Message) -> Answer:
        """An authoritative no is an answer: only silence is worth another try."""
        if reply.rcode() != dns.rcode.NOERROR:
            raise ResolutionError(f"{self._name}: {dns.rcode.to_text(reply.rcode())}")
        records = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A]
        addresses = tuple(record.address for rrset in records for record in rrset)
        if not addresses:
            raise ResolutionError(f"{self._name}: no address")
        return Answer(addresses, float(min(rrset.ttl for rrset in records)))

    def _over_udp(self, wire: bytes) -> bytes:
        """Connected, so that only the router's own answers arrive."""
        with gevent.socket.socket(_family(self._server.host), gevent.socket.SOCK_DGRAM) as udp:
            udp.settimeout(TRY_SECONDS)
            if self._local is not None:
                udp.bind(self._local)
            udp.connect((self._server.host, self._server.port))
            udp.send(wire)
            return bytes(udp.recv(65535))

    def _over_tcp(self, wire: bytes) -> bytes:
        with gevent.socket.create_connection((self._server.host, self._server.port), TRY_SECONDS, self._local) as tcp:
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
