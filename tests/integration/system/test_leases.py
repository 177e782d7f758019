"""Nodes that the router must not send viewers to: cut off, killed, leaving; and what has to be true at the moment when they are back."""

import asyncio
import signal
import time
from functools import partial
from typing import Any

from control_plane.fencing import COUNTED_NOTICE_SECONDS
from proto.host_clock import HostClock
from proto.moments import Moment, read_moment
from tests.integration.system_lab import Site, SystemLab, all_of, behavior, counted_lease_seconds, until, wait_until
from tests.integration.system_relay import Relay
from tests.integration.system_viewers import Viewers

LEASE_SECONDS = 2.0
MARGIN_SECONDS = 1.5
"""For the router to hear of it and for a machine that is busy."""
EU, US = "eu-central-1", "us-east-1"
REGIONS = (EU, US)


def is_answered(lab: SystemLab, site: Site, edge: str) -> bool:
    """Whether viewers of any region are sent to the edge."""
    return any(edge in lab.answers(site.host, region) for region in REGIONS)


def seen_version(lab: SystemLab, edge: str, site: Site, key: str) -> int:
    """The version of an object that an edge serves, to somebody who knows its address."""
    reply = lab.get(edge, site.host, f"/bucket/{key}")
    assert reply.status == 200
    return int(reply.headers["x-amz-version-id"])


async def test_an_edge_that_was_cut_off_is_answered_again_only_when_it_has_caught_up(lab: SystemLab) -> None:
    site = await asyncio.to_thread(lab.make_site)
    lost, *_others = lab.edges(EU)
    async with lab.relay(lost) as relay:
        await asyncio.to_thread(lab.restart_through, lost, relay.address)
        try:
            assert lab.put_object("cut/page", b"old") == 1
            assert seen_version(lab, lost, site, "cut/page") == 1
            index = await invalidate_while_cut_off(lab, relay, site, lost)
            await return_with_its_ears_closed(lab, relay, site, lost, index)
            relay.let_go()
            await until(lambda: is_answered(lab, site, lost), "the edge is answered again")
            assert lab.status(lost)["applied_index"] >= index
            assert seen_version(lab, lost, site, "cut/page") == 2, "answered, and old content served"
        finally:
            await asyncio.to_thread(lab.restart_through, lost, "")


async def invalidate_while_cut_off(lab: SystemLab, relay: Relay, site: Site, lost: str) -> int:
    """The edge leaves the answers, an invalidation completes without it and says so; the index of that invalidation."""
    await until(lambda: lost in lab.answers(site.host, EU), "the edge is answered")
    relay.cut()
    cut_at = HostClock().now()
    await until(
        lambda: not is_answered(lab, site, lost),
        "the edge leaves the answers",
        counted_lease_seconds(LEASE_SECONDS) + MARGIN_SECONDS,
    )
    assert len(lab.answers(site.host, EU)) >= 2, "others stand in"
    assert lab.put_object("cut/page", b"new") == 2
    invalidation_id = await asyncio.to_thread(lab.invalidate, site, "/bucket/cut/*")
    await asyncio.to_thread(lab.wait_completed, site, invalidation_id)
    receipt = lab.receipt(invalidation_id)
    check_left_out(lab, receipt, lost, cut_at)
    assert lab.status(lost)["lease"] == "expired"
    assert lab.status(lost)["applied_index"] < receipt["index"]
    assert seen_version(lab, lost, site, "cut/page") == 2, (
        "who still knows its address gets nothing older than the receipt"
    )
    assert lab.status(lost)["fence"] == "fenced"
    return int(receipt["index"])


def check_left_out(lab: SystemLab, receipt: dict[str, Any], lost: str, cut_at: Moment) -> None:
    """The receipt names the edge and since when, and all others have acknowledged."""
    assert all_of(receipt["nodes"], "left_out") == {lost}
    assert all_of(receipt["nodes"], "acknowledged") == set(lab.synchronized()) - {lost}
    line = next(node for node in receipt["nodes"] if node["id"] == lost)
    assert read_moment(receipt["clock"], line, "left_out").is_after(cut_at)
    assert line["left_out_monotonic_ns"] <= line["fenced_monotonic_ns"] <= receipt["completed_monotonic_ns"]
    assert line["fenced_by"] == "lease_over"


async def return_with_its_ears_closed(lab: SystemLab, relay: Relay, site: Site, lost: str, index: int) -> None:
    """The control plane hears the edge, which does not hear what it has missed: that must not bring it back into the answers."""
    relay.mend(hold_after=lost.encode())
    await until(lambda: relay.holds and lab.control_record(lost)["connected"], "the edge to be connected again")
    for _ in range(2):
        last_seen = lab.control_record(lost)["last_seen"]
        await until(partial(was_heard_again, lab, lost, last_seen), "another heartbeat")
        assert lab.control_record(lost)["acknowledged_index"] < index
        assert lab.control_record(lost)["state"] == "expired"
        assert not is_answered(lab, site, lost)


def was_heard_again(lab: SystemLab, node_id: str, last_seen: str) -> bool:
    return str(lab.control_record(node_id)["last_seen"]) > last_seen


def test_an_edge_that_is_killed_leaves_the_answers_and_comes_back(lab: SystemLab) -> None:
    site = lab.make_site()
    killed, survivor = lab.edges(EU)
    assert lab.put_object("killed/page", b"old") == 1
    assert seen_version(lab, killed, site, "killed/page") == 1
    assert set(lab.answers(site.host, EU)) == {killed, survivor}
    lab.kill(killed)
    wait_until(
        lambda: not is_answered(lab, site, killed),
        "it leaves the answers",
        counted_lease_seconds(LEASE_SECONDS) + MARGIN_SECONDS,
    )
    answers = lab.answers(site.host, EU)
    assert answers[0] == survivor
    assert len(answers) == 2, "an edge of another region stands in, so that a viewer can fail over"
    lab.put_object("killed/page", b"new")
    lab.wait_completed(site, lab.invalidate(site, "/bucket/killed/page"))
    lab.start(killed)
    wait_until(lambda: is_answered(lab, site, killed), "it is answered again")
    assert seen_version(lab, killed, site, "killed/page") == 2


def test_an_edge_that_stands_still_holds_an_invalidation_up_for_no_longer_than_its_lease(lab: SystemLab) -> None:
    site = lab.make_site()
    still = lab.edges(US)[0]
    with lab.stopped(still):
        stopped_at = time.monotonic()
        invalidation_id = lab.invalidate(site, "/*")
        wait_until(lambda: all_of(lab.receipt(invalidation_id)["nodes"], "pending") == {still}, "all others")
        assert is_answered(lab, site, still), (
            "its lease still runs, so it may be answered, and so the invalidation waits for it"
        )
        lab.wait_completed(site, invalidation_id)
        waited = time.monotonic() - stopped_at
        assert waited < counted_lease_seconds(LEASE_SECONDS) + COUNTED_NOTICE_SECONDS + MARGIN_SECONDS
        assert all_of(lab.receipt(invalidation_id)["nodes"], "left_out") == {still}
        wait_until(lambda: not is_answered(lab, site, still), "it leaves the answers", MARGIN_SECONDS)
    wait_until(lambda: is_answered(lab, site, still), "it is answered again")
    assert lab.status(still)["applied_index"] >= lab.receipt(invalidation_id)["index"]


async def test_an_edge_that_is_terminated_leaves_at_once_and_cuts_nobody_off(lab: SystemLab) -> None:
    policy = await asyncio.to_thread(lab.make_policy, "leases")
    site = await asyncio.to_thread(lab.make_site, DefaultCacheBehavior=behavior(policy))
    leaving = lab.edges(EU)[1]
    slow = asyncio.ensure_future(
        asyncio.to_thread(lab.get, leaving, site.host, "/misbehave/slow-body?bytes=20000&chunks=10&interval=0.1")
    )
    await until(lambda: lab.origin_count("/misbehave/slow-body") == 1, "a request in flight")
    async with Viewers(
        lab,
        site.host,
        [edge for edge in lab.edges() if edge != leaving],
        lambda number: f"/images/{number % 20 + 1}.png",
    ) as viewers:
        remaining = lab.control_record(leaving)["lease_remaining_seconds"]
        await asyncio.to_thread(lab.kill, leaving, signal.SIGTERM)
        seconds = await until(lambda: not is_answered(lab, site, leaving), "it leaves the answers", 1.0)
        assert seconds < remaining / 2, "it waited for its lease to run out"
        assert lab.control_record(leaving)["state"] == "left"
        invalidation_id = await asyncio.to_thread(lab.invalidate, site, "/*")
        await asyncio.to_thread(lab.wait_completed, site, invalidation_id)
        assert all_of(lab.receipt(invalidation_id)["nodes"], "left_out") == {leaving}
        answer = await slow
        assert (answer.status, len(answer.body)) == (200, 20_000)
        await until(lambda: not lab.processes.node(leaving).is_running, "it has ended")
    assert viewers.wrong() == []
