"""One HTTP/2 connection of a gRPC client: frames in and out, flow control, calls (RFC 9113). Decision 25 says why it is not gRPC's own server.

What nodes say is read as it comes and never waits here, so their window is given back at once; what is sent to them waits in `ServerCall`, at most what its handler sent
while `is_writable` was false. Whatever costs without bringing a message is counted (`MOST_IDLE_FRAMES`).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final, cast

from hpack import Decoder, HPACKError

from control_plane import grpc_wire
from control_plane.admission import PEER_URI
from control_plane.connection_limit import OpenConnections
from control_plane.grpc_calls import ServeCall
from control_plane.grpc_server_call import GIVE_BACK_BYTES, ServerCall
from control_plane.grpc_wire import Status
from control_plane.http2_frames import (
    ACKNOWLEDGED,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    LARGEST_WINDOW,
    PREFACE,
    WINDOW_BYTES,
    ConnectionFailedError,
    ErrorCode,
    Frame,
    FrameReader,
    Kind,
    Setting,
    content,
    frame,
    go_away,
    read_number,
    read_settings,
    reset,
    settings,
    window_update,
)

STREAMS_PER_CONNECTION: Final = 16
"""A node needs one."""
LONGEST_HEAD: Final = 16_384
MOST_IDLE_FRAMES: Final = 10_000
"""Frames in a row that bring no message to its end, and on which nothing was sent: pings, settings, resets, data in crumbs."""
MOST_UNREAD_BYTES: Final = 256 * 1024
"""Of answers to pings and the like, for a client that does not read."""
LINGER_SECONDS: Final = 1.0
"""For the word at the end; who does not read it is not waited for."""
_OUR_SETTINGS: Final = settings(
    {
        Setting.HEADER_TABLE_SIZE: 0,  # of a client that calls once: a table would be memory for nothing
        Setting.MAX_CONCURRENT_STREAMS: STREAMS_PER_CONNECTION,
        Setting.MAX_HEADER_LIST_SIZE: LONGEST_HEAD,
    }
)


class GrpcConnection(asyncio.Protocol):
    """The server's end. See `connection_limit.OpenConnection` as well."""

    __slots__ = (
        "_block",
        "_block_frame",
        "_calls",
        "_decoder",
        "_frames",
        "_idle_frames",
        "_idle_since",
        "_initial_window",
        "_is_paused",
        "_largest_frame",
        "_last_stream",
        "_loop",
        "_open",
        "_preface_left",
        "_routes",
        "_transport",
        "_used",
        "_window",
        "address",
        "has_been_served",
    )

    def __init__(self, routes: Mapping[str, ServeCall], open_connections: "OpenConnections[GrpcConnection]") -> None:
        self._routes = routes
        self._open = open_connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader()
        self._decoder: Decoder | None = None
        self._preface_left = PREFACE
        self._block: bytes | None = None
        """Of a head that goes on in CONTINUATION frames."""
        self._block_frame: Frame | None = None
        self._calls: dict[int, ServerCall] = {}
        self._last_stream = 0
        self._window = WINDOW_BYTES
        self._initial_window = WINDOW_BYTES
        self._largest_frame = FRAME_BYTES
        self._used = 0
        self._is_paused = False
        self._idle_frames = 0
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

    def end(self, code: ErrorCode, reason: str) -> None:
        """Close it, after a word."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            with contextlib.suppress(RuntimeError):  # uvloop's, for a connection that was given up while it was made
                transport.write(go_away(self._last_stream, code, reason))
            transport.close()
            self._loop.call_later(LINGER_SECONDS, transport.abort)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        peer_name = transport.get_extra_info("peername")
        self.address = peer_name[0] if isinstance(peer_name, tuple) else ""
        self._idle_since = self._loop.time()
        self._transport.write(_OUR_SETTINGS)
        self._open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._open.remove(self)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.broken()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            if self._preface_left:
                data = self._after_preface(data)
            for received in self._frames.feed(data):
                self._received(received)
                if self._transport is None or self._transport.is_closing():
                    return
        except ConnectionFailedError as failure:
            self.end(failure.code, str(failure))

    def eof_received(self) -> bool:
        """See asyncio.Protocol: nobody who has nothing more to say wants to hear more."""
        return False

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused = False
        self._send_what_waits()

    # Frames

    def _after_preface(self, data: bytes) -> bytes:
        left = self._preface_left
        if not data.startswith(left[: len(data)]):
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        self._preface_left = left[len(data) :]
        return data[len(left) :]

    def _received(self, received: Frame) -> None:
        if self._block is not None and received.kind != Kind.CONTINUATION:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "a head that is not finished")
        self._idle_frames += 1
        if self._idle_frames > MOST_IDLE_FRAMES:
            raise ConnectionFailedError(ErrorCode.ENHANCE_YOUR_CALM, "many frames for nothing")
        match received.kind:
            case Kind.DATA:
                self._data(received)
            case Kind.HEADERS | Kind.CONTINUATION:
                self._head_piece(received)
            case Kind.SETTINGS:
                self._settings(received)
            case Kind.PING:
                self._ping(received)
            case Kind.WINDOW_UPDATE:
                self._window_update(received)
            case Kind.RST_STREAM:
                self._reset(received)
            case Kind.PUSH_PROMISE:
                raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "a client promises nothing")
            case _:
                pass  # PRIORITY, GOAWAY, and kinds that are not known (section 4.1)

    def _data(self, received: Frame) -> None:
        call = self._calls.get(received.stream)
        if call is None and (received.stream > self._last_stream or not received.stream):
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "data before a head")
        self._used += len(received.payload)
        if self._used >= GIVE_BACK_BYTES:
            self._control(window_update(0, self._used))
            self._used = 0
        if call is None:
            return  # it was ended here, and the client does not know yet
        call.data_received(received)

    def _head_piece(self, received: Frame) -> None:
        if received.kind == Kind.HEADERS:
            self._block, self._block_frame = content(received), received
        elif self._block is None or self._block_frame is None or self._block_frame.stream != received.stream:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "a head that goes on without a beginning")
        else:
            self._block += received.payload
        if len(self._block) > LONGEST_HEAD:
            raise ConnectionFailedError(ErrorCode.ENHANCE_YOUR_CALM, "a head that is too long")
        if received.flags & END_HEADERS:
            block, begun = self._block, self._block_frame
            self._block = self._block_frame = None
            assert begun is not None
            self._head(begun.stream, self._decoded(block), is_last=bool(begun.flags & END_STREAM))

    def _decoded(self, block: bytes) -> dict[str, str]:
        if self._decoder is None:
            self._decoder = Decoder(LONGEST_HEAD)
            self._decoder.max_allowed_table_size = 4096  # until the client has seen our settings
        try:
            return {
                name.decode("latin-1"): value.decode("latin-1") for name, value in self._decoder.decode(block, raw=True)
            }
        except HPACKError as error:
            raise ConnectionFailedError(ErrorCode.COMPRESSION_ERROR, str(error)) from error

    def _head(self, stream: int, fields: dict[str, str], *, is_last: bool) -> None:
        if stream <= self._last_stream:  # trailers, which mean nothing in a request
            call = self._calls.get(stream)
            if call is not None and is_last:
                call.half_closed()
            return
        if not stream % 2:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "a stream with a number of ours")
        self._last_stream = stream
        if len(self._calls) >= STREAMS_PER_CONNECTION:
            self._control(reset(stream, ErrorCode.REFUSED_STREAM))
            return
        problem, serve = grpc_wire.problem_with(fields), self._routes.get(fields.get(":path", ""))
        if problem is not None or serve is None:
            reason = problem or "there is no such method"
            self._control(grpc_wire.trailers(stream, Status.UNIMPLEMENTED, reason, is_first=True))
            return
        call = self._calls[stream] = ServerCall(self, stream, self._initial_window)
        call.handler = serve(call)
        if is_last:
            call.half_closed()

    def _settings(self, received: Frame) -> None:
        if received.flags & ACKNOWLEDGED:
            return
        for name, value in read_settings(received.payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                self._change_windows(value)
            elif name == Setting.MAX_FRAME_SIZE:
                self._largest_frame = max(FRAME_BYTES, min(value, 4 * FRAME_BYTES))
        self._control(frame(Kind.SETTINGS, ACKNOWLEDGED, 0))
        self._send_what_waits()

    def _change_windows(self, value: int) -> None:
        """Of all streams, by the difference (section 6.9.2); they may become negative."""
        if value > LARGEST_WINDOW:
            raise ConnectionFailedError(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
        for call in self._calls.values():
            call.window += value - self._initial_window
        self._initial_window = value

    def _ping(self, received: Frame) -> None:
        if len(received.payload) != 8:
            raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "a ping of another length than eight")
        if not received.flags & ACKNOWLEDGED:
            self._control(frame(Kind.PING, ACKNOWLEDGED, 0, received.payload))

    def _window_update(self, received: Frame) -> None:
        number = read_number(received.payload) & LARGEST_WINDOW
        call = self._calls.get(received.stream)
        if not received.stream:
            self._window += number
            if self._window > LARGEST_WINDOW:
                raise ConnectionFailedError(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
            self._send_what_waits()
        elif call is not None:
            call.window += number
            if call.window > LARGEST_WINDOW:
                raise ConnectionFailedError(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
            call.send_what_waits()

    def _reset(self, received: Frame) -> None:
        read_number(received.payload)
        call = self._calls.get(received.stream)
        if call is not None:
            self.forget(received.stream)
            call.broken()

    # For calls

    @property
    def peer(self) -> Mapping[str, Sequence[bytes]]:
        """See grpc_calls.Call."""
        certificate = None if self._transport is None else self._transport.get_extra_info("peercert")
        names = () if not certificate else certificate.get("subjectAltName", ())
        return {PEER_URI: tuple(value.encode() for kind, value in names if kind == "URI")}

    @property
    def room(self) -> int:
        """How many bytes of data may be written now, on all streams together."""
        return 0 if self._is_paused or self._transport is None or self._transport.is_closing() else self._window

    @property
    def largest_frame(self) -> int:
        """How much data goes into one frame."""
        return self._largest_frame

    def admit(self) -> None:
        """See grpc_calls.Call."""
        self.has_been_served = True

    def write_data(self, *pieces: bytes | memoryview) -> None:
        """Data frames with so much data in them that `room` has been asked for."""
        self._idle_frames = 0
        self._write(b"".join(pieces))

    def heard(self) -> None:
        """A message has come whole."""
        self._idle_frames = 0

    def spend(self, number: int) -> None:
        """So many bytes of data are written."""
        self._window -= number

    def write_frame(self, data: bytes) -> None:
        """A frame that flow control does not concern."""
        self._control(data)

    def forget(self, stream: int) -> None:
        """The call is over."""
        if self._calls.pop(stream, None) is not None:
            self._idle_since = self._loop.time()

    def _control(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._write(data)
        if self._is_paused and transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            transport.abort()

    def _write(self, data: bytes) -> None:
        """uvloop raises where asyncio drops what is written to a connection that has just broken; that it is lost is told in the next turn."""
        assert self._transport is not None
        try:
            self._transport.write(data)
        except RuntimeError:
            self._transport.abort()

    def _send_what_waits(self) -> None:
        for call in list(self._calls.values()):
            call.send_what_waits()
