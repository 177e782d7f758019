"""A node with few file descriptors: it is never deaf. Idle viewers make room, one too many is refused, and the admin port answers through all of it."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from edge_node.listeners.connection_limit import limit_for
from tests.builders import behavior_message, caching_disabled
from tests.peers.nodes import EdgeLab, Site, until
from tests.peers.origin import cacheable, gated, reply
from tests.peers.viewer import Viewer, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESCRIPTORS = 400
MOST_VIEWERS = limit_for(DESCRIPTORS).connections


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("descriptors")) as lab:
        await lab.start("edge-1", ulimit=f"-n {DESCRIPTORS}")
        yield lab


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(lab: EdgeLab) -> Site:
    site = await lab.site()
    site.script("/a", cacheable(b"a"))
    await site.get("/a")
    return site


async def test_idle_viewers_make_room_for_new_ones(lab: EdgeLab, site: Site) -> None:
    async with AsyncExitStack() as stack:
        for number in range(5 * MOST_VIEWERS):
            viewer = await stack.enter_async_context(Viewer(lab.edge.http))
            await viewer.send(request_bytes(site.host, "/a")[: number % 3 * 10])  # nothing, or a part of a head
            if number % 20 == 0:
                assert (await site.get("/a")).result == "Hit"
                assert await lab.edge.metric("cdn_open_connections") <= MOST_VIEWERS
    # On a busy machine the ten seconds that a head may take are over for some before they have to make room.
    assert await lab.edge.metric("cdn_shed_connections_total") >= 2 * MOST_VIEWERS
    assert await lab.edge.metric("cdn_refused_connections_total") == 0
    assert lab.edge.log().count("viewers are connected") >= 1
    assert lab.edge.log().count("viewers are connected") <= 5  # not once a viewer


async def test_viewers_that_are_being_answered_are_not_closed_and_one_more_is_refused(lab: EdgeLab) -> None:
    site = await lab.site(behavior_message(policy=caching_disabled()))
    gate = asyncio.Event()
    site.script("/slow", gated(gate, reply(200, b"slow")))
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(Viewer(lab.edge.http)) for _ in range(MOST_VIEWERS)]
        for viewer in viewers:
            await viewer.ask(site.host, "/slow")
        await site.wait_asked("/slow", MOST_VIEWERS)
        one_more = await stack.enter_async_context(Viewer(lab.edge.http))
        assert await one_more.read_rest() == b""
        assert await lab.edge.metric("cdn_refused_connections_total") == 1
        gate.set()
        assert [(await viewer.read()).body for viewer in viewers] == [b"slow"] * MOST_VIEWERS


async def test_a_node_without_any_descriptor_left_says_so_and_goes_on_when_there_is_one(
    lab: EdgeLab, site: Site
) -> None:
    assert lab.edge.process is not None
    pid = lab.edge.process.pid
    async with Viewer(lab.edge.http) as idle:
        assert (await idle.get(site.host, "/a")).result == "Hit"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, DESCRIPTORS))
        try:
            assert await idle.read_rest() == b""  # it is closed, and its descriptor free
            await until(lambda: "no file descriptor is left" in lab.edge.log(), "a line in the log")
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    assert (await site.get("/a")).result == "Hit"
    assert "Traceback" not in lab.edge.log()


async def test_the_soft_limit_is_raised_and_the_log_says_what_it_is(lab: EdgeLab) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2_000:
        pytest.skip("there is nothing to raise it to")
    (node,) = await lab.start("edge-2", ulimit="-Sn 1024")
    assert node.process is not None
    soft, still_hard = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= 2_000 and still_hard == hard
    assert str(limit_for(soft)) in node.log()
    assert str(limit_for(DESCRIPTORS)) in lab.edge.log()
