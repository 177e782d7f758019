"""First byte through, backpressure and memory: a node passes on what arrives, and keeps no more of it than it must."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.peers.nodes import EdgeLab
from tests.peers.origin import OriginExchange
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("streaming")) as lab:
        await lab.start("edge-1", "regional-1")
        yield lab


@pytest.mark.parametrize("control", ["max-age=60", "no-store"])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_the_first_byte_reaches_all_viewers_before_the_last_has_left_the_origin(
    lab: EdgeLab, control: str, is_chunked: bool
) -> None:
    site = await lab.site()
    gates = [asyncio.Event() for _ in range(3)]

    async def script(exchange: OriginExchange) -> None:
        framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", "3")
        await exchange.send_head(200, ("Cache-Control", control), framing)
        for gate, byte in zip(gates, (b"a", b"b", b"c"), strict=True):
            await gate.wait()
            await (exchange.send_chunk(byte) if is_chunked else exchange.send(byte))
        if is_chunked:
            await exchange.send(b"0\r\n\r\n")

    site.script("/a", script)
    async with Viewer(lab.edge.http) as first, Viewer(lab.edge.http) as second:
        await first.ask(site.host, "/a")
        assert (await first.read_head()).status == 200  # the head alone has arrived
        await second.ask(site.host, "/a")
        assert (await second.read_head()).status == 200
        for gate, byte in zip(gates, (b"a", b"b", b"c"), strict=True):
            gate.set()
            for viewer in (first, second):
                async with asyncio.timeout(10):
                    piece = b"1\r\n%b\r\n" % byte if is_chunked else byte
                    assert await viewer.reader.readexactly(len(piece)) == piece
    assert len(site.asked("/a")) == (1 if control == "max-age=60" else 2)


class LargeObject:
    """A body that is made as it is sent."""

    def __init__(self, length: int, *headers: tuple[str, str]) -> None:
        self.length = length
        self.headers = headers
        self.piece = bytes(range(256)) * 4_096
        self.sent_bytes = 0
        self.is_over = asyncio.Event()

    async def script(self, exchange: OriginExchange) -> None:
        try:
            await exchange.send_head(200, *self.headers, length=self.length)
            while self.sent_bytes < self.length:
                await exchange.send(self.piece)
                self.sent_bytes += len(self.piece)
        finally:
            self.is_over.set()


async def settles(value: Callable[[], int]) -> None:
    """Until a value has not changed for a while."""
    last, since = -1, time.monotonic()
    async with asyncio.timeout(20):
        while time.monotonic() - since < 0.4:
            if value() != last:
                last, since = value(), time.monotonic()
            await asyncio.sleep(0.02)


async def test_a_viewer_that_does_not_read_holds_the_origin_up(lab: EdgeLab) -> None:
    """No node takes in what its viewer does not take out: what left the origin is bounded by windows and socket buffers."""
    site = await lab.site()
    large = LargeObject(400 * MIB)
    site.script("/large", large.script)
    before = [node.memory("RssAnon") for node in lab.nodes]  # pages of the program come and go (resident_memory.py)
    async with Viewer(lab.edge.http, receive_buffer=65_536) as viewer:
        await viewer.ask(site.host, "/large")
        await viewer.read_head()
        await settles(lambda: large.sent_bytes)
        assert large.sent_bytes < 60 * MIB
        assert all(node.memory("RssAnon") - rss < 8 * MIB for node, rss in zip(lab.nodes, before, strict=True))
    async with asyncio.timeout(10):
        await large.is_over.wait()  # the viewer has left: so do all behind it
    assert large.sent_bytes < 60 * MIB


async def test_a_slow_viewer_of_a_stored_object_takes_nothing_from_the_others(lab: EdgeLab) -> None:
    site = await lab.site()
    body = bytes(range(256)) * 16_000
    sent = [0]

    async def script(exchange: OriginExchange) -> None:
        await exchange.answer(200, body, ("Cache-Control", "max-age=60"))
        sent[0] += 1

    site.script("/a", script)
    async with Viewer(lab.edge.http, receive_buffer=65_536) as slow, Viewer(lab.edge.http) as quick:
        await slow.ask(site.host, "/a")
        await slow.read_head()
        assert (await quick.get(site.host, "/a")).body == body
        async with asyncio.timeout(10):
            assert await slow.reader.readexactly(len(body)) == body
    assert sent == [1]


async def test_a_viewer_that_falls_behind_at_the_end_leaves_a_usable_connection(lab: EdgeLab) -> None:
    """The connection to the origin was paused for a slow viewer when its response ended: the next request on it must not wait for that viewer."""
    site = await lab.site()
    body = bytes(3 * MIB)

    async def script(exchange: OriginExchange) -> None:
        await exchange.answer(200, body, ("Cache-Control", "no-store"))

    site.script("/a", script)
    async with Viewer(lab.edge.http, receive_buffer=65_536) as slow:
        await slow.ask(site.host, "/a")
        await slow.read_head()
        await settles(lambda: lab.edge.memory("VmRSS"))
        for _ in range(3):
            async with Viewer(lab.edge.http) as quick:
                assert len((await quick.get(site.host, "/a")).body) == len(body)
        async with asyncio.timeout(10):
            assert len(await slow.reader.readexactly(len(body))) == len(body)


@pytest.mark.slow
async def test_a_gibibyte_passes_through_both_tiers_in_little_memory(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1")
        site = await lab.site()
        length = 1 << 30
        site.script("/large", LargeObject(length, ("Cache-Control", "max-age=60"), ("ETag", '"1"')).script)
        host, _, port = lab.edge.http.rpartition(":")
        loop = asyncio.get_running_loop()
        received, ended = 0, loop.create_future()

        class Counting(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                nonlocal received
                received += len(data)
                if received >= length and not ended.done():
                    ended.set_result(None)

            def connection_lost(self, exc: Exception | None) -> None:
                if not ended.done():
                    ended.set_exception(AssertionError(f"cut after {received} bytes"))

        started = time.monotonic()
        transport, _ = await loop.create_connection(Counting, host, int(port))
        transport.write(f"GET /large HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
        async with asyncio.timeout(60):
            await ended
        transport.abort()
        seconds = time.monotonic() - started
        peaks = {node.id: node.memory() // MIB for node in lab.nodes}
        print(f"1 GiB through two tiers in {seconds:.1f} s; peak resident MiB: {peaks}")
        assert max(peaks.values()) < 150
        assert (await lab.edge.status())["store"]["entries"] == 0


@pytest.mark.slow
async def test_a_full_store_stays_within_its_budget(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1", cache_bytes=8 * MIB)
        site = await lab.site()
        body = bytes(100_000)

        async def script(exchange: OriginExchange) -> None:
            await exchange.answer(200, body, ("Cache-Control", "max-age=60"))

        site.script("/a", script)
        async with Viewer(edge.http) as viewer:
            for number in range(300):
                assert len((await viewer.get(site.host, f"/a?{number}")).body) == len(body)
        store = (await edge.status())["store"]
        assert store["bytes"] <= 8 * MIB and store["evictions"] >= 200
        assert edge.memory() < 100 * MIB
