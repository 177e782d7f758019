"""Bytes to requests: one HTTP/1.1 parser with the checks that it leaves to us.

Framing is httptools' (llhttp, strict: conflicting or repeated lengths, Content-Length with Transfer-Encoding, folded lines and bare line ends are refused).

Two things differ from how the parser is usually driven. It stops between two requests when the taker does not want another one yet, so that requests are taken in
their order and never more than one at a time. And a wish to upgrade, behind which the parser looks for no more HTTP, is let be (RFC 9110 section 7.8: a server that
does not switch ignores it): the body, if there is one, is read by another parser, and so is what follows.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol

import httptools

from edge_node.delivery.request_body import BodyWire, RequestBodyStream
from edge_node.http.request_head import MAXIMUM_HEAD_BYTES, MAXIMUM_TARGET_BYTES, head_too_large, make_request_head
from edge_node.model.errors import ViewerError
from edge_node.model.http import Header, RequestHead

logger = logging.getLogger(__name__)

_END: Final = b"\r\n\r\n"
_END_BYTES: Final = 4
MAXIMUM_EMPTY_LINES: Final = 4
"""Before a request line. RFC 9112 section 2.2 asks to ignore at least one; each costs a look, so that more of them are refused."""
EMPTY_LINE_BYTES: Final = 2 * MAXIMUM_EMPTY_LINES + 2
"""Of the empty lines before a head and behind it, which are no part of what is limited: a head that is taken whole is taken in pieces, too."""
MAXIMUM_SILENT_BYTES: Final = MAXIMUM_HEAD_BYTES
"""Of a chunked body, in reads without one byte of content: chunk extensions and the trailer section, which the parser keeps field by field."""


class RequestSink(BodyWire, Protocol):
    """Who takes the requests."""

    request_bytes: int
    """Of the request that is being read; counted here."""

    @property
    def may_begin(self) -> bool:
        """Whether another request is wanted now."""

    def take(self, head: RequestHead, body: RequestBodyStream | None) -> None:
        """A request without a body is whole; one with a body begins."""


class RequestParser:
    """Reads the requests of one connection."""

    __slots__ = (
        "_begun",
        "_body_remaining",
        "_completed",
        "_empty_lines",
        "_feed",
        "_has_body_apart",
        "_has_had_content",
        "_head",
        "_headers",
        "_is_apart",
        "_is_deaf",
        "_line",
        "_maximum_head_bytes",
        "_parser",
        "_pieces",
        "_request_sink",
        "_tail",
        "_target",
        "_unfinished_bytes",
        "body",
        "is_in_message",
        "violation",
        "was_one_request",
    )  # fmt: skip

    def __init__(self, request_sink: RequestSink, maximum_head_bytes: int = MAXIMUM_HEAD_BYTES) -> None:
        self._request_sink = request_sink
        self._maximum_head_bytes = maximum_head_bytes
        self._feed: Callable[[bytes], None]
        self._begin_to_parse()
        self._has_body_apart = False
        """The parser passes over the body of the request whose head it has read."""
        self._is_apart = False
        """The body is read by a parser of its own."""
        self._is_deaf = False
        self._begun = self._completed = 0
        self._unfinished_bytes = 0
        """Read since a request was whole, or since its body had content."""
        self._has_had_content = False
        """The bytes read last had some of a body in them."""
        self._pieces: list[bytes] = []
        """Of a body, as chunks of any size: handed on together when all that was read of it has been parsed."""
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
        self.body: RequestBodyStream | None = None
        """Of the request that is being read."""
        self.violation: ViewerError | None = None
        """What is wrong; nothing is read after it."""
        self.was_one_request: RequestHead | None = None
        """The request, if the bytes read last were exactly one without a body, from its first to its last."""

    def _begin_to_parse(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._feed = self._parser.feed_data

    def read(self, data: bytes, start: int = 0) -> int:
        """Take bytes, up to the end or to that of a request after which no other one is wanted yet: where that was."""
        self._begun = self._completed = 0
        self._has_had_content = False
        was_in_message = self.is_in_message
        at, length, request_sink = start, len(data), self._request_sink
        while at < length and self.violation is None and not self._is_deaf:
            if not self.is_in_message:
                if not request_sink.may_begin:
                    break
                request_sink.request_bytes = 0
            end = self._end_of_piece(data, at)
            piece = data[at:end]
            at = end
            request_sink.request_bytes += len(piece)
            if self._line is None or self._look_at_line(piece):
                self._feed_parser(piece)
        self._hand_on()
        if self.is_in_message:
            self._tail = (self._tail + data[max(start, at - _END_BYTES) : at])[1 - _END_BYTES :]
        else:
            self._tail = b""
        self._unfinished_bytes = 0 if self._completed or self._has_had_content else self._unfinished_bytes + at - start
        if self.is_in_message and self.violation is None and not self._is_deaf:
            self.violation = self._excess()
        head = self._head
        is_one = self._begun == self._completed == 1 and not was_in_message and start == 0 and at == length
        is_whole = is_one and head is not None and not (head.has_body or head.upgrade) and self.violation is None
        self.was_one_request = head if is_whole else None
        return at

    def _excess(self) -> ViewerError | None:
        """What is wrong with a request that goes on and on."""
        if self._head is None:
            is_too_large = self._unfinished_bytes > self._maximum_head_bytes + EMPTY_LINE_BYTES
            return head_too_large(self._maximum_head_bytes) if is_too_large else None
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
        if has_too_many or is_bare or line.find(b"\n") < end or (end >= 0 and not _is_request_line(line[:end])):
            self.violation = ViewerError(400, "The request is malformed.")
            return False
        self._line = line[:MAXIMUM_HEAD_BYTES] if end < 0 else None
        return True

    def _feed_parser(self, piece: bytes) -> None:
        try:
            self._feed(piece)
        except httptools.HttpParserUpgrade:
            self._parse_on()
        except httptools.HttpParserCallbackError as error:
            self.violation = self.violation or _internal(error)
        except httptools.HttpParserError:
            self.violation = self.violation or ViewerError(400, "The request is malformed.")

    def _parse_on(self) -> None:
        """Behind a head with a wish to upgrade, which ends a piece, and after which the parser reads nothing any more."""
        if not self._has_body_apart:
            self._begin_to_parse()
            return
        self._has_body_apart = False
        if self.body is not None:
            length = self.body.length
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
            parser = httptools.HttpRequestParser(_BodyOnly(self.on_body, self.on_message_complete))
            parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
            self._parser, self._feed, self._is_apart = parser, parser.feed_data, True

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
        try:
            if version not in ("1.1", "1.0"):
                raise ViewerError(505, "This node speaks HTTP/1.1 here.")
            self._head = make_request_head(
                parser.get_method(),
                self._target,
                self._headers,
                0 if version == "1.0" else 1,
                parser.should_keep_alive(),
                self._maximum_head_bytes,
            )
        except ViewerError as error:
            self.violation = error
            return
        self._has_had_content = True  # the bytes of the head are not those of a body
        if self._head.has_body:
            length = self._head.fields.get(b"content-length")
            self.body = RequestBodyStream(self._request_sink, int(length) if length is not None else None)
            self._body_remaining = self.body.length or 0
            self._has_body_apart = parser.should_upgrade()
            self._request_sink.take(self._head, self.body)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._has_had_content = True
        if self.body is not None and not self._is_deaf:
            self._body_remaining -= len(data)
            self._pieces.append(data)

    def _hand_on(self) -> None:
        """What has been parsed of a body."""
        pieces, self._pieces = self._pieces, []
        if pieces and self.body is not None:
            self.body.feed(b"".join(pieces))

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._has_body_apart:  # so the parser believes
            return
        self._completed += 1
        self.is_in_message = False
        self._line = b""
        self._empty_lines = 0
        if self.violation is not None or self._is_deaf:
            return
        if self.body is not None:
            self._hand_on()
            self.body.end()
            self.body = None
            if self._is_apart:
                self._is_apart = False
                self._begin_to_parse()
        elif self._head is not None:
            self._request_sink.take(self._head, None)


class _BodyOnly:
    """What another parser than that of the head tells of a body."""

    def __init__(self, on_body: Callable[[bytes], None], on_message_complete: Callable[[], None]) -> None:
        self.on_body = on_body
        self.on_message_complete = on_message_complete


def _is_request_line(line: bytes) -> bool:
    """No more than two spaces, and HTTP: the parser knows other protocols, too, and takes their requests (RFC 9112 section 3). A line without a version is left to it."""
    spaces = line.count(b" ")
    return spaces < 2 or (spaces == 2 and line.startswith(b"HTTP/", line.rfind(b" ") + 1))


def _internal(error: Exception) -> ViewerError:
    logger.error("internal error while taking a request", exc_info=error.__context__ or error)
    return ViewerError(500, "An internal error occurred.")
