"""Two tiers over the whole system: how often the origin is asked, what a dying regional cache does to viewers, and one request's way through the logs."""

import asyncio
import itertools
from functools import partial

from origin.downloads import expected_bytes
from origin.echo import expected_bytes as echo_bytes
from tests.integration.system_lab import ORIGIN, SystemLab, behavior, until
from tests.integration.system_viewers import Viewers
from tests.peers.viewer import Answer, get

US, EU = "us-east-1", "eu-central-1"
FETCHES_FROM_ORIGIN = 'cdn_upstream_fetches_total{tier="origin"}'


async def test_all_viewers_of_a_region_cost_one_fetch_from_the_origin(lab: SystemLab) -> None:
    policy = await asyncio.to_thread(lab.make_policy, "tiers")
    site = await asyncio.to_thread(lab.make_site, DefaultCacheBehavior=behavior(policy))
    path = "/echo/once?gate=crowd&cache-control=max-age%3D60"
    before = {edge: lab.metric(edge, "cdn_open_connections") for edge in lab.edges()}
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(get(lab.http(edge), site.host, path)) for edge in lab.edges() for _ in range(10)]
        await until(lambda: lab.origin("GET", "/gates/crowd")["waiting"] == 2, "a fetch of each region at the origin")
        await until(
            lambda: all(lab.metric(edge, "cdn_open_connections") >= before[edge] + 10 for edge in lab.edges()),
            "all viewers at their edges",
        )
        await asyncio.to_thread(lab.origin, "POST", "/gates/crowd")
    answers = [task.result() for task in asking]
    assert {answer.status for answer in answers} == {200}
    assert lab.origin_count("/echo/once") == 2  # one of each region's regional tier
    numbers = {
        edge: {answer["x-origin-request-number"] for answer in answers[i * 10 : i * 10 + 10]}
        for i, edge in enumerate(lab.edges())
    }
    assert len(set.union(*(numbers[edge] for edge in lab.edges(US)))) == 1
    assert len(set.union(*(numbers[edge] for edge in lab.edges(EU)))) == 1


def test_a_second_pop_is_served_by_the_regional_tier_without_the_origin(lab: SystemLab) -> None:
    site = lab.make_site()
    first, *others = lab.edges(US)
    assert {lab.processes.node(edge).pop for edge in lab.edges(US)} == {"IAD89-P1", "IAD61-P2"}
    for number in range(10):  # different keys, so that both regional caches of the region take part
        path = f"/images/{number + 300}.png"
        whole = lab.get(first, site.host, path)
        assert (whole.status, whole.headers["x-cache"]) == (200, "Miss from cloudfront")
        for edge in others:
            assert lab.get(edge, site.host, path).body == whole.body
        assert lab.origin_count(path) == 1


async def test_no_viewer_notices_that_a_regional_cache_is_killed(lab: SystemLab) -> None:
    policy = await asyncio.to_thread(lab.make_policy, "tiers")
    site = await asyncio.to_thread(lab.make_site, DefaultCacheBehavior=behavior(policy))
    regional = lab.regionals(EU)[0]
    names = itertools.count()
    size = 400_000

    def path_of(number: int) -> str:
        """Mostly new objects, of a size that is on its way when the regional cache dies; every fourth is an old one."""
        return f"/download/{next(names)}?size={size}" if number % 4 else f"/images/{number % 40 + 1}.png"

    def is_whole(path: str, answer: Answer) -> bool:
        if answer.status != 200 or not path.startswith("/download/"):
            return answer.status == 200
        name = path.removeprefix("/download/").partition("?")[0]
        return answer.body == expected_bytes(name, 0, size)

    viewers = Viewers(lab, site.host, lab.edges(EU), path_of, per_edge=4)
    viewers.is_right = is_whole
    half_way = f"/echo/half-way?size={size}&etag=%22v1%22&gate-body=half-way"
    async with viewers, asyncio.TaskGroup() as group:
        await viewers.see_more(20)
        assert lab.metric(regional, FETCHES_FROM_ORIGIN) > 0
        surely_cut = group.create_task(get(lab.http(lab.edges(EU)[0]), site.host, half_way))
        await until(
            lambda: lab.origin("GET", "/gates/half-way")["waiting"] == 1, "half of the body has left the origin"
        )
        await asyncio.to_thread(lab.kill, regional)
        await asyncio.to_thread(lab.origin, "POST", "/gates/half-way")
        assert (await surely_cut).body == echo_bytes("/echo/half-way", 0, size)
        await viewers.see_more(40)
        await asyncio.to_thread(lab.start, regional)
        await asyncio.to_thread(lab.wait_serving, regional)
        await until(lambda: lab.metric(regional, FETCHES_FROM_ORIGIN) > 0, "the regional cache is asked again")
    assert viewers.wrong() == []


async def test_one_request_can_be_followed_through_both_tiers_to_the_origin(lab: SystemLab) -> None:
    site = await asyncio.to_thread(lab.make_site)
    edge = lab.edges(EU)[0]
    answer = await get(lab.http(edge), site.host, "/images/77.png?from=test")
    request_id = answer["x-amz-cf-id"]
    asked = lab.origin("GET", "/requests?path_prefix=/images/77.png")["requests"]
    assert [
        dict(request["headers"]).get("X-Amz-Cf-Id") or dict(request["headers"]).get("x-amz-cf-id") for request in asked
    ] == [request_id]

    def lines(node_id: str) -> list[str]:
        return [line for line in lab.access_log(node_id) if request_id in line.split("\t")]

    for node_id in (edge, lab.regionals(EU)[0]):
        await until(partial(lines, node_id), f"the request in the access log of {node_id}")
        assert [line.split("\t")[7] for line in lines(node_id)] == ["/images/77.png"]
    again = await get(lab.http(edge), site.host, "/images/77.png?from=test")
    assert (again.result, lab.origin_count("/images/77.png")) == ("Hit", 1)
    assert again["x-amz-cf-id"] != request_id, "each request has an id of its own"
    assert ORIGIN not in request_id
