"""Sockets of relays: bound to a client's address where that is asked for, connected, and never waited for without a limit."""

import asyncio
import socket
from typing import Final

from lab.clients.http_client import split_address

CONNECT_SECONDS: Final = 3.0
"""To a server, over the loopback or the containers' network: the link's delay is not in it. Kernels answer at once there; where one does not there is no machine any more
(a container that was killed takes its address with it), and the client, whom the relay's kernel has connected, is told so by a reset. Time for one lost SYN."""
DATAGRAM_BUFFER_BYTES: Final = 1 << 20
_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux: the port is chosen at `connect`, so that one address may have as many connections as there are pairs of ports, not 28,000 in all."""

Resolved = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
"""Family and address of one socket."""


async def resolve(address: str, kind: socket.SocketKind) -> Resolved:
    """Of `host:port`; a host that is a name is looked up. OSError when it has no address."""
    host, port = split_address(address)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    family, _, _, _, where = found[0]
    return family, where  # type: ignore[return-value]  # of IPv4 or IPv6, nothing else has a port


def keep_bursts(datagrams: socket.socket) -> None:
    """Room for what comes while the loop is busy, as far as the system grants it: the kernel drops what does not fit, and that would not be the link's loss."""
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM_BUFFER_BYTES)


def open_socket(to: Resolved, kind: socket.SocketKind, source: str) -> socket.socket:
    """Not connected yet; bound to `source`, if that is not empty. OSError when the address is not this machine's."""
    opened = socket.socket(to[0], kind)
    try:
        opened.setblocking(False)
        if source:
            if kind is socket.SOCK_STREAM and hasattr(socket, "SO_REUSEPORT"):
                opened.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            opened.bind((source, 0))
    except OSError:
        opened.close()
        raise
    return opened


async def connect_stream(address: str, source: str) -> socket.socket:
    """A connected socket; OSError (TimeoutError is one) when there is none within CONNECT_SECONDS."""
    async with asyncio.timeout(CONNECT_SECONDS):
        to = await resolve(address, socket.SOCK_STREAM)
        opened = open_socket(to, socket.SOCK_STREAM, source)
        try:
            await asyncio.get_running_loop().sock_connect(opened, to[1])
        except BaseException:
            opened.close()
            raise
        return opened


async def hand_over(connected: socket.socket, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
    """Makes it the loop's own. OSError or RuntimeError when it is gone again.

    uvloop tells a transport of the socket object that it was made from only after `connection_made`: of one that its protocol aborts there both would close the
    descriptor, and the second time it is somebody else's, of a connection that was accepted meanwhile. libuv aborts the process then (EBADF of epoll_ctl).
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
    if not isinstance(loop, asyncio.BaseEventLoop):  # whose transports work with the object itself
        connected.detach()
    return transport
