"""A connection of HTTP/1.1 after 101: nothing but bytes, in both directions. The same toward viewers and toward upstreams.

It takes the transport over from the protocol that spoke HTTP on it, which therefore has nothing to ask for each read, and keeps no more than TUNNEL_BUFFER_BYTES and one
read for a peer that does not follow.
"""

import asyncio
import socket as sockets
import struct
from collections.abc import Callable
from typing import Final

from edge_node.model.tunnel import TunnelReceiver

TUNNEL_BUFFER_BYTES: Final = 65_536
"""A peer that has so much before it, and more than a quarter of it, gets no more. Less than a response's: messages are small, and a tunnel may be blocked for long."""
_RESET: Final = struct.pack("ii", 1, 0)
"""Linger for 0 seconds: what closes the socket resets the connection (RFC 9293 section 3.10.4, ABORT)."""


def reset_at_close(transport: asyncio.Transport) -> None:
    """An open transport: the peer will be told that its end was no orderly one."""
    socket = transport.get_extra_info("socket")
    if socket is not None:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)


ConnectionLost = Callable[[Exception | None], None]


class TunnelConnection(asyncio.Protocol):
    """One end of a tunnel, on a connection of its own; see `model/tunnel.py`."""

    def __init__(
        self,
        transport: asyncio.Transport,
        lost: ConnectionLost,
        unread: bytes,
        *,
        is_reading_paused: bool = False,
        has_peer_ended: bool = False,
    ) -> None:
        """`lost` is told last; `unread`: what came behind the head. The rest: how the protocol before has left the connection."""
        self._transport = transport
        self._lost = lost
        self._unread = unread
        self._receiver: TunnelReceiver | None = None
        self._wants_pause = False
        self._is_reading_paused = is_reading_paused
        self._has_peer_ended = has_peer_ended
        self._is_gone = False
        self.is_write_blocked = False
        self.sent_bytes = 0
        self.received_bytes = 0
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=TUNNEL_BUFFER_BYTES)

    # -- TunnelEnd

    @property
    def is_open(self) -> bool:
        """There is a receiver."""
        return self._receiver is not None

    def open(self, receiver: TunnelReceiver) -> None:
        """What had come before is told first."""
        self._receiver = receiver
        unread, self._unread = self._unread, b""
        if unread:
            self.received_bytes += len(unread)
            receiver.bytes_arrived(unread)
        if self._has_peer_ended:
            receiver.peer_ended()
        self._look_at_reading()

    def send(self, data: bytes) -> None:
        """With what else this turn of the loop sends."""
        if not self._is_gone and not self._transport.is_closing():
            self.sent_bytes += len(data)
            self._transport.write(data)

    @property
    def unsent_bytes(self) -> int:
        """What waits in the transport."""
        return 0 if self._is_gone else self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """Stop reading."""
        self._wants_pause = True
        self._look_at_reading()

    def resume(self) -> None:
        """Read on."""
        self._wants_pause = False
        self._look_at_reading()

    def end(self) -> None:
        """A half close, where the transport has one."""
        if self._is_gone or self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def close(self) -> None:
        """Flush, then close."""
        if not self._is_gone:
            self._transport.close()

    def reset(self) -> None:
        """Cut the connection."""
        if self._is_gone:
            return
        if not self._transport.is_closing():
            reset_at_close(self._transport)
        self._transport.abort()

    # -- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        self.received_bytes += len(data)
        if self._receiver is not None:
            self._receiver.bytes_arrived(data)

    def eof_received(self) -> bool:
        """The peer may still listen."""
        self._has_peer_ended = True
        if self._receiver is not None:
            self._receiver.peer_ended()
        return True

    def pause_writing(self) -> None:
        """The peer does not follow."""
        self.is_write_blocked = True

    def resume_writing(self) -> None:
        """It does again."""
        self.is_write_blocked = False
        if self._receiver is not None:
            self._receiver.credit_returned()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: the receiver is told, and whoever had the connection before."""
        self._is_gone = True
        self.is_write_blocked = False
        try:
            if self._receiver is not None:
                self._receiver.end_lost(is_reset=exc is not None)
        finally:
            self._lost(exc)

    def node_leaves(self) -> None:
        """The node drains."""
        if self._receiver is not None:
            self._receiver.node_leaves()

    def _look_at_reading(self) -> None:
        if self._is_gone or self._transport.is_closing() or self._wants_pause == self._is_reading_paused:
            return
        self._is_reading_paused = self._wants_pause
        if self._wants_pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
