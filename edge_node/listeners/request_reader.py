"""Bytes to requests: one HTTP/1.1 parser with the checks that it leaves to us.

Framing is httptools' (llhttp, strict: conflicting or repeated lengths, Content-Length with Transfer-Encoding, folded lines and bare line ends are refused).
"""

import logging
from collections.abc import Callable
from typing import Protocol

import httptools

from edge_node.errors import ViewerError
from edge_node.exchange import BodyFromViewer, Wire
from edge_node.listeners.heads import MAXIMUM_HEAD_BYTES, MAXIMUM_TARGET_BYTES, make_request_head
from edge_node.model import Header, RequestHead

logger = logging.getLogger(__name__)

_END = b"\r\n\r\n"
_END_BYTES = 4
MAXIMUM_EMPTY_LINES = 4
"""Before a request line. RFC 9112 section 2.2 asks to ignore at least one; each costs a look, so that more of them are refused."""
MAXIMUM_SILENT_BYTES = MAXIMUM_HEAD_BYTES
"""Of a chunked body, in reads without one byte of content: chunk extensions and the trailer section, which the parser keeps field by field."""


class Taker(Wire, Protocol):
    """Who takes the requests."""

    def take(self, head: RequestHead, body: BodyFromViewer | None) -> None:
        """A request without a body is whole; one with a body begins."""


class RequestReader:
    """Reads the requests of one connection."""

    __slots__ = (
        "_begun", "_body_remaining", "_completed", "_empty_lines", "_feed", "_has_had_content", "_head", "_headers", "_is_deaf", "_line",
        "_parser", "_tail", "_taker", "_target", "_unfinished_bytes", "body", "is_in_message", "is_upgrade", "violation",
    )  # fmt: skip

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._parser = httptools.HttpRequestParser(self)
        self._feed: Callable[[bytes], None] = self._parser.feed_data
        self._is_deaf = False
        self._begun = self._completed = 0
        self._unfinished_bytes = 0
        """Read since a request was whole, or since its body had content."""
        self._has_had_content = False
        """The bytes read last had some of a body in them."""
        self._body_remaining = 0
        self._empty_lines = 0
        """Before the request line that is being read."""
        self._line: bytes | None = b""
        """What has come of a request line; None: it is complete."""
        self._tail = b""
        """The last bytes of the read before, if a request was not whole then."""
        self._target = b""
        self._headers: list[Header] = []
        self._head: RequestHead | None = None
        self.is_in_message = False
        """A request has begun and is not whole."""
        self.body: BodyFromViewer | None = None
        """Of the request that is being read."""
        self.violation: ViewerError | None = None
        """What is wrong; nothing is read after it."""
        self.is_upgrade = False
        """The last request wants another protocol, and what follows it would be of that."""

    def read(self, data: bytes) -> RequestHead | None:
        """Take bytes. The request, if these bytes were exactly one without a body, from its first to its last."""
        self._begun = self._completed = 0
        self._has_had_content = False
        was_in_message = self.is_in_message
        at = 0
        while at < len(data) and self.violation is None and not (self.is_upgrade or self._is_deaf):
            end = self._end_of_piece(data, at)
            piece = data[at:end]
            at = end
            if self._line is None or self._look_at_line(piece):
                self._feed_parser(piece)
        self._tail = (self._tail + data[-_END_BYTES:])[1 - _END_BYTES :] if self.is_in_message else b""
        self._unfinished_bytes = 0 if self._completed or self._has_had_content else self._unfinished_bytes + len(data)
        if self.is_in_message and self.violation is None and not self._is_deaf:
            self.violation = self._excess()
        head = self._head
        is_one = self._begun == self._completed == 1 and not was_in_message
        return head if is_one and head is not None and not head.has_body and self.violation is None else None

    def _excess(self) -> ViewerError | None:
        """What is wrong with a request that goes on and on."""
        if self._head is None and self._unfinished_bytes > MAXIMUM_HEAD_BYTES:
            return ViewerError(494, "The request line and headers are larger than 32,768 bytes.")
        if self._unfinished_bytes > MAXIMUM_SILENT_BYTES:
            return ViewerError(400, "The request's body has more than 32,768 bytes without content.")
        return None

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Never behind the end of a request, so that what stands before and in the next request line can be looked at: a head and a chunked body end in the same way."""
        if self.body is not None and self.body.length is not None:
            return min(len(data), start + self._body_remaining)
        if start == 0 and self._tail:
            end = (self._tail + data[: _END_BYTES - 1]).find(_END)
            if end >= 0:
                return end + _END_BYTES - len(self._tail)
        end = data.find(_END, start)
        return len(data) if end < 0 else end + _END_BYTES

    def _look_at_line(self, piece: bytes) -> bool:
        """Look at a request line before the parser does, which skips any line end before it and any spaces in it (RFC 9112 sections 2.2 and 3)."""
        assert self._line is not None
        line = self._line + piece
        while line.startswith(b"\r\n") and self._empty_lines <= MAXIMUM_EMPTY_LINES:
            self._empty_lines += 1
            line = line[2:]
        end = line.find(b"\r\n")
        is_bare = line[:1] in (b"\r", b"\n") and line != b"\r"
        has_too_many = self._empty_lines > MAXIMUM_EMPTY_LINES
        if has_too_many or is_bare or (end >= 0 and line.count(b" ", 0, end) > 2) or line.find(b"\n") < end:
            self.violation = ViewerError(400, "The request is malformed.")
            return False
        self._line = line[:MAXIMUM_HEAD_BYTES] if end < 0 else None
        return True

    def _feed_parser(self, piece: bytes) -> None:
        try:
            self._feed(piece)
        except httptools.HttpParserUpgrade:
            self.is_upgrade = True
        except httptools.HttpParserCallbackError as error:
            self.violation = self.violation or _internal(error)
        except httptools.HttpParserError:
            self.violation = self.violation or ViewerError(400, "The request is malformed.")

    def stop(self) -> None:
        """Nothing that follows is of interest."""
        self._is_deaf = True

    @property
    def has_completed(self) -> bool:
        """The bytes read last had the end of a request in them."""
        return self._completed > 0

    # -- httptools

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._begun += 1
        self.is_in_message = True
        self._target = b""
        self._headers = []
        self._head = None
        self.body = None

    def on_url(self, target: bytes) -> None:
        """A piece of the request target."""
        self._target += target
        if len(self._target) > MAXIMUM_TARGET_BYTES and self.violation is None:
            self.violation = ViewerError(414, "The URL is longer than 8,192 bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field line; those of a trailer section are dropped."""
        if self._head is None:
            self._headers.append(
                (name.lower(), value.strip(b" \t"))
            )  # RFC 9112 section 5.1; the parser leaves it behind the value

    def on_headers_complete(self) -> None:
        """The head is there; a request with a body starts now, one without when it is complete."""
        if self.violation is not None or self._is_deaf:
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
            self.violation = error
            return
        self._has_had_content = True  # the bytes of the head are not those of a body
        if self._head.has_body:
            length = self._head.fields.get(b"content-length")
            self.body = BodyFromViewer(self._taker, int(length) if length is not None else None)
            self._body_remaining = self.body.length or 0
            self._taker.take(self._head, self.body)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._has_had_content = True
        if self.body is not None and not self._is_deaf:
            self._body_remaining -= len(data)
            self.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._completed += 1
        self.is_in_message = False
        self._line = b""
        self._empty_lines = 0
        if self.violation is not None or self._is_deaf:
            return
        if self.body is not None:
            self.body.end()
            self.body = None
        elif self._head is not None:
            self._taker.take(self._head, None)


def _internal(error: Exception) -> ViewerError:
    logger.error("internal error while taking a request", exc_info=error.__context__ or error)
    return ViewerError(500, "An internal error occurred.")
