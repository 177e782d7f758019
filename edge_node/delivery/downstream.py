"""The way back to the viewer, whatever protocol it speaks: what the pipeline answers to, and the response head as a value.

Framing, connection fields and the limits of a protocol are the listener's; nothing behind this interface knows a byte of HTTP/1.1. It is implemented by
`listeners/http1_stream.py`, and in the tests by streams of which many share a connection, with a credit each (tests/multiplexed.py): what HTTP/2 needs.
"""

from collections.abc import Sequence
from typing import Protocol

from edge_node.caching.entry import parse_field_lines
from edge_node.caching.lookup import Reason, Result
from edge_node.caching.stored_body import LentPiece, Piece
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.http import Headers
from edge_node.model.tunnel import TunnelEnd
from edge_node.policy.response_head import LocalNode, own_fields


class DownstreamHead:
    """The head of a final response toward the viewer.

    Its fields are, in this order: those that the node writes in every response (reference 2.12, `policy/response_head.py`), and the field block of the response itself.
    """

    __slots__ = (
        "age_seconds",
        "content_length",
        "field_block",
        "must_close",
        "phrase",
        "reason",
        "request_id",
        "result",
        "status",
        "x_cache",
    )

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        status: int,
        phrase: bytes,
        result: Result,
        reason: Reason,
        x_cache: bytes,
        request_id: bytes,
        age_seconds: int | None,
        field_block: bytes,
        content_length: int | None,
        must_close: bool = False,
    ) -> None:
        self.status = status
        self.phrase = phrase
        """Empty: the usual one for the status."""
        self.result = result
        self.reason = reason
        self.x_cache = x_cache
        """The word of X-Cache; it may speak of the regional cache's result."""
        self.request_id = request_id
        self.age_seconds = age_seconds
        """None: no Age field."""
        self.field_block = field_block
        """Field lines, each ended by CRLF, without Content-Length: the form in which a header section is kept (`caching/entry.py`); `parse_field_lines` reads it."""
        self.content_length = None if status == 204 else content_length
        """Of the representation (RFC 9110 section 8.6), also where no body follows; None: unknown, or not to be said, as in 204."""
        self.must_close = must_close
        """Nothing may follow on this connection, where a protocol has no streams (reference 2.5)."""

    def fields(self, node: LocalNode) -> Headers:
        """The header section, names in lower case: for protocols that do not send it as lines."""
        own = own_fields(node, self.result, self.reason, self.x_cache)
        age = () if self.age_seconds is None else ((b"age", b"%d" % self.age_seconds),)
        length = () if self.content_length is None else ((b"content-length", b"%d" % self.content_length),)
        return (*own, (b"x-amz-cf-id", self.request_id), *age, *parse_field_lines(self.field_block), *length)


class ResponseSource(Protocol):
    """Who answers a request over time: told when it may send more, and when nobody listens any more."""

    def credit_returned(self) -> None:
        """The viewer takes more."""

    def viewer_left(self) -> None:
        """The stream is gone."""


class DownstreamStream(Protocol):
    """One request's stream toward the viewer.

    A response is `send_whole`, or `send_head`, any number of `send_body`; then `end`, and when it has been recorded `release`. `reset` may come at any time before.
    Or it is `take_over`, and nothing else.
    """

    connection: ConnectionFacts
    sent_bytes: int
    """Of the response so far, framing included."""

    @property
    def received_bytes(self) -> int:
        """Of the request so far."""

    @property
    def is_write_blocked(self) -> bool:
        """No credit: what is sent now has to be kept for the viewer. `ResponseSource.credit_returned` says when there is some again."""

    @property
    def is_open(self) -> bool:
        """The viewer is still there."""

    def begin(self, source: ResponseSource, *, is_unbuffered: bool = False) -> None:
        """Who answers from now on. Unbuffered: there is no credit while anything waits to be sent, so that what lies in a shared buffer is sent from it."""

    def send_interim(self, status: int, phrase: bytes, fields: Headers) -> None:
        """An interim response (RFC 9110 section 15.2), where the viewer's protocol knows them."""

    def send_head(self, head: DownstreamHead) -> None:
        """The head of a response whose body follows in pieces."""

    def send_body(self, piece: Piece) -> None:
        """The next bytes of the body; they are the caller's again when this returns."""

    @property
    def may_lend(self) -> bool:
        """Pieces of files can be sent from where they are."""

    def send_lent(self, piece: LentPiece, first: int) -> int:
        """The same for a lent piece from a position on; to which position it was taken. Raises BodyLostError."""

    def send_whole(self, head: DownstreamHead, pieces: Sequence[Piece]) -> None:
        """A head and all of its body: nothing, where the request or the status has none."""

    def take_over(self, head: DownstreamHead) -> TunnelEnd:
        """Hand the stream over: a head with 101, in the protocol's own way (RFC 9110 section 7.8, RFC 8441 section 5), and behind it bytes both ways.

        Whoever answers is told nothing more: what happens is told to the receiver of the end. `sent_bytes` and `received_bytes` stay those of the handshake.
        """

    def end(self) -> None:
        """The body is whole; `sent_bytes` is final."""

    def release(self) -> None:
        """The request is over, and recorded: the next one may begin."""

    def reset(self) -> None:
        """The response broke off: the viewer must not take it for whole. Whoever answers is told `viewer_left`, now or later, unless the stream was released."""
