"""Writing to a viewer's socket at once, where nothing is waiting to be written.

uvloop's transports gather what is written and hand it to the system at the end of a turn of the loop. For an answer that is complete that is a detour: a
fourteenth of the processor time of a small hit. What the socket does not take goes the usual way, and so does every error.

The bytes are the caller's again when the call returns: what has to wait is copied (bytes are not, nobody can change them).
"""

import asyncio
import os
import socket as sockets
from collections.abc import Callable
from typing import Final

from edge_node.caching.stored_body import LentPiece, Piece

TAIL_BYTES: Final = 16_384
"""Of a lent piece that a socket does not take now, so much waits in the transport: when that has left, there is room for more."""


UNSENT_BYTES: Final = 131_072
"""What the kernel holds of an answer that it has not sent yet, for each viewer. Left to itself that was 3.8 MB for a viewer that reads nothing: a hundred of them held
398 MB of kernel memory, and hold 26 MB with this. Hits of 1 MiB and 10 MiB are as fast as without it: unlike SO_SNDBUF it does not bound what is on its way, and so
neither the rate over a long path nor the kernel's own tuning. Node and kernel refill each other within a turn of the loop.

The other direction needs nothing: while the node does not read, a receive buffer does not grow, and SO_RCVBUF would end the tuning that long paths need."""


def bound_unsent_bytes(listening: sockets.socket) -> None:
    """For all connections that this socket accepts, which inherit it; where the system knows no such bound, there is none."""
    option = getattr(sockets, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        listening.setsockopt(sockets.IPPROTO_TCP, option, UNSENT_BYTES)


def write_nowhere(data: Piece) -> None:
    """The viewer has gone."""
    del data


def lend_nowhere(piece: LentPiece, first: int) -> int:
    """The same for lent pieces."""
    del first
    return piece.length


def write_at_once(transport: asyncio.Transport) -> Callable[[Piece], None]:
    """A function that writes to an open transport. Not to be called after its protocol's `connection_lost`: until then the descriptor is this socket's."""
    socket = transport.get_extra_info("socket")
    if socket is None or transport.get_extra_info("sslcontext") is not None:
        return lambda data: transport.write(bytes(data))
    descriptor = socket.fileno()
    write_later, waiting_bytes, write = transport.write, transport.get_write_buffer_size, os.write

    def write_now(data: Piece) -> None:
        if waiting_bytes():
            write_later(bytes(data))
            return
        try:
            written = write(descriptor, data)
        except OSError:  # full, or gone: the transport finds out which
            written = 0
        if written < len(data):
            write_later(bytes(data[written:]))

    return write_now


def lend_at_once(transport: asyncio.Transport) -> Callable[[LentPiece, int], int] | None:
    """A function that writes lent pieces to an open transport, from a position on, and says to which position they are taken; None: it is not a plain socket.

    It raises BodyLostError. It takes something in any case: at a full socket a copy waits in the transport, which tells its protocol when it has left.
    """
    socket = transport.get_extra_info("socket")
    if socket is None or transport.get_extra_info("sslcontext") is not None:
        return None
    descriptor = socket.fileno()
    write_later, waiting_bytes = transport.write, transport.get_write_buffer_size

    def lend_now(piece: LentPiece, first: int) -> int:
        if not waiting_bytes():
            try:  # noqa: SIM105  `suppress` takes as long as the rest of this
                first += piece.write_to(descriptor, first)
            except OSError:  # full, or gone: the transport finds out which
                pass
            if first >= piece.length:
                return first
        tail = piece.copy(first, min(TAIL_BYTES, piece.length - first))
        write_later(tail)
        return first + len(tail)

    return lend_now
