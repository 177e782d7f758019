"""Sentences about connections that hold for whatever bytes come, in whatever pieces."""

import asyncio
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.model.errors import UpstreamError
from edge_node.upstream.connection import UpstreamConnection, make_response_head
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetch_sink import FetchSink, RequestBody
from tests.builders import behavior_message
from tests.conversations.dialogue import Node, ServingFetcher
from tests.depth import examples
from tests.edge_wires import EchoService, FakeListener, FakeTransport, end_of_exchange, statuses, turn
from tests.fuzz.strict_http import End, read_responses

# -- the viewer's connection, with the whole node behind it


class InstantUpstream(ServingFetcher):
    """Answers every fetch at once with what was asked: cacheable, except below /no."""

    async def serve(
        self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> None:
        received = b""
        while body is not None and (chunk := await body.next_chunk()) is not None:
            received += chunk
        target = targets[0].request.split(b" ")[1]
        content = method + b" " + target + b" " + received
        lifetime = b"no-store" if target.startswith(b"/no") else b"max-age=60"
        fields = [(b"cache-control", lifetime), (b"etag", b'"1"'), (b"content-length", b"%d" % len(content))]
        sink.head_arrived(make_response_head(200, b"OK", fields))
        if method != b"HEAD":
            sink.body_arrived(content)


async def settled(transport: FakeTransport, progress: Callable[[], object]) -> None:
    """Until nothing goes on for some turns of the loop."""
    before, quiet_turns = None, 0
    while quiet_turns < 20:
        now = (transport.unread_bytes, progress())
        quiet_turns = quiet_turns + 1 if now == before else 0
        before = now
        await asyncio.sleep(0)


def message(method: str, target: str, fields: str = "", body: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: d1.cdn.localhost\r\n{fields}\r\n{body}".encode()


REQUESTS = st.sampled_from(
    [
        *[message("GET", "/a")] * 3,  # often the same bytes again, which are not parsed again
        message("GET", "/b?x=1"),
        message("GET", "/no/store"),
        message("HEAD", "/a"),
        message("GET", "/a", "Range: bytes=1-2\r\n"),
        message("GET", "/no/store", 'If-None-Match: "1"\r\n'),
        message("GET", "/a", "Accept-Encoding: gzip\r\nCookie: a=1\r\n"),
        message("POST", "/a", "Content-Length: 5\r\n", "hello"),
        message("POST", "/a", "Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        message("GET", "/a", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        message("POST", "/a", "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", "hello"),
        message(
            "POST",
            "/a",
            "Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n",
            "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ),
        message("PUT", "/a", "Content-Length: 0\r\n"),
        message("DELETE", "/a"),
        message("GET", "http://d1.cdn.localhost/a"),
        message("GET", "/a").replace(b"d1", b"d2"),  # 403, and the connection stays
        b"\r\n" + message("GET", "/a"),
    ]
)
METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]


async def converse(pieces: Sequence[bytes]) -> bytes:
    """What a fresh node answers to these reads of one connection; a paused connection is read on when the node says so."""
    node = Node(behavior_message(allowed_methods=METHODS), fetcher=InstantUpstream())
    listener = FakeListener(node.pipeline, node.fast_path)
    _, transport = listener.connect()
    for piece in pieces:
        transport.feed(piece)
    await settled(transport, lambda: (len(transport.written), len(node.tasks)))
    assert not node.tasks and (transport.is_closing() or not transport.unread_bytes)
    return bytes(transport.written)


@settings(max_examples=examples(60))
@given(st.lists(REQUESTS, min_size=1, max_size=6), st.data())
def test_how_requests_are_cut_into_reads_does_not_change_a_byte_of_the_answers(
    requests: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) if start < end]

    async def compare() -> None:
        expected = await converse(requests)
        answers, end = read_responses(expected, [request.split()[0] for request in requests], is_closed=False)
        assert len(answers) == len(requests) and end is End.CLEAN
        assert await converse([stream]) == expected
        assert await converse(pieces) == expected
        assert await converse([bytes([byte]) for byte in stream]) == expected

    asyncio.run(compare())


def _spoil(data: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    spoiled = bytearray(data)
    for place, length, replacement in edits:
        at = place % (len(spoiled) + 1)
        spoiled[at : at + length] = replacement
    return bytes(spoiled)


SPOILED = st.builds(
    _spoil,
    st.lists(REQUESTS, min_size=1, max_size=3).map(b"".join),
    st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.integers(0, 4),
            st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b"\0", b" ", b":", b"\r\n\r\n"]),
        ),
        max_size=5,
    ),
)


@settings(max_examples=examples(75))
@given(
    st.one_of(st.binary(max_size=300), SPOILED), st.lists(st.integers(1, 200), min_size=1, max_size=5), st.booleans()
)
def test_whatever_a_viewer_sends_it_gets_whole_answers_or_a_close(stream: bytes, sizes: list[int], ends: bool) -> None:
    async def check() -> None:
        service = EchoService()
        listener = FakeListener(service, service)
        connection, transport = listener.connect()
        rest, number = stream, 0
        while rest and not transport.is_lost:
            size = sizes[number % len(sizes)]
            transport.feed(rest[:size])
            rest, number = rest[size:], number + 1
            await turn(5)
        if ends:
            transport.feed_eof()
        await settled(transport, lambda: (len(transport.written), len(service.heads)))
        assert transport.is_closing() or not transport.unread_bytes
        found = statuses(transport)
        assert all(status in (100, 200, 400, 408, 414, 494, 500, 501, 505) for status in found)
        assert 500 not in found
        assert len(service.violations) <= 1
        if service.violations:
            assert transport.has_written_eof or transport.is_lost
        if ends:
            assert transport.is_lost
        if transport.is_lost:
            assert not listener.open and not service.tasks
        else:
            listener.now = 1_000.0
            connection.check_deadline(listener.now)
            await turn()
            assert transport.is_lost or statuses(transport)[-1:] == [408]

    asyncio.run(check())


# -- the upstream's connection

RESPONSES = st.sampled_from(
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "1"\r\n\r\nhello',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ]
)


class StrictSink:
    """Fails when a body comes before its head, or a second head."""

    def __init__(self) -> None:
        self.heads = 0
        self.body = b""

    def interim_arrived(self, head: object) -> None:
        assert not self.heads

    def head_arrived(self, head: object) -> None:
        assert not self.heads
        self.heads += 1

    def body_arrived(self, data: bytes) -> None:
        assert self.heads
        self.body += data

    def whole_arrived(self, head: object, body: bytes) -> None:
        self.head_arrived(head)
        self.body_arrived(body)


SPOILED_RESPONSES = st.builds(
    _spoil,
    st.lists(RESPONSES, min_size=1, max_size=3).map(b"".join),
    st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.integers(0, 4),
            st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\0", b" ", b"9"]),
        ),
        max_size=5,
    ),
)


@settings(max_examples=examples(75))
@given(
    st.one_of(st.binary(max_size=200), SPOILED_RESPONSES),
    st.lists(st.integers(1, 100), min_size=1, max_size=5),
    st.booleans(),
)
def test_whatever_an_upstream_sends_a_request_ends_in_one_answer_or_one_error(
    stream: bytes, sizes: list[int], is_head: bool
) -> None:
    async def check() -> None:
        connection = UpstreamConnection(asyncio.get_running_loop())
        transport = FakeTransport(connection)
        rest, number = stream, 0
        while connection.is_open and number < 5:
            sink = StrictSink()
            end = end_of_exchange(connection, sink, is_head=is_head)
            while rest and connection.is_open and not end.done():
                size = sizes[number % len(sizes)]
                connection.data_received(rest[:size])
                rest = rest[size:]
            await turn(3)
            if not rest and not end.done():
                transport.close()
                await turn(3)
            assert end.done()
            error = end.exception()
            assert isinstance(error, UpstreamError) if error else sink.heads == 1
            number += 1
        if connection.is_open:
            transport.abort()
            await turn(3)

    asyncio.run(check())


@given(
    st.lists(RESPONSES.filter(lambda response: response.startswith(b"HTTP/1.1")), min_size=1, max_size=4),
    st.integers(1, 60),
)
def test_the_pieces_in_which_a_response_comes_do_not_change_it(responses: list[bytes], size: int) -> None:
    async def bodies(piece: int) -> list[bytes]:
        connection = UpstreamConnection(asyncio.get_running_loop())
        transport = FakeTransport(connection)
        found = []
        for response in responses:
            sink = StrictSink()
            end = end_of_exchange(connection, sink)
            for start in range(0, len(response), piece):
                connection.data_received(response[start : start + piece])
            await end
            found.append(sink.body)
        transport.abort()
        await turn(3)
        return found

    async def compare() -> None:
        assert await bodies(size) == await bodies(1_000)

    asyncio.run(compare())
