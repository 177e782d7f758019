"""Finds out before anything is started whether every address of a lab is free, and if not, which lab has it."""

import errno
import socket
from collections.abc import Callable, Iterable, Sequence

from lab.cluster.other_labs import OtherLab
from lab.errors import LabError
from lab.topology.layout import Listener, NodeSpec

# Who has one address of a lab mostly has them all: the first few say what is wrong.
SHOWN = 4
_PROBE_HINT = "nothing was started; stop what listens there, or give the lab other ports or another `loopback` range"


def check_addresses_are_free(nodes: Iterable[NodeSpec], other_labs: Callable[[], Sequence[OtherLab]]) -> None:
    """LabError naming the lab that holds addresses of these nodes, or the first of the addresses that somebody else has."""
    wanted = [(node.id, listener) for node in nodes for listener in node.listeners]
    taken = [(node_id, each.address, why) for node_id, each in wanted if (why := why_not_free(each))]
    if taken:
        raise LabError(describe_taken(taken, other_labs()))


def describe_taken(taken: Sequence[tuple[str, str, str]], other_labs: Sequence[OtherLab]) -> str:
    """`taken`: a node, its address, and why it cannot have it."""
    holders = [lab for lab in other_labs if any(_holds(lab, address) for _, address, _ in taken)]
    if holders:
        lines = [f"{lab} has the addresses of this one: `{lab.end_it}` ends it" for lab in holders]
        return "\n".join([*lines, "nothing was started; --loopback 127.1.0.0/16 gives this lab addresses of its own"])
    lines = [f"{node_id} cannot listen on {address}: {why}" for node_id, address, why in taken[:SHOWN]]
    if len(taken) > SHOWN:
        lines.append(f"and {len(taken) - SHOWN} more addresses of this lab")
    return "\n".join([*lines, _PROBE_HINT])


def _holds(lab: OtherLab, address: str) -> bool:
    """Also when it listens on every address of the machine."""
    return address in lab.addresses or f"0.0.0.0:{address.rpartition(':')[2]}" in lab.addresses


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
