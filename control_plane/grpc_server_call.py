"""The server's end of one gRPC call: messages in and out as `grpc_stream.py` has them, one status at the end."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from control_plane import grpc_wire
from control_plane.grpc_calls import CallHandler
from control_plane.grpc_stream import GrpcStream, StreamConnection
from control_plane.grpc_wire import MessageError, Status
from control_plane.http2_frames import ErrorCode, reset


class CallConnection(StreamConnection, Protocol):
    """What a call needs of its connection."""

    @property
    def peer(self) -> Mapping[str, Sequence[bytes]]:
        """See grpc_calls.Call."""

    def admit(self) -> None:
        """See grpc_calls.Call."""


class ServerCall(GrpcStream):
    """See grpc_calls.Call."""

    __slots__ = ("_connection", "_has_begun", "handler")

    def __init__(self, connection: CallConnection, stream: int, window: int) -> None:
        super().__init__(connection, stream, window)
        self._connection = connection
        self._has_begun = False
        self.handler: CallHandler | None = None
        """None before it is served, and when it is over."""

    # grpc_calls.Call

    @property
    def peer(self) -> Mapping[str, Sequence[bytes]]:
        """See grpc_calls.Call."""
        return self._connection.peer

    def admit(self) -> None:
        """See grpc_calls.Call."""
        self._connection.admit()

    def send(self, message: bytes) -> None:
        """See grpc_calls.Call."""
        if not self._has_begun:
            self._has_begun = True
            self._wire.write_frame(grpc_wire.response_head(self._stream))
        super().send(message)

    def finish(self, status: Status, reason: str = "") -> None:
        """See grpc_calls.Call. A client that goes on talking is told that nobody listens (RFC 9113 section 8.1)."""
        if self.handler is None and self._has_begun:
            return
        self.handler, self._waiting = None, None
        ending = grpc_wire.trailers(self._stream, status, reason, is_first=not self._has_begun)
        self._has_begun = True
        self._wire.forget(self._stream)
        self._wire.write_frame(ending + reset(self._stream, ErrorCode.NO_ERROR))

    # For the connection

    def half_closed(self) -> None:
        """The client has closed its side."""
        if self.handler is not None:
            self.handler.half_closed()

    def broken(self) -> None:
        """The client is gone."""
        handler, self.handler, self._waiting = self.handler, None, None
        if handler is not None:
            handler.broken()

    # grpc_stream.GrpcStream

    def _is_over(self) -> bool:
        return self.handler is None

    def _message_received(self, message: bytes) -> None:
        if self.handler is not None:
            self.handler.message_received(message)

    def _writable(self) -> None:
        if self.handler is not None:
            self.handler.writable()

    def _failed(self, error: MessageError) -> None:
        handler = self.handler
        self.finish(error.status, str(error))
        if handler is not None:
            handler.broken()
