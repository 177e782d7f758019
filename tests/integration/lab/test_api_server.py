"""The port of the lab's HTTP APIs against clients that do not behave: nothing that they do costs more than its bound, and they do not get in the way of others."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from lab import api_server
from lab.agent.events import MOST_LISTENERS, Event, Events
from lab.agent.server import application
from lab.api_server import MAXIMUM_HEAD_BYTES, REQUEST_SECONDS, ApiServer
from lab.errors import LabError
from proto.moments import ClockAnchor

TOKEN = "secret"
SECONDS = 20.0


@dataclass
class Listened:
    """As much of the agent as events need."""

    events: Events


@contextlib.asynccontextmanager
async def serving(events: Events) -> AsyncIterator[tuple[str, int]]:
    answering = application(Listened(events), ClockAnchor("", 0, 0), lambda: 0.0, TOKEN)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = ApiServer(answering, 64, 5)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()
        finally:
            events.end()
            server.leave()
            await task


async def until(is_so: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(SECONDS):
        while not is_so():
            await asyncio.sleep(0.01)
    assert is_so(), what


def listen_without_reading(address: tuple[str, int]) -> socket.socket:
    """The kernel takes little for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.connect(address)
    client.sendall(f"GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    return client


def has_room(events: Events) -> bool:
    try:
        listener = events.listen()
    except LabError:
        return False
    events.forget(listener)
    return True


async def test_listeners_that_never_read_are_cut_off_and_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "STALLED_SECONDS", 0.5)
    events = Events()
    long = Event("node", {"id": "x" * 100_000})
    with contextlib.ExitStack() as opened:
        async with serving(events) as address:
            for _ in range(MOST_LISTENERS):
                opened.enter_context(await asyncio.to_thread(listen_without_reading, address))
            await until(lambda: not has_room(events), "all of them listen")

            def happens() -> bool:
                events.tell(long)
                return has_room(events)

            await until(happens, "room for one who reads")
            await until(lambda: not events.has_listeners, "all of them are cut off")


async def test_listeners_that_leave_at_once_make_room() -> None:
    events = Events()
    async with serving(events) as address:
        for _ in range(4 * MOST_LISTENERS):
            client = await asyncio.to_thread(listen_without_reading, address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # with a reset
        await until(lambda: not events.has_listeners, "nobody listens")


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /status?",
        b"POST /faults HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
    ids=["field", "target", "trailers"],
)
async def test_a_head_without_an_end_is_cut_off_at_once(begin: bytes) -> None:
    """Of somebody who has no token. What he sends before he notices stays in the buffers of the kernel."""
    events = Events()
    piece = b"X-Field: 1\r\n" * 1000 if b"chunked" in begin else b"x" * 10_000
    async with serving(events) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(begin)
        sent = 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(REQUEST_SECONDS - 1):
                while not reader.at_eof() and sent < 1 << 30:
                    writer.write(piece)
                    sent += len(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        assert MAXIMUM_HEAD_BYTES < sent < 16 << 20
        writer.close()


async def test_a_large_head_that_ends_is_answered() -> None:
    async with serving(Events()) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /catalogue HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (MAXIMUM_HEAD_BYTES // 2))
        writer.write(f"\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
