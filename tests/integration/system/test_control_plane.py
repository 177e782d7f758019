"""kill -9 of the control plane: no invalidation is lost, none is reported Completed too early, and viewers notice nothing."""

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError

from edge_node.policy.fence import ALONE_SECONDS
from lab.clients.http_client import UnreachableError, ask
from lab.topology.layout import CONTROL_PLANE_ID
from tests.integration.system_lab import LEAST_PAUSE_SECONDS, ORIGIN, ROUTER, Site, SystemLab, all_of, until, wait_until
from tests.integration.system_viewers import PAUSE_SECONDS, Viewers

CUT_OFF = (BotoCoreError, KeyError)
"""What a call ends with when the control plane is killed meanwhile; botocore takes an answer without its body for an empty one."""

PATHS = [f"/images/{number}.png" for number in range(1, 21)]


@dataclass
class Issuer:
    """A client that issues one invalidation after another, and repeats a call that got no answer with the same CallerReference, as clients should."""

    lab: SystemLab
    site: Site
    issued: dict[str, str] = field(default_factory=dict)
    """Id by CallerReference."""
    completed: set[str] = field(default_factory=set)
    unanswered: int = 0
    is_stopping: bool = False

    def has_issued(self, count: int) -> bool:
        return len(self.issued) >= count

    def was_cut_off(self, times: int) -> bool:
        return self.unanswered >= times

    async def run(self, name: str) -> None:
        for number in itertools.count():
            if self.is_stopping:
                return
            await asyncio.to_thread(self._issue, f"{name}-{number}", PATHS[number % len(PATHS)])
            await asyncio.sleep(PAUSE_SECONDS)

    def _issue(self, reference: str, path: str) -> None:
        def is_answered() -> bool:
            try:
                self.issued[reference] = self.lab.invalidate(self.site, path, reference=reference)
            except CUT_OFF:
                self.unanswered += 1
                return False
            return True

        wait_until(is_answered, f"an answer to {reference}")

    async def watch(self) -> None:
        """See each complete, the newest first; at that very moment every node must have applied it."""
        while not self.is_stopping:
            unseen = [reference for reference in list(self.issued) if reference not in self.completed]
            if unseen:
                await asyncio.to_thread(self._see_completed, self.issued[unseen[-1]])
                self.completed.add(unseen[-1])
            else:
                await asyncio.sleep(PAUSE_SECONDS)

    def _see_completed(self, invalidation_id: str) -> None:
        def is_completed() -> bool:
            try:
                return self.lab.is_completed(self.site, invalidation_id)
            except CUT_OFF:
                return False

        wait_until(is_completed, f"{invalidation_id} to complete", most_pause_seconds=LEAST_PAUSE_SECONDS)
        check_applied_everywhere(self.lab, invalidation_id)


def check_applied_everywhere(lab: SystemLab, invalidation_id: str) -> None:
    """The receipt says that all nodes have it, and so do the nodes."""
    applied = {node_id: lab.status(node_id)["applied_index"] for node_id in lab.synchronized()}
    receipt = ask_again(lab, invalidation_id)
    assert receipt["status"] == "Completed"
    assert all_of(receipt["nodes"], "acknowledged") == set(lab.synchronized()), json.dumps(receipt)
    assert min(applied.values()) >= receipt["index"], f"{applied} {receipt}"
    times = [node["acknowledged_monotonic_ns"] for node in receipt["nodes"] if node["acknowledged_at"]]
    issued_at, completed_at = receipt["issued_monotonic_ns"], receipt["completed_monotonic_ns"]
    assert all(issued_at <= moment <= completed_at for moment in times), receipt


def ask_again(lab: SystemLab, invalidation_id: str) -> dict[str, Any]:
    """The receipt, also across a restart of the control plane."""
    found: list[dict[str, Any]] = []

    def is_found() -> bool:
        try:
            found.append(lab.receipt(invalidation_id))
        except UnreachableError:
            return False
        return True

    wait_until(is_found, f"the receipt of {invalidation_id}")
    return found[0]


async def test_a_killed_control_plane_loses_no_invalidation_and_completes_none_too_early(lab: SystemLab) -> None:
    site = await asyncio.to_thread(lab.make_site)
    log_id = lab.control_status()["log_id"]
    issuer = Issuer(lab, site)
    viewers = Viewers(lab, site.host, lab.edges(), lambda number: PATHS[number % len(PATHS)])
    async with viewers, asyncio.TaskGroup() as group:
        issuing = [group.create_task(issuer.run(name)) for name in ("one", "two", "three")]
        watching = group.create_task(issuer.watch())
        for kills in range(1, 3):
            enough = len(issuer.issued) + 15
            await until(partial(issuer.has_issued, enough), "some invalidations")
            await asyncio.to_thread(lab.kill, CONTROL_PLANE_ID)
            await viewers.see_more(10)
            await asyncio.to_thread(lab.start, CONTROL_PLANE_ID)
            await until(partial(issuer.was_cut_off, kills), "the kill to have been noticed")
            await asyncio.to_thread(lab.wait_serving)
        await until(lambda: len(issuer.completed) >= 30, "invalidations to complete after the restart")
        issuer.is_stopping = True
        await asyncio.gather(*issuing)
        await watching
    assert viewers.wrong() == []
    check_log(lab, site, issuer, log_id)


def check_log(lab: SystemLab, site: Site, issuer: Issuer, log_id: str) -> None:
    """Each was issued exactly once, also those whose first call was cut off; all complete; and the log is the one from before."""
    newest = list(issuer.issued.values())[-1]
    lab.wait_completed(site, newest)
    pages = lab.cloudfront.get_paginator("list_invalidations").paginate(DistributionId=site.id)
    listed = [summary for page in pages for summary in page["InvalidationList"].get("Items", [])]
    assert sorted(summary["Id"] for summary in listed) == sorted(issuer.issued.values())
    receipts = [lab.receipt(summary["Id"]) for summary in listed]
    indexes = [receipt["index"] for receipt in receipts]
    assert indexes == sorted(set(indexes), reverse=True), "newest first, each at an index of its own"
    assert {summary["Status"] for summary in listed} == {receipt["status"] for receipt in receipts} == {"Completed"}
    for receipt in receipts:
        assert all_of(receipt["nodes"], "acknowledged") == set(lab.synchronized()), json.dumps(receipt)
    status = lab.control_status()
    assert status["log_id"] == log_id
    assert status["head_index"] >= max(indexes)


def test_a_restarted_control_plane_still_waits_for_a_node_that_has_not_applied(lab: SystemLab) -> None:
    """An edge stands still while it holds a lease: what is issued now must not complete without it, not even by a control plane that has just started."""
    site = lab.make_site()
    silent = lab.edges()[0]
    others = set(lab.synchronized()) - {silent}
    with lab.stopped(silent):
        pending = [lab.invalidate(site, path) for path in PATHS[:5]]
        wait_until(partial(is_acknowledged_by, lab, pending, others), "the others")
        lab.kill(CONTROL_PLANE_ID)
        lab.start(CONTROL_PLANE_ID)
        lab.wait_serving(CONTROL_PLANE_ID)
        wait_until(partial(is_acknowledged_by, lab, pending, others), "the others to be back")
        for invalidation_id in pending:
            receipt = lab.receipt(invalidation_id)
            assert receipt["status"] == "InProgress"
            assert all_of(receipt["nodes"], "pending") == {silent}
            assert not lab.is_completed(site, invalidation_id)
    for invalidation_id in pending:
        lab.wait_completed(site, invalidation_id)
        check_applied_everywhere(lab, invalidation_id)


def is_acknowledged_by(lab: SystemLab, invalidation_ids: list[str], nodes: set[str]) -> bool:
    """Whether exactly these nodes have all of the invalidations."""
    return all(all_of(lab.receipt(each)["nodes"], "acknowledged") == nodes for each in invalidation_ids)


def stands(lab: SystemLab, node_id: str, fence: str) -> bool:
    return bool(lab.status(node_id)["fence"] == fence)


async def test_without_a_control_plane_hits_stay_hits_and_the_origin_notices_nothing(lab: SystemLab) -> None:
    """For longer than leases, than what receipts wait for after them, and than what a node that is alone believes for."""
    site = await asyncio.to_thread(lab.make_site)
    for edge, path in itertools.product(lab.edges(), PATHS):
        assert (await asyncio.to_thread(lab.get, edge, site.host, path)).status == 200
    counted = {path: lab.origin_count(path) for path in PATHS}
    await asyncio.to_thread(lab.kill, CONTROL_PLANE_ID)
    async with Viewers(lab, site.host, lab.edges(), lambda number: PATHS[number % len(PATHS)]) as viewers:
        for node_id in (*lab.edges(), *lab.regionals()):
            await until(partial(stands, lab, node_id, "alone"), f"{node_id} to be alone")
        began_at = time.monotonic()
        await until(lambda: time.monotonic() > began_at + 2 * ALONE_SECONDS, "what was found to have grown old")
        assert all(stands(lab, node_id, "alone") for node_id in (*lab.edges(), *lab.regionals()))
    assert viewers.wrong() == []
    assert {seen.result for seen in viewers.seen} == {"Hit"} and len(viewers.seen) > 500
    assert {path: lab.origin_count(path) for path in PATHS} == counted


def test_a_strict_distribution_is_confirmed_without_a_control_plane_and_refused_without_an_origin(
    lab: SystemLab,
) -> None:
    site = lab.make_site()
    lab.cloudfront.tag_resource(
        Resource=lab.cloudfront.get_distribution(Id=site.id)["Distribution"]["ARN"],
        Tags={"Items": [{"Key": "cdnlab:strict-invalidation", "Value": "true"}]},
    )
    lab.wait_deployed(site.id)
    edge = lab.edges()[0]
    assert lab.put_object("strict/page", b"old") == 1
    for expected in ("Miss", "Hit"):
        assert lab.get(edge, site.host, "/bucket/strict/page").headers["x-cache"].startswith(expected)
    lab.kill(CONTROL_PLANE_ID)
    for node_id in (*lab.edges(), *lab.regionals()):
        wait_until(partial(stands, lab, node_id, "alone"), f"{node_id} to be alone")
    assert lab.put_object("strict/page", b"new") == 2
    reply = lab.get(edge, site.host, "/bucket/strict/page")
    assert (reply.body, reply.headers["x-cache"]) == (b"new", "Miss from cloudfront")
    lab.kill(ORIGIN)
    reply = lab.get(edge, site.host, "/bucket/strict/page")
    assert reply.status == 503
    assert b"outdated" in reply.body


def test_nodes_that_start_without_a_control_plane_serve_from_their_last_snapshot(lab: SystemLab) -> None:
    site = lab.make_site(DefaultRootObject="index.html")
    edge, regional = lab.edges("eu-central-1")[0], lab.regionals("eu-central-1")[0]
    lab.kill(CONTROL_PLANE_ID)
    for node_id in (edge, regional, ROUTER):
        lab.kill(node_id)
        lab.start(node_id)
    for node_id in (edge, regional, ROUTER):
        wait_until(partial(lab.is_ready, node_id), f"{node_id} to be ready without a control plane")
        assert lab.status(node_id)["lease"] == "none"
    for node_id in (edge, regional):  # they cannot know at once whether the others still hear a control plane
        wait_until(partial(stands, lab, node_id, "alone"), f"{node_id} to know that there is no control plane")
    asked = lab.metric(regional, 'cdn_upstream_fetches_total{tier="origin"}')
    for path in ("/", "/images/9.png"):
        first, second = lab.get(edge, site.host, path), lab.get(edge, site.host, path)
        assert (first.status, first.headers["x-cache"]) == (200, "Miss from cloudfront")
        assert (second.body, second.headers["x-cache"]) == (first.body, "Hit from cloudfront")
    assert lab.metric(regional, 'cdn_upstream_fetches_total{tier="origin"}') == asked + 2, "still in two tiers"
    assert edge in lab.answers(site.host, "eu-central-1"), "the router goes on with the last directory"
    assert ask(lab.http(edge), "/", headers=[("host", "unknown.cdn.localhost")]).status == 403
    lab.start(CONTROL_PLANE_ID)
    lab.wait_serving()
    lab.wait_completed(site, lab.invalidate(site, "/*"))
    assert lab.get(edge, site.host, "/images/9.png").headers["x-cache"] == "Miss from cloudfront"
