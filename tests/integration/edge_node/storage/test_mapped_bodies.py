"""Large bodies from disk as viewers get them from a real node: from the mapped file once they are proven, at any pace, in any range, and cut off when the file is.

The bytes are compared with those that the origin was told to send.
"""

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop

from edge_node.caching.stored_body import BodyLostError
from edge_node.listeners.socket_writer import TAIL_BYTES, lend_at_once
from tests.peers.nodes import EdgeLab, Node, Site, until
from tests.peers.origin import cacheable
from tests.peers.viewer import Viewer

MIB = 1 << 20
LENGTH = 12 * MIB
AN_HOUR_AGO = (1_700_000_000_000_000_000, 1_700_000_000_000_000_000)

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are looked up in /proc")


class Lent:
    """A piece that is written to a descriptor without being seen; from one position on it is lost."""

    def __init__(self, data: bytes, good_bytes: int) -> None:
        self._data = data
        self._good_bytes = good_bytes
        self.length = len(data)
        self.copied: list[int] = []

    def write_to(self, descriptor: int, first: int) -> int:
        if first >= self._good_bytes:
            raise BodyLostError
        return os.write(descriptor, memoryview(self._data)[first : self._good_bytes])

    def copy(self, first: int, length: int) -> bytes:
        if first + length > self._good_bytes:
            raise BodyLostError
        self.copied.append(length)
        return self._data[first : first + length]


class Lender(asyncio.Protocol):
    """Sends one piece as a paced answer does: on, whenever nothing waits."""

    def __init__(self, piece: Lent) -> None:
        self._piece = piece
        self._sent = 0
        self.most_waiting_bytes = 0
        self.is_lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        write_lent = lend_at_once(self._transport)
        assert write_lent is not None
        self._write_lent = write_lent
        self._is_held_up = False
        self.resume_writing()

    def pause_writing(self) -> None:
        self._is_held_up = True

    def resume_writing(self) -> None:
        self._is_held_up = False
        while not self._is_held_up and self._sent < self._piece.length:
            try:
                self._sent = self._write_lent(self._piece, self._sent)
            except BodyLostError:
                self._transport.abort()
                return
            self.most_waiting_bytes = max(self.most_waiting_bytes, self._transport.get_write_buffer_size())
        if self._sent == self._piece.length:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost.set()


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("good_bytes", [LENGTH, 5 * MIB + 3])
def test_of_a_lent_piece_only_a_tail_waits_in_the_process(
    new_loop: Callable[[], asyncio.AbstractEventLoop], good_bytes: int
) -> None:
    data = random.Random(1).randbytes(LENGTH)
    lender = Lender(Lent(data, good_bytes))
    received = bytearray()

    async def read_slowly() -> None:
        loop, sizes = asyncio.get_running_loop(), random.Random(2)
        listener = await loop.create_server(lambda: lender, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname(), limit=65_536)
        async with asyncio.timeout(30):
            try:
                while more := await reader.read(sizes.randrange(1, 300_000)):
                    received.extend(more)
            except ConnectionResetError:
                assert good_bytes < LENGTH
            await lender.is_lost.wait()
        writer.close()
        listener.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(read_slowly())
    assert data[:good_bytes].startswith(bytes(received)) and (len(received) == LENGTH) is (good_bytes == LENGTH)
    assert lender.most_waiting_bytes <= TAIL_BYTES


def body_files(node: Node) -> list[Path]:
    return sorted((node.directory / "state" / "cache" / "records").glob("*.body"))


def is_mapped(node: Node, path: Path) -> bool:
    assert node.process is not None
    return path.name in Path(f"/proc/{node.process.pid}/maps").read_text()


async def stored(site: Site, node: Node, path: str, seed: int) -> bytes:
    """A body that is on the disk of the node, proven and mapped."""
    body = random.Random(seed).randbytes(LENGTH)
    before = set(body_files(node))
    site.script(path, cacheable(body))
    assert (await site.get(path)).body == body
    await until(
        lambda: set(body_files(node)) > before, "the body is on the disk"
    )  # it is stored after its last byte was passed on
    (file,) = set(body_files(node)) - before
    os.utime(file, ns=AN_HOUR_AGO)  # a file that was written just now is not mapped
    for _ in range(2):
        answer = await site.get(path)
        assert answer.result == "Hit" and answer.body == body
    assert is_mapped(node, file)
    return body


async def test_ranges_of_a_mapped_body_are_those_bytes(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1", cache_bytes=16 * MIB, disk_bytes=256 * MIB)
        site = await lab.site()
        body = await stored(site, edge, "/a", 1)
        for first, last in [(0, 0), (5, LENGTH - 1), (65_535, 9_000_001), (LENGTH - 70_000, LENGTH - 1)]:
            answer = await site.get("/a", ("range", f"bytes={first}-{last}"))
            assert (answer.status, answer.body) == (206, body[first : last + 1])
        answer = await site.get("/a", ("range", "bytes=1-3000000,4000000-4000009,7000000-"))
        kind, _, boundary = {name.lower(): value for name, value in answer.headers}["content-type"].partition(
            "; boundary="
        )
        assert (answer.status, kind) == (206, "multipart/byteranges")
        parts = answer.body.split(b"\r\n--" + boundary.strip('"').encode())
        contents = [part.partition(b"\r\n\r\n")[2] for part in parts if b"\r\n\r\n" in part]
        assert contents == [body[1:3_000_001], body[4_000_000:4_000_010], body[7_000_000:]]


async def test_viewers_who_stop_go_and_leave_get_their_own_bytes_of_mapped_bodies(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1", cache_bytes=16 * MIB, disk_bytes=256 * MIB)
        site = await lab.site()
        bodies = [await stored(site, edge, f"/{number}", number) for number in range(3)]
        before = edge.memory("RssAnon")
        viewers = [Viewer(edge.http, receive_buffer=65_536) for _ in range(9)]
        try:
            for number, viewer in enumerate(viewers):
                await viewer.__aenter__()
                await viewer.ask(site.host, f"/{number % 3}")
                assert (await viewer.read_head())["x-cache"].startswith("Hit")
            for viewer in viewers[6:]:
                await viewer.reader.read(100_000)
                await viewer.__aexit__(None, None, None)  # leaves in the middle
            generator, received = random.Random(1), [bytearray() for _ in range(6)]
            async with asyncio.timeout(60):
                while waiting := [number for number in range(6) if len(received[number]) < LENGTH]:
                    number = generator.choice(waiting)
                    received[number] += await viewers[number].reader.read(generator.randrange(1, 900_000))
            assert [bytes(each) == bodies[number % 3] for number, each in enumerate(received)] == [True] * 6
            assert edge.memory("RssAnon") - before < 9 * 10 * TAIL_BYTES + 4 * MIB
            await viewers[0].ask(site.host, "/1", ("range", "bytes=5-9"))
            assert (await viewers[0].read()).body == bodies[1][5:10]  # the connection goes on
        finally:
            for viewer in viewers[:6]:
                await viewer.__aexit__(None, None, None)


@pytest.mark.parametrize("left", [0, 4_097, 6 * MIB + 17, LENGTH + 24])
async def test_a_file_that_is_cut_while_it_is_served_breaks_the_answer_off_and_costs_its_record(
    tmp_path: Path, left: int
) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1", cache_bytes=16 * MIB, disk_bytes=256 * MIB)
        site = await lab.site()
        body = await stored(site, edge, "/a", 1)
        async with Viewer(edge.http, receive_buffer=65_536) as viewer:
            await viewer.ask(site.host, "/a")
            assert (await viewer.read_head())["x-cache"].startswith("Hit")
            received = bytearray(await viewer.reader.read(100_000))
            os.truncate(body_files(edge)[0], left)
            async with asyncio.timeout(30):
                try:
                    while more := await viewer.reader.read(1 << 20):
                        received += more
                except ConnectionResetError:
                    pass
        assert body.startswith(bytes(received)) and len(received) < LENGTH
        answer = await site.get("/a")
        assert answer.result == "Miss" and answer.body == body, "the node lives and has dropped the record"
