"""DESIGN section 4 with real processes: whatever order the nodes are told in, an edge that has applied an invalidation never serves the old object."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from proto.cdn.v1 import configuration_pb2
from tests.peers.control_plane import ScriptedControlPlane
from tests.peers.nodes import EdgeLab, Site
from tests.peers.origin import cacheable, gated, in_turn, reply

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("causality")) as lab:
        await lab.start("edge-1", "edge-2", "regional-1")
        yield lab


async def site_with_old_object(lab: EdgeLab) -> Site:
    """Old content in both tiers, new content at the origin."""
    site = await lab.site()
    site.script("/a", cacheable(b"old", 3600, ("ETag", '"old"')))
    for edge in lab.nodes[:2]:
        assert (await site.get("/a", node=edge)).body == b"old"
    site.script("/a", cacheable(b"new", 3600, ("ETag", '"new"')))
    return site


async def test_an_edge_that_applied_an_invalidation_never_refills_from_a_regional_cache_that_has_not(
    lab: EdgeLab,
) -> None:
    site = await site_with_old_object(lab)
    lab.control.hold_back("regional-1")
    try:
        await lab.invalidate(site, "/a")  # both edges have applied it, the regional cache has not heard of it
        answers = await asyncio.gather(*(site.get("/a", node=edge) for edge in lab.nodes[:2]))
        assert [answer.body for answer in answers] == [b"new", b"new"]  # after a bounded wait, without its cache
        assert (await lab.regional.metric('cdn_requests_total{reason="regional_behind",result="pass"}')) == 2
    finally:
        lab.control.let_go("regional-1")
    await lab.acknowledged(lab.control.index)
    assert [(await site.get("/a", node=edge)).body for edge in lab.nodes[:2]] == [b"new", b"new"]


async def test_a_regional_cache_that_is_behind_catches_up_and_answers(lab: EdgeLab) -> None:
    site = await site_with_old_object(lab)
    passes = 'cdn_requests_total{reason="regional_behind",result="pass"}'
    before = await lab.regional.metric(passes)
    lab.control.hold_back("regional-1")
    await lab.invalidate(site, "/a")
    asking = asyncio.ensure_future(site.get("/a"))
    async with asyncio.timeout(10):
        while await lab.edge.metric('cdn_upstream_fetches_total{tier="regional"}') < 1:
            await asyncio.sleep(0.005)
    lab.control.let_go("regional-1")
    assert (await asking).body == b"new"
    await lab.acknowledged(lab.control.index)
    assert (await site.get("/a", node=lab.nodes[1])).body == b"new"
    assert len(site.asked("/a")) <= 3
    assert await lab.regional.metric(passes) <= before + 1  # it had a second to catch up


async def test_a_fetch_in_flight_across_an_invalidation_is_neither_joined_nor_stored(lab: EdgeLab) -> None:
    site = await lab.site()
    gate = asyncio.Event()
    site.script("/a", in_turn(gated(gate, cacheable(b"old")), cacheable(b"new")))
    before = asyncio.ensure_future(site.get("/a"))
    await site.wait_asked("/a")
    await lab.invalidate(site, "/a")
    assert (await site.get("/a")).body == b"new"  # does not wait for the first fetch at either tier
    gate.set()
    assert (await before).body == b"old"  # asked before, answered with what was
    for edge in lab.nodes[:2]:
        assert (await site.get("/a", node=edge)).body == b"new"
    assert len(site.asked("/a")) == 2


async def test_an_invalidated_object_is_neither_served_stale_nor_revalidated(lab: EdgeLab) -> None:
    site = await site_with_old_object(lab)
    await lab.invalidate(site, "/*")
    site.script("/a", reply(503, b"broken"))
    answer = await site.get("/a")
    assert (answer.status, answer.body) == (503, b"broken")
    assert all(request.get("if-none-match") is None for request in site.asked("/a"))


async def test_invalidations_match_the_query_string_that_is_keyed(lab: EdgeLab) -> None:
    site = await lab.site()
    for path in ("/a", "/a?x=1", "/a?x=2", "/ab"):
        site.script(path, cacheable(b"old"))
        assert (await site.get(path)).body == b"old"
        site.script(path, cacheable(b"new"))
    await lab.invalidate(site, "/a?x=1")
    assert [(await site.get(path)).body for path in ("/a", "/a?x=1", "/a?x=2", "/ab")] == [
        b"old",
        b"new",
        b"old",
        b"old",
    ]
    await lab.invalidate(site, "/a*")
    assert [(await site.get(path)).body for path in ("/a", "/a?x=1", "/a?x=2", "/ab")] == [b"new"] * 4


async def test_another_log_invalidates_everything(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1")
        site = await lab.site()
        site.script("/a", cacheable(b"old"))
        assert (await site.get("/a")).body == b"old"
        site.script("/a", cacheable(b"new"))
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        restored = ScriptedControlPlane(lab.control.host, log_id="log-2")
        restored.distributions = lab.control.distributions
        restored.index = 40  # greater than every stamp, and it must not matter
        await restored.start(port)
        try:
            await restored.wait_acknowledged(40, "edge-1")
            assert (await site.get("/a")).body == b"new"
        finally:
            await restored.stop()


async def test_a_snapshot_that_skips_entries_invalidates_what_is_older(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1")
        site = await lab.site()
        site.script("/a", cacheable(b"old"))
        assert (await site.get("/a")).body == b"old"
        site.script("/a", cacheable(b"new"))
        port = int(lab.control.address.rpartition(":")[2])
        await lab.control.stop()
        assert (await site.get("/a")).body == b"old"  # serves on without control plane
        lab.control.invalidate(site.id, "/a")  # an entry that the edge never sees
        await lab.control.start(port)
        await lab.control.wait_acknowledged(lab.control.index, "edge-1")
        assert (await site.get("/a")).body == b"new"


async def test_a_node_restarted_without_the_control_plane_serves_from_its_last_good_snapshot(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1")
        site = await lab.site()
        site.script("/a", cacheable())
        assert (await site.get("/a")).status == 200
        await lab.control.stop()
        for node in lab.nodes:
            await node.kill()
        for node in lab.nodes:
            await node.start()
        assert (await lab.edge.ask_admin("/readyz")).status == 200
        assert (await site.get("/a")).body == b"hello"
        assert len(site.asked("/a")) == 2  # nothing cached survived, and it went through the regional cache again
        assert await lab.regional.metric('cdn_upstream_fetches_total{tier="origin"}') == 1
        status = await lab.edge.status()
        assert (status["applied_index"], status["lease"]) == (site.index, "none")


Mistake = Callable[[configuration_pb2.Distribution], object]
MISTAKES: dict[str, Mistake] = {
    "no origin": lambda d: setattr(d.default_behavior, "origin_id", "nowhere"),
    "a domain name that is none": lambda d: setattr(d, "domain_name", "d\u00e9.cdn.localhost"),
    "a path that splits requests": lambda d: setattr(d.origins[0], "path_prefix", "/x HTTP/1.1\r\nA: b\r\n"),
    "a header outside latin-1": lambda d: d.origins[0].custom_headers.add(name="A", value="\u20ac"),
    "a host that is none": lambda d: setattr(d.origins[0], "host", "\u20ac"),
}
"""More of them in tests/unit/edge_node/policy/test_policy.py."""


async def test_a_rejected_distribution_leaves_the_last_good_version_and_the_index_advances(lab: EdgeLab) -> None:
    site, other = await lab.site(), await lab.site()
    for each in (site, other):
        each.script("/a", cacheable())
    good = site.message.SerializeToString()
    rejected = []
    for mistake, make in MISTAKES.items():
        site.message.ParseFromString(good)
        make(site.message)
        rejected.append(lab.control.put(site.message))
        await lab.acknowledged(rejected[-1])
        assert (await site.get("/a")).status == 200, mistake
    assert [index for index, _ in lab.control.streams["edge-1"].rejections][-len(rejected) :] == rejected
    site.message.ParseFromString(good)
    await lab.put(site)
    assert (await other.get("/a")).status == 200
