"""Viewers of a comparison against servers that do what real ones do: answer in pieces, close idle connections, cut answers, say too much, say nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lab.errors import LabError
from lab.regression import viewer_connections
from lab.regression.viewer_connections import Viewers, request_bytes
from lab.regression.workloads import Ask

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
GET, HEAD = (request_bytes(Ask("/a", method), "a.test") for method in ("GET", "HEAD"))


@asynccontextmanager
async def viewers_of(answer: Answer) -> AsyncIterator[Viewers]:
    """Of a server that gives each connection to this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    viewers = Viewers(f"{host}:{port}", "a.test")
    try:
        yield viewers
    finally:
        viewers.close()
        server.close()


async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while request := await reader.readuntil(b"\r\n\r\n"):
        whole = HELLO if request.startswith(b"GET") else HELLO[:-5]
        for place in range(len(whole)):
            writer.write(whole[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0)


async def test_answers_come_in_pieces_and_are_counted_whole() -> None:
    async with viewers_of(in_pieces) as viewers:
        batch = await viewers.ask([GET, HEAD] * 10, 3)
    assert (batch.statuses, batch.body_bytes, len(batch.seconds)) == ({200: 20}, 50, 20)


async def test_a_connection_that_was_closed_while_it_was_idle_is_replaced() -> None:
    closed = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HELLO)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with viewers_of(once) as viewers:
        await viewers.ask([GET], 1)
        await closed.wait()
        while viewers._connections[0].is_open:
            await asyncio.sleep(0)
        assert (await viewers.ask([GET], 1)).statuses == {200: 1}


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (HELLO[:-1], "closed the connection in the middle"),
        (HELLO + b"!", "more than its answer"),
        (b"nonsense\r\n\r\n", "what is no answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "no Content-Length"),
        (b"", "closed the connection in the middle"),
    ],
)
async def test_what_is_no_whole_answer_ends_the_comparison(said: bytes, complaint: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with viewers_of(say) as viewers:
        with pytest.raises(LabError, match=complaint):
            await viewers.ask([GET], 1)


async def test_silence_is_bounded_and_slowness_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_connections, "SILENCE_SECONDS", 0.05)
    answers = 0

    async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        while await reader.readuntil(b"\r\n\r\n"):
            answers += 1
            if answers > 3:
                await reader.read()
            writer.write(HELLO)

    async with viewers_of(fall_silent) as viewers:
        with pytest.raises(LabError, match="3 of 10 requests are answered"):
            await viewers.ask([GET] * 10, 1)
