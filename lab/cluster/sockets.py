"""Finds out before anything is started whether every address of a lab is free."""

import errno
import socket
from collections.abc import Iterable

from lab.errors import LabError
from lab.topology.layout import Listener, NodeSpec


def check_addresses_are_free(nodes: Iterable[NodeSpec]) -> None:
    """LabError naming every address that cannot be bound, and the node that needs it."""
    complaints = [
        f"{node.id} cannot listen on {listener.address}: {reason}"
        for node in nodes
        for listener in node.listeners
        if (reason := why_not_free(listener))
    ]
    if complaints:
        hint = "nothing was started; stop what listens there, or give the lab other ports or another `loopback` range"
        raise LabError("\n".join([*complaints, hint]))


def why_not_free(listener: Listener) -> str:
    """Empty when the address can be bound now."""
    host, _, port = listener.address.rpartition(":")
    kind = socket.SOCK_DGRAM if listener.is_datagram else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if not listener.is_datagram:
            # As servers do: connections of an earlier lab that linger in TIME_WAIT are in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            return _explain(error)
    return ""


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is taken"
        case errno.EADDRNOTAVAIL:
            return (
                "this machine has no such address (on macOS: sudo ifconfig lo0 alias ADDRESS; or use docker compose up)"
            )
        case errno.EACCES:
            return "ports below 1024 need more rights"
        case _:
            return str(error.strerror)
