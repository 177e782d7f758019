"""A real edge whose files were damaged while it was down: it serves nothing rather than something else, and is as before once it has been told."""

import asyncio
from pathlib import Path

import pytest

from tests.peers.nodes import DEADLINE_SECONDS, EdgeLab
from tests.peers.origin import ScriptedOrigin, cacheable


@pytest.mark.parametrize("part", ["port", "domain name"])
async def test_a_flipped_bit_in_the_configuration_is_no_other_configuration(tmp_path: Path, part: str) -> None:
    async with EdgeLab(tmp_path) as lab, ScriptedOrigin(lab.control.host) as other:
        await lab.start("edge-1")
        site = await lab.site()
        site.script("/a", cacheable(b"ours"))
        other.scripts[site.at_origin("/a")] = cacheable(b"of another origin")
        assert (await site.get("/a")).body == b"ours"
        await lab.edge.kill()
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        (snapshot,) = (lab.edge.directory / "state").glob(f"configuration-*/distribution-{site.id}-*")
        stored = snapshot.read_bytes()
        before, after = {
            "port": (varint(lab.origin.port), varint(other.port)),
            "domain name": (site.host.encode(), b"x" + site.host.encode()[1:]),
        }[part]
        assert before in stored and len(before) == len(after)
        snapshot.write_bytes(stored.replace(before, after))
        await lab.edge.start()
        assert (await site.get("/a")).status == 503
        assert (await lab.edge.ask_admin("/readyz")).status == 503
        status = await lab.edge.status()
        assert (status["log_id"], status["applied_index"], status["distributions"]) == ("", 0, [])
        assert status["state_files"] == {"refused_total": 1, "write_failures_total": 0, "unwritten": []}
        assert await lab.edge.metric("cdn_state_files_refused_total") == 1
        assert f"{snapshot.name} is damaged" in lab.edge.log()
        await lab.control.start(port)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await lab.edge.ask_admin("/readyz")).status != 200:
                await asyncio.sleep(0.02)
        assert (await site.get("/a")).body == b"ours" and not other.asked(site.at_origin("/a"))


async def test_a_damaged_directory_costs_the_way_through_the_regional_cache_and_nothing_else(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1", disk_bytes=8 * 1024 * 1024)
        site = await lab.site()
        site.script("/a", cacheable(b"kept"))
        assert (await site.get("/a")).body == b"kept"
        await lab.edge.kill()
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        directory = lab.edge.directory / "state" / "directory.binpb"
        directory.write_bytes(directory.read_bytes()[:-1])
        await lab.edge.start()
        status = await lab.edge.status()
        assert (status["regionals"], status["applied_index"]) == ([], site.index)
        assert status["state_files"]["refused_total"] == 1
        await lab.control.start(port)
        await lab.know_each_other()


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])
