"""One HTTP/1.1 connection to an upstream: a request goes out, the response's parts go to a sink as they arrive.

Sockets and the response parser are owned here, so their exceptions become an UpstreamFailure here. Which upstream is asked, how often, and what is done with
the response is decided elsewhere.
"""

import asyncio
import logging
from typing import cast

import httptools

from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure
from edge_node.model.http import Header, ResponseHead
from edge_node.upstream.response_head_parser import ParsedHead, read_usual_head
from edge_node.upstream.response_heads import (
    LARGEST_UNFINISHED_HEAD_BYTES,
    NOT_ASKED_TO_SWITCH,
    SILENT,
    TOO_LARGE,
    is_visible,
    mistake_in,
    mistake_in_interim,
)
from edge_node.upstream.response_heads import make_response_head as make_response_head  # noqa: PLC0414 - for who knows connections
from edge_node.upstream.response_sink import OnComplete, OnSwitch, ResponseSink
from edge_node.upstream.tunnel_connection import TunnelConnection, reset_at_close

logger = logging.getLogger(__name__)


class UpstreamConnection(asyncio.Protocol):
    """A connection that carries one exchange at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sink: ResponseSink | None = None
        self._ended: OnComplete | None = None
        """Of the exchange that is under way."""
        self.on_switch: OnSwitch | None = None
        """Set before a request that asks for another protocol: who takes the connection when upstream switches. The exchange ends when the tunnel does."""
        self._switched: ResponseHead | None = None
        self._tunnel: TunnelConnection | None = None
        self._fields: list[Header] = []
        self._reason = b""
        self._pieces: list[bytes] = []
        """Of a body, in chunks of any size: passed on when all that was read has been parsed."""
        self._silent_bytes = self._interim_responses = 0
        """The first: read without a byte of content (of a head, chunk extensions, trailers), since a head was whole or content came."""
        self._is_head_request = self._has_head = self._ends_at_close = False
        self._is_response_started = self._is_paused = False
        self._is_whole = self._is_last = False
        """The parser has seen the end of the response, and that no other one can follow it here."""
        self._missing_bytes = 0
        """Of a body that the parser is not asked about."""
        self._writable: asyncio.Future[None] | None = None
        self._has_request_body, self._is_request_whole = False, True
        """The second: nothing more of the request will be written."""
        self._taken_bytes = 0
        """How much of what was written the upstream had taken when that was looked at last."""
        self._read_timeout = self._last_progress = self._watch_rings_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.idle_until = 0.0
        self.requests_sent = self.received_bytes = self.sent_bytes = self._received_before = 0

    # -- what the owner calls

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def begin(
        self, request: bytes, sink: ResponseSink, ended: OnComplete, *, is_head: bool, read_timeout: float, has_body: bool = False
    ) -> None:  # fmt: skip
        """Send a request; its body is written next. `ended` is told when the response is whole, and then the connection may carry another one, or when it failed."""
        assert self._ended is None, "one exchange at a time"
        self._sink = sink
        self._ended = ended
        self._is_head_request = is_head
        self._has_head = self._is_whole = self._is_last = self._ends_at_close = self._is_response_started = False
        self._interim_responses = self._missing_bytes = self._silent_bytes = 0
        self._received_before = self.received_bytes
        self._read_timeout = read_timeout
        self._has_request_body, self._is_request_whole = has_body, not has_body
        self.requests_sent += 1
        if self._transport is not None:
            self.sent_bytes += len(request)
            self._taken_bytes = self.sent_bytes
            self._last_progress = self._loop.time()
            self._transport.write(request)
        self._watch_progress(self._last_progress)

    def write(self, data: bytes) -> None:
        """Send bytes of the request's body; when the exchange has ended, they go nowhere."""
        transport = self._transport
        if transport is not None and self._ended is not None:
            if not transport.get_write_buffer_size():  # it had taken all: its time begins now
                self._last_progress = self._loop.time()
            self.sent_bytes += len(data)
            transport.write(data)

    def end_request(self) -> None:
        """The request's body is written whole: from now on it is the upstream that is waited for."""
        if self._ended is not None and self._transport is not None:
            self._is_request_whole = True
            self._last_progress = self._loop.time()
            self._taken_bytes = self.sent_bytes - self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        """Wait until the upstream takes more of the request, or the exchange has ended."""
        if self._writable is not None:
            await self._writable

    def pause(self) -> None:
        """Stop reading: whoever takes the body has enough for now."""
        if not self._is_paused and self.is_open and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._is_paused and self._transport is not None and self.is_open:
            self._is_paused = False
            self._last_progress = self._loop.time()
            self._transport.resume_reading()

    def give_up(self, kind: UpstreamErrorKind, detail: str) -> None:
        """End the exchange with an error: whoever takes the response does not want it, or has waited too long for its end."""
        if self._ended is not None:
            self._fail(kind, detail)

    def close(self) -> None:
        """End the connection at once. In an exchange by a reset: an orderly end says no more than that the request is whole (RFC 9112 section 9.6)."""
        if self._transport is not None:
            if self._ended is not None:
                reset_at_close(self._transport)
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what has come; anything out of turn ends the connection."""
        if self._sink is None:  # bytes that nobody asked for
            self.close()
            return
        self.received_bytes += len(data)
        self._last_progress = self._loop.time()
        is_first, self._is_response_started = not self._is_response_started, True
        usual = read_usual_head(data) if is_first and not self._is_head_request else None
        try:
            if usual is not None:
                self._take_usual(self._sink, usual, data)
            elif self._missing_bytes:
                self._take_body(self._sink, data)
            else:
                self._parse(data)
        except Exception:
            logger.exception("internal error while taking a response")
            self.give_up(UpstreamErrorKind.INTERNAL, "an internal error occurred")

    def _take_usual(self, sink: ResponseSink, usual: ParsedHead, data: bytes) -> None:
        """A response whose length is known from its head."""
        self._has_head = True
        end = usual.body_start + usual.body_length
        if len(data) >= end:
            sink.whole_arrived(usual.head, data[usual.body_start : end])
            self._finish(is_last=len(data) > end)
            return
        self._missing_bytes = end - len(data)
        sink.head_arrived(usual.head)
        if len(data) > usual.body_start and self._sink is not None:
            self._sink.body_arrived(data[usual.body_start :])

    def _take_body(self, sink: ResponseSink, data: bytes) -> None:
        """More of its body. What comes behind the end is nobody's: it must not become the answer to the next request."""
        is_too_much = len(data) > self._missing_bytes
        piece = data[: self._missing_bytes] if is_too_much else data
        self._missing_bytes -= len(piece)
        sink.body_arrived(piece)
        if self._missing_bytes == 0:
            self._finish(is_last=is_too_much)

    def _parse(self, data: bytes) -> None:
        """A response of any other kind."""
        mistake = None
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._switched is not None:
                self._hand_over(self._switched, data[upgrade.args[0] :])
                return
            mistake = NOT_ASKED_TO_SWITCH
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError as error:
            mistake = str(error)
        pieces, self._pieces = self._pieces, []
        if pieces and self._sink is not None:
            self._sink.body_arrived(b"".join(pieces))
        if self._is_whole:
            self._finish(is_last=self._is_last or mistake is not None)
        elif mistake is not None:
            self._fail(UpstreamErrorKind.INVALID_RESPONSE, mistake)
        elif self._silent_bytes > LARGEST_UNFINISHED_HEAD_BYTES:
            self._fail(UpstreamErrorKind.INVALID_RESPONSE, SILENT if self._has_head else TOO_LARGE)

    def eof_received(self) -> bool:
        """A half-closed upstream has said all: close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of a length-less body, or of hope."""
        self._transport = None
        if self._ended is not None:
            self._break_off(is_orderly=exc is None)
        self._stop_watch()

    def _break_off(self, *, is_orderly: bool) -> None:
        if self._ends_at_close and is_orderly:
            self._finish(is_last=True)
        elif self._has_head:
            self._fail(UpstreamErrorKind.TRUNCATED, "connection closed before the body was complete")
        else:
            self._fail(UpstreamErrorKind.RESET, "connection closed before the response")

    def pause_writing(self) -> None:
        """The upstream does not keep up with the request's body."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It does again."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- httptools

    def on_message_begin(self) -> None:
        """A status line begins. One that nobody asked for must not wait here for the next request, whose answer it would become."""
        if self._is_whole:
            self._is_last = True
        elif self._sink is None:
            self.close()
        self._fields, self._reason = [], b""

    def on_status(self, status: bytes) -> None:
        """The reason phrase, perhaps in pieces."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field line. The parser leaves white space behind the value (RFC 9112 section 5.1), and knows no coding with a tab behind it: that one is refused."""
        name = name.lower()
        self._fields.append((name, value.strip(b" " if name == b"transfer-encoding" else b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete; an interim one is no part of the final one (RFC 9110 section 15.2)."""
        status = self._parser.get_status_code()
        if self._sink is None or self._is_whole:
            return
        head = make_response_head(status, self._reason if is_visible(self._reason) else b"", self._fields)
        if status < 200:
            self._interim_responses += 1
            mistake = mistake_in_interim(head, self._interim_responses, may_switch=self.on_switch is not None)
            if mistake is not None:
                self._fail(UpstreamErrorKind.INVALID_RESPONSE, mistake)
            elif status == 101:
                self._switched = head
            else:
                self._sink.interim_arrived(head)
            return
        self._has_head, self._silent_bytes = True, 0
        mistake = mistake_in(head, self._parser.get_http_version(), self.received_bytes - self._received_before)
        if mistake is not None:
            self._fail(UpstreamErrorKind.INVALID_RESPONSE, mistake)
            return
        is_chunked = b"transfer-encoding" in head.fields
        self._is_last = is_chunked and self._parser.get_http_version() == "1.0"  # RFC 9112 section 6.1
        is_framed = is_chunked or head.content_length is not None
        self._ends_at_close = not (is_framed or self._is_head_request or status in (204, 304))
        self._sink.head_arrived(head)
        if self._is_head_request:
            self._end_message()

    def _hand_over(self, head: ResponseHead, rest: bytes) -> None:
        """Nothing but bytes from here on (RFC 9110 section 7.8)."""
        assert self._transport is not None and self.on_switch is not None
        self._stop_watch()
        self.received_bytes -= len(rest)
        self._tunnel = tunnel = TunnelConnection(self._transport, self._tunnel_lost, rest)
        self.on_switch(head, tunnel)

    def _tunnel_lost(self, _exc: Exception | None) -> None:
        """The exchange has been the tunnel."""
        tunnel, self._transport = self._tunnel, None
        if tunnel is not None:
            self.sent_bytes += tunnel.sent_bytes
            self.received_bytes += tunnel.received_bytes
        self._end(None, is_last=True)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._silent_bytes = 0
        if self._is_whole:  # of an answer to HEAD, which has none
            self._is_last = True
        elif self._has_head or self._sink is None:
            self._pieces.append(data)
        else:  # it would be taken for the beginning of the final one
            self._fail(UpstreamErrorKind.INVALID_RESPONSE, "an interim response with a body")

    def on_message_complete(self) -> None:
        """The response is whole."""
        if self._has_head and self._sink is not None and not self._is_whole:
            self._end_message()

    def _end_message(self) -> None:
        """Only the parser knows now whether another response may follow; who waits is told when it has let go of these bytes."""
        self._is_whole = True
        self._is_last = self._is_last or self._ends_at_close or not self._parser.should_keep_alive()

    # -- ends

    def _watch_progress(self, now: float) -> None:
        """Look after the read timeout at the latest. The timer of the exchange before is left running, since most exchanges end long before theirs would ring."""
        watch = self._watch
        if watch is not None:
            if self._watch_rings_at <= now + self._read_timeout:
                return
            watch.cancel()
        self._watch_rings_at = now + self._read_timeout
        self._watch = self._loop.call_later(self._read_timeout, self._check_progress)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _check_progress(self) -> None:
        """The read timeout: for the first byte and between two reads (reference 1.4). It counts the time in which upstream is waited for.

        Not that in which this node reads nothing, nor that in which upstream has taken all of a request whose viewer has yet to send the rest.
        """
        self._watch = None
        if self._ended is None:
            return
        if self._transport is None or self._transport.is_closing():
            self._fail(UpstreamErrorKind.RESET, "connection closed before the response")
            return
        taken_bytes = self.sent_bytes - self._transport.get_write_buffer_size()
        is_viewers_turn = not self._is_request_whole and taken_bytes == self.sent_bytes
        if self._is_paused or is_viewers_turn or taken_bytes > self._taken_bytes:
            self._last_progress = self._loop.time()
        self._taken_bytes = taken_bytes
        waited = self._loop.time() - self._last_progress
        if waited >= self._read_timeout:
            self._fail(UpstreamErrorKind.READ_TIMEOUT, f"no data for {self._read_timeout:g} s")
            return
        remaining = max(0.001, self._read_timeout - waited)
        self._watch_rings_at = self._loop.time() + remaining
        self._watch = self._loop.call_later(remaining, self._check_progress)

    def _finish(self, *, is_last: bool) -> None:
        """The last thing that is done with a whole response, since the connection may carry the next one from then on."""
        self._end(None, is_last=is_last or self._owes_request)

    @property
    def _owes_request(self) -> bool:
        """The response came before the request had gone out whole: whatever is sent here next, the upstream takes for the rest of it (RFC 9112 section 9.3)."""
        is_unsent = self._transport is not None and self._transport.get_write_buffer_size() > 0
        return self._has_request_body and (is_unsent or not self._is_request_whole)

    def _fail(self, kind: UpstreamErrorKind, detail: str) -> None:
        is_on_reused = not self._is_response_started and self.requests_sent > 1
        self._end(UpstreamFailure(kind, detail, is_on_reused_connection=is_on_reused), is_last=True)

    def _end(self, failure: UpstreamFailure | None, *, is_last: bool) -> None:
        """Tell who waits, whatever happens on the way."""
        ended, self._ended, self._sink, self.on_switch = self._ended, None, None, None
        try:
            self.resume_writing()
            if self._is_paused:
                self.resume()  # whoever held it up has no part in the next exchange
            if failure is not None and self._transport is not None:
                reset_at_close(self._transport)
            if is_last:
                self.close()
            if self._is_head_request:  # the parser waits for a body that a HEAD response does not have
                self._parser = httptools.HttpResponseParser(self)
        except Exception:
            logger.exception("internal error at the end of an exchange")
            failure = UpstreamFailure(UpstreamErrorKind.INTERNAL, "an internal error occurred")
        if ended is not None:
            ended(failure)
