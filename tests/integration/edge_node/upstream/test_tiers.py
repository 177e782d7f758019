"""Two tiers as real processes: one origin fetch for all who ask, the regional cache for a second edge, and regional caches that die."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message
from tests.peers.nodes import EdgeLab, Node
from tests.peers.origin import OriginExchange, cacheable, gated, reply
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")

COLLAPSED = "cdn_collapsed_requests_total"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("tiers")) as lab:
        await lab.start("edge-1", "edge-2", "regional-1")
        yield lab


async def metric_reaches(node: Node, sample: str, value: float) -> None:
    async with asyncio.timeout(10):
        while await node.metric(sample) < value:
            await asyncio.sleep(0.01)


async def test_all_viewers_on_all_edges_of_a_region_cost_one_origin_fetch(lab: EdgeLab) -> None:
    site = await lab.site()
    gate = asyncio.Event()
    site.script("/a", gated(gate, cacheable(b"once")))
    edges = [node for node in lab.nodes if node.role == "edge"]
    before = {node.id: await node.metric(COLLAPSED) for node in lab.nodes}
    asking = [asyncio.ensure_future(site.get("/a", node=edge)) for edge in edges for _ in range(10)]
    for edge in edges:
        await metric_reaches(edge, COLLAPSED, before[edge.id] + 9)
    await metric_reaches(lab.regional, COLLAPSED, before["regional-1"] + 1)
    gate.set()
    answers = await asyncio.gather(*asking)
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"once")}
    assert len(site.asked("/a")) == 1
    assert sum(answer.result == "Miss" for answer in answers) == 1  # the one who waited for the origin


async def test_the_regional_cache_serves_a_second_edge_without_the_origin(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", cacheable(b"kept"))
    first = await site.get("/a", node=lab.nodes[0])
    second = await site.get("/a", node=lab.nodes[1])
    third = await site.get("/a", node=lab.nodes[1])
    assert [answer.result for answer in (first, second, third)] == ["Miss", "Hit", "Hit"]
    assert first.get("age") is None and second["age"] == "0"
    assert len(site.asked("/a")) == 1
    assert len({first["via"], second["via"]}) == 2


async def test_the_age_goes_on_through_both_tiers(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", reply(200, b"old already", ("Cache-Control", "max-age=1000"), ("Age", "500")))
    await site.get("/a", node=lab.nodes[0])
    answer = await site.get("/a", node=lab.nodes[1])
    assert 500 <= int(answer["age"]) <= 510
    assert 500 <= int((await site.get("/a", node=lab.nodes[1]))["age"]) <= 510


async def test_the_request_keeps_its_id_through_all_tiers(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", cacheable())
    answer = await site.get("/a")
    (request,) = site.asked("/a")
    request_id = answer["x-amz-cf-id"]
    assert len(request_id) == 56 and request_id.endswith("==")
    assert request["x-amz-cf-id"] == request_id
    assert (await lab.regional.logged(request_id))[14] == request_id


async def test_what_an_edge_takes_of_a_viewer_its_regional_cache_takes_of_the_edge(lab: EdgeLab) -> None:
    """Reference 2.5: 32,768 bytes, to which an edge adds its own fields and the validators of what it has stored."""
    site = await lab.site(behavior_message(semantics=configuration_pb2.SEMANTICS_RFC9111))
    site.script("/a", reply(200, b"well", ("Cache-Control", "max-age=0"), ("ETag", f'"{"e" * 20_000}"')))
    large = ("X-Large", "x" * 32_600)
    for _ in range(2):  # the second time it asks whether what is stored still holds
        assert (await site.get("/a", large)).status == 200
    assert [len(request["X-Large"]) for request in site.asked("/a")] == [32_600] * 2
    assert [len(request.get("if-none-match") or "") for request in site.asked("/a")] == [0, 20_002]
    assert (await site.get("/a", ("X-Large", "x" * 32_800))).status == 494


async def test_a_regional_cache_that_died_is_bypassed(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1")
        site = await lab.site()
        for path in ("/idle", "/next"):
            site.script(path, cacheable(path.encode()))
        assert (await site.get("/idle")).status == 200
        await lab.regional.kill()
        for _ in range(3):
            answer = await site.get("/next")
            assert (answer.status, answer.body) == (200, b"/next")
        assert len(site.asked("/next")) == 1


async def test_a_regional_cache_that_dies_under_requests_in_flight_is_bypassed(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1", "regional-2")
        site = await lab.site()
        gate = asyncio.Event()
        paths = [f"/{number}" for number in range(20)]
        for path in paths:
            site.script(path, gated(gate, cacheable(path.encode())))
        asking = [asyncio.ensure_future(site.get(path)) for path in paths for _ in range(2)]
        for path in paths:
            await site.wait_asked(path)
        await lab.regional.kill()
        gate.set()
        answers = await asyncio.gather(*asking)
        assert [answer.body for answer in answers] == [path.encode() for path in paths for _ in range(2)]
        assert {answer.status for answer in answers} == {200}
        shares = [
            await node.metric('cdn_upstream_fetches_total{tier="origin"}')
            for node in lab.nodes
            if node.id != "regional-1"
        ]
        assert sum(shares) >= 1  # somebody else asked again what the dead one had asked


BODY = bytes(range(256)) * 4_000
HALF = len(BODY) // 2


async def test_a_body_whose_regional_cache_dies_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1")
        site = await lab.site()
        never = asyncio.Event()

        async def script(exchange: OriginExchange) -> None:
            head = (("Cache-Control", "max-age=60"), ("ETag", '"strong"'))
            asked = exchange.request.get("range")
            if asked is None:
                await exchange.send_head(200, *head, length=len(BODY))
                await exchange.send(BODY[:HALF])
                await never.wait()
            else:
                assert exchange.request["if-range"] == '"strong"'
                first = int(asked.removeprefix("bytes=").removesuffix("-"))
                await exchange.answer(
                    206, BODY[first:], *head, ("Content-Range", f"bytes {first}-{len(BODY) - 1}/{len(BODY)}")
                )

        site.script("/a", script)
        async with Viewer(lab.edge.http) as viewer:
            await viewer.ask(site.host, "/a")
            head = await viewer.read_head()
            first_half = await viewer.reader.readexactly(HALF)
            await lab.regional.kill()
            async with asyncio.timeout(10):
                rest = await viewer.reader.readexactly(int(head["content-length"]) - HALF)
        assert first_half + rest == BODY
        assert [request.get("range") for request in site.asked("/a")] == [None, f"bytes={HALF}-"]
        hit = await site.get("/a")
        assert (hit.result, hit.body) == ("Hit", BODY)


@pytest.mark.parametrize("second", ["changed", "whole", "refused"])
async def test_a_body_that_cannot_go_on_is_cut_and_not_stored(lab: EdgeLab, second: str) -> None:
    """The origin itself breaks off; what it offers for the rest is of another object, or the whole of it, or nothing."""
    site = await lab.site()

    async def script(exchange: OriginExchange) -> None:
        head = (("Cache-Control", "max-age=60"), ("ETag", '"one"'))
        asked = exchange.request.get("range")
        if asked is None and len(site.asked("/a")) == 1:
            await exchange.send_head(200, *head, length=len(BODY))
            await exchange.send(BODY[:HALF])
            exchange.close()
        elif asked is not None and second == "changed":
            changed = (("ETag", '"two"'), ("Content-Range", f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}"))
            await exchange.answer(206, b"!" * HALF, *changed)
        elif asked is not None and second == "refused":
            exchange.abort()
        else:
            await exchange.answer(200, b"!" * len(BODY), ("ETag", '"two"'), ("Cache-Control", "max-age=60"))

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/a")
        await viewer.read_head()
        body = await viewer.read_rest()
    assert BODY.startswith(body) and len(body) < len(BODY)
    again = await site.get("/a")
    assert (again.status, again.body) == (200, b"!" * len(BODY))
    assert (await lab.edge.logged("OriginCommError"))[13] == "Error"
