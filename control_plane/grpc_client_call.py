"""The client's end of one gRPC call: messages in and out as `grpc_stream.py` has them, until the server's trailers (gRPC over HTTP/2, "PROTOCOL-HTTP2").

What the server says may have to wait for whoever it is for. Then `hold` is called, and the server may send what is left of the window of this call and no more, without
a consequence for other calls.
"""

from control_plane import grpc_wire
from control_plane.grpc_calls import AnswerHandler
from control_plane.grpc_stream import GIVE_BACK_BYTES, GrpcStream, StreamConnection
from control_plane.grpc_wire import MessageError
from control_plane.http2_frames import (
    END_STREAM,
    WINDOW_BYTES,
    ConnectionFailedError,
    ErrorCode,
    Frame,
    Kind,
    frame,
    reset,
)
from control_plane.http2_heads import Head

LONGEST_ANSWER = 64 * 1024 * 1024
"""As much as nodes take: a snapshot of thousands of distributions (proto/node_session.py)."""

CUT_OFF = "the leader is gone"


class ClientCall(GrpcStream):
    """One call that has begun; `handler` hears of it."""

    __slots__ = ("_has_said_all", "_is_held", "handler")

    def __init__(self, connection: StreamConnection, stream: int, window: int, handler: AnswerHandler) -> None:
        super().__init__(connection, stream, window, LONGEST_ANSWER)
        self.handler: AnswerHandler | None = handler
        """None when the call is over."""
        self._is_held = False
        self._has_said_all = False

    def send(self, message: bytes) -> None:
        """One message. What cannot be written at once waits; nothing is sent on a call that is over (RFC 9113 section 5.1)."""
        if self.handler is not None and not self._has_said_all:
            super().send(message)

    def half_close(self) -> None:
        """Nothing more is sent, once what waits is. The server ends the call then."""
        self._has_said_all = True
        if self._waiting is None and self.handler is not None:
            self._wire.write_frame(frame(Kind.DATA, END_STREAM, self._stream))

    def cancel(self) -> None:
        """Nobody wants to hear more (RFC 9113 section 8.1)."""
        if self.handler is not None:
            self._is_over_because(ErrorCode.CANCEL)

    def hold(self) -> None:
        """What was answered waits: the window is given back no more, until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Nothing waits any more."""
        if self._is_held:
            self._is_held = False
            if self._used >= GIVE_BACK_BYTES and self.handler is not None:
                self._give_back()

    # For the connection

    def data_received(self, received: Frame) -> None:
        """See GrpcStream. A server that sends more than it may is not believed to stop at anything (RFC 9113 section 6.9)."""
        if self._used + len(received.payload) > WINDOW_BYTES:
            raise ConnectionFailedError(ErrorCode.FLOW_CONTROL_ERROR, "more is sent than there is a window for")
        super().data_received(received)

    def head_received(self, head: Head) -> None:
        """The server's head, or its trailers."""
        reason = grpc_wire.end_of(head.fields, is_last=head.is_last)
        if reason is None:
            return
        self._wire.heard()  # of thousands of calls that end at once none is a frame for nothing
        if head.is_last:
            self._wire.forget(self._stream)
            self.end(reason)
        else:
            self._is_over_because(ErrorCode.CANCEL, reason)

    def half_closed(self) -> None:
        """The server's last data without trailers, which gRPC does not know."""
        self._wire.forget(self._stream)
        self.end("the leader closed the stream without a status")

    def broken(self) -> None:
        """The connection is gone, or the server has reset the call."""
        self.end(CUT_OFF)

    def end(self, reason: str) -> None:
        """It is over, and forgotten by its connection."""
        handler, self.handler, self._waiting = self.handler, None, None
        if handler is not None:
            handler.ended(reason)

    # grpc_stream.GrpcStream

    def _is_over(self) -> bool:
        return self.handler is None

    def _message_received(self, message: bytes) -> None:
        if self.handler is not None:
            self.handler.answered(message)

    def _writable(self) -> None:
        if self.handler is not None and not self._has_said_all:
            self.handler.may_send()

    def _failed(self, error: MessageError) -> None:
        self._is_over_because(ErrorCode.CANCEL, str(error))

    def _give_back(self) -> None:
        if not self._is_held:
            super()._give_back()

    def _drain(self) -> None:
        had_to_wait = self._waiting is not None
        super()._drain()
        if had_to_wait and self._waiting is None and self._has_said_all and self.handler is not None:
            self._wire.write_frame(frame(Kind.DATA, END_STREAM, self._stream))

    def _is_over_because(self, code: ErrorCode, reason: str | None = None) -> None:
        """By this end; without a reason the handler knows."""
        self._wire.forget(self._stream)
        self._wire.write_frame(reset(self._stream, code))
        if reason is None:
            self.handler, self._waiting = None, None
        else:
            self.end(reason)
