"""What both ends of a gRPC call do alike: messages in, messages out within the windows of HTTP/2 (RFC 9113 sections 5.2 and 6.9).

What waits is at most what was sent while `is_writable` was false, as views of bytes that are shared.
"""

from collections import deque
from typing import Final, Protocol

from control_plane import grpc_wire
from control_plane.grpc_wire import LONGEST_MESSAGE, MessageError, MessageReader
from control_plane.http2_frames import END_STREAM, Frame, content, data_head, window_update

GIVE_BACK_BYTES: Final = 16_384
"""When a window is given back: a quarter of it."""


class StreamConnection(Protocol):
    """What a call needs of its connection, at either end."""

    @property
    def room(self) -> int:
        """How many bytes of data may be written now, on all streams together."""

    @property
    def largest_frame(self) -> int:
        """How much data goes into one frame."""

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


class GrpcStream:
    """One end of one call. Who derives from it says what follows from a message, and from an end."""

    __slots__ = ("_messages", "_stream", "_used", "_waiting", "_wire", "window")

    def __init__(
        self, connection: StreamConnection, stream: int, window: int, longest_message: int = LONGEST_MESSAGE
    ) -> None:
        self._wire = connection
        self._stream = stream
        self.window = window
        self._messages = MessageReader(longest_message)
        self._waiting: deque[memoryview] | None = None
        self._used = 0

    @property
    def is_writable(self) -> bool:
        """Whether all that was sent is with the system, so that more may be sent."""
        return self._waiting is None and self.window > 0 and self._wire.room > 0

    def send(self, message: bytes) -> None:
        """One message. What cannot be written at once waits."""
        connection, length = self._wire, grpc_wire.MESSAGE_HEAD_BYTES + len(message)
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

    # For the connection

    def data_received(self, received: Frame) -> None:
        """A DATA frame for this call."""
        self._used += len(received.payload)
        is_last = bool(received.flags & END_STREAM)
        if self._used >= GIVE_BACK_BYTES and not is_last:
            self._give_back()
        try:
            for message in self._messages.feed(content(received)):
                if self._is_over():
                    return
                self._wire.heard()
                self._message_received(message)
        except MessageError as error:
            self._failed(error)
            return
        if is_last:
            self.half_closed()

    def send_what_waits(self) -> None:
        """As much as the windows and the system take now; if that is all, more may be sent."""
        self._drain()
        if self.is_writable:
            self._writable()

    def half_closed(self) -> None:
        """The peer has said all that it has to say."""
        raise NotImplementedError

    # What the ends have each their own of

    def _is_over(self) -> bool:
        raise NotImplementedError

    def _message_received(self, message: bytes) -> None:
        raise NotImplementedError

    def _writable(self) -> None:
        raise NotImplementedError

    def _failed(self, error: MessageError) -> None:
        """The peer said something that cannot be read."""
        raise NotImplementedError

    def _give_back(self) -> None:
        """The window of what was read, so that more may come."""
        self._wire.write_frame(window_update(self._stream, self._used))
        self._used = 0

    def _drain(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        while waiting and (room := min(self.window, self._wire.room, self._wire.largest_frame)) > 0:
            self._send_piece(waiting, room)
        if not waiting:
            self._waiting = None

    def _send_piece(self, waiting: "deque[memoryview]", room: int) -> None:
        piece = waiting.popleft()
        if len(piece) > room:
            waiting.appendleft(piece[room:])
            piece = piece[:room]
        self.window -= len(piece)
        self._wire.spend(len(piece))
        self._wire.write_data(data_head(len(piece), self._stream), piece)
