"""Bound sockets for an address, or one clear reason why not. Foreign errors of binding end here."""

import contextlib
import socket
from typing import Final

# How often another port is tried when the system's choice for UDP is taken for TCP.
_PORT_ATTEMPTS: Final = 16


class CannotListenError(Exception):
    """The address cannot be had; the text is for the operator."""


def bind_dns(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on the same port; port 0 lets the system choose one that is free for both."""
    for _ in range(_PORT_ATTEMPTS - 1 if port == 0 else 0):
        with contextlib.suppress(CannotListenError):
            return _bind_pair(host, port)
    return _bind_pair(host, port)


def _bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    datagrams = bind(host, port, socket.SOCK_DGRAM)
    try:
        return datagrams, bind(host, datagrams.getsockname()[1], socket.SOCK_STREAM)
    except CannotListenError:
        datagrams.close()
        raise


def bind(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """One non-blocking socket; a stream socket may take over a port whose old connections still linger."""
    sock: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            # "::" is for both families; on any other address the option has no effect.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError as error:
        if sock is not None:
            sock.close()
        reason = (error.strerror or str(error)).lower()
        raise CannotListenError(f"cannot listen on {format_address(host, port)}: {reason}") from error
    sock.setblocking(False)
    return sock


def format_address(host: str, port: int) -> str:
    """`host:port`, with brackets where the host has colons."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_address(sock: socket.socket) -> str:
    """The `host:port` that a socket has."""
    return format_address(*sock.getsockname()[:2])
