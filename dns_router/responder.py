"""One message in, one message or silence out: the path of every query, whatever socket it came from.

Holds what is served now (zone, directory), each replaced as a whole by `applier`. Decides nothing about names or places; that
is `zone` and `routing`.
"""

import random
from functools import lru_cache
from typing import Final

from dns_router import query_wire, slow_wire
from dns_router.counters import Counters
from dns_router.model import (
    LARGEST_MESSAGE_BYTES,
    OUR_UDP_PAYLOAD_BYTES,
    PLAIN_UDP_PAYLOAD_BYTES,
    AddressFamily,
    ClientNetwork,
    Query,
    Reason,
    Refusal,
    Resolution,
    ResponseCode,
    client_network,
)
from dns_router.response_wire import encode_refusal, encode_resolution
from dns_router.routing import Directory
from dns_router.translation import network_of_host
from dns_router.zone import Zone, resolve

_NO_TYPE: Final = 0
_ROTATION_BITS: Final = 16
_REMEMBERED_HOSTS: Final = 4096
_UNKNOWN_ZONE: Final = Resolution(Reason.NO_CONFIGURATION, ResponseCode.SERVFAIL, is_authoritative=False)


class Responder:
    """Answers queries from the current zone and directory."""

    def __init__(self, counters: Counters, rng: random.Random) -> None:
        self.zone: Zone | None = None
        self.directory = Directory()
        self._counters = counters
        self._rng = rng
        # Resolvers come back: parsing an address costs as much as the rest of the decision.
        self._network_of_host = lru_cache(maxsize=_REMEMBERED_HOSTS)(network_of_host)

    def respond_to_datagram(self, wire: bytes, client_host: str) -> bytes | None:
        """The answer, no larger than the client takes over UDP."""
        return self._respond(wire, client_host, is_datagram=True)

    def respond_to_stream(self, wire: bytes, client_host: str) -> bytes | None:
        """The answer to a message that came over TCP."""
        return self._respond(wire, client_host, is_datagram=False)

    def _respond(self, wire: bytes, client_host: str, *, is_datagram: bool) -> bytes | None:
        query = query_wire.screen(wire) or query_wire.parse_query(wire) or slow_wire.parse_query(wire)
        if isinstance(query, Refusal):
            self._counters.count(_NO_TYPE, query.reason)
            return None if query.reason is Reason.NOT_ANSWERABLE else encode_refusal(query)
        resolution = self._resolve(query, client_host)
        self._counters.count(query.record_type, resolution.reason)
        limit_bytes = _udp_limit_bytes(query) if is_datagram else LARGEST_MESSAGE_BYTES
        return encode_resolution(query, resolution, limit_bytes)

    def _resolve(self, query: Query, client_host: str) -> Resolution:
        if self.zone is None:
            return _UNKNOWN_ZONE
        client = _announced_network(query) or self._network_of_host(client_host)
        return resolve(self.zone, self.directory, query, client, self._rng.getrandbits(_ROTATION_BITS))


def _announced_network(query: Query) -> ClientNetwork | None:
    """The client as the resolver announces it. A source prefix of 0 withholds it: then the resolver itself counts
    (RFC 7871 section 7.1.2)."""
    subnet = query.edns.client_subnet if query.edns else None
    if subnet is None or subnet.source_prefix_bits == 0:
        return None
    return client_network(AddressFamily(subnet.family), subnet.address, subnet.source_prefix_bits)


def _udp_limit_bytes(query: Query) -> int:
    """RFC 6891 section 6.2.3: values below 512 count as 512; section 6.2.5: a server may send less than is allowed."""
    if query.edns is None:
        return PLAIN_UDP_PAYLOAD_BYTES
    return min(max(query.edns.udp_payload_bytes, PLAIN_UDP_PAYLOAD_BYTES), OUR_UDP_PAYLOAD_BYTES)
