"""One client connection: bytes in, answers out, in order, with backpressure both ways.

The rim: it performs the steps that `delivery` decided and owns the transport. Prompt answers are written where they are decided,
without a task; anything that waits runs in one task of the listener's TaskGroup, and the next request waits for it.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, assert_never, cast

from origin import delivery
from origin.errors import StalledError
from origin.history_rows import OriginRow
from origin.messages import NO_BODY, BodyRule, Framing, Request, Response
from origin.request_reader import ByteBudget, ContinueExpected, Event, RequestArrived, RequestReader, RequestRefused
from origin.tcp import reset_when_closed, unacknowledged_bytes
from origin.wire import CONTINUE, LAST_CHUNK, encode_chunk, encode_head, framing_of, has_body, must_close

# nginx keeps idle connections for 75 s; the CDN's own pools give up earlier.
IDLE_SECONDS = 75.0
# A head that dribbles in, or an upload that stops, ends after this.
READ_STALL_SECONDS = 30.0
# Long, so that an experiment may hold a reader still on purpose.
WRITE_STALL_SECONDS = 120.0
# How long a client that is still sending may go on after a refusal, so that it reads the answer instead of a reset.
LINGER_SECONDS = 2.0

_WRITE_BUFFER_BYTES = 262_144
_MAX_QUEUED_EVENTS = 64
_ARRIVAL_CHECK_SECONDS = 0.005

_log = logging.getLogger("origin")


@dataclass(frozen=True, slots=True)
class Answer:
    """A decided response, and the kind of content under which it is counted."""

    kind: str
    response: Response
    stamp: str = ""
    """What is said of its content, in a field beside those of the response."""
    row: OriginRow | None = None
    """For the history, if there is one: to be handed back when the answer was sent."""


class Service(Protocol):
    """What decides the answers; the connection knows nothing else about the origin."""

    def body_rule(self, method: str, path: str) -> BodyRule:
        """How the body of such a request is received."""

    def decide(self, request: Request) -> Answer:
        """The answer to a request."""

    def refuse(self, refusal: RequestRefused, connection_number: int) -> Answer:
        """The answer to what cannot be a request."""

    def count_sent_bytes(self, kind: str, count: int) -> None:
        """Body bytes were handed to the transport."""

    def sent(self, row: OriginRow, peer: str) -> None:
        """An answer was sent to this address, or could not be."""

    async def pass_gate(self, gate: str) -> None:
        """Return once the gate is open; StalledError at its bound."""


class Listener(Protocol):
    """What connections of one listening address share."""

    service: Service
    uploads: ByteBudget
    tasks: asyncio.TaskGroup
    loop: asyncio.AbstractEventLoop
    is_draining: bool

    def http_date(self) -> str:
        """The current Date."""

    def opened(self, connection: "HttpConnection") -> bool:
        """Whether there is room for one more connection."""

    def closed(self, connection: "HttpConnection") -> None:
        """The connection is gone."""


class HttpConnection(asyncio.Protocol):
    """Serves one connection until it ends."""

    def __init__(self, listener: Listener, number: int) -> None:
        self._listener = listener
        self._service = listener.service
        self._number = number
        self._reader = RequestReader(self._service.body_rule, listener.uploads, number)
        self._events: deque[Event] = deque()
        self._transport: asyncio.Transport | None = None
        self._delivery: asyncio.Task[None] | None = None
        self._writable: asyncio.Event | None = None
        self._peer = ""
        self._is_ending = False
        self._is_lingering = False
        self._is_reading_paused = False
        self._is_input_ended = False
        self._is_at_gate = False
        self._deadline = 0.0
        self._unsent_bytes = 0

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does all of it, without being a subclass
        self._peer = (transport.get_extra_info("peername") or ("",))[0]
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._set_deadline(READ_STALL_SECONDS)
        if not self._listener.opened(self):
            self._transport.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        if self._delivery is not None:
            self._delivery.cancel()
        for event in self._events:
            if isinstance(event, RequestArrived):
                self._listener.uploads.give_back(len(event.request.body.content))
        self._events.clear()
        self._reader.abandon()
        self._listener.closed(self)

    def data_received(self, data: bytes) -> None:
        """The client sent something."""
        if self._is_ending:
            return
        was_in_head = self._reader.is_in_head
        events = self._reader.feed(data)
        # A head has its time as a whole, or one byte now and then would keep it open for ever.
        if events or not (was_in_head and self._reader.is_in_head):
            self._set_deadline(READ_STALL_SECONDS if self._reader.is_in_message else IDLE_SECONDS)
        self._events.extend(events)
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for is still answered.

        Except at a gate: a client that left and one that only ended its sending look the same until something is sent to it,
        and who left must not be counted as waiting.
        """
        self._is_input_ended = True
        if self._is_lingering or self._is_at_gate:
            return False
        return self._delivery is not None or bool(self._events)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self._advance()

    # What the listener calls.

    def check_deadline(self, now: float) -> None:
        """End the connection if nothing moved on it for too long."""
        transport = self._open_transport()
        unsent_bytes = transport.get_write_buffer_size()
        is_moving = unsent_bytes != self._unsent_bytes or (self._delivery is not None and not unsent_bytes)
        self._unsent_bytes = unsent_bytes
        if is_moving and not self._is_lingering:
            self._set_deadline(WRITE_STALL_SECONDS)
        elif now > self._deadline:
            transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether no answer is under way: the request is not whole, or there is none."""
        return self._delivery is None and not self._events and not self._open_transport().get_write_buffer_size()

    def begin_drain(self) -> None:
        """Close at once if idle; else after the answer that is under way."""
        if self._delivery is None and not self._events and not self._reader.is_in_message:
            self._is_ending = True
            self._open_transport().close()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._open_transport().abort()

    # Answering, in order.

    def _advance(self) -> None:
        """Answer what has arrived, until something must wait."""
        events = self._events
        while events and self._delivery is None and self._writable is None and not self._is_ending:
            event = events.popleft()
            if isinstance(event, RequestArrived):
                self._answer(event.request)
            elif isinstance(event, RequestRefused):
                self._refuse(event)
            else:
                self._send_continue(event)
        self._throttle_reading()
        if self._is_input_ended and not events and self._delivery is None and not self._is_ending:
            self._finish()

    def _answer(self, request: Request) -> None:
        answer = self._decided(request)
        self._listener.uploads.give_back(len(request.body.content))
        response = answer.response
        is_last = self._listener.is_draining or must_close(request, response)
        if not delivery.is_prompt(response):
            self._start_delivery(request, answer, is_last)
            return
        head = encode_head(request, response, self._listener.http_date(), is_last, answer.stamp)
        if has_body(request, response):
            assert isinstance(response.body, bytes)
            head += response.body
            self._service.count_sent_bytes(answer.kind, len(response.body))
        self._open_transport().write(head)
        self._note(answer)
        if is_last:
            self._finish()

    def _decided(self, request: Request) -> Answer:
        try:
            return self._service.decide(request)
        except Exception:  # a bug in one path must not end the process; it is logged and answered
            _log.exception("cannot answer %s %s", request.method, request.target)
            return Answer(
                "other", Response(500, (("Content-Type", "text/plain"),), b"the origin failed; see its log\n")
            )

    def _refuse(self, refusal: RequestRefused) -> None:
        answer = self._service.refuse(refusal, self._number)
        request = Request(refusal.method or "GET", refusal.target, "", "", is_keep_alive=False)
        head = encode_head(request, answer.response, self._listener.http_date(), True, answer.stamp)
        assert isinstance(answer.response.body, bytes)
        self._open_transport().write(head + (answer.response.body if has_body(request, answer.response) else b""))
        self._note(answer)
        self._linger()

    def _note(self, answer: Answer) -> None:
        if answer.row is not None:
            self._service.sent(answer.row, self._peer)

    def _send_continue(self, _event: ContinueExpected) -> None:
        self._open_transport().write(CONTINUE)

    def _throttle_reading(self) -> None:
        """Read no further requests while many wait to be answered."""
        transport = self._open_transport()
        should_pause = len(self._events) > _MAX_QUEUED_EVENTS
        if should_pause == self._is_reading_paused or transport.is_closing():
            return
        self._is_reading_paused = should_pause
        if should_pause:
            transport.pause_reading()
        else:
            transport.resume_reading()

    # Ending.

    def _finish(self) -> None:
        """Close once everything written has left."""
        self._is_ending = True
        self._set_deadline(WRITE_STALL_SECONDS)
        self._open_transport().close()

    def _linger(self) -> None:
        """Let a client that is still sending read the answer: stop sending, ignore the rest, close at its end (RFC 9112, 9.6)."""
        self._is_ending = self._is_lingering = True
        self._set_deadline(LINGER_SECONDS)
        transport = self._open_transport()
        if self._is_input_ended:
            transport.close()
        else:
            transport.write_eof()

    def _reset(self) -> None:
        """Close with RST."""
        self._is_ending = True
        transport = self._open_transport()
        reset_when_closed(transport.get_extra_info("socket"))
        transport.abort()

    # Delivering what is not prompt.

    def _start_delivery(self, request: Request, answer: Answer, is_last: bool) -> None:
        steps = delivery.script(request, answer.response, is_last)
        # The answer may take long, and nobody needs the upload any more.
        exchange = _Exchange(replace(request, body=NO_BODY), answer, is_last)
        self._delivery = self._listener.tasks.create_task(self._deliver(exchange, steps))

    async def _deliver(self, exchange: "_Exchange", steps: Sequence[delivery.Step]) -> None:
        if steps and isinstance(steps[-1], delivery.Reset):
            # Let every write wait until the kernel has its bytes; see _wait_until_arrived.
            self._open_transport().set_write_buffer_limits(high=0)
        try:
            for step in steps:
                await self._perform(exchange, step)
        except StalledError as error:
            _log.warning("gave up %s: %s", exchange.request.target, error)
            self._reset()
        except Exception:  # as in _decided: logged, and this one connection ends
            _log.exception("cannot deliver %s", exchange.request.target)
            self.abort()
        finally:
            self._delivery = None
            self._note(exchange.answer)
        self._set_deadline(IDLE_SECONDS)
        self._advance()
        if self._listener.is_draining and self._delivery is None and not self._is_ending:
            self._finish()  # it began before the drain, as one of many on this connection

    async def _perform(self, exchange: "_Exchange", step: delivery.Step) -> None:
        match step:
            case delivery.Pause(seconds):
                await asyncio.sleep(seconds)
            case delivery.PassGate(gate):
                await self._pass_gate(gate)
            case delivery.SendHead():
                date, answer = self._listener.http_date(), exchange.answer
                await self._write(encode_head(exchange.request, answer.response, date, exchange.is_last, answer.stamp))
            case delivery.SendBody():
                await self._send_body(exchange, step)
            case delivery.EndChunks():
                await self._write(LAST_CHUNK)
            case delivery.SendRaw(data):
                await self._write(data)
            case delivery.Close():
                self._finish()
            case delivery.Reset():
                await self._wait_until_arrived()
                self._reset()
            case _:
                assert_never(step)

    async def _pass_gate(self, gate: str) -> None:
        if self._is_input_ended:
            raise StalledError(f"its client had gone when it came to gate {gate!r}")
        self._is_at_gate = True
        try:
            await self._service.pass_gate(gate)
        finally:
            self._is_at_gate = False

    async def _send_body(self, exchange: "_Exchange", step: delivery.SendBody) -> None:
        response = exchange.answer.response
        is_chunked = framing_of(exchange.request, response) is Framing.CHUNKED
        loop = self._listener.loop
        # Pieces are due at fixed times, so that a wait that took long is caught up and the rate holds.
        due = loop.time() - (0.0 if step.start else step.interval_seconds)
        for piece in delivery.body_pieces(response, step):
            if step.interval_seconds:
                due += step.interval_seconds
                await asyncio.sleep(due - loop.time())
            await self._write(*(encode_chunk(piece) if is_chunked else (piece,)))
            self._service.count_sent_bytes(exchange.answer.kind, len(piece))

    async def _write(self, *parts: bytes | memoryview) -> None:
        """Write, and wait while the client is behind."""
        transport = self._open_transport()
        for part in parts:
            transport.write(part)
        if self._writable is not None:
            await self._writable.wait()

    async def _wait_until_arrived(self) -> None:
        """Wait until the client's side has everything: a reset destroys what the kernel still has to send."""
        handle: socket.socket = self._open_transport().get_extra_info("socket")
        for _ in range(int(READ_STALL_SECONDS / _ARRIVAL_CHECK_SECONDS)):
            if not unacknowledged_bytes(handle):
                return
            await asyncio.sleep(_ARRIVAL_CHECK_SECONDS)

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self._listener.loop.time() + seconds

    def _open_transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport


@dataclass(frozen=True, slots=True)
class _Exchange:
    request: Request
    answer: Answer
    is_last: bool
