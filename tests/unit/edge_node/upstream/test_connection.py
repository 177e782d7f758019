"""One connection to an upstream against bytes, ends and clocks: what reaches the sink, what is an error, and when it may be used again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edge_node.model.errors import UpstreamError, UpstreamErrorKind, UpstreamFailure
from edge_node.model.http import ResponseHead
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.response_heads import MAXIMUM_HEAD_BYTES
from tests.edge_wires import FakeTransport, end_of_exchange, turn

READ_TIMEOUT = 5.0


class Clock:
    """The part of an event loop that a connection uses, standing still."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[[], None], Any]] = []

    def time(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().create_future()

    def call_later(self, delay: float, callback: Callable[[], None]) -> "Timer":
        timer = Timer()
        self._timers.append((self.now + delay, callback, timer))
        return timer

    @property
    def is_waited_for(self) -> bool:
        """A timer would ring; until then it keeps who set it."""
        return any(not handle.is_cancelled for _, _, handle in self._timers)

    def passes(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted(
            ((t, c, h) for t, c, h in self._timers if t <= end and not h.is_cancelled), key=lambda entry: entry[0]
        ):
            moment, callback, handle = due[0]
            self.now = max(self.now, moment)
            self._timers.remove((moment, callback, handle))
            callback()
        self.now = end


class Timer:
    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Sink:
    """Takes a response, and can hold the connection up as a slow viewer does."""

    def __init__(self) -> None:
        self.heads: list[ResponseHead] = []
        self.body = b""
        self.interim: list[ResponseHead] = []
        self.when_body: Callable[[], None] = lambda: None

    def interim_arrived(self, head: ResponseHead) -> None:
        assert not self.heads, "an interim response comes before the final one"
        self.interim.append(head)

    def head_arrived(self, head: ResponseHead) -> None:
        assert not self.heads, "one final head per response"
        self.heads.append(head)

    def body_arrived(self, data: bytes) -> None:
        assert self.heads, "no body before its head"
        self.body += data
        self.when_body()

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        self.head_arrived(head)
        if body:
            self.body_arrived(body)


class Conversation:
    def __init__(self, *, takes_everything: bool = True) -> None:
        self.clock = Clock()
        self.connection = UpstreamConnection(self.clock)  # type: ignore[arg-type]  # a clock is all that it needs of a loop
        self.transport = FakeTransport(self.connection, takes_everything=takes_everything)

    def asks(self, *, is_head: bool = False) -> tuple[Sink, "asyncio.Future[None]"]:
        sink = Sink()
        return sink, end_of_exchange(self.connection, sink, is_head=is_head, read_timeout=READ_TIMEOUT)

    def hears(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.connection.is_open:
                self.connection.data_received(piece)

    async def lost(self, error: Exception | None = None) -> None:
        self.transport.is_lost = True
        self.connection.connection_lost(error)
        await turn()


def failure(end: "asyncio.Future[None]") -> UpstreamErrorKind:
    error = end.exception()
    assert isinstance(error, UpstreamError)
    return error.failure.kind


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        (OK, 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", 200, b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK, 200, b"hello"),
        (b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", 404, b""),
        (b"HTTP/1.1 599 Nobody Knows\r\nContent-Length: 0\r\n\r\n", 599, b""),
    ],
)
@pytest.mark.parametrize("piece", [1_000, 1])
async def test_a_whole_response_reaches_the_sink_and_the_connection_lives(
    response: bytes, status: int, body: bytes, piece: int
) -> None:
    conversation = Conversation()
    for _ in range(3):
        sink, end = conversation.asks()
        conversation.hears(*(response[start : start + piece] for start in range(0, len(response), piece)))
        await end
        assert (sink.heads[0].status, sink.body) == (status, body)
        assert conversation.connection.is_open


async def test_what_is_read_at_once_is_passed_on_at_once_in_however_small_chunks_it_is() -> None:
    """Each piece costs every reader a turn, and the cache an object: a body in chunks of two bytes held the node up for seconds."""
    conversation = Conversation()
    sink, end = conversation.asks()
    pieces: list[int] = []
    sink.when_body = lambda: pieces.append(len(sink.body))
    chunks = b"2\r\nab\r\n" * 1_000
    conversation.hears(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, chunks + b"0\r\n\r\n")
    await end
    assert pieces == [2_000, 4_000] and sink.body == b"ab" * 2_000


async def test_what_came_before_a_mistake_in_a_body_is_passed_on() -> None:
    conversation = Conversation()
    sink, end = conversation.asks()
    conversation.hears(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\nzz\r\n")
    await turn()
    assert failure(end) is UpstreamErrorKind.INVALID_RESPONSE and sink.body == b"abcd"


@pytest.mark.parametrize("response", [OK, OK[:-1], b""])
async def test_a_connection_that_is_gone_is_kept_by_no_timer(response: bytes) -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.hears(response)
    await conversation.lost()
    assert end.done() and not conversation.clock.is_waited_for
    end.exception()


@pytest.mark.parametrize(("surplus", "is_taken"), [(0, True), (1, False)])
@pytest.mark.parametrize("behind", [1_000_000, 3, 2, 1])
async def test_how_large_a_head_may_be_does_not_depend_on_where_it_is_cut(
    surplus: int, is_taken: bool, behind: int
) -> None:
    """Its status line and the empty line behind it are no part of it."""
    fields = b"Content-Length: 0\r\nX: "
    fields += b"x" * (MAXIMUM_HEAD_BYTES - len(fields) - 2 + surplus) + b"\r\n"
    response = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n"
    conversation = Conversation()
    sink, end = conversation.asks()
    conversation.hears(response[:-behind], response[-behind:])
    await turn()
    assert end.done() and len(sink.heads) == is_taken
    assert is_taken or failure(end) is UpstreamErrorKind.INVALID_RESPONSE


async def test_a_head_without_end_is_refused_while_it_grows() -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.hears(b"HTTP/1.1 200 OK\r\nX: ", b"x" * MAXIMUM_HEAD_BYTES)
    assert conversation.connection.is_open
    conversation.hears(b"x" * 2_000)
    await turn()
    assert failure(end) is UpstreamErrorKind.INVALID_RESPONSE


async def test_a_response_without_a_length_ends_with_the_connection() -> None:
    conversation = Conversation()
    sink, end = conversation.asks()
    conversation.hears(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    assert not end.done()
    await conversation.lost()
    await end
    assert sink.body == b"hello"


async def test_a_response_without_a_length_that_ends_in_a_reset_is_truncated() -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.hears(b"HTTP/1.1 200 OK\r\n\r\nhel")
    await conversation.lost(ConnectionResetError())
    assert failure(end) is UpstreamErrorKind.TRUNCATED


@pytest.mark.parametrize(
    "closing",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
async def test_a_connection_that_the_upstream_will_close_is_not_used_again(closing: bytes) -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.hears(closing)
    await end
    assert not conversation.connection.is_open


async def test_a_head_response_has_no_body_whatever_its_length_says() -> None:
    conversation = Conversation()
    for _ in range(3):
        sink, end = conversation.asks(is_head=True)
        conversation.hears(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await end
        assert sink.heads[0].content_length == 5
        assert conversation.connection.is_open
    sink, end = conversation.asks()
    conversation.hears(OK)
    await end
    assert sink.body == b"hello"


@pytest.mark.parametrize(
    "rest",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nin",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200",
        b"x",
    ],
)
async def test_bytes_after_a_response_are_never_part_of_the_next_one(rest: bytes) -> None:
    conversation = Conversation()
    sink, end = conversation.asks()
    conversation.hears(OK + rest)
    await turn()
    assert end.done() and sink.body == b"hello"
    assert not conversation.connection.is_open


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    conversation = Conversation()
    conversation.hears(OK)
    assert conversation.transport.is_aborted


async def test_a_connection_that_was_held_up_reads_again_when_it_is_used_again() -> None:
    """The viewer fell behind in the last read of a response: the connection goes back to the pool, and the next response must not wait for that viewer."""
    conversation = Conversation()
    sink, end = conversation.asks()
    sink.when_body = conversation.connection.pause
    conversation.hears(OK)
    await end
    assert not conversation.transport.is_paused
    sink, end = conversation.asks()
    conversation.hears(OK)
    await end
    assert sink.body == b"hello"


@pytest.mark.parametrize(
    "response",
    [
        b"SMTP ready\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 33_000,
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 40_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000,
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 700 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=lambda response: repr(response[:60]),
)
@pytest.mark.parametrize("piece", [1_000_000, 1_000])
async def test_what_is_no_response_is_an_error(response: bytes, piece: int) -> None:
    conversation = Conversation()
    sink, end = conversation.asks()
    conversation.hears(*(response[start : start + piece] for start in range(0, len(response), piece)))
    await turn()
    assert failure(end) is UpstreamErrorKind.INVALID_RESPONSE
    assert not sink.body and not conversation.connection.is_open


@pytest.mark.parametrize("endless", [b"Trailer: x\r\n", b"Trailer: " + b"x" * 2_000, b"1;" + b"a" * 2_000])
async def test_an_upstream_that_goes_on_without_content_is_left(endless: bytes) -> None:
    """The parser keeps trailers: one without end would fill the memory (RFC 9110 section 6.5.1)."""
    conversation = Conversation()
    _, end = conversation.asks()
    start = b"0\r\n" if endless.startswith(b"T") else b""
    conversation.hears(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + start)
    heard = 0
    while not end.done() and heard < 100_000:
        conversation.hears(endless)
        heard += len(endless)
    assert failure(end) is UpstreamErrorKind.INVALID_RESPONSE
    assert 30_000 < heard < 40_000 and not conversation.connection.is_open


async def test_what_comes_without_content_is_counted_anew_with_each_piece_and_each_response() -> None:
    conversation = Conversation()
    for _ in range(3):
        sink, end = conversation.asks()
        conversation.hears(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            conversation.hears(b"1;" + b"a" * 20_000, b"\r\nx\r\n")
        conversation.hears(b"0\r\nTrailer: " + b"a" * 20_000, b"\r\n\r\n")
        await end
        assert sink.body == b"xxx" and conversation.connection.is_open


@pytest.mark.parametrize(
    ("heard", "kind"),
    [
        (b"", UpstreamErrorKind.RESET),
        (b"HTTP/1.1 200 OK\r\nContent-Le", UpstreamErrorKind.RESET),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", UpstreamErrorKind.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", UpstreamErrorKind.TRUNCATED),
    ],
)
async def test_a_connection_that_ends_too_early_is_an_error(heard: bytes, kind: UpstreamErrorKind) -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    if heard:
        conversation.hears(heard)
    await conversation.lost()
    assert failure(end) is kind


async def test_only_a_used_connection_that_heard_nothing_may_have_been_closed_before_the_request() -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.hears(OK)
    await end
    _, end = conversation.asks()
    await conversation.lost()
    error = end.exception()
    assert isinstance(error, UpstreamError) and error.failure.is_on_reused_connection

    conversation = Conversation()
    _, end = conversation.asks()
    await conversation.lost()
    error = end.exception()
    assert isinstance(error, UpstreamError) and not error.failure.is_on_reused_connection


# -- the read timeout: for the first byte and between two reads


async def test_an_upstream_that_says_nothing_runs_into_the_read_timeout() -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.clock.passes(READ_TIMEOUT - 0.1)
    assert not end.done()
    conversation.clock.passes(0.1)
    assert failure(end) is UpstreamErrorKind.READ_TIMEOUT
    assert conversation.transport.is_aborted


async def test_every_piece_gives_the_upstream_new_time() -> None:
    conversation = Conversation()
    sink, end = conversation.asks()
    for byte in OK:
        conversation.clock.passes(READ_TIMEOUT - 0.1)
        conversation.hears(bytes([byte]))
    await end
    assert sink.body == b"hello"


async def test_time_in_which_the_viewer_held_it_up_is_not_the_upstreams_fault() -> None:
    conversation = Conversation()
    sink, end = conversation.asks()
    conversation.hears(OK[:-1])
    conversation.connection.pause()
    conversation.clock.passes(100 * READ_TIMEOUT)
    conversation.connection.resume()
    conversation.clock.passes(READ_TIMEOUT - 0.1)
    conversation.hears(OK[-1:])
    await end
    assert sink.body == b"hello"


async def test_an_upstream_that_takes_nothing_of_the_request_runs_into_the_read_timeout() -> None:
    conversation = Conversation(takes_everything=False)
    _, end = conversation.asks()
    conversation.connection.write(b"x" * 200_000)
    for _ in range(10):  # slow, but alive
        conversation.clock.passes(READ_TIMEOUT - 0.1)
        conversation.transport.takes(1_000)
    assert not end.done()
    conversation.clock.passes(2 * READ_TIMEOUT)
    assert failure(end) is UpstreamErrorKind.READ_TIMEOUT


async def test_no_timer_outlives_its_response() -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.hears(OK)
    await end
    conversation.clock.passes(1_000.0)
    assert conversation.connection.is_open


# -- the read timeout and the request's body: time counts against who is slow


def uploads(*, takes_everything: bool = True) -> tuple[Conversation, "asyncio.Future[None]"]:
    """A request whose body is still to come."""
    conversation = Conversation(takes_everything=takes_everything)
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(failure: UpstreamFailure | None) -> None:
        if failure is None:
            end.set_result(None)
        else:
            end.set_exception(UpstreamError(failure.kind, failure.detail))

    conversation.connection.begin(
        b"POST / HTTP/1.1\r\n\r\n", Sink(), ended, is_head=False, read_timeout=READ_TIMEOUT, has_body=True
    )
    return conversation, end


async def test_while_the_viewer_owes_its_body_upstream_has_time() -> None:
    conversation, end = uploads()
    conversation.clock.passes(6.5)
    conversation.connection.write(b"half")
    conversation.clock.passes(100 * READ_TIMEOUT)
    conversation.connection.write(b"half")
    conversation.connection.end_request()
    conversation.clock.passes(READ_TIMEOUT - 0.1)
    conversation.hears(OK)
    await end
    assert conversation.connection.is_open


async def test_after_the_last_byte_upstream_has_the_read_timeout_and_no_more() -> None:
    conversation, end = uploads()
    conversation.clock.passes(READ_TIMEOUT * 1.3)
    conversation.connection.write(b"whole")
    conversation.connection.end_request()
    conversation.clock.passes(READ_TIMEOUT - 0.1)
    assert not end.done()
    conversation.clock.passes(0.1)
    assert failure(end) is UpstreamErrorKind.READ_TIMEOUT


async def test_a_body_that_upstream_does_not_take_runs_into_the_read_timeout_though_the_viewer_owes_the_rest() -> None:
    conversation, end = uploads(takes_everything=False)
    conversation.transport.takes(conversation.transport.unsent_bytes)
    conversation.clock.passes(READ_TIMEOUT * 3)
    conversation.connection.write(b"x" * 1_000)
    for _ in range(READ_TIMEOUT.__ceil__() * 2 - 2):  # a viewer that drips does not make it longer
        conversation.clock.passes(0.5)
        conversation.connection.write(b"x")
    assert not end.done()
    conversation.clock.passes(READ_TIMEOUT)
    assert failure(end) is UpstreamErrorKind.READ_TIMEOUT


async def test_a_body_that_upstream_takes_slowly_does_not() -> None:
    conversation, end = uploads(takes_everything=False)
    conversation.connection.write(b"x" * 50_000)
    conversation.connection.end_request()
    for _ in range(10):
        conversation.clock.passes(READ_TIMEOUT - 0.1)
        conversation.transport.takes(1_000)
    assert not end.done()


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("unsent_bytes", [0, 10])
async def test_a_connection_carries_another_request_only_behind_a_whole_one(is_whole: bool, unsent_bytes: int) -> None:
    conversation, end = uploads(takes_everything=False)
    conversation.connection.write(b"x" * 100)
    if is_whole:
        conversation.connection.end_request()
    conversation.transport.takes(conversation.transport.unsent_bytes - unsent_bytes)
    conversation.hears(OK)
    await end
    assert conversation.connection.is_open is (is_whole and not unsent_bytes)


async def test_nothing_is_written_after_the_end_of_an_exchange_and_nobody_waits_to_write() -> None:
    conversation, end = uploads(takes_everything=False)
    conversation.connection.write(b"x" * 100_000)
    draining = asyncio.ensure_future(conversation.connection.drain())
    await turn()
    assert not draining.done()
    conversation.hears(OK)
    await end
    await draining
    written = bytes(conversation.transport.written)
    conversation.connection.write(b"the rest")
    conversation.connection.end_request()
    assert conversation.transport.written == written
