"""The client's end of one HTTP/2 connection, with many gRPC calls: what a follower passes its nodes' streams on with (RFC 9113).

Nobody is trusted to stop: calls, what is heard on them, the time to connect and the time without a word are bounded. What is written in one turn of the loop goes to the
system in one piece, since one message to or from each of a thousand nodes is a thousand messages.
"""

import asyncio
from typing import Final

from control_plane import grpc_wire
from control_plane.grpc_calls import AnswerHandler
from control_plane.grpc_client_call import CUT_OFF, ClientCall
from control_plane.http2_connection import Http2Connection
from control_plane.http2_frames import (
    ACKNOWLEDGED,
    END_HEADERS,
    LARGEST_WINDOW,
    PREFACE,
    WINDOW_BYTES,
    ConnectionFailedError,
    ErrorCode,
    Frame,
    Kind,
    Setting,
    frame,
    settings,
    window_update,
)
from control_plane.http2_heads import LONGEST_HEAD, Head

MOST_CALLS: Final = 8_192
"""However many the server would take."""
CONNECTION_WINDOW: Final = 16 * 1024 * 1024
"""What the server may send before it hears that some of it was read: entries for all nodes at once, and a part of a directory for each."""
MOST_UNSENT_BYTES: Final = 1024 * 1024
WATCH_SECONDS = 0.25
PING_SECONDS = 0.5
"""Without a word; the answer is one."""
SILENT_SECONDS = 2.0
"""Without a word the server stands still, or is cut off. Nodes wait for 1.5 s themselves; this is for those that say more than they hear."""
IDLE_SECONDS = 1.0
"""Without a call. Less than after which a control plane closes it, so that no call begins on a connection that is about to end."""

_OPENING: Final = (
    PREFACE
    + settings({Setting.HEADER_TABLE_SIZE: 0, Setting.MAX_HEADER_LIST_SIZE: LONGEST_HEAD})
    + window_update(0, CONNECTION_WINDOW - WINDOW_BYTES)
)


class NoCallError(Exception):
    """The connection takes no call now; the message says why."""


class GrpcClient(Http2Connection[ClientCall]):
    """See the module. `ready` is done when the server has said its settings, `closed` with the reason when the connection is over."""

    __slots__ = (
        "_block",
        "_heard_at",
        "_idle_since",
        "_is_leaving",
        "_looked_at",
        "_looking",
        "_most_calls",
        "_outgoing",
        "_reason",
        "closed",
        "ready",
    )

    def __init__(self, method: str, scheme: str, authority: str) -> None:
        """All calls are of one method."""
        super().__init__()
        self._block = grpc_wire.request_head(method, scheme, authority)
        self._most_calls = MOST_CALLS
        self._outgoing: list[bytes | memoryview] = []
        """What is written when this turn of the loop is over."""
        self._is_leaving = False
        """No call begins here any more."""
        self._reason = CUT_OFF
        self._heard_at = self._looked_at = self._idle_since = self._loop.time()
        self._looking: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[str] = self._loop.create_future()

    @property
    def takes_calls(self) -> bool:
        """Whether one may begin now."""
        return not self._is_leaving and self.ready.done() and len(self._calls) < self._most_calls

    @property
    def is_over(self) -> bool:
        """Whether no call will ever begin here again."""
        return self._is_leaving or self.closed.done()

    def call(self, handler: AnswerHandler) -> ClientCall:
        """Begin a call. NoCallError."""
        if not self.takes_calls or self._last_stream >= LARGEST_WINDOW - 2:
            raise NoCallError("the leader takes no more calls")
        self._last_stream += 2 if self._last_stream else 1
        stream = self._last_stream
        call = self._calls[stream] = ClientCall(self, stream, self._initial_window, handler)
        self.write_frame(frame(Kind.HEADERS, END_HEADERS, stream, self._block))
        return call

    def end(self, code: ErrorCode, reason: str) -> None:
        """See Http2Connection. Calls that run end with the reason."""
        if not self._is_leaving:
            self._reason = reason
        self._is_leaving = True
        self._flush()
        super().end(code, reason)
        self._end_calls()

    def forget(self, stream: int) -> None:
        """See Http2Connection."""
        super().forget(stream)
        self._idle_since = self._loop.time()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._raise_unsent(MOST_UNSENT_BYTES)
        self._write(_OPENING)
        self._heard_at = self._looked_at = self._idle_since = self._loop.time()
        self._look_again()

    def connection_lost(self, _error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._is_leaving = True
        if self._looking is not None:
            self._looking.cancel()
        self._transport = None
        self._end_calls()
        if not self.ready.done():
            self.ready.set_result(None)
        if not self.closed.done():
            self.closed.set_result(self._reason)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard_at = self._loop.time()
        super().data_received(data)

    # http2_connection.Http2Connection

    def _head(self, head: Head) -> None:
        if not head.stream % 2 or head.stream > self._last_stream:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "an answer to nothing")
        call = self._calls.get(head.stream)
        if call is not None:
            call.head_received(head)

    def _settings(self, received: Frame) -> None:
        super()._settings(received)
        if not received.flags & ACKNOWLEDGED and not self.ready.done():
            self.ready.set_result(None)

    def _set(self, name: int, value: int) -> None:
        if name == Setting.MAX_CONCURRENT_STREAMS:
            self._most_calls = min(value, MOST_CALLS)
        else:
            super()._set(name, value)

    def _go_away(self, received: Frame) -> None:
        """Those that the server has not begun with end now; the others go on until it closes (RFC 9113 section 6.8)."""
        if len(received.payload) < 8:
            raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "a farewell that is cut off")
        last_stream = int.from_bytes(received.payload[:4], "big") & LARGEST_WINDOW
        if not self._is_leaving:
            self._reason = received.payload[8:].decode("utf-8", "replace") or "the leader ends the connection"
        self._is_leaving = True
        for stream in [each for each in self._calls if each > last_stream]:
            self._calls.pop(stream).end(self._reason)

    def _give_back_bytes(self) -> int:
        return CONNECTION_WINDOW // 4

    def _last_heard_stream(self) -> int:
        return 0  # a server opens none

    def _write(self, data: bytes) -> None:
        self._to_write(data)

    def write_data(self, *pieces: bytes | memoryview) -> None:
        """See Http2Connection."""
        self._idle_frames = 0
        self._to_write(*pieces)

    # Turns of the loop

    def _to_write(self, *pieces: bytes | memoryview) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += pieces

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._transport is not None and not self._transport.is_closing():
            super()._write(b"".join(outgoing))

    def _look_again(self) -> None:
        self._looking = self._loop.call_later(WATCH_SECONDS, self._look)

    def _look(self) -> None:
        """Time passes. What this process was late itself, the server has not been silent."""
        now = self._loop.time()
        self._heard_at += max(0.0, now - self._looked_at - 2 * WATCH_SECONDS)
        self._looked_at = now
        if now - self._heard_at > SILENT_SECONDS:
            self.give_up("the leader is silent")
        elif self.ready.done() and not self._calls and now - self._idle_since > IDLE_SECONDS:
            self.end(ErrorCode.NO_ERROR, "nothing is asked")
        else:
            if now - self._heard_at > PING_SECONDS:
                self.write_frame(frame(Kind.PING, 0, 0, bytes(8)))
            self._look_again()

    def give_up(self, reason: str) -> None:
        """Whoever does not answer is not waited for."""
        self._is_leaving, self._reason = True, reason
        if self._transport is not None:
            self._transport.abort()

    def _end_calls(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.end(self._reason)
