"""The readers that judge the node in the tests: each mistake that they are there for is noticed, and what is right passes."""

import asyncio
from collections.abc import Sequence

import pytest

from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.downstream import DownstreamHead
from tests.edge_wires import NODE
from tests.fuzz.strict_frames import (
    CONNECTION,
    Asked,
    Credit,
    Data,
    Ended,
    Frame,
    Head,
    Interim,
    Left,
    Reset,
    StreamEnd,
    StreamResponse,
    TranscriptReader,
)
from tests.fuzz.strict_http import InvalidError
from tests.multiplexed import MultiplexedConnection
from tests.peers.origin import ScriptedOrigin

FIVE = ((b"content-length", b"5"),)


def read(*frames: Frame, method: bytes = b"GET") -> StreamResponse:
    reader = TranscriptReader(stream_credit=10, connection_credit=12, largest_frame=8)
    for frame in (Asked(1, method), Asked(3, b"GET"), *frames):
        reader.read(frame)
    return reader.responses[1]


@pytest.mark.parametrize(
    ("frames", "end"),
    [
        ([], StreamEnd.OPEN),
        ([Interim(1, 103, ()), Head(1, 200, FIVE), Data(1, b"hello"), Ended(1)], StreamEnd.WHOLE),
        ([Head(1, 200, ()), Data(1, b"12345678"), Credit(1, 6), Data(1, b"1234"), Ended(1)], StreamEnd.WHOLE),
        ([Head(3, 200, ()), Data(3, b"12345678"), Head(1, 200, FIVE), Data(1, b"hell"), Reset(1)], StreamEnd.RESET),
        ([Head(1, 304, FIVE), Ended(1)], StreamEnd.WHOLE),
        ([Head(1, 200, FIVE), Data(1, b"hel"), Left(1)], StreamEnd.LEFT),
        ([Reset(1)], StreamEnd.RESET),
    ],
)
def test_frames_that_may_be_said(frames: Sequence[Frame], end: StreamEnd) -> None:
    assert read(*frames).end is end


@pytest.mark.parametrize(
    "frames",
    [
        [Ended(1)],
        [Data(1, b"x")],
        [Head(1, 200, ()), Head(1, 200, ())],
        [Head(1, 103, ())],
        [Interim(1, 101, ())],
        [Head(1, 200, ()), Interim(1, 103, ())],
        [Head(1, 200, ()), Ended(1), Data(1, b"x")],
        [Head(1, 200, ()), Ended(1), Ended(1)],
        [Reset(1), Head(1, 200, ())],
        [Left(1), Head(1, 200, ())],
        [Head(1, 200, FIVE), Data(1, b"hell"), Ended(1)],
        [Head(1, 200, FIVE), Data(1, b"hello!")],
        [Head(1, 200, (*FIVE, *FIVE))],
        [Head(1, 204, FIVE)],
        [Head(1, 204, ()), Data(1, b"x")],
        [Head(1, 304, ()), Data(1, b"x")],
        [Head(1, 200, ()), Data(1, b"123456789")],
        [Head(1, 200, ()), Data(1, b"12345678"), Data(1, b"123")],
        [Head(1, 200, ()), Credit(1, -10), Data(1, b"1")],
        [Head(3, 200, ()), Data(3, b"12345678"), Head(1, 200, ()), Data(1, b"12345")],
        [Head(1, 200, ((b"connection", b"keep-alive"),))],
        [Head(1, 200, ((b"transfer-encoding", b"chunked"),))],
        [Head(1, 200, ((b"X-A", b"1"),))],
        [Head(1, 200, ((b"x-a", b" 1"),))],
        [Head(1, 200, ((b"x-a", b"1\r\nb: 2"),))],
        [Interim(1, 103, ((b"upgrade", b"h2c"),))],
    ],
)
def test_frames_that_must_not_be_said(frames: Sequence[Frame]) -> None:
    with pytest.raises(InvalidError):
        read(*frames)


def test_a_head_request_has_no_body() -> None:
    assert read(Head(1, 200, FIVE), Ended(1), method=b"HEAD").end is StreamEnd.WHOLE
    with pytest.raises(InvalidError):
        read(Head(1, 200, FIVE), Data(1, b"hello"), method=b"HEAD")


def head(status: int = 200, length: int | None = None) -> DownstreamHead:
    return DownstreamHead(status, b"", Result.MISS, Reason.NOT_STORED, b"Miss", b"id", None, b"", length)


def test_calls_out_of_turn_are_written_down() -> None:
    for misuse in ("body first", "two heads", "body behind the end", "no end", "body behind the whole"):
        connection = MultiplexedConnection(NODE)
        stream = connection.opens(b"GET")
        match misuse:
            case "body first":
                stream.send_body(b"x")
            case "two heads":
                stream.send_head(head())
                stream.send_head(head())
            case "body behind the end":
                stream.credit = 0
                stream.send_head(head())
                stream.send_body(b"x")
                stream.end()
                stream.send_body(b"x")
            case "no end":
                stream.send_head(head())
                stream.release()
            case _:
                stream.send_whole(head(), [b"x"])
                stream.send_body(b"x")
        with pytest.raises(AssertionError):
            connection.responses()


def test_a_body_waits_for_credit_and_its_end_for_the_body() -> None:
    connection = MultiplexedConnection(NODE, stream_credit=3, connection_credit=4)
    first, second = connection.opens(b"GET"), connection.opens(b"GET")
    for stream in (first, second):
        stream.send_whole(head(length=5), [b"hel", b"lo"])
        stream.end()
        stream.release()
    assert [bytes(response.body) for response in connection.responses().values()] == [b"hel", b"h"]
    connection.gives_credit(CONNECTION, 100)
    assert [bytes(response.body) for response in connection.responses().values()] == [b"hel", b"hel"]
    second.leaves()
    connection.gives_credit(first.id, 100)
    ends = [(bytes(response.body), response.end) for response in connection.responses().values()]
    assert ends == [(b"hello", StreamEnd.WHOLE), (b"hel", StreamEnd.LEFT)]


def test_no_response_of_204_says_a_length() -> None:
    assert b"content-length" not in dict(head(204, 0).fields(NODE))
    assert dict(head(200, 0).fields(NODE))[b"content-length"] == b"0"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n"])
async def test_an_origin_notices_what_is_no_request(data: bytes) -> None:
    origin = ScriptedOrigin()
    await origin.start()
    _, writer = await asyncio.open_connection(origin.host, origin.port)
    writer.write(data)
    await origin.wait_asked("/")
    writer.close()
    with pytest.raises(AssertionError, match="no request"):
        await origin.stop()
