"""A node with a disk tier, killed and started again: it answers from what it had, and forgets nothing that it was told."""

import asyncio
from pathlib import Path

from tests.fuzz.strict_http import End, read_responses
from tests.peers.nodes import EdgeLab
from tests.peers.origin import cacheable
from tests.peers.viewer import Viewer

DISK_BYTES = 64 * 1024 * 1024
LARGE = bytes(range(251)) * 12_000
"""More than an eighth of the memory tier below."""


async def is_on_disk(lab: EdgeLab, count: int) -> None:
    async with asyncio.timeout(5):
        while (await lab.edge.metric("cdn_disk_entries")) < count:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)  # what is counted may wait a tenth of a second for its way to the file


async def test_a_killed_node_starts_warm_and_knows_what_was_invalidated(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", cache_bytes=16 * 1024 * 1024, disk_bytes=DISK_BYTES)
        site = await lab.site()
        bodies = {"/a": b"hello", "/b": b"again", "/large": LARGE}
        for path, body in bodies.items():
            site.script(path, cacheable(body))
            assert (await site.get(path)).body == body
        await is_on_disk(lab, 3)
        await lab.invalidate(site, "/b")
        await lab.edge.kill()
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        await lab.edge.start()  # nobody can tell it what it has missed
        assert await lab.edge.metric("cdn_disk_recovered_total") == 3
        for path in ("/a", "/large"):
            site.script(path, cacheable(b"from the origin"))
            answer = await site.get(path)
            assert answer.body == bodies[path] and answer.result == "Hit"
        part = await site.get("/large", ("range", "bytes=1000000-2000000"))
        assert (part.status, part.body) == (206, LARGE[1_000_000:2_000_001])
        site.script("/b", cacheable(b"new"))
        assert (await site.get("/b")).body == b"new"
        assert len(site.asked("/a")) == len(site.asked("/large")) == 1
        await lab.control.start(port)


async def test_a_damaged_file_costs_what_was_in_it_and_is_counted(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", cache_bytes=16 * 1024 * 1024, disk_bytes=DISK_BYTES)
        site = await lab.site()
        site.script("/large", cacheable(LARGE))
        site.script("/small", cacheable(b"small"))
        assert (await site.get("/large")).body == LARGE and (await site.get("/small")).body == b"small"
        await is_on_disk(lab, 2)
        await lab.edge.kill()
        files = sorted((lab.edge.directory / "state" / "cache").rglob("*.body"), key=lambda file: file.stat().st_size)
        data = bytearray(files[-1].read_bytes())
        data[2_500_000] ^= 1
        files[-1].write_bytes(data)
        await lab.edge.start()
        async with Viewer(lab.edge.http) as viewer:
            await viewer.ask(site.host, "/large", ("range", "bytes=2400000-2600000"))
            (response,), end = read_responses(await viewer.read_rest(), [b"GET"], is_closed=True)
        assert end is End.INCOMPLETE
        sent = response.body
        assert sent != LARGE[2_400_000:2_600_001] and LARGE[2_400_000:].startswith(sent)
        assert await lab.edge.metric("cdn_disk_corrupt_total") == 1
        assert (await site.get("/large")).body == LARGE and len(site.asked("/large")) == 2
        assert (await site.get("/small")).body == b"small" and len(site.asked("/small")) == 1
