"""One buffer for all bodies from disk (edge_node/delivery/body_sender.py): no viewer gets bytes of another one's piece, however the viewers read."""

import asyncio
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop

from edge_node.listeners.socket_writer import write_at_once
from tests.peers.nodes import EdgeLab
from tests.peers.origin import cacheable
from tests.peers.viewer import Viewer

MIB = 1 << 20
LENGTH = 12 * MIB
VIEWERS = 6


class Lender(asyncio.Protocol):
    """Writes all of its numbered pieces from one buffer, as fast as `write` returns."""

    def __init__(self, pieces: int, piece_bytes: int) -> None:
        self._pieces = pieces
        self._buffer = bytearray(piece_bytes)
        self.most_waiting_bytes = 0
        self.is_lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        write = write_at_once(transport)
        for number in range(self._pieces):
            self._buffer[:] = bytes((number % 251,)) * len(self._buffer)
            write(memoryview(self._buffer))
            self.most_waiting_bytes = max(self.most_waiting_bytes, transport.get_write_buffer_size())
        self._buffer[:] = b"\xff" * len(self._buffer)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost.set()


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_buffer_may_be_used_again_as_soon_as_it_is_written(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    lender = Lender(40, 300_001)

    async def read_late() -> bytes:
        near, far = socket.socketpair()
        with far:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: lender, near)
            far.setblocking(False)
            received = bytearray()
            async with asyncio.timeout(20):
                while data := await asyncio.get_running_loop().sock_recv(far, 100_000):
                    received += data
                await lender.is_lost.wait()
            return bytes(received)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        received = runner.run(read_late())
    assert lender.most_waiting_bytes > MIB, "the socket took everything: nothing was shown"
    assert received == b"".join(bytes((number % 251,)) * 300_001 for number in range(40))


def body_of(number: int) -> bytes:
    return random.Random(number).randbytes(LENGTH)


async def test_viewers_that_stop_and_go_get_their_own_bytes_and_wait_in_little_memory(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1", cache_bytes=16 * MIB, disk_bytes=256 * MIB)
        site = await lab.site()
        bodies = [body_of(number) for number in range(VIEWERS)]
        for number, body in enumerate(bodies):
            site.script(f"/{number}", cacheable(body))
            assert (await site.get(f"/{number}")).body == body
        assert (await site.get("/0")).result == "Hit"
        before = edge.memory("RssAnon")  # pages of mapped files are the page cache's
        viewers = [Viewer(edge.http, receive_buffer=65_536) for _ in bodies]
        try:
            for number, viewer in enumerate(viewers):
                await viewer.__aenter__()
                await viewer.ask(site.host, f"/{number}")
                assert (await viewer.read_head())["x-cache"].startswith("Hit")
            for number, body in enumerate(bodies):  # the buffer is used while all of them wait
                assert (await site.get(f"/{number}")).body == body
            assert edge.memory("RssAnon") - before < VIEWERS * MIB + 4 * MIB
            received = [bytearray() for _ in bodies]
            generator = random.Random(1)
            async with asyncio.timeout(30):
                while waiting := [number for number in range(VIEWERS) if len(received[number]) < LENGTH]:
                    number = generator.choice(waiting)
                    received[number] += await viewers[number].reader.read(generator.randrange(1, 400_000))
            assert [bytes(each) == body for each, body in zip(received, bodies, strict=True)] == [True] * VIEWERS
            await viewers[0].ask(site.host, "/1", ("range", "bytes=5-9"))
            assert (await viewers[0].read()).body == bodies[1][5:10]  # the connection goes on
        finally:
            for viewer in viewers:
                await viewer.__aexit__(None, None, None)
