"""What is read in one piece is read as the parser reads it (`upstream/response_head_parser.py`)."""

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_node.model.errors import UpstreamError
from edge_node.model.http import ResponseHead
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.response_head_parser import LARGEST_USUAL_HEAD_BYTES, LONGEST_USUAL_LINE_BYTES, read_usual_head
from tests.depth import examples
from tests.edge_wires import FakeTransport, end_of_exchange, turn

STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 404 Not Found",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 204 ",
        b"HTTP/1.1 206 \xe9",
        b"HTTP/1.1 503 A\tB",
    ]
) | st.sampled_from(
    [
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200  OK",
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 600 X",
        b"HTTP/1.1 2000 X",
        b"HTTP/1.1 200 \0",
        b"http/1.1 200 OK",
        b"HTTP/1.1 103 Early",
    ]
)
USUAL_FIELDS = st.sampled_from(
    [
        b"Server: x",
        b'ETag: "1"',
        b"Cache-Control: max-age=60",
        b"cache-control:no-cache",
        b"Vary:\t a , b \t",
        b"X-Empty:",
        b"X-Empty: ",
        b"Connection: keep-alive",
        b"Connection: Keep-Alive",
        b"Set-Cookie: a=1",
        b"Set-Cookie: b=2",
        b"X-High: \xff\x80",
        b"Content-Type: text/html; charset=utf-8",
    ]
)
ODD_FIELDS = st.sampled_from(
    [
        b"Connection: close",
        b"Connection: keep-alive, x",
        b"Upgrade: h2c",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Bad Name: x",
        b"No-Colon",
        b": no name",
        b"Folded: a\r\n b",
        b"Nul: a\0b",
        b"Lf: a\nb",
        b"Cr: a\rb",
        b" Leading: x",
        b"Spaced : x",
        b"Proxy-Connection: close",
        b"Del: \x7f",
        b"Bracket[]: x",
        b"Long: " + b"x" * 300,
        b"Trailer: x",
    ]
)
LENGTHS = st.sampled_from(
    [b"Content-Length: 5", b"content-length:5", b"Content-Length: 0", b"Content-Length: 05", b"Content-Length:  5  "]
) | st.sampled_from(
    [
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: ",
        b"Content-Length: 9" + b"9" * 20,
        b"X: no length",
        b"Content-Length: 5\t",
    ]
)
BODIES = st.sampled_from(
    [
        b"hello",
        b"",
        b"hel",
        b"hello, surplus",
        b"helloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
    ]
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(USUAL_FIELDS, max_size=5))
    if draw(st.integers(0, 3)) == 0:
        fields.append(draw(ODD_FIELDS))
    fields.insert(draw(st.integers(0, len(fields))), draw(LENGTHS))
    return b"\r\n".join((draw(STATUS_LINES), *fields, b"", draw(BODIES)))


class Taken:
    """Everything that a sink can learn of a response."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def interim_arrived(self, head: ResponseHead) -> None:
        self.said.append((head.status, head.headers))

    def head_arrived(self, head: ResponseHead) -> None:
        self.said += [(head.status, head.reason, head.headers, head.content_length, head.fields), b""]

    def body_arrived(self, data: bytes) -> None:
        self.said[-1] += data

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        self.head_arrived(head)
        self.body_arrived(body)


async def take(data: bytes, first_piece: int) -> tuple[list[Any], str | None, bool, bool]:
    """What a response comes to, and how the exchange and the connection end."""
    connection, sink = UpstreamConnection(asyncio.get_running_loop()), Taken()
    transport = FakeTransport(connection)
    end = end_of_exchange(connection, sink)
    for piece in (data[:first_piece], data[first_piece:]):
        if piece and connection.is_open:
            connection.data_received(piece)
    await turn(3)
    is_open, has_ended = connection.is_open, end.done()
    if not transport.is_lost:
        transport.close()
        await turn(3)
    error = end.exception()
    assert error is None or isinstance(error, UpstreamError)
    return sink.said, None if error is None else error.failure.kind.value, has_ended, is_open


@given(responses())
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellohello")
@example(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello")
@settings(max_examples=examples(300))
def test_a_response_that_comes_in_one_piece_is_what_the_parser_makes_of_it(data: bytes) -> None:
    async def compare() -> None:
        assert await take(data, len(data)) == await take(data, 1)  # a head that does not come whole goes to the parser

    asyncio.run(compare())


@given(st.integers(1, 600), st.integers(1, 60))
@settings(max_examples=examples(100))
def test_a_usual_head_has_short_lines_and_is_not_large(line_bytes: int, lines: int) -> None:
    field = b"n: " + b"v" * max(line_bytes - 3, 0)
    head = b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: 0", *([field] * lines), b"", b""))
    is_usual = len(field) <= LONGEST_USUAL_LINE_BYTES and len(head) <= LARGEST_USUAL_HEAD_BYTES
    assert (read_usual_head(head) is not None) == is_usual


def test_what_is_usual_is_read_in_one_piece() -> None:
    read = read_usual_head(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhel')
    assert read is not None
    assert (read.head.status, read.head.reason, read.head.content_length, read.body_length) == (200, b"OK", 5, 5)
    assert read.head.headers == ((b"etag", b'"1"'), (b"connection", b"keep-alive"), (b"content-length", b"5"))
