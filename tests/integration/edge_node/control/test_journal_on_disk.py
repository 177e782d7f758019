"""An acknowledgement is durable (DESIGN section 4, rule 7): real nodes, killed, and started again while nobody can tell them what they have missed."""

from pathlib import Path

from tests.peers.nodes import EdgeLab
from tests.peers.origin import cacheable


async def test_what_a_node_acknowledged_it_knows_after_a_kill_without_the_control_plane(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1")
        site = await lab.site()
        site.script("/a", cacheable(b"old"))
        assert (await site.get("/a")).body == b"old"
        for path in ("/a", "/b/*", "/c"):
            acknowledged = await lab.invalidate(site, path)
        assert acknowledged > site.index  # the snapshot on disk is older than what was acknowledged
        for node in lab.nodes:
            await node.kill()
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        for node in lab.nodes:
            await node.start()
        for node in lab.nodes:
            status = await node.status()
            assert (status["applied_index"], status["log_id"], status["lease"]) == (acknowledged, "log-1", "none")
        site.script("/a", cacheable(b"new"))
        assert (await site.get("/a")).body == b"new"
        assert (await lab.edge.status())["regionals"] == ["regional-1"]
        await lab.control.start(port)
        await lab.acknowledged(acknowledged)  # it takes up where it was: nothing is sent again
        assert (await site.get("/a")).body == b"new"
        assert len(site.asked("/a")) == 2


async def test_a_node_that_has_lost_its_journal_trusts_nobody_until_it_is_told(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1")
        site = await lab.site()
        site.script("/a", cacheable(b"old"))
        assert (await site.get("/a")).body == b"old"
        acknowledged = await lab.invalidate(site, "/b")
        await lab.edge.kill()
        (lab.edge.directory / "state" / "invalidations.journal").unlink()
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        await lab.edge.start()
        status = await lab.edge.status()
        assert (status["applied_index"], status["regionals"]) == (site.index, [])
        site.script("/a", cacheable(b"new"))
        assert (await site.get("/a")).body == b"new"  # the regional cache would have said "old"
        await lab.control.start(port)
        await lab.acknowledged(acknowledged)
        await lab.know_each_other()
        assert (await lab.edge.status())["applied_index"] == acknowledged


async def test_entries_cut_off_in_the_journal_are_asked_for_again(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1")
        site = await lab.site()
        acknowledged = await lab.invalidate(site, "/a")
        await lab.edge.kill()
        journal = lab.edge.directory / "state" / "invalidations.journal"
        journal.write_bytes(
            journal.read_bytes() + b"\x20\0\0\0half of a record"
        )  # what a kill in the middle of an append leaves
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        await lab.edge.start()
        assert (await lab.edge.status())["applied_index"] == acknowledged
        missed = lab.control.invalidate(site.id, "/b")
        await lab.control.start(port)
        await lab.acknowledged(missed)
        assert (await lab.edge.status())["applied_index"] == missed
