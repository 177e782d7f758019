"""Two tiers as real processes: one origin fetch for all who ask, the regional cache for a second edge, and regional caches that die."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.peers.nodes import EdgeLab
from tests.peers.origin import OriginExchange, cacheable, gated, in_turn
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("tiers")) as lab:
        await lab.start("edge-1", "edge-2", "regional-1")
        yield lab


async def test_all_viewers_on_all_edges_of_a_region_cost_one_origin_fetch(lab: EdgeLab) -> None:
    site = await lab.site()
    gate = asyncio.Event()
    site.script("/a", gated(gate, cacheable(b"once")))
    edges = [node for node in lab.nodes if node.role == "edge"]
    asking = [asyncio.ensure_future(site.get("/a", node=edge)) for edge in edges for _ in range(10)]
    await site.wait_asked("/a")
    for edge in edges:
        async with asyncio.timeout(10):
            while await edge.metric("cdn_open_connections") < 10:
                await asyncio.sleep(0.01)
    gate.set()
    answers = await asyncio.gather(*asking)
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"once")}
    assert len(site.asked("/a")) == 1
    assert sorted(answer.result for answer in answers).count("Miss") >= 1
