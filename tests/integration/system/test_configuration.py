"""Configuration over the whole system: a change is everywhere when boto3's waiter says so, and every edge does what it says."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.clients.http_client import Reply
from tests.integration.system_lab import (
    CACHING_DISABLED,
    ORIGIN,
    Site,
    SystemLab,
    behavior,
    custom_origin,
    quantified,
    wait_until,
)
from tests.integration.system_viewers import Viewers

REGIONS = ("us-east-1", "eu-central-1")


def at_every_edge(lab: SystemLab, host: str, path: str) -> list[Reply]:
    """The answers of all edges, asked at the same time."""
    edges = lab.edges()
    with ThreadPoolExecutor(len(edges)) as pool:
        return list(pool.map(lambda edge: lab.get(edge, host, path), edges))


def origins(lab: SystemLab, path: str = "") -> dict[str, Any]:
    """The Origins member with the lab's origin behind an OriginPath."""
    return quantified(custom_origin(lab.http(ORIGIN), path))


def targets(replies: list[Reply]) -> set[str]:
    """What the origin was asked for, in the words of its echo."""
    return {json.loads(reply.body)["target"] for reply in replies}


def test_an_update_is_at_every_edge_when_the_waiter_returns(lab: SystemLab) -> None:
    site = lab.make_site(DefaultCacheBehavior=behavior(CACHING_DISABLED))
    for number in range(15):
        lab.update(site, Origins=origins(lab, f"/echo/round-{number}"))
        lab.wait_deployed(site.id)
        assert targets(at_every_edge(lab, site.host, "/page")) == {f"/echo/round-{number}/page"}


def test_an_update_is_not_deployed_while_one_edge_does_not_have_it(lab: SystemLab) -> None:
    site = lab.make_site(DefaultCacheBehavior=behavior(CACHING_DISABLED), Origins=origins(lab, "/echo/old"))
    silent = lab.edges()[-1]

    def known() -> dict[str, Any]:
        return next(each for each in lab.control_status()["distributions"] if each["id"] == site.id)

    with lab.stopped(silent):
        lab.update(site, Origins=origins(lab, "/echo/new"))
        wait_until(lambda: known()["waiting_for"] == [silent], "all other nodes to have it")
        assert known()["status"] == "InProgress"
        assert lab.cloudfront.get_distribution(Id=site.id)["Distribution"]["Status"] == "InProgress"
    lab.wait_deployed(site.id)
    assert targets(at_every_edge(lab, site.host, "/page")) == {"/echo/new/page"}


def test_the_first_matching_behavior_decides_at_every_edge(lab: SystemLab) -> None:
    policy = lab.make_policy("patterns")
    path_behavior = {"PathPattern": "/echo/live/*", **behavior(CACHING_DISABLED)}
    site = lab.make_site(DefaultCacheBehavior=behavior(policy), CacheBehaviors=quantified(path_behavior))
    for path, words in (("/echo/live/x", {"Miss"}), ("/echo/kept/x?cache-control=max-age%3D60", {"Hit"})):
        at_every_edge(lab, site.host, path)
        again = at_every_edge(lab, site.host, path)
        assert {reply.headers["x-cache"].removesuffix(" from cloudfront") for reply in again} == words
    lab.update(site, CacheBehaviors=quantified())
    lab.wait_deployed(site.id)
    at_every_edge(lab, site.host, "/echo/live/y")
    assert {reply.headers["x-cache"] for reply in at_every_edge(lab, site.host, "/echo/live/y")} == {
        "Hit from cloudfront"
    }


def test_a_disabled_distribution_is_refused_and_has_no_address_until_it_is_enabled(lab: SystemLab) -> None:
    site = lab.make_site()
    assert all(lab.answers(site.host, region) for region in REGIONS)
    lab.update(site, Enabled=False)
    lab.wait_deployed(site.id)
    assert {reply.status for reply in at_every_edge(lab, site.host, "/images/1.png")} == {403}
    assert [lab.answers(site.host, region) for region in REGIONS] == [[], []]
    lab.update(site, Enabled=True)
    lab.wait_deployed(site.id)
    assert {reply.status for reply in at_every_edge(lab, site.host, "/images/1.png")} == {200}
    assert all(lab.answers(site.host, region) for region in REGIONS)


def test_a_distribution_is_disabled_and_then_deleted(lab: SystemLab) -> None:
    site = lab.make_site()
    etag = lab.cloudfront.get_distribution_config(Id=site.id)["ETag"]
    with pytest.raises(lab.cloudfront.exceptions.DistributionNotDisabled):
        lab.cloudfront.delete_distribution(Id=site.id, IfMatch=etag)
    lab.update(site, Enabled=False)
    with pytest.raises(lab.cloudfront.exceptions.PreconditionFailed):
        lab.cloudfront.delete_distribution(Id=site.id, IfMatch=etag)
    lab.wait_deployed(site.id)
    etag = lab.cloudfront.get_distribution_config(Id=site.id)["ETag"]
    lab.cloudfront.delete_distribution(Id=site.id, IfMatch=etag)
    with pytest.raises(lab.cloudfront.exceptions.NoSuchDistribution):
        lab.cloudfront.get_distribution(Id=site.id)
    head_index = lab.control_status()["head_index"]
    wait_until(
        lambda: all(lab.status(node)["applied_index"] >= head_index for node in lab.synchronized()), "all to know"
    )
    assert {reply.status for reply in at_every_edge(lab, site.host, "/images/1.png")} == {403}
    with pytest.raises(LookupError, match="NXDOMAIN"):
        lab.answers(site.host, REGIONS[0])


def test_the_root_object_stands_for_the_root_only(lab: SystemLab) -> None:
    site = lab.make_site(DefaultRootObject="index.html")
    page = lab.get(ORIGIN, "origin", "/index.html").body
    roots = at_every_edge(lab, site.host, "/")
    assert {(reply.status, reply.body) for reply in roots} == {(200, page)}
    assert {reply.status for reply in at_every_edge(lab, site.host, "/images/")} == {404}
    assert {reply.headers["x-cache"] for reply in at_every_edge(lab, site.host, "/index.html")} == {
        "Hit from cloudfront"
    }


def test_an_alias_leads_to_its_distribution_by_host_and_by_name(lab: SystemLab) -> None:
    alias = "shop.cdn.localhost"
    site = lab.make_site(
        Aliases=quantified(alias), DefaultCacheBehavior=behavior(CACHING_DISABLED), Origins=origins(lab, "/echo/shop")
    )
    other = lab.make_site(DefaultCacheBehavior=behavior(CACHING_DISABLED), Origins=origins(lab, "/echo/other"))
    for host in (alias, alias.upper(), f"{alias}:8080", site.host):
        assert targets(at_every_edge(lab, host, "/x")) == {"/echo/shop/x"}
    assert targets(at_every_edge(lab, other.host, "/x")) == {"/echo/other/x"}
    assert set(lab.answers(alias, REGIONS[1])) == set(lab.answers(site.host, REGIONS[1]))
    with pytest.raises(lab.cloudfront.exceptions.CNAMEAlreadyExists):
        lab.update(other, Aliases=quantified(alias))
    lab.update(site, Aliases=quantified())
    lab.wait_deployed(site.id)
    assert {reply.status for reply in at_every_edge(lab, alias, "/x")} == {403}


def test_two_distributions_share_an_origin_but_no_cache_entry(lab: SystemLab) -> None:
    one, other = lab.make_site(), lab.make_site()
    path = "/images/211.png"
    regions = len(REGIONS)  # each has a regional tier, which asks the origin once for each distribution
    for site, asked in ((one, regions), (other, 2 * regions)):
        assert {reply.status for reply in at_every_edge(lab, site.host, path)} == {200}
        assert {reply.headers["x-cache"] for reply in at_every_edge(lab, site.host, path)} == {"Hit from cloudfront"}
        assert lab.origin_count(path) == asked
    lab.wait_completed(one, lab.invalidate(one, "/*"))
    assert {reply.headers["x-cache"] for reply in at_every_edge(lab, other.host, path)} == {"Hit from cloudfront"}
    assert lab.origin_count(path) == 2 * regions
    assert {reply.status for reply in at_every_edge(lab, one.host, path)} == {200}
    assert lab.origin_count(path) == 3 * regions


def test_a_changed_cache_policy_reaches_the_distributions_that_use_it(lab: SystemLab) -> None:
    policy = lab.make_policy("changing", query_strings="none")
    site = lab.make_site(DefaultCacheBehavior=behavior(policy), Origins=origins(lab, "/echo/policy"))
    at_every_edge(lab, site.host, "/p?q=1")
    ignoring = at_every_edge(lab, site.host, "/p?q=2")
    assert {reply.headers["x-cache"] for reply in ignoring} == {"Hit from cloudfront"}
    assert targets(ignoring) == {"/echo/policy/p"}
    answer = lab.cloudfront.get_cache_policy_config(Id=policy)
    config = answer["CachePolicyConfig"]
    config["ParametersInCacheKeyAndForwardedToOrigin"]["QueryStringsConfig"] = {"QueryStringBehavior": "all"}
    lab.cloudfront.update_cache_policy(Id=policy, IfMatch=answer["ETag"], CachePolicyConfig=config)
    lab.wait_deployed(site.id)
    assert targets(at_every_edge(lab, site.host, "/p?q=1")) == {"/echo/policy/p?q=1"}
    assert targets(at_every_edge(lab, site.host, "/p?q=2")) == {"/echo/policy/p?q=2"}
    with pytest.raises(ClientError, match="CachePolicyInUse"):
        lab.cloudfront.delete_cache_policy(Id=policy, IfMatch=lab.cloudfront.get_cache_policy(Id=policy)["ETag"])


async def test_no_viewer_meets_an_error_while_the_configuration_changes(lab: SystemLab) -> None:
    site = await asyncio.to_thread(lab.make_site)
    async with Viewers(lab, site.host, lab.edges(), lambda number: f"/images/{number % 30 + 1}.png") as viewers:
        await viewers.see_more(5)
        for number in range(10):
            await asyncio.to_thread(change, lab, site, f"change {number}")
        await viewers.see_more(5)
    assert viewers.wrong() == []


def change(lab: SystemLab, site: Site, comment: str) -> None:
    lab.update(site, Comment=comment)
    lab.wait_deployed(site.id)
