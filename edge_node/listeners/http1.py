"""One HTTP/1.1 connection of a viewer: bytes to requests, answers to bytes, one exchange at a time, in order.

Framing is httptools' (llhttp, strict: conflicting or repeated lengths, Content-Length with Transfer-Encoding, folded lines and bare line ends are refused). Limits
and time limits are here. A head whose bytes are those of the one before on the same connection is not parsed again: the same bytes are the same request.
"""

import asyncio
import logging
from collections import deque
from typing import Protocol, cast

import httptools

from edge_node.errors import ViewerError
from edge_node.exchange import BodyFromViewer, Exchange
from edge_node.hits import RepeatedHit
from edge_node.listeners.heads import MAXIMUM_HEAD_BYTES, MAXIMUM_TARGET_BYTES, make_request_head
from edge_node.model import Header, RequestHead

logger = logging.getLogger(__name__)

HEAD_TIMEOUT_SECONDS = 10.0
"""From the first byte of a head to its last; slower is a slow-loris."""
IDLE_TIMEOUT_SECONDS = 65.0
"""Between two requests on a connection."""
BODY_TIMEOUT_SECONDS = 30.0
"""Between two pieces of a request's body."""
STALL_TIMEOUT_SECONDS = 60.0
"""A viewer that takes nothing of its response for so long is gone."""
LINGER_SECONDS = 2.0
"""After an answer that came before the request was read whole: closing at once would reset the connection, and the answer with it (RFC 9112 section 9.6)."""
MAXIMUM_WAITING_REQUESTS = 64
"""Pipelined requests kept while one is being answered; reading stops well before, so more than one read's worth cannot come."""


class Service(Protocol):
    """What is done with requests."""

    def handle(self, wire: "ViewerConnection", head: RequestHead, body: BodyFromViewer | None) -> None:
        """Take one; the connection's `end_exchange` ends it."""

    def refuse_malformed(self, wire: "ViewerConnection", error: ViewerError) -> None:
        """Answer something that is no request; the connection closes after it."""


class Listener(Protocol):
    """What the connections of one server share."""

    is_draining: bool

    @property
    def service(self) -> Service:
        """Who takes the requests."""

    def opened(self, connection: "ViewerConnection") -> bool:
        """One more connection; False when it is one too many."""

    def closed(self, connection: "ViewerConnection") -> None:
        """One less."""

    def clock(self) -> float:
        """Monotonic seconds."""


class ViewerConnection(asyncio.Protocol):
    """A viewer's connection."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._service = listener.service
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self.peer: tuple[str, int] = ("-", 0)
        self.is_held_up = False
        self.request_bytes = 0
        self.last_hit_head: RequestHead | None = None
        self.again: RepeatedHit | None = None
        self._exchange: Exchange | None = None
        self._is_busy = False
        self._is_closing = False
        self._waiting: deque[tuple[RequestHead, BodyFromViewer | None]] = deque()
        self._is_reading_paused = False
        self._is_ended = False
        self._has_heard_all = False
        self._unsent_bytes = 0
        self._violation: ViewerError | None = None
        self._begun = self._completed = 0
        self._unfinished_bytes = 0
        self._in_message = False
        self._body: BodyFromViewer | None = None
        self._target = b""
        self._headers: list[Header] = []
        self._head: RequestHead | None = None
        self._last_data = b""
        self._last_head: RequestHead | None = None
        self._deadline = listener.clock() + HEAD_TIMEOUT_SECONDS

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; refuse one connection too many."""
        self._transport = cast("asyncio.Transport", transport)
        self.peer = (transport.get_extra_info("peername") or ("-", 0))[:2]
        if not self._listener.opened(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The viewer is gone; whoever works for it is told."""
        del exc  # a reset and a close mean the same here
        self._transport = None
        self._listener.closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.viewer_left()
        for _, body in self._waiting:
            if body is not None:
                body.break_off()
        self._waiting.clear()
        self.again = None
        if self._body is not None:
            self._body.break_off()

    def eof_received(self) -> bool:
        """A viewer that has said all may still wait for its answers; one that stopped in the middle of a request gets none."""
        self._has_heard_all = True
        return self._body is None and not self._is_ended and (self._is_busy or bool(self._waiting))

    def data_received(self, data: bytes) -> None:
        """Parse, unless these are the bytes of the last request again."""
        if self._is_ended:
            return
        if data == self._last_data and not self._in_message and not self._is_closing and self._last_head is not None:
            self.request_bytes = len(data)
            self._take(self._last_head, None)
            return
        self._parse(data)

    def pause_writing(self) -> None:
        """The viewer does not follow."""
        self.is_held_up = True
        self._watch_sending()

    def resume_writing(self) -> None:
        """It does again."""
        self.is_held_up = False
        if self._exchange is not None:
            self._exchange.resume()
        elif not self._is_busy:
            self._next()

    # -- parsing

    def _parse(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._begun = self._completed = 0
        self._last_head = None
        was_in_message = self._in_message
        self.request_bytes = self.request_bytes + len(data) if was_in_message else len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_closing = (
                True  # no protocol to switch to: the request is answered as any other, then the connection ends
            )
        except httptools.HttpParserCallbackError as error:
            self._violation = self._violation or self._internal(error)
        except httptools.HttpParserError:
            self._violation = self._violation or ViewerError(400, "The request is malformed.")
        if self._is_ended:
            return
        if self._violation is not None:
            self._refuse(self._violation)
            return
        self._unfinished_bytes = 0 if self._completed else self._unfinished_bytes + len(data)
        if self._in_message and self._head is None and self._unfinished_bytes > MAXIMUM_HEAD_BYTES:
            self._refuse(ViewerError(494, "The request line and headers are larger than 32,768 bytes."))
            return
        if (
            self._begun == self._completed == 1
            and not was_in_message
            and self._head is not None
            and not self._head.has_body
        ):
            self._last_data, self._last_head = data, self._head
        if self._body is not None:
            self._deadline = self._listener.clock() + BODY_TIMEOUT_SECONDS
        elif self._in_message and (self._completed or not was_in_message):
            self._deadline = self._listener.clock() + HEAD_TIMEOUT_SECONDS

    def _internal(self, error: Exception) -> ViewerError:
        logger.error("internal error while taking a request", exc_info=error.__context__ or error)
        return ViewerError(500, "An internal error occurred.")

    def on_message_begin(self) -> None:
        """httptools: a request line begins."""
        self._begun += 1
        self._in_message = True
        self._target = b""
        self._headers = []
        self._head = None
        self._body = None

    def on_url(self, target: bytes) -> None:
        """httptools: a piece of the request target."""
        self._target += target
        if len(self._target) > MAXIMUM_TARGET_BYTES and self._violation is None:
            self._violation = ViewerError(414, "The URL is longer than 8,192 bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a field line; those of a trailer section are dropped."""
        if self._head is None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """httptools: the head is there; a request with a body starts now, one without when it is complete."""
        if self._violation is not None or self._is_ended:
            return
        parser = self._parser
        version = parser.get_http_version()
        # There is no protocol to switch to: such a request is answered as any other, and is the last one.
        is_keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        try:
            if version not in ("1.1", "1.0"):
                raise ViewerError(505, "This node speaks HTTP/1.1 here.")
            self._head = make_request_head(
                parser.get_method(), self._target, self._headers, 0 if version == "1.0" else 1, is_keep_alive
            )
        except ViewerError as error:
            self._violation = error
            return
        if self._head.has_body:
            length = self._head.fields.get(b"content-length")
            self._body = BodyFromViewer(self, int(length) if length is not None else None)
            self._take(self._head, self._body)

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of the body."""
        if self._body is not None and not self._is_ended:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        self._completed += 1
        self._in_message = False
        if self._violation is not None or self._is_ended:
            return
        if self._body is not None:
            self._body.end()
            self._body = None
        elif self._head is not None:
            self._take(self._head, None)

    # -- requests, in order

    def _take(self, head: RequestHead, body: BodyFromViewer | None) -> None:
        """Answer now, or when those before it are answered."""
        if self._is_busy or self.is_held_up or self._waiting:
            self._waiting.append((head, body))
            self.pause_body()
            if len(self._waiting) > MAXIMUM_WAITING_REQUESTS and self._transport is not None:
                self._transport.abort()
            return
        self._start(head, body)

    def _start(self, head: RequestHead, body: BodyFromViewer | None) -> None:
        self._is_busy = True
        if not head.is_keep_alive:
            self._is_closing = True
        may_wait = body is not None and not body.is_complete and head.minor_version >= 1
        if may_wait and head.fields.get(b"expect", b"").lower() == b"100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._service.handle(self, head, body)

    def _next(self) -> None:
        """The next pipelined request, or the end of the pause."""
        while self._waiting and not self._is_busy and not self.is_held_up:
            self._start(*self._waiting.popleft())
        if not self._waiting and not self._is_busy:
            self.resume_body()
            self._deadline = self._listener.clock() + IDLE_TIMEOUT_SECONDS

    def _refuse(self, violation: ViewerError) -> None:
        """Answer what is no request, unless an answer is under way: then only the end can be told."""
        self._is_closing = True
        if self._body is not None:
            self._body.break_off()
        if self._is_busy:
            if self._exchange is not None and self._exchange.body is not None:
                self.abort()
            return
        self._is_busy = True
        self._service.refuse_malformed(self, violation)

    # -- what exchanges call

    @property
    def is_open(self) -> bool:
        """The viewer is still there."""
        return self._transport is not None

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow."""
        is_last = self._has_heard_all and not self._waiting
        return not self._is_closing and not self._listener.is_draining and not is_last

    def begin_exchange(self, exchange: Exchange) -> None:
        """Who is told when the viewer takes more, or leaves."""
        self._exchange = exchange

    def end_exchange(self, *, keep_alive: bool) -> None:
        """The answer is handed over: close, or go on."""
        self._exchange = None
        self._is_busy = False
        if not keep_alive:
            self._is_closing = True
            self._waiting.clear()
            self._close()
        elif self._waiting or self._is_reading_paused:
            self._next()
        else:
            self._deadline = self._listener.clock() + IDLE_TIMEOUT_SECONDS

    def _close(self) -> None:
        """Close after what was sent; if the viewer may still be sending, tell it first and read on for a moment."""
        self._is_ended = True
        if self._transport is None:
            return
        self._watch_sending()
        if self._has_heard_all or (self._violation is None and not self._in_message):
            self._transport.close()
            return
        self._deadline = self._listener.clock() + LINGER_SECONDS
        if self._body is not None:
            self._body.break_off()
        self.resume_body()
        self._transport.write_eof()

    def _watch_sending(self) -> None:
        """From now on the viewer has to take something now and then."""
        self._deadline = self._listener.clock() + STALL_TIMEOUT_SECONDS
        self._unsent_bytes = self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def send_many(self, chunks: list[bytes] | tuple[bytes, ...]) -> None:
        """Send pieces."""
        if self._transport is not None:
            self._transport.writelines(chunks)

    def abort(self) -> None:
        """Cut the connection."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def pause_body(self) -> None:
        """Stop reading."""
        if not self._is_reading_paused and self._transport is not None:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self._is_reading_paused and self._transport is not None:
            self._is_reading_paused = False
            if self._body is not None and not self._is_ended:
                self._deadline = self._listener.clock() + BODY_TIMEOUT_SECONDS
            self._transport.resume_reading()

    # -- time limits

    def check_deadline(self, now: float) -> None:
        """Called about once a second: end what takes too long."""
        if self._transport is None or now < self._deadline:
            return
        is_ending = self._is_ended or self._transport.is_closing()
        if (self.is_held_up or is_ending) and 0 < self._transport.get_write_buffer_size() < self._unsent_bytes:
            self._watch_sending()  # it is slow, but it follows
        elif self.is_held_up or is_ending or (self._body is not None and not self._is_reading_paused):
            self._transport.abort()
        elif not self._is_busy:
            if self._in_message:
                self._refuse(ViewerError(408, "The request did not arrive in time."))
            else:
                self._transport.close()

    def drain(self) -> None:
        """Close now if idle; else after the answer that is under way."""
        if not self._is_busy and not self._waiting and self._transport is not None:
            self._transport.close()
