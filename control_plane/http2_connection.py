"""What both ends of an HTTP/2 connection do alike: frames in, flow control, settings, pings, and a word at the end (RFC 9113). Who opens streams, and what they are
about, is in `grpc_connection.py` (the server's end) and `grpc_client.py`.

What is heard never waits here, so the window of the connection is given back as it is read; what waits on a stream is the stream's affair. Whatever costs without
bringing a message is counted (`MOST_IDLE_FRAMES`).
"""

import asyncio
import contextlib
from typing import Final, Generic, Protocol, TypeVar, cast

from control_plane.http2_frames import (
    ACKNOWLEDGED,
    FRAME_BYTES,
    LARGEST_WINDOW,
    WINDOW_BYTES,
    ConnectionFailedError,
    ErrorCode,
    Frame,
    FrameReader,
    Kind,
    Setting,
    frame,
    go_away,
    read_number,
    read_settings,
    window_update,
)
from control_plane.http2_heads import Head, HeadReader

MOST_IDLE_FRAMES: Final = 10_000
"""Frames in a row that bring no message to its end, and on which nothing was sent: pings, settings, resets, data in crumbs."""
MOST_UNREAD_BYTES: Final = 256 * 1024
"""Of answers to pings and the like, for a peer that does not read."""
LINGER_SECONDS: Final = 1.0
"""For the word at the end; who does not read it is not waited for."""
GIVE_BACK_BYTES: Final = 16_384
"""When the window of a connection is given back: a quarter of what it is at first."""


class Stream(Protocol):
    """One stream as far as its connection is concerned."""

    window: int
    """How much data may be sent on it; negative where the peer has made it smaller since (section 6.9.2)."""

    def data_received(self, received: Frame) -> None:
        """A DATA frame for it."""

    def send_what_waits(self) -> None:
        """A window has grown, or the system takes data again."""

    def broken(self) -> None:
        """The peer is gone, or has cancelled it."""


AnyStream = TypeVar("AnyStream", bound=Stream)


class Http2Connection(asyncio.Protocol, Generic[AnyStream]):
    """One end. Who derives from it says what follows from a head (`_head`) and from data (`_data`)."""

    __slots__ = (
        "_calls",
        "_frames",
        "_heads",
        "_idle_frames",
        "_initial_window",
        "_is_paused",
        "_largest_frame",
        "_last_stream",
        "_loop",
        "_most_unread",
        "_transport",
        "_used",
        "_window",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader()
        self._heads = HeadReader()
        self._calls: dict[int, AnyStream] = {}
        self._last_stream = 0
        """The newest that there was, of the client's numbers."""
        self._window = WINDOW_BYTES
        self._initial_window = WINDOW_BYTES
        self._largest_frame = FRAME_BYTES
        self._used = 0
        self._most_unread = MOST_UNREAD_BYTES
        self._is_paused = False
        self._idle_frames = 0

    def end(self, code: ErrorCode, reason: str) -> None:
        """Close it, after a word (section 5.4.1)."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            with contextlib.suppress(RuntimeError):  # uvloop's, for a connection that was given up while it was made
                transport.write(go_away(self._last_heard_stream(), code, reason))
            transport.close()
            self._loop.call_later(LINGER_SECONDS, transport.abort)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.broken()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
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

    def _received(self, received: Frame) -> None:
        kind = received.kind
        if self._heads.is_within_head and kind != Kind.CONTINUATION:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "a head that is not finished")
        self._idle_frames += 1
        if self._idle_frames > MOST_IDLE_FRAMES:
            raise ConnectionFailedError(ErrorCode.ENHANCE_YOUR_CALM, "many frames for nothing")
        match kind:
            case Kind.DATA:
                self._data_received(received)
            case Kind.HEADERS | Kind.CONTINUATION:
                head = self._heads.feed(received)
                if head is not None:
                    self._head(head)
            case Kind.SETTINGS:
                self._settings(received)
            case Kind.PING:
                self._ping(received)
            case Kind.WINDOW_UPDATE:
                self._window_update(received)
            case Kind.RST_STREAM:
                self._reset(received)
            case Kind.GOAWAY:
                self._go_away(received)
            case Kind.PUSH_PROMISE:
                raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "nothing may be promised here")
            case _:
                pass  # PRIORITY, and kinds that are not known (section 4.1)

    def _data_received(self, received: Frame) -> None:
        call = self._calls.get(received.stream)
        if call is None and (received.stream > self._last_stream or not received.stream):
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "data before a head")
        self._used += len(received.payload)
        if self._used >= self._give_back_bytes():
            self.write_frame(window_update(0, self._used))
            self._used = 0
        if call is not None:  # else it was ended here, and the peer does not know yet
            call.data_received(received)

    def _head(self, head: Head) -> None:
        raise NotImplementedError

    def _go_away(self, received: Frame) -> None:
        """The peer wants no new streams (section 6.8)."""

    def _settings(self, received: Frame) -> None:
        if received.flags & ACKNOWLEDGED:
            return
        for name, value in read_settings(received.payload):
            self._set(name, value)
        self.write_frame(frame(Kind.SETTINGS, ACKNOWLEDGED, 0))
        self._send_what_waits()

    def _set(self, name: int, value: int) -> None:
        if name == Setting.INITIAL_WINDOW_SIZE:
            self._change_windows(value)
        elif name == Setting.MAX_FRAME_SIZE:
            self._largest_frame = max(FRAME_BYTES, min(value, 4 * FRAME_BYTES))

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
            self.write_frame(frame(Kind.PING, ACKNOWLEDGED, 0, received.payload))

    def _window_update(self, received: Frame) -> None:
        number = read_number(received.payload) & LARGEST_WINDOW
        call = self._calls.get(received.stream)
        if not received.stream:
            was_used_up = self._window <= 0
            self._window = _grown(self._window, number)
            if was_used_up:  # else nobody has waited for it
                self._send_what_waits()
        elif call is not None:
            call.window = _grown(call.window, number)
            call.send_what_waits()

    def _reset(self, received: Frame) -> None:
        read_number(received.payload)
        call = self._calls.get(received.stream)
        if call is not None:
            self.forget(received.stream)
            call.broken()

    # For streams

    @property
    def room(self) -> int:
        """How many bytes of data may be written now, on all streams together."""
        return 0 if self._is_paused or self._transport is None or self._transport.is_closing() else self._window

    @property
    def largest_frame(self) -> int:
        """How much data goes into one frame."""
        return self._largest_frame

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
        """Frames that flow control does not concern."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._write(data)
        if self._is_paused and transport.get_write_buffer_size() > self._most_unread:
            transport.abort()

    def forget(self, stream: int) -> None:
        """It is over."""
        self._calls.pop(stream, None)

    def _raise_unsent(self, most_bytes: int) -> None:
        """So many bytes of data may wait for the system from now on, with answers to pings and the like besides."""
        self._most_unread = most_bytes + MOST_UNREAD_BYTES
        if self._transport is not None:
            self._transport.set_write_buffer_limits(most_bytes)

    # What the ends have each their own of

    def _give_back_bytes(self) -> int:
        return GIVE_BACK_BYTES

    def _last_heard_stream(self) -> int:
        """The newest of the peer's streams that anything was done for (section 6.8)."""
        return self._last_stream

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


def _grown(window: int, number: int) -> int:
    """Section 6.9.1."""
    if window + number > LARGEST_WINDOW:
        raise ConnectionFailedError(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
    return window + number
