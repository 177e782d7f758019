"""DNS over UDP and TCP (RFC 7766): moves bytes between sockets and the responder, within bounds.

A message is answered as soon as it is whole, so nothing waits and no task is needed. A connection may carry any number of
queries, pipelined; it is closed when no whole query came for IDLE_SECONDS, so that trickling bytes or never reading the answers
does not keep it open. What to answer is not decided here.
"""

import asyncio
from typing import Final, cast

from dns_router.counters import Counters
from dns_router.responder import Responder

# RFC 7766 section 6.2.3: "on the order of a few seconds".
IDLE_SECONDS: Final = 10.0
# RFC 7766 section 6.2.2 asks for a limit; with it, buffers stay below 256 * 2 * 64 KiB at the very worst.
MAXIMUM_CONNECTIONS: Final = 256
WRITE_BUFFER_BYTES: Final = 65536

_LENGTH_BYTES: Final = 2


class DatagramListener(asyncio.DatagramProtocol):
    """Answers datagrams; drops answers while the socket does not take any more, as UDP may."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._transport: asyncio.DatagramTransport | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket to answer on."""
        # A cast: uvloop's transports have the methods of asyncio's classes without deriving from them.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one message."""
        if self._is_paused or self._transport is None:
            return
        response = self._responder.respond_to_datagram(data, addr[0])
        if response is not None:
            self._transport.sendto(response, addr)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """The socket takes datagrams again."""
        self._is_paused = False


class StreamListener:
    """The TCP connections of one listening socket."""

    def __init__(
        self,
        responder: Responder,
        counters: Counters,
        *,
        idle_seconds: float = IDLE_SECONDS,
        maximum_connections: int = MAXIMUM_CONNECTIONS,
    ) -> None:
        self.responder = responder
        self.idle_seconds = idle_seconds
        self._counters = counters
        self._maximum_connections = maximum_connections
        self._connections: set[StreamConnection] = set()

    def new_connection(self) -> "StreamConnection":
        """What the event loop calls for each accepted connection."""
        return StreamConnection(self)

    def admit(self, connection: "StreamConnection") -> bool:
        """Whether there is room for one more."""
        if len(self._connections) >= self._maximum_connections:
            return False
        self._connections.add(connection)
        self._counters.open_connections = len(self._connections)
        return True

    def forget(self, connection: "StreamConnection") -> None:
        """The connection is closed."""
        self._connections.discard(connection)
        self._counters.open_connections = len(self._connections)

    def close(self) -> None:
        """Close all connections; answers already written are still sent."""
        for connection in tuple(self._connections):
            connection.close()


class StreamConnection(asyncio.Protocol):
    """One TCP connection: length-prefixed messages in, the same out, in order (RFC 1035 section 4.2.2)."""

    def __init__(self, listener: StreamListener) -> None:
        self._listener = listener
        self._received = bytearray()
        self._client_host = ""
        self._is_paused = False
        self._transport: asyncio.Transport | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock, or close at once when there are too many."""
        stream = cast("asyncio.Transport", transport)
        peer = stream.get_extra_info("peername")
        if not peer or not self._listener.admit(self):
            stream.abort()
            return
        self._transport = stream
        self._client_host = peer[0]
        stream.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._restart_idle_timer()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Stop the clock."""
        self._transport = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._listener.forget(self)

    def data_received(self, data: bytes) -> None:
        """Answer every message that is whole now."""
        self._received += data
        self._answer_whole_messages()

    def pause_writing(self) -> None:
        """The client does not read its answers: read no more of its queries."""
        self._is_paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_paused = False
        if self._transport is not None:
            self._transport.resume_reading()
        self._answer_whole_messages()

    def close(self) -> None:
        """Close after the answers written so far."""
        if self._transport is not None:
            self._transport.close()

    def _answer_whole_messages(self) -> None:
        while not self._is_paused and self._transport is not None:
            message = self._take_message()
            if message is None:
                break
            response = self._listener.responder.respond_to_stream(message, self._client_host)
            if response is None:
                # Not DNS, or not a query: there is no way to find the next message in such a stream.
                self.close()
                return
            self._transport.write(len(response).to_bytes(_LENGTH_BYTES, "big") + response)
            self._restart_idle_timer()

    def _take_message(self) -> bytes | None:
        end = _LENGTH_BYTES + int.from_bytes(self._received[:_LENGTH_BYTES], "big")
        if len(self._received) < max(end, _LENGTH_BYTES):
            return None
        message = bytes(self._received[_LENGTH_BYTES:end])
        del self._received[:end]
        return message

    def _restart_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._transport is not None:
            # abort, not close: a client that does not read would hold the connection for ever.
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._listener.idle_seconds, self._transport.abort)
