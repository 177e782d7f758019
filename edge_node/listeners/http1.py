"""One HTTP/1.1 connection of a viewer: bytes to requests, answers to bytes, one exchange at a time, in order.

Bytes are parsed by `request_parser.py`, unless line and header section are those of requests that were parsed before (`policy/parse_cache.py`). Time limits are in
`deadlines.py`. What a viewer sends while it is being answered waits unparsed, and nothing more is read meanwhile: so whatever it is, it changes nothing about the
answers before it, and no more than one read of it is ever held.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from edge_node.caching.stored_body import LentPiece, Piece
from edge_node.delivery.downstream import ResponseSource
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.http.request_head import MAXIMUM_HEAD_BYTES, MAXIMUM_HEAD_BYTES_OF_EDGES, is_websocket_handshake
from edge_node.listeners.deadlines import Deadline
from edge_node.listeners.http1_stream import Http1Stream
from edge_node.listeners.request_parser import RequestParser
from edge_node.listeners.serving import Listener
from edge_node.listeners.socket_writer import lend_at_once, lend_nowhere, write_at_once, write_nowhere
from edge_node.model.configuration import NO_HEAD
from edge_node.model.connection_facts import NO_CONNECTION, ConnectionFacts
from edge_node.model.errors import ViewerError
from edge_node.model.http import RequestHead
from edge_node.policy.parse_cache import HeaderSection
from edge_node.upstream.tunnel_connection import TunnelConnection, reset_at_close

WRITE_BLOCKED_BYTES: Final = 262_144
"""A viewer that has so much before it, and more than a quarter of it, gets no more. With less, a large body needs a turn of the loop for each piece."""


class ViewerConnection(asyncio.Protocol):
    """A viewer's connection. `facts` are known before it begins where a trusted proxy has said them (`trusted_proxies.py`)."""

    def __init__(self, listener: Listener, facts: ConnectionFacts | None = None) -> None:
        self._listener = listener
        self._service = listener.service
        self._fast_path = listener.fast_path
        self._transport: asyncio.Transport | None = None
        maximum_head_bytes = MAXIMUM_HEAD_BYTES_OF_EDGES if listener.node.is_regional else MAXIMUM_HEAD_BYTES
        self._reader = RequestParser(self, maximum_head_bytes)
        self._section: HeaderSection | None = None
        """Of the last request, which the next one usually repeats."""
        self._answer_known = listener.fast_path.answer
        self._can_fast_path = False
        """Nothing is under way: see `_update_can_fast_path`."""
        self._has_answered = False
        """On the fast path, since deadlines were looked at last."""
        self.facts = facts or NO_CONNECTION
        self.write: Callable[[Piece], None] = write_nowhere
        """Send bytes that are the caller's again when this returns: see `write_at_once`."""
        self.write_lent: Callable[[LentPiece, int], int] | None = lend_nowhere
        """The same for lent pieces: see `lend_at_once`."""
        self.is_write_blocked = False
        self.request_bytes = 0
        self._source: ResponseSource | None = None
        """Who answers the request that is under way."""
        self._stream: Http1Stream | None = None
        self._is_unbuffered = self._is_busy = self._is_closing = self._is_ended = self._is_reading_paused = False
        self._unread = b""
        """What came behind a request that is not answered yet; from `_unread_at` on it waits."""
        self._unread_at = 0
        self._has_heard_all = self._has_more = self._may_tunnel = False
        """The viewer has said all; bytes came behind the last request; those behind it may be a tunnel's."""
        self._tunnel: TunnelConnection | None = None
        self._clock = listener.clock
        self._deadline = Deadline(listener.clock())

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; refuse one connection too many."""
        self._transport = cast("asyncio.Transport", transport)
        self.write = write_at_once(self._transport)
        self.write_lent = lend_at_once(self._transport)
        self._transport.set_write_buffer_limits(high=WRITE_BLOCKED_BYTES)
        if self.facts is NO_CONNECTION:
            address, port = (transport.get_extra_info("peername") or ("-", 0))[:2]
            self.facts = ConnectionFacts(address, port)
        if not self._listener.opened(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The viewer is gone; whoever works for it is told."""
        del exc  # a reset and a close mean the same here
        self._transport, self._can_fast_path = None, False
        self.write, self.write_lent = write_nowhere, lend_nowhere
        self._listener.closed(self)
        source, self._source = self._source, None
        if source is not None:
            source.viewer_left()
        self._unread, self._section = b"", None
        if self._reader.body is not None:
            self._reader.body.break_off()

    def eof_received(self) -> bool:
        """A viewer that has said all may still wait for its answers; one that stopped in the middle of a request gets none."""
        self._has_heard_all = True
        self._can_fast_path = False
        return self._reader.body is None and not self._is_ended and (self._is_busy or self._unread != b"")

    def data_received(self, data: bytes) -> None:
        """Take a request whose parts are known; parse what is not."""
        section = self._section
        if section is not None and self._can_fast_path and data.endswith(section.data):
            length = len(data)
            if self._answer_known(self, section, data[: length - section.length], length):
                self._has_answered = True
                return
        try:
            self._take(data)
        except Exception:
            self.abort()  # nobody knows where this connection stands
            raise
        self._update_can_fast_path()

    def _take(self, data: bytes) -> None:
        if self._unread:  # reading was paused, and this was on its way
            self._unread = self._unread[self._unread_at :] + data
            self._unread_at = 0
        elif not self._is_ended and not self._take_known(data):
            self._read(data, 0)

    def _take_known(self, data: bytes) -> bool:
        """A request made of known parts; False when they are not."""
        end = data.find(b"\r\n")
        if end <= 0 or self._reader.is_in_message or not self.may_begin:
            return False
        section = self._fast_path.section_of(data[end:])
        if section is None:
            return False
        line = data[:end]
        self.request_bytes = len(data)
        if self._can_fast_path and section is not self._section and self._answer_known(self, section, line, len(data)):
            self._has_answered = True
        else:
            head = self._fast_path.head_of(line, section)
            if head is None:
                return False
            self.take(head, None)
            if not self._is_busy:
                self._fast_path.remember_target(head)
        self._section = section
        return True

    def _update_can_fast_path(self) -> None:
        """Whether a request that comes now can be answered at once, and another one may follow it."""
        is_over = self._is_closing or self._is_ended or self._has_heard_all or self._listener.is_draining
        is_held_up = self.is_write_blocked or self._is_reading_paused or self._unread != b""
        self._can_fast_path = not (self._is_busy or is_over or is_held_up or self._reader.is_in_message)

    def pause_writing(self) -> None:
        """The viewer does not follow."""
        self.is_write_blocked, self._can_fast_path = True, False
        self._watch_sending()

    def resume_writing(self) -> None:
        """It does again."""
        self.is_write_blocked = False
        if self._source is not None:
            self._source.credit_returned()
        elif not self._is_busy:
            self._read_on()
        self._update_can_fast_path()

    def _read(self, data: bytes, start: int) -> None:
        """The slow path: parse, as far as there is somebody to take it. After the last request nothing is read but the rest of its body."""
        reader = self._reader
        if self._is_closing and not self._may_tunnel and (reader.body is None or reader.violation is not None):
            self._has_more = True
            return
        was_in_message, was_in_body = reader.is_in_message, reader.body is not None
        at = reader.read(data, start)
        if self._is_ended:
            return
        if reader.violation is not None:
            self._refuse(reader.violation)
            return
        if at < len(data):
            self._let_wait(data, at)
        elif reader.was_one_request is not None:
            self._fast_path.remember(data, reader.was_one_request, is_answered=not self._is_busy)
        if reader.body is None:
            if reader.is_in_message and (reader.has_completed or not was_in_message):
                self._deadline.expect_head(self._clock())
        elif was_in_body and not reader.has_completed:
            self._deadline.body_bytes += at - start
        else:
            self._deadline.expect_body(self._clock())

    def _let_wait(self, data: bytes, start: int) -> None:
        """Until what is before it is answered, if anything may follow that."""
        if self._is_closing and not self._may_tunnel:
            self._has_more = True
            return
        self._unread, self._unread_at = data, start
        self.look_at_body()

    def _read_on(self) -> None:
        """What waited, as far as there is somebody to take it now; if that is all of it, new bytes again."""
        data, self._unread = self._unread, b""
        if data:
            self._read(data, self._unread_at)
        self.look_at_body()
        is_at_end = self._has_heard_all and not self._unread and (not self._is_busy or self._reader.body is not None)
        if is_at_end and not self._is_ended and self._transport is not None:
            self._transport.close()

    # -- requests, in order

    @property
    def may_begin(self) -> bool:
        """Whether another request can be taken."""
        return not (self._is_busy or self._is_closing or self.is_write_blocked or self._is_ended)

    def take(self, head: RequestHead, body: RequestBodyStream | None) -> None:
        """Answer, now or in a while; no other one is taken meanwhile."""
        self._is_busy = True
        self._can_fast_path = False
        if not head.is_keep_alive:
            self._is_closing = True
            self._may_tunnel = is_websocket_handshake(head)
        may_wait = body is not None and not body.is_complete and head.minor_version >= 1
        if may_wait and head.fields.get(b"expect", b"").lower() == b"100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._stream = Http1Stream(self, self._listener.node, head, body)
        self._service.handle(self._stream, head, body)

    def _refuse(self, violation: ViewerError) -> None:
        """Answer what is no request, or no body of one. If an answer to that one is under way, only the end can be told."""
        self._is_closing = True
        source, stream, body = self._source, self._stream, self._reader.body
        if body is None:
            self._is_busy = True
        elif stream is None:  # nobody has it yet
            body.break_off()
        elif source is None or stream.sent_bytes > 0 or not body.is_being_read:
            body.break_off()
            if source is None or body.is_being_read:
                self.abort()
            return
        else:
            self._source = None
            source.viewer_left()  # who reads the body hears of it as well
        self._stream = Http1Stream(self, self._listener.node, NO_HEAD, None)
        self._service.refuse_malformed(self._stream, violation)

    # -- what streams call

    @property
    def is_open(self) -> bool:
        """The viewer is still there."""
        return self._transport is not None

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow."""
        is_last = self._has_heard_all and not self._unread
        return not self._is_closing and not self._listener.is_draining and not is_last

    def begin_response(self, source: ResponseSource, *, is_unbuffered: bool) -> None:
        """Who is told when the viewer takes more, or leaves. Unbuffered: until the end of the response the viewer counts as blocked while anything waits."""
        self._source = source
        if is_unbuffered and not self._is_unbuffered and self._transport is not None:
            self._is_unbuffered = True
            self._transport.set_write_buffer_limits(high=0)

    def end_response(self, *, keep_alive: bool) -> None:
        """The answer is handed over: close, or go on."""
        self._source, self._stream, self._is_busy = None, None, False
        if self._is_unbuffered:
            self._is_unbuffered = False
            if self._transport is not None:
                self._transport.set_write_buffer_limits(high=WRITE_BLOCKED_BYTES)
        if not keep_alive:
            self._is_closing = True
            self._close()
        else:
            self._deadline.expect_request(self._clock())
            if self._unread or self._is_reading_paused:
                self._read_on()
        self._update_can_fast_path()

    def hand_over(self) -> TunnelConnection:
        """The tunnel has the connection; it only keeps its place among the others, and is never one that waits for nothing."""
        assert self._transport is not None
        self._source = None
        self._deadline.expect_nothing()
        unread, self._unread = self._unread[self._unread_at :], b""
        self._tunnel = TunnelConnection(
            self._transport, self.connection_lost, unread, is_reading_paused=self._is_reading_paused, has_peer_ended=self._has_heard_all
        )  # fmt: skip
        if self._listener.is_draining:
            asyncio.get_running_loop().call_soon(self._tunnel.node_leaves)
        return self._tunnel

    def _close(self) -> None:
        """Close after what was sent; if the viewer may still be sending, tell it first and read on for a moment."""
        reader = self._reader
        self._is_ended = True
        reader.stop()
        if self._transport is None:
            return
        self._watch_sending()
        has_more = self._has_more or self._unread or reader.violation is not None or reader.is_in_message
        if self._has_heard_all or not has_more:
            self._transport.close()
            return
        self._unread = b""
        self._deadline.linger(self._clock())
        if reader.body is not None:
            reader.body.break_off()
        self.look_at_body()
        self._transport.write_eof()

    def _watch_sending(self) -> None:
        """From now on the viewer has to take something now and then."""
        if self._transport is not None:
            self._deadline.expect_taking(self._clock(), self._transport.get_write_buffer_size())

    def send(self, data: Piece) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def send_many(self, pieces: Sequence[Piece]) -> None:
        """Send pieces."""
        if self._transport is not None:
            self._transport.writelines(pieces)

    def abort(self) -> None:
        """Cut the connection. Where an orderly end would be that of the response, by a reset (RFC 9112 section 8)."""
        self._is_closing, self._can_fast_path = True, False
        if self._transport is not None:
            if self._stream is not None and self._stream.ends_at_close:
                reset_at_close(self._transport)
            self._transport.abort()

    def look_at_body(self) -> None:
        """Read if there is somebody for what comes."""
        transport, body = self._transport, self._reader.body
        has_to_pause = not self._is_ended and (self._unread != b"" or (body is not None and body.is_full))
        if transport is None or has_to_pause == self._is_reading_paused:
            return
        self._is_reading_paused = has_to_pause
        if has_to_pause:
            transport.pause_reading()
            return
        if body is not None and not self._is_ended:
            self._deadline.expect_body(self._clock())
        transport.resume_reading()

    # -- time limits

    def check_deadline(self, now: float) -> None:
        """Called about once a second: end what takes too long."""
        deadline, transport = self._deadline, self._transport
        if self._has_answered:
            self._has_answered = False
            if not self._is_busy and not self._reader.is_in_message:
                deadline.expect_request(now)
        if transport is None or now < deadline.at:
            return
        if self.is_write_blocked or self._is_ended or transport.is_closing():
            if deadline.was_taken_fast_enough(transport.get_write_buffer_size()):
                self._watch_sending()
            else:
                if transport.get_write_buffer_size() > 0:
                    reset_at_close(transport)  # what was sent last is lost, and may have been all that told its end
                transport.abort()
        elif self._reader.body is not None and not self._is_reading_paused:
            if deadline.has_come_fast_enough():
                deadline.expect_body(now)
            else:
                transport.abort()
        elif not self._is_busy:
            if self._reader.is_in_message:
                self._refuse(ViewerError(408, "The request did not arrive in time."))
            else:
                transport.close()

    def shed_rank(self, now: float) -> tuple[bool, float] | None:
        """Whose time is over next goes first, a head that has begun last; None: it is being answered."""
        if self._unread or not self.may_begin:
            return None
        return self._reader.is_in_message, now if self._has_answered else self._deadline.at

    def shed(self) -> None:
        """Close: an idle connection may be closed at any time (RFC 9112 section 9.5), and viewers send what was not answered on another one."""
        self._is_closing, self._can_fast_path = True, False
        if self._transport is not None:
            self._transport.close()

    def drain(self) -> None:
        """Close now if idle; else after the answer that is under way."""
        self._can_fast_path = False
        if self._tunnel is not None:
            self._tunnel.node_leaves()
        elif not self._is_busy and not self._unread and self._transport is not None:
            self._transport.close()
