"""What a viewer can make the request reader do: each input without end is refused after a bounded number of bytes."""

import pytest

from edge_node.caching.stored_body import Piece
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.http.request_head import MAXIMUM_HEAD_BYTES
from edge_node.listeners.request_parser import MAXIMUM_EMPTY_LINES, MAXIMUM_SILENT_BYTES, RequestParser
from edge_node.model.http import RequestHead

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Nobody:
    """Takes requests, and does nothing about them."""

    peer = ("192.0.2.7", 40_000)
    request_bytes = 0
    is_write_blocked = False
    may_keep_alive = may_begin = True

    def __init__(self) -> None:
        self.body: RequestBodyStream | None = None

    def take(self, head: RequestHead, body: RequestBodyStream | None) -> None:
        self.body = body

    def send(self, data: Piece) -> None: ...

    def end_exchange(self, *, keep_alive: bool) -> None: ...

    def abort(self) -> None: ...

    def look_at_body(self) -> None: ...


CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 65_536])
@pytest.mark.parametrize(
    ("lines", "is_refused"), [(1, False), (MAXIMUM_EMPTY_LINES, False), (MAXIMUM_EMPTY_LINES + 1, True), (32_768, True)]
)
def test_few_empty_lines_may_stand_before_a_request(lines: int, is_refused: bool, step: int) -> None:
    reader = RequestParser(Nobody())
    data = b"\r\n" * lines + GET
    for at in range(0, len(data), step):
        reader.read(data[at : at + step])
    assert (reader.violation is not None) == is_refused


@pytest.mark.parametrize("empty_lines", [0, MAXIMUM_EMPTY_LINES])
@pytest.mark.parametrize(("surplus", "status"), [(0, None), (1, 494)])
def test_how_large_a_head_may_be_does_not_depend_on_where_it_is_cut(
    surplus: int, status: int | None, empty_lines: int
) -> None:
    """The empty line behind it is no part of it, nor are those before it."""
    rest = MAXIMUM_HEAD_BYTES - (len(GET) - 2) - len(b"X: \r\n") + surplus
    head = GET[:-2] + b"X: " + b"x" * rest + b"\r\n"
    assert len(head) == MAXIMUM_HEAD_BYTES + surplus
    data = b"\r\n" * empty_lines + head + b"\r\n"
    for cut in (0, 20, len(data) - 3, len(data) - 2, len(data) - 1):
        reader = RequestParser(Nobody())
        for piece in (data[:cut], data[cut:]):
            reader.read(piece)
        violation = reader.violation
        assert (violation and violation.status) == status, cut


def test_a_head_without_end_is_refused_while_it_grows() -> None:
    reader = RequestParser(Nobody())
    read = reader.read(GET[:-2] + b"X: ")
    while reader.violation is None and read < 2 * MAXIMUM_HEAD_BYTES:
        read += reader.read(b"x" * 512)
    assert reader.violation is not None and reader.violation.status == 494
    assert MAXIMUM_HEAD_BYTES < read <= MAXIMUM_HEAD_BYTES + 1024


@pytest.mark.parametrize("start", [b"0\r\nx: ", b"5;"], ids=["trailer", "chunk extension"])
def test_a_chunked_body_without_content_ends(start: bytes) -> None:
    reader = RequestParser(Nobody())
    reader.read(CHUNKED + start)
    read = 0
    while reader.violation is None and read < 10 * MAXIMUM_SILENT_BYTES:
        reader.read(b"y" * 1024)
        read += 1024
    assert reader.violation is not None
    assert read <= MAXIMUM_SILENT_BYTES + 1024


@pytest.mark.parametrize("content", [b"ab", b"\r\n\r\n"], ids=repr)
async def test_what_is_read_at_once_of_a_body_is_one_piece_in_however_small_chunks_it_is(content: bytes) -> None:
    """Each piece is a turn of the task that sends the body, and a chunk to upstream."""
    sink = Nobody()
    reader = RequestParser(sink)
    chunk = b"%x\r\n%b\r\n" % (len(content), content)
    reader.read(CHUNKED + chunk * 1_000)
    body = sink.body
    assert body is not None and await body.next_chunk() == content * 1_000
    reader.read(chunk * 2 + b"0\r\n\r\n" + GET)
    assert await body.next_chunk() == content * 2 and await body.next_chunk() is None
    assert sink.body is None and not reader.is_in_message


def test_a_long_head_does_not_count_as_a_body_without_content() -> None:
    reader = RequestParser(Nobody())
    reader.read(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX: %b\r\n\r\n"
        % (b"x" * (MAXIMUM_SILENT_BYTES - 200))
    )
    for piece in (b"5;a=" + b"b" * 200, b"\r\n", b"hello\r\n0\r\n\r\n"):
        reader.read(piece)
        assert reader.violation is None
    assert not reader.is_in_message
