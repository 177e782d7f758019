"""One HTTP/1.1 connection of a viewer: bytes to requests, answers to bytes, one exchange at a time, in order.

Bytes are parsed by `request_reader.py`, unless line and header section are those of requests that were parsed before (`policy/sections.py`). Time limits are here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from edge_node.caching.bodies import LentPiece, Piece
from edge_node.errors import ViewerError
from edge_node.exchange import BodyFromViewer, UnderWay
from edge_node.listeners.request_reader import RequestReader
from edge_node.listeners.writing import lend_at_once, lend_nowhere, write_at_once, write_nowhere
from edge_node.model import RequestHead
from edge_node.policy.sections import HeaderSection

HEAD_TIMEOUT_SECONDS = 10.0
"""From the first byte of a head to its last; slower is a slow-loris."""
IDLE_TIMEOUT_SECONDS = 65.0
"""Between two requests on a connection."""
BODY_TIMEOUT_SECONDS = 30.0
"""Between two pieces of a request's body."""
STALL_TIMEOUT_SECONDS = 60.0
"""A viewer that takes nothing of its response for so long is gone."""
HELD_UP_BYTES = 262_144
"""A viewer that has so much before it, and more than a quarter of it, gets no more. With less, a large body needs a turn of the loop for each piece."""
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

    def section_of(self, data: bytes) -> HeaderSection | None:
        """The header section of these bytes, if it is known."""

    def head_of(self, line: bytes, section: HeaderSection) -> RequestHead | None:
        """The request that a known section makes with this line, if it is known too."""

    def answer_known(self, wire: "ViewerConnection", section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        """Answer a request of known parts at once and keep the connection open; False: it has to be taken as any other."""

    def learn(self, data: bytes, head: RequestHead, *, is_answered: bool) -> None:
        """These bytes are this request, and nothing else; whether it was answered at once, from what is stored."""

    def learn_target(self, head: RequestHead) -> None:
        """This request was answered at once, from what is stored."""


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
        self._reader = RequestReader(self)
        self._section: HeaderSection | None = None
        """Of the last request, which the next one usually repeats."""
        self._answer_known = listener.service.answer_known
        self._is_quiet = False
        """Nothing is under way: see `_look_whether_quiet`."""
        self._has_answered = False
        """In the short way, since deadlines were looked at last."""
        self.peer: tuple[str, int] = ("-", 0)
        self.write: Callable[[Piece], None] = write_nowhere
        """Send bytes that are the caller's again when this returns: see `write_at_once`."""
        self.write_lent: Callable[[LentPiece, int], int] | None = lend_nowhere
        self.is_held_up = False
        self.request_bytes = 0
        self._exchange: UnderWay | None = None
        self._is_paced = False
        self._is_busy = False
        self._is_closing = False
        self._waiting: deque[tuple[RequestHead, BodyFromViewer | None]] = deque()
        self._is_reading_paused = False
        self._is_ended = False
        self._has_heard_all = False
        self._unsent_bytes = 0
        self._deadline = listener.clock() + HEAD_TIMEOUT_SECONDS

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; refuse one connection too many."""
        self._transport = cast("asyncio.Transport", transport)
        self.write = write_at_once(self._transport)
        self.write_lent = lend_at_once(self._transport)
        self._transport.set_write_buffer_limits(high=HELD_UP_BYTES)
        self.peer = (transport.get_extra_info("peername") or ("-", 0))[:2]
        if not self._listener.opened(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The viewer is gone; whoever works for it is told."""
        del exc  # a reset and a close mean the same here
        self._transport = None
        self._is_quiet = False
        self.write, self.write_lent = write_nowhere, lend_nowhere
        self._listener.closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.viewer_left()
        for _, body in self._waiting:
            if body is not None:
                body.break_off()
        self._waiting.clear()
        self._section = None
        if self._reader.body is not None:
            self._reader.body.break_off()

    def eof_received(self) -> bool:
        """A viewer that has said all may still wait for its answers; one that stopped in the middle of a request gets none."""
        self._has_heard_all = True
        self._is_quiet = False
        return self._reader.body is None and not self._is_ended and (self._is_busy or bool(self._waiting))

    def data_received(self, data: bytes) -> None:
        """Take a request whose parts are known; parse what is not."""
        section = self._section
        if section is not None and self._is_quiet and data.endswith(section.data):
            length = len(data)
            if self._answer_known(self, section, data[: length - section.length], length):
                self._has_answered = True
                return
        if not self._is_ended and not self._take_known(data):
            self._read(data)
        self._look_whether_quiet()

    def _take_known(self, data: bytes) -> bool:
        """A request made of known parts; False when they are not."""
        end = data.find(b"\r\n")
        if end <= 0 or self._reader.is_in_message or self._is_closing:
            return False
        section = self._service.section_of(data[end:])
        if section is None:
            return False
        line = data[:end]
        self.request_bytes = len(data)
        if self._is_quiet and section is not self._section and self._answer_known(self, section, line, len(data)):
            self._has_answered = True
        else:
            head = self._service.head_of(line, section)
            if head is None:
                return False
            self.take(head, None)
            if not self._is_busy:
                self._service.learn_target(head)
        self._section = section
        return True

    def _look_whether_quiet(self) -> None:
        """Whether a request that comes now can be answered at once, and another one may follow it."""
        self._is_quiet = not (
            self._is_busy
            or self._is_closing
            or self._is_ended
            or self._has_heard_all
            or self.is_held_up
            or self._is_reading_paused
            or self._waiting
            or self._reader.is_in_message
            or self._listener.is_draining
        )

    def pause_writing(self) -> None:
        """The viewer does not follow."""
        self.is_held_up = True
        self._is_quiet = False
        self._watch_sending()

    def resume_writing(self) -> None:
        """It does again."""
        self.is_held_up = False
        if self._exchange is not None:
            self._exchange.resume()
        elif not self._is_busy:
            self._next()
        self._look_whether_quiet()

    def _read(self, data: bytes) -> None:
        """The long way: parse. After the last request nothing is read but the rest of its body."""
        reader = self._reader
        if self._is_closing and (reader.body is None or reader.violation is not None):
            return
        was_in_message = reader.is_in_message
        self.request_bytes = self.request_bytes + len(data) if was_in_message else len(data)
        alone = reader.read(data)
        if self._is_ended:
            return
        if reader.violation is not None:
            self._refuse(reader.violation)
            return
        if (
            reader.is_upgrade
        ):  # no protocol to switch to: the request is answered as any other, then the connection ends
            self._is_closing = True
        elif alone is not None:
            self._service.learn(data, alone, is_answered=not self._is_busy)
        if reader.body is not None:
            self._deadline = self._listener.clock() + BODY_TIMEOUT_SECONDS
        elif reader.is_in_message and (reader.has_completed or not was_in_message):
            self._deadline = self._listener.clock() + HEAD_TIMEOUT_SECONDS

    # -- requests, in order

    def take(self, head: RequestHead, body: BodyFromViewer | None) -> None:
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
        self._is_quiet = False
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
        if self._reader.body is not None:
            self._reader.body.break_off()
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

    def begin_exchange(self, exchange: UnderWay) -> None:
        """Who is told when the viewer takes more, or leaves."""
        self._exchange = exchange

    def begin_paced(self, exchange: UnderWay) -> None:
        """As above; until the end of the exchange the viewer counts as held up while anything waits."""
        self._exchange = exchange
        self._is_paced = True
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)

    def end_exchange(self, *, keep_alive: bool) -> None:
        """The answer is handed over: close, or go on."""
        self._exchange = None
        self._is_busy = False
        if self._is_paced:
            self._is_paced = False
            if self._transport is not None:
                self._transport.set_write_buffer_limits(high=HELD_UP_BYTES)
        if not keep_alive:
            self._is_closing = True
            self._waiting.clear()
            self._close()
        elif self._waiting or self._is_reading_paused:
            self._next()
        else:
            self._deadline = self._listener.clock() + IDLE_TIMEOUT_SECONDS
        self._look_whether_quiet()

    def _close(self) -> None:
        """Close after what was sent; if the viewer may still be sending, tell it first and read on for a moment."""
        self._is_ended = True
        self._reader.stop()
        if self._transport is None:
            return
        self._watch_sending()
        if self._has_heard_all or (self._reader.violation is None and not self._reader.is_in_message):
            self._transport.close()
            return
        self._deadline = self._listener.clock() + LINGER_SECONDS
        if self._reader.body is not None:
            self._reader.body.break_off()
        self.resume_body()
        self._transport.write_eof()

    def _watch_sending(self) -> None:
        """From now on the viewer has to take something now and then."""
        self._deadline = self._listener.clock() + STALL_TIMEOUT_SECONDS
        self._unsent_bytes = self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, data: Piece) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def send_many(self, chunks: list[Piece]) -> None:
        """Send pieces."""
        if self._transport is not None:
            self._transport.writelines(chunks)

    def abort(self) -> None:
        """Cut the connection."""
        self._is_closing = True
        self._is_quiet = False
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
            if self._reader.body is not None and not self._is_ended:
                self._deadline = self._listener.clock() + BODY_TIMEOUT_SECONDS
            self._transport.resume_reading()

    # -- time limits

    def check_deadline(self, now: float) -> None:
        """Called about once a second: end what takes too long."""
        if self._has_answered:
            self._has_answered = False
            if not self._is_busy and not self._reader.is_in_message:
                self._deadline = now + IDLE_TIMEOUT_SECONDS
        if self._transport is None or now < self._deadline:
            return
        is_ending = self._is_ended or self._transport.is_closing()
        if (self.is_held_up or is_ending) and 0 < self._transport.get_write_buffer_size() < self._unsent_bytes:
            self._watch_sending()  # it is slow, but it follows
        elif self.is_held_up or is_ending or (self._reader.body is not None and not self._is_reading_paused):
            self._transport.abort()
        elif not self._is_busy:
            if self._reader.is_in_message:
                self._refuse(ViewerError(408, "The request did not arrive in time."))
            else:
                self._transport.close()

    def drain(self) -> None:
        """Close now if idle; else after the answer that is under way."""
        self._is_quiet = False
        if not self._is_busy and not self._waiting and self._transport is not None:
            self._transport.close()
