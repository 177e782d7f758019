"""Connections of a listener with `--trusted-proxies`: those from trusted addresses begin with a PROXY header, which says who the viewer is; all others are viewers'.

A trusted connection is a viewer's once its header is read, and the transport is handed over to `ViewerConnection` with the viewer's address: the way of a request knows
nothing of this. Without a header, with a wrong one, or when it does not come in time, the connection is closed without an answer, since nobody is there to read one.
"""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, cast

from edge_node.http.proxy_protocol import ProxyHeaderError, read_proxy_header
from edge_node.listeners.http1 import ViewerConnection
from edge_node.listeners.serving import Listener
from edge_node.model.connection_facts import ConnectionFacts

HEADER_SECONDS: Final = 5.0
"""A sender writes it as its first bytes; looked at about once a second."""

Network = IPv4Network | IPv6Network


def is_trusted(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks; one of IPv4 that came by an IPv6 socket is the same address."""
    parsed = ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    return any((mapped or parsed) in network for network in networks)


class ProxiedConnection(asyncio.Protocol):
    """A connection of which it is not known yet whose it is. See serving.OpenConnection."""

    def __init__(self, listener: Listener, networks: Sequence[Network]) -> None:
        self._listener = listener
        self._networks = networks
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._late_at = listener.clock() + HEADER_SECONDS
        self._is_counted = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A viewer's if it does not come from a trusted address."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if not peer or not is_trusted(peer[0], self._networks):
            self._hand_over(None, b"")
            return
        self._is_counted = True
        if not self._listener.opened(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Until the header is there."""
        self._received += data
        try:
            header = read_proxy_header(self._received)
        except ProxyHeaderError:
            self.abort()
            return
        if header is None:
            return
        facts = ConnectionFacts(header.address, header.port) if header.address else None
        self._hand_over(facts, self._received[header.length :])

    def eof_received(self) -> bool:
        """Nothing will come."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Before the header was there."""
        del exc
        self._transport = None
        self._leave()

    def _hand_over(self, facts: ConnectionFacts | None, rest: bytes) -> None:
        transport, self._transport = self._transport, None
        if transport is None or transport.is_closing():
            return
        connection = ViewerConnection(self._listener, facts)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        self._leave()
        if rest:
            connection.data_received(rest)

    def _leave(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._listener.closed(self)

    # -- serving.OpenConnection

    def check_deadline(self, now: float) -> None:
        """Called about once a second."""
        if now >= self._late_at:
            self.abort()

    def shed_rank(self, now: float) -> tuple[bool, float] | None:
        """As one whose head has begun."""
        del now
        return True, self._late_at

    def shed(self) -> None:
        """See `abort`."""
        self.abort()

    def drain(self) -> None:
        """See `abort`: no request is under way."""
        self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


def accepting(listener: Listener, networks: Sequence[Network]) -> Callable[[], asyncio.Protocol]:
    """Makes the protocols of a server's connections; where nobody is trusted they are viewers' from the beginning."""
    if not networks:
        return lambda: ViewerConnection(listener)
    return lambda: ProxiedConnection(listener, networks)
