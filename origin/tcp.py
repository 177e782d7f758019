"""What asyncio does not offer of a TCP socket: binding with a clear error, closing with RST, knowing what has arrived."""

import fcntl
import os
import resource
import socket
import struct
import sys
import termios

from origin.errors import StartError

BACKLOG = 1_024
OWN_DESCRIPTORS = 256
"""For files, logs, the admin port and its clients: what is left of the limit is for clients of the content."""


def bound_socket(address: tuple[str, int]) -> socket.socket:
    """A listening socket, or StartError with the one line that says why not."""
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, resolved = found[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(resolved)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    return bound


def raise_descriptor_limit(most_connections: int) -> int:
    """The soft limit of descriptors is raised to what so many clients need, as far as it may be; the number of clients that there is room for then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most_connections + OWN_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most_connections
    raised = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):  # some systems have another limit beside this one
        raised = soft
    return max(1, raised - OWN_DESCRIPTORS)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error).lower()
    return os.strerror(error.errno).lower()


def reset_when_closed(handle: socket.socket) -> None:
    """Closing will send RST instead of FIN, and forget what was not sent (socket(7), SO_LINGER with zero seconds)."""
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def unacknowledged_bytes(handle: socket.socket) -> int:
    """What the kernel has not yet brought to the other side (tcp(7), SIOCOUTQ); 0 where it does not tell."""
    try:
        answer = fcntl.ioctl(handle.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # not on every system for sockets
        return 0
    return int.from_bytes(answer, sys.byteorder)
