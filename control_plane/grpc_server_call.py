"""The server's end of one gRPC call: messages in, messages out within the windows of HTTP/2, one status at the end (RFC 9113 sections 5.2 and 6.9).

What waits is at most what its handler sent while `is_writable` was false, as views of bytes that are shared.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from control_plane import grpc_wire
from control_plane.grpc_calls import CallHandler
from control_plane.grpc_wire import MessageError, MessageReader, Status
from control_plane.http2_frames import END_STREAM, ErrorCode, Frame, content, data_head, reset, window_update

GIVE_BACK_BYTES: Final = 16_384
"""When a window is given back: a quarter of it."""


class CallConnection(Protocol):
    """What a call needs of its connection."""

    @property
    def peer(self) -> Mapping[str, Sequence[bytes]]:
        """See grpc_calls.Call."""

    @property
    def room(self) -> int:
        """How many bytes of data may be written now, on all streams together."""

    @property
    def largest_frame(self) -> int:
        """How much data goes into one frame."""

    def admit(self) -> None:
        """See grpc_calls.Call."""

    def write_data(self, *pieces: bytes | memoryview) -> None:
        """One frame with so much data in it that `room` has been asked for."""

    def heard(self) -> None:
        """A message has come whole."""

    def spend(self, number: int) -> None:
        """So many bytes of data are written."""

    def write_frame(self, data: bytes) -> None:
        """Frames that flow control does not concern."""

    def forget(self, stream: int) -> None:
        """The call is over."""


class ServerCall:
    """See grpc_calls.Call."""

    __slots__ = ("_connection", "_has_begun", "_messages", "_stream", "_used", "_waiting", "handler", "window")

    def __init__(self, connection: CallConnection, stream: int, window: int) -> None:
        self._connection = connection
        self._stream = stream
        self.window = window
        self._messages = MessageReader()
        self._waiting: deque[memoryview] | None = None
        self._has_begun = False
        self._used = 0
        self.handler: CallHandler | None = None
        """None before it is served, and when it is over."""

    # grpc_calls.Call

    @property
    def peer(self) -> Mapping[str, Sequence[bytes]]:
        """See grpc_calls.Call."""
        return self._connection.peer

    @property
    def is_writable(self) -> bool:
        """See grpc_calls.Call."""
        return self._waiting is None and self.window > 0 and self._connection.room > 0

    def admit(self) -> None:
        """See grpc_calls.Call."""
        self._connection.admit()

    def send(self, message: bytes) -> None:
        """See grpc_calls.Call."""
        self._begin()
        connection, length = self._connection, grpc_wire.MESSAGE_HEAD_BYTES + len(message)
        head = grpc_wire.message_head(len(message))
        if self._waiting is None and length <= min(self.window, connection.room, connection.largest_frame):
            self.window -= length
            connection.spend(length)
            connection.write_data(data_head(length, self._stream), head, message)
            return
        if self._waiting is None:
            self._waiting = deque()
        self._waiting += (memoryview(head), memoryview(message))
        self._drain()

    def finish(self, status: Status, reason: str = "") -> None:
        """See grpc_calls.Call. A client that goes on talking is told that nobody listens (RFC 9113 section 8.1)."""
        if self.handler is None and self._has_begun:
            return
        self.handler, self._waiting = None, None
        ending = grpc_wire.trailers(self._stream, status, reason, is_first=not self._has_begun)
        self._has_begun = True
        self._connection.forget(self._stream)
        self._connection.write_frame(ending + reset(self._stream, ErrorCode.NO_ERROR))

    # For the connection

    def data_received(self, received: Frame) -> None:
        """A DATA frame for this call; its window is given back as it is read."""
        self._used += len(received.payload)
        is_last = bool(received.flags & END_STREAM)
        if self._used >= GIVE_BACK_BYTES and not is_last:
            self._connection.write_frame(window_update(self._stream, self._used))
            self._used = 0
        try:
            for message in self._messages.feed(content(received)):
                if self.handler is None:
                    return
                self._connection.heard()
                self.handler.message_received(message)
        except MessageError as error:
            handler = self.handler
            self.finish(error.status, str(error))
            if handler is not None:
                handler.broken()
            return
        if is_last:
            self.half_closed()

    def half_closed(self) -> None:
        """The client has closed its side."""
        if self.handler is not None:
            self.handler.half_closed()

    def broken(self) -> None:
        """The client is gone."""
        handler, self.handler, self._waiting = self.handler, None, None
        if handler is not None:
            handler.broken()

    def send_what_waits(self) -> None:
        """As much as the windows and the system take now; if that is all, the handler may send more."""
        self._drain()
        if self.handler is not None and self.is_writable:
            self.handler.writable()

    def _drain(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        while waiting and (room := min(self.window, self._connection.room, self._connection.largest_frame)) > 0:
            self._send_piece(waiting, room)
        if not waiting:
            self._waiting = None

    def _send_piece(self, waiting: "deque[memoryview]", room: int) -> None:
        piece = waiting.popleft()
        if len(piece) > room:
            waiting.appendleft(piece[room:])
            piece = piece[:room]
        self.window -= len(piece)
        self._connection.spend(len(piece))
        self._connection.write_data(data_head(len(piece), self._stream), piece)

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._connection.write_frame(grpc_wire.response_head(self._stream))
