"""A request's stream toward a viewer of HTTP/1.1 or 1.0: heads and bodies as values become bytes here, and nowhere else (RFC 9112 sections 4 to 6).

How the viewer finds the end of a body is decided when its head is sent, and with it whether another request may follow on the connection. The one other place that
writes heads of this protocol is its fast path (`fast_path.py`), from the same parts.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from edge_node.caching.stored_body import LentPiece, Piece
from edge_node.delivery.downstream import DownstreamHead, ResponseSource
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.http import Headers, RequestHead
from edge_node.model.tunnel import TunnelEnd
from edge_node.policy.response_head import (
    LocalNode,
    content_length,
    middle_of_head,
    start_of_head,
    status_line,
    write_fields,
)

CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
SWITCHED_LINES: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
STATUSES_WITHOUT_BODY: Final = frozenset({204, 304})
LARGEST_JOINED_BYTES: Final = 32_768
"""Up to this size a head and what follows it leave in one piece; beyond, copying costs more than a second piece."""


class Http1Wire(Protocol):
    """The connection, as its streams use it."""

    facts: ConnectionFacts
    request_bytes: int
    """Of the request that is under way, read so far."""
    is_write_blocked: bool
    write: Callable[[Piece], None]
    """Write at once. The bytes are the caller's again when this returns."""
    write_lent: Callable[[LentPiece, int], int] | None
    """The same for a lent piece from a position on, to which position; raises BodyLostError. None: the connection is not a plain socket."""

    @property
    def is_open(self) -> bool:
        """The viewer is still there."""

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow."""

    def send(self, data: Piece) -> None:
        """Send bytes, later than everything before, with what else this turn of the loop sends."""

    def send_many(self, pieces: Sequence[Piece]) -> None:
        """Send pieces in order."""

    def begin_response(self, source: ResponseSource, *, is_unbuffered: bool) -> None:
        """Who is told of credit and of the end."""

    def end_response(self, *, keep_alive: bool) -> None:
        """The response has been handed over whole."""

    def hand_over(self) -> TunnelEnd:
        """The connection carries no HTTP any more; what came behind the request is the first that the tunnel gives."""

    def abort(self) -> None:
        """Cut the connection."""


class Http1Stream:
    """One request's answer. Once it is released, whatever still comes for it goes nowhere: the connection may carry the next one."""

    __slots__ = (
        "_body", "_has_body", "_is_chunked", "_is_head_request", "_is_released", "_is_unbuffered", "_keeps_alive", "_minor_version", "_node", "_wire",
        "connection", "ends_at_close", "sent_bytes",
    )  # fmt: skip

    def __init__(self, wire: Http1Wire, node: LocalNode, head: RequestHead, body: RequestBodyStream | None) -> None:
        self._wire = wire
        self._node = node
        self._body = body
        self._is_head_request = head.method == b"HEAD"
        self._minor_version = head.minor_version
        self._has_body = True
        """The response's."""
        self._is_chunked = False
        self.ends_at_close = False
        """The end of the connection is that of the body (RFC 9112 section 6.3)."""
        self._keeps_alive = False
        """What the head has promised."""
        self._is_unbuffered = False
        self._is_released = False
        self.connection = wire.facts
        self.sent_bytes = 0

    @property
    def received_bytes(self) -> int:
        """Of the request so far; until the stream is released."""
        return self._wire.request_bytes

    @property
    def is_open(self) -> bool:
        """The viewer is still there."""
        return not self._is_released and self._wire.is_open

    @property
    def is_write_blocked(self) -> bool:
        """What is sent now has to be kept for the viewer."""
        return self._wire.is_write_blocked

    def begin(self, source: ResponseSource, *, is_unbuffered: bool = False) -> None:
        """Who answers from now on."""
        if not self._is_released:
            self._is_unbuffered = is_unbuffered
            self._wire.begin_response(source, is_unbuffered=is_unbuffered)

    def send_interim(self, status: int, phrase: bytes, fields: Headers) -> None:
        """Pass on an interim response; viewers of HTTP/1.0 do not know them (RFC 9110 section 15.2)."""
        if self._minor_version >= 1:
            self._send(b"%b%b\r\n" % (status_line(status, phrase), write_fields(fields)))

    def send_head(self, head: DownstreamHead) -> None:
        """Head first, the body in pieces."""
        self._send(self._write_head(head))

    def send_body(self, piece: Piece) -> None:
        """In chunked coding where the length was not known."""
        self._send(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) if self._is_chunked else piece)

    @property
    def may_lend(self) -> bool:
        """The connection is a plain socket, and the body is sent as it is."""
        return self._wire.write_lent is not None and not self._is_chunked

    def send_lent(self, piece: LentPiece, first: int) -> int:
        """From the file to the socket."""
        write_lent = self._wire.write_lent
        if self._is_released or write_lent is None:
            return piece.length
        until = write_lent(piece, first)
        self.sent_bytes += until - first
        return until

    def send_whole(self, head: DownstreamHead, pieces: Sequence[Piece]) -> None:
        """All of it, in one piece where it is small."""
        written = self._write_head(head)
        if self._is_released:
            return
        if self._is_chunked:
            pieces = [b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) for piece in pieces if piece]
        length = 0
        for piece in pieces:
            length += len(piece)
        self.sent_bytes += len(written) + length
        if length <= LARGEST_JOINED_BYTES:
            self._wire.write(b"".join((written, *pieces)))
        else:
            self._wire.send_many([written, *pieces])

    def take_over(self, head: DownstreamHead) -> TunnelEnd:
        """101, with what HTTP/1.1 needs for it, and no framing (RFC 9110 sections 7.8 and 8.6)."""
        start = start_of_head(self._node, head.status, head.phrase, head.result, head.reason, head.x_cache)
        self._send(b"".join((start, head.request_id, b"\r\n", SWITCHED_LINES, head.field_block, b"\r\n")))
        return self._wire.hand_over()

    def end(self) -> None:
        """Where the length was not known, the viewer is told."""
        if self._is_chunked:
            self._send(LAST_CHUNK)

    def release(self) -> None:
        """The request is over; the connection closes, or may carry another one."""
        if not self._is_released:
            self._is_released = True
            self._wire.end_response(keep_alive=self._keeps_alive and self._wire.may_keep_alive)

    def reset(self) -> None:
        """Cut the connection: the only honest end of a response that broke off."""
        if not self._is_released:
            self._is_released = True
            self._wire.abort()

    def _send(self, data: Piece) -> None:
        if self._is_released:
            return
        self.sent_bytes += len(data)
        if self._is_unbuffered:
            self._wire.write(data)
        else:
            self._wire.send(data)

    def _write_head(self, head: DownstreamHead) -> bytes:
        """Decide on the framing, and write the head."""
        status = head.status
        self._has_body = not self._is_head_request and status not in STATUSES_WITHOUT_BODY
        framing = self._frame(head.content_length)
        self.ends_at_close = self._has_body and not framing
        may_follow = not self.ends_at_close and (self._body is None or self._body.is_complete)
        self._keeps_alive = self._wire.may_keep_alive and may_follow and not head.must_close
        start = start_of_head(self._node, status, head.phrase, head.result, head.reason, head.x_cache)
        middle = middle_of_head(head.age_seconds, self._keeps_alive)
        return b"".join((start, head.request_id, middle, head.field_block, framing, b"\r\n"))

    def _frame(self, length: int | None) -> bytes:
        """How the viewer finds the end of the body (RFC 9112 section 6)."""
        self._is_chunked = False
        if length is not None:
            return content_length(length)
        self._is_chunked = self._has_body and self._minor_version >= 1
        return CHUNKED if self._is_chunked else b""
