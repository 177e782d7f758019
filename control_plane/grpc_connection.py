"""The server's end of one HTTP/2 connection of a gRPC client: who may call what, and how many calls at a time. Decision 25 says why it is not gRPC's own server.

What nodes say is read as it comes and never waits here; what is sent to them waits in `ServerCall`, at most what its handler sent while `is_writable` was false.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from control_plane import grpc_wire
from control_plane.admission import PEER_URI
from control_plane.connection_limit import OpenConnections
from control_plane.grpc_calls import ServeCall
from control_plane.grpc_server_call import ServerCall
from control_plane.grpc_wire import Status
from control_plane.http2_connection import Http2Connection
from control_plane.http2_frames import PREFACE, ConnectionFailedError, ErrorCode, Setting, reset, settings
from control_plane.http2_heads import LONGEST_HEAD, Head

STREAMS_PER_CONNECTION: Final = 16
"""A node needs one."""
STREAMS_PASSED_ON: Final = 8_192
"""Of a control plane that passes on those of its nodes: as many as there may be nodes."""
MOST_UNSENT_BYTES: Final = 4 * 1024 * 1024
"""What may wait for the system on a connection with more calls than a node has, so that one message to each of a thousand nodes does not stop at each 64 KiB."""

Peer = Mapping[str, Sequence[bytes]]


def _opening(most_streams: int) -> bytes:
    values = {
        Setting.HEADER_TABLE_SIZE: 0,  # of a client that calls once: a table would be memory for nothing
        Setting.MAX_CONCURRENT_STREAMS: most_streams,
        Setting.MAX_HEADER_LIST_SIZE: LONGEST_HEAD,
    }
    return settings(values)


class GrpcConnection(Http2Connection[ServerCall]):
    """The server's end. See `connection_limit.OpenConnection` as well."""

    __slots__ = (
        "_idle_since",
        "_most_streams",
        "_open",
        "_passes_on",
        "_preface_left",
        "_routes",
        "address",
        "has_been_served",
    )

    def __init__(
        self,
        routes: Mapping[str, ServeCall],
        open_connections: "OpenConnections[GrpcConnection]",
        passes_on: Callable[[Peer], bool],
    ) -> None:
        """`passes_on`: whether the peer may have the streams of many nodes, by its certificate."""
        super().__init__()
        self._routes = routes
        self._open = open_connections
        self._passes_on = passes_on
        self._most_streams = STREAMS_PER_CONNECTION
        self._preface_left = PREFACE
        self._idle_since = self._loop.time()
        self.address = ""
        self.has_been_served = False

    # connection_limit.OpenConnection

    @property
    def is_waiting(self) -> bool:
        """See connection_limit.OpenConnection: nobody who is known has called here."""
        return not self.has_been_served

    def shed(self) -> None:
        """See connection_limit.OpenConnection."""
        self.end(ErrorCode.ENHANCE_YOUR_CALM, "too many connections")

    # What the port does

    def look(self, now: float, anonymous_seconds: float) -> None:
        """Time passes: a connection without a call is not kept."""
        if not self._calls and now - self._idle_since > anonymous_seconds:
            self.end(ErrorCode.NO_ERROR, "nothing is asked")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        peer_name = transport.get_extra_info("peername")
        self.address = peer_name[0] if isinstance(peer_name, tuple) else ""
        self._idle_since = self._loop.time()
        if self._passes_on(self.peer):
            self._most_streams = STREAMS_PASSED_ON
        self._write(_opening(self._most_streams))
        self._open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._open.remove(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._preface_left:
            left = self._preface_left
            if not data.startswith(left[: len(data)]):
                self.end(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
                return
            self._preface_left, data = left[len(data) :], data[len(left) :]
        super().data_received(data)

    # http2_connection.Http2Connection

    def _head(self, head: Head) -> None:
        stream = head.stream
        if stream <= self._last_stream:  # trailers, which mean nothing in a request
            call = self._calls.get(stream)
            if call is not None and head.is_last:
                call.half_closed()
            return
        if not stream % 2:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "a stream with a number of ours")
        self._last_stream = stream
        if len(self._calls) >= self._most_streams:
            self.write_frame(reset(stream, ErrorCode.REFUSED_STREAM))
            return
        problem, serve = grpc_wire.problem_with(head.fields), self._routes.get(head.fields.get(":path", ""))
        if problem is not None or serve is None:
            reason = problem or "there is no such method"
            self.write_frame(grpc_wire.trailers(stream, Status.UNIMPLEMENTED, reason, is_first=True))
            return
        self._begin(stream, serve, is_whole=head.is_last)

    def _begin(self, stream: int, serve: ServeCall, *, is_whole: bool) -> None:
        call = self._calls[stream] = ServerCall(self, stream, self._initial_window)
        if len(self._calls) == STREAMS_PER_CONNECTION + 1:
            self._raise_unsent(MOST_UNSENT_BYTES)
        call.handler = serve(call)
        if is_whole:
            call.half_closed()

    def forget(self, stream: int) -> None:
        """See Http2Connection."""
        if self._calls.pop(stream, None) is not None:
            self._idle_since = self._loop.time()

    # For calls

    @property
    def peer(self) -> Peer:
        """See grpc_calls.Call."""
        certificate = None if self._transport is None else self._transport.get_extra_info("peercert")
        names = () if not certificate else certificate.get("subjectAltName", ())
        return {PEER_URI: tuple(value.encode() for kind, value in names if kind == "URI")}

    def admit(self) -> None:
        """See grpc_calls.Call."""
        self.has_been_served = True
