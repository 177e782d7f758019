"""The central promise, under fire: once an invalidation is Completed, no request that begins later sees what was there before it.

Viewers at every edge read versioned objects of the origin's bucket while these change and are invalidated, with the origin holding back some answers so that
fetches are in flight across invalidations. The checker compares every single request with every receipt by one monotonic clock.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tests.integration.system_lab import LEAST_PAUSE_SECONDS, Site, SystemLab, all_of, until
from tests.integration.system_viewers import Seen, Viewers

EU = "eu-central-1"
CATCH_UP_SECONDS = 1.0
"""How long a regional cache that is behind lets a request wait (docs/invalidation.md, rule 4)."""
FIRE_SECONDS = 8.0
KEYS = ("fresh/a", "fresh/b", "fresh/c", "fresh/d")


@dataclass(frozen=True)
class Promise:
    """From `since` on, these nodes serve nothing older than `version` of a path."""

    path: str
    version: int
    since: float
    nodes: frozenset[str]


def broken(promises: Iterable[Promise], seen: Iterable[Seen]) -> list[str]:
    """Every request that saw something older than had been promised before it began."""
    by_path: dict[str, list[Promise]] = {}
    for promise in promises:
        by_path.setdefault(promise.path, []).append(promise)
    found = []
    for request in seen:
        due = [
            each.version
            for each in by_path.get(request.path, ())
            if each.since < request.began_at and request.edge in each.nodes
        ]
        if due and request.version < max(due):
            found.append(f"{request} although version {max(due)} was promised")
    return found


class Publisher:
    """Changes objects and invalidates them, one after the other, and notes from when on which version is promised."""

    def __init__(self, lab: SystemLab, site: Site) -> None:
        self._lab = lab
        self._site = site
        self.promises: list[Promise] = []
        self.rounds = 0

    async def publish(self, keys: tuple[str, ...], invalidated: str, until_time: float) -> None:
        while time.monotonic() < until_time:
            await asyncio.to_thread(self._publish_once, keys, invalidated)

    def _publish_once(self, keys: tuple[str, ...], invalidated: str) -> None:
        versions = {key: self._lab.put_object(key, f"{key} {self.rounds}".encode()) for key in keys}
        invalidation_id = self._lab.invalidate(self._site, invalidated)
        self._lab.wait_completed(self._site, invalidation_id, LEAST_PAUSE_SECONDS)
        completed_at = time.monotonic()
        nodes = frozenset(all_of(self._lab.receipt(invalidation_id)["nodes"], "acknowledged"))
        self.promises += [Promise(f"/bucket/{key}", version, completed_at, nodes) for key, version in versions.items()]
        self.rounds += 1


async def test_no_request_after_a_receipt_sees_anything_older(lab: SystemLab) -> None:
    site = await asyncio.to_thread(lab.make_site)
    for key in KEYS:
        assert await asyncio.to_thread(lab.put_object, key, b"first") == 1
    held_back = {"path_prefix": "/bucket/fresh/", "methods": ["GET"], "probability": 0.3, "delay_seconds": 0.05}
    await asyncio.to_thread(lab.origin, "POST", "/behaviors", held_back)
    edges = lab.edges()
    readers = Viewers(lab, site.host, edges, lambda number: f"/bucket/{KEYS[number % len(KEYS)]}", per_edge=3)
    others = Viewers(lab, site.host, edges, lambda number: f"/images/{number % 50 + 1}.png")
    publisher = Publisher(lab, site)
    async with readers, others, asyncio.TaskGroup() as group:
        until_time = time.monotonic() + FIRE_SECONDS
        group.create_task(publisher.publish(KEYS[:1], f"/bucket/{KEYS[0]}", until_time))
        group.create_task(publisher.publish(KEYS[1:2], f"/bucket/{KEYS[1]}*", until_time))
        group.create_task(publisher.publish(KEYS[2:], "/bucket/fresh/*", until_time))
    assert readers.wrong() == others.wrong() == []
    assert broken(publisher.promises, readers.seen) == []
    check_that_there_was_fire(publisher, readers.seen, edges)


def check_that_there_was_fire(publisher: Publisher, seen: list[Seen], edges: list[str]) -> None:
    """A run without changes, without hits or without requests would prove nothing."""
    assert publisher.rounds >= 20
    assert all(promise.nodes.issuperset(edges) for promise in publisher.promises), "an edge was left out"
    for edge in edges:
        here = [request for request in seen if request.edge == edge]
        hits = sum(request.result == "Hit" for request in here)
        assert len(here) >= 200
        assert hits >= len(here) // 10
        assert len({(request.path, request.version) for request in here}) >= 20, "hardly any version was seen"


async def test_an_edge_never_gets_old_content_from_a_regional_cache_that_is_behind(lab: SystemLab) -> None:
    """docs/invalidation.md, rule 4: the edges apply an invalidation of which their regional cache does not hear yet."""
    site = await asyncio.to_thread(lab.make_site)
    behind = lab.regionals(EU)[0]
    one, other = lab.edges(EU)
    async with lab.relay(behind) as relay:
        await asyncio.to_thread(lab.restart_through, behind, relay.address)
        try:
            assert lab.put_object("behind/page", b"old") == 1
            assert await version_at(lab, one, site, "/bucket/behind/page") == 1
            assert await version_at(lab, other, site, "/bucket/behind/page") == 1
            relay.hold()
            assert lab.put_object("behind/page", b"new") == 2
            invalidation_id = await asyncio.to_thread(lab.invalidate, site, "/bucket/behind/*")
            await until(lambda: all_of(lab.receipt(invalidation_id)["nodes"], "pending") == {behind}, "all others")
            assert await version_at(lab, one, site, "/bucket/behind/page") == 2
            assert lab.status(behind)["applied_index"] < lab.receipt(invalidation_id)["index"]
            assert not lab.is_completed(site, invalidation_id)
            await check_that_misses_do_not_wait_again(lab, one, site)
            relay.let_go()
            await asyncio.to_thread(lab.wait_completed, site, invalidation_id)
            assert await version_at(lab, other, site, "/bucket/behind/page") == 2
        finally:
            relay.let_go()
            await asyncio.to_thread(lab.restart_through, behind, "")


async def check_that_misses_do_not_wait_again(lab: SystemLab, edge: str, site: Site) -> None:
    """One miss has waited for the regional cache in vain; ten more must not each cost their viewer as much."""
    began_at = time.monotonic()
    for number in range(10):
        assert (await asyncio.to_thread(lab.get, edge, site.host, f"/images/{number + 100}.png")).status == 200
    assert time.monotonic() - began_at < 10 * CATCH_UP_SECONDS / 3


async def version_at(lab: SystemLab, edge: str, site: Site, path: str) -> int:
    """The version that an edge serves."""
    reply = await asyncio.to_thread(lab.get, edge, site.host, path)
    assert reply.status == 200
    return int(reply.headers["x-amz-version-id"])


def test_the_checker_finds_what_it_is_for() -> None:
    promise = Promise("/p", 2, since=10.0, nodes=frozenset({"e1"}))

    def seen(edge: str, path: str, began_at: float, version: int) -> Seen:
        return Seen(edge, path, began_at, 200, version, "Hit", is_right=True)

    allowed = [
        seen("e1", "/p", 9.9, 1),  # began before the receipt
        seen("e1", "/p", 10.1, 2),
        seen("e1", "/p", 10.1, 3),  # newer than promised
        seen("e1", "/q", 10.1, 1),  # nothing was promised of it
        seen("e2", "/p", 10.1, 1),  # the receipt names it as left out
    ]
    assert broken([promise], allowed) == []
    assert len(broken([promise], [*allowed, seen("e1", "/p", 10.001, 1)])) == 1
    older = Promise("/p", 1, since=11.0, nodes=frozenset({"e1"}))
    assert len(broken([promise, older], [seen("e1", "/p", 12.0, 1)])) == 1, "an older promise does not undo a newer one"
