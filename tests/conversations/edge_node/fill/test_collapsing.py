"""Viewers of one object wait for one fetch and never for each other: reference 2.10, and where it is silent: waiting must not take longer than not waiting would."""

from typing import Any

import pytest

from edge_node.fill.coalescer import (
    COALESCE_TIMEOUT_SECONDS,
    FIRST_RELEASED,
    HIT_FOR_MISS_SECONDS,
    MAXIMUM_HIT_FOR_MISS_KEYS,
    PACE_SECONDS,
)
from edge_node.model.errors import UpstreamErrorKind
from edge_node.upstream.endpoints import Tier
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, policy_message
from tests.conversations.dialogue import Fetch, Node, flush
from tests.conversations.tiers import Tiers

FRESH = ("cache-control", "max-age=60")
PRIVATE = ("cache-control", "private")
NOT_FOR_ALL = ["private", "no-store", "no-cache", "max-age=0", "s-maxage=0, max-age=60"]


async def fetches(node: Node, first: int, last: int) -> list[Fetch]:
    """These fetches, all under way at once: none of them has been answered."""
    await node.fetch(last)
    return node.fetcher.fetches[first - 1 : last]


async def test_a_thousand_viewers_cost_one_fetch() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(500)]
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "9")).sends(b"one ")
    viewers += [node.viewer().asks("/a") for _ in range(500)]  # in the middle of the body
    fetch.sends(b"fetch").ends()
    assert {(await viewer.answer()).body for viewer in viewers} == {b"one fetch"}
    await node.asks_nothing_more(1)
    words = [viewer.so_far().fields["x-cache"].split()[0] for viewer in viewers]
    assert (words.count("Miss"), words.count("Hit"), words[0]) == (1, 999, "Miss")
    assert node.counters.collapsed_requests == 999


async def test_who_joins_in_the_middle_gets_what_has_come_at_once() -> None:
    node = Node()
    node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "6")).sends(b"abc")
    late = node.viewer().asks("/a")
    assert late.so_far().body == b"abc"
    fetch.sends(b"def")
    assert late.so_far().body == b"abcdef" and not late.is_done
    fetch.ends()
    assert (await late.answer()).body == b"abcdef"


@pytest.mark.parametrize("control", NOT_FOR_ALL)
async def test_those_who_wait_for_what_is_not_for_them_go_to_the_origin_together(control: str) -> None:
    node = Node()
    viewers = [node.viewer().asks("/me") for _ in range(4)]
    (await node.fetch()).begins(200, ("cache-control", control), ("content-length", "1"))
    for number, fetch in enumerate(await fetches(node, 2, 4), 2):  # before the first has its body
        fetch.answers(200, b"%d" % number, ("cache-control", control))
    node.fetcher.fetches[0].sends(b"1").ends()
    assert [(await viewer.answer()).body for viewer in viewers] == [b"1", b"2", b"3", b"4"]
    assert [viewer.so_far().fields["x-cache"] for viewer in viewers] == ["Miss from cloudfront"] * 4
    reasons = sorted(record.reason for record in node.records.all)
    assert reasons == ["not_storable"] * 3 + ["not_stored"]


@pytest.mark.parametrize("control", NOT_FOR_ALL)
async def test_a_minimum_ttl_makes_them_wait_and_share(control: str) -> None:
    """Reference 2.10: only a minimum TTL of 0 lets these directives turn collapsing off."""
    node = Node(behavior_message(policy=policy_message(minimum_ttl_seconds=5)))
    viewers = [node.viewer().asks("/me") for _ in range(3)]
    (await node.fetch()).answers(200, b"for all", ("cache-control", control))
    assert {(await viewer.answer()).body for viewer in viewers} == {b"for all"}
    await node.asks_nothing_more(1)


async def test_for_ten_seconds_nobody_waits_for_what_was_not_for_all() -> None:
    node = Node()
    node.viewer().asks("/me")
    (await node.fetch()).answers(200, b"1", PRIVATE)
    node.now += HIT_FOR_MISS_SECONDS - 0.1
    viewers = [node.viewer().asks("/me") for _ in range(3)]
    for fetch in await fetches(node, 2, 4):  # at once, without a head in between
        fetch.answers(200, b"x", PRIVATE)
    for viewer in viewers:
        await viewer.answer()
    assert node.counters.collapsed_requests == 0
    node.now += 0.2
    waiting = [node.viewer().asks("/me") for _ in range(3)]
    await node.asks_nothing_more(5)
    (await node.fetch(5)).answers(200, b"for all now", FRESH)
    assert {(await viewer.answer()).body for viewer in waiting} == {b"for all now"}


async def test_what_is_remembered_of_one_object_is_not_held_against_another() -> None:
    node = Node()
    node.viewer().asks("/me")
    (await node.fetch()).answers(200, b"1", PRIVATE)
    viewers = [node.viewer().asks("/all") for _ in range(3)]
    (await node.fetch(2)).answers(200, b"2", FRESH)
    assert {(await viewer.answer()).body for viewer in viewers} == {b"2"}
    await node.asks_nothing_more(2)


async def test_it_is_forgotten_when_more_objects_come_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAXIMUM_HIT_FOR_MISS_KEYS <= 4_096
    monkeypatch.setattr("edge_node.fill.coalescer.MAXIMUM_HIT_FOR_MISS_KEYS", 2)
    node = Node()
    for number in range(1, 4):
        viewer = node.viewer().asks(f"/{number}")
        (await node.fetch(number)).answers(200, b"1", PRIVATE)
        await viewer.answer()
    for _ in range(2):
        node.viewer().asks("/1")
    await node.asks_nothing_more(4)  # forgotten: the second waits
    for number, target in enumerate(("/2", "/3"), 1):
        for _ in range(2):
            node.viewer().asks(target)
        await node.asks_nothing_more(4 + 2 * number)


async def test_two_tiers_do_not_make_those_who_are_released_take_turns() -> None:
    """The edge lets its viewers go; the regional cache, which has seen the first answer, lets them pass together too."""
    tiers = Tiers(behavior_message())
    viewers = [tiers.viewer().asks("/me") for _ in range(4)]
    (await tiers.origin_fetch()).answers(200, b"1", PRIVATE)
    await tiers.origin_fetch(4)  # three more at once: none of them has been answered
    for fetch in tiers.origin_fetches[1:]:
        fetch.answers(200, b"x", PRIVATE)
    for viewer in viewers:
        assert (await viewer.answer()).status == 200
    await tiers.asks_origin_nothing_more(4)


async def test_a_first_fetch_that_fails_does_not_fail_all() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(4)]
    (await node.fetch()).fails(UpstreamErrorKind.RESET)
    assert (await viewers[0].answer()).status == 502
    (await node.fetch(2)).answers(200, b"second", FRESH)
    assert {(await viewer.answer()).body for viewer in viewers[1:]} == {b"second"}
    await node.asks_nothing_more(2)  # they waited together for the second try


async def test_a_second_failure_is_for_all() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(4)]
    for number in (1, 2):
        (await node.fetch(number)).fails(UpstreamErrorKind.READ_TIMEOUT)
    assert [(await viewer.answer()).status for viewer in viewers] == [504] * 4
    await node.asks_nothing_more(2)


async def test_a_very_slow_first_fetch_lets_those_go_who_joined() -> None:
    node = Node()
    first, *others = [node.viewer().asks("/a") for _ in range(3)]
    slow = await node.fetch()
    node.passes(COALESCE_TIMEOUT_SECONDS - 0.1)
    await node.asks_nothing_more(1)
    node.passes(0.1)
    for number, fetch in enumerate(await fetches(node, 2, 3), 2):
        fetch.answers(200, b"%d" % number, FRESH)
    assert [(await viewer.answer()).body for viewer in others] == [b"2", b"3"]
    assert {record.reason for record in node.records.all} == {"collapse_timeout"}
    assert not slow.is_cancelled
    slow.answers(200, b"1", FRESH)
    assert (await first.answer()).body == b"1"


async def test_followers_of_a_slow_fetch_are_let_go_a_few_at_a_time() -> None:
    """An origin that is slow gets no thousand requests at once; nobody waits for more than a few seconds longer."""
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(1_001)]
    await node.fetch()
    node.passes(COALESCE_TIMEOUT_SECONDS)
    released, waited, batch = FIRST_RELEASED, 0.0, FIRST_RELEASED
    while released < 1_000:
        await node.asks_nothing_more(1 + released)
        node.passes(PACE_SECONDS - 0.1)
        await node.asks_nothing_more(1 + released)
        node.passes(0.1)
        waited, batch = waited + PACE_SECONDS, 2 * batch
        released += batch
    await node.asks_nothing_more(1_001)
    assert waited <= 3.0
    for fetch in node.fetcher.fetches:
        fetch.answers(200, b"x", FRESH)
    assert {(await viewer.answer()).body for viewer in viewers} == {b"x"}


async def test_the_head_ends_the_waiting_of_those_who_were_not_let_go_yet() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(101)]
    slow = await node.fetch()
    node.passes(COALESCE_TIMEOUT_SECONDS)
    await node.asks_nothing_more(1 + FIRST_RELEASED)
    slow.answers(200, b"slow", FRESH)
    node.passes(10 * PACE_SECONDS)
    await node.asks_nothing_more(1 + FIRST_RELEASED)
    for fetch in node.fetcher.fetches[1:]:
        fetch.answers(200, b"alone", FRESH)
    bodies = [(await viewer.answer()).body for viewer in viewers]
    assert (bodies.count(b"alone"), bodies.count(b"slow")) == (FIRST_RELEASED, 101 - FIRST_RELEASED)


async def test_the_time_begins_when_somebody_waits() -> None:
    """Who comes to a fetch that has taken long already waits as long as anybody; who comes after the others have gone begins a new one."""
    node = Node()
    node.viewer().asks("/a")
    await node.fetch()
    node.passes(COALESCE_TIMEOUT_SECONDS * 3)
    node.viewer().asks("/a")
    node.passes(COALESCE_TIMEOUT_SECONDS - 0.1)
    await node.asks_nothing_more(1)
    node.passes(0.1)
    await node.fetch(2)
    newcomers = [node.viewer().asks("/a") for _ in range(2)]
    (await node.fetch(3)).answers(200, b"new", FRESH)
    assert {(await viewer.answer()).body for viewer in newcomers} == {b"new"}
    await node.asks_nothing_more(3)


async def test_a_slow_body_keeps_those_who_have_its_head() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "4"))
    node.passes(COALESCE_TIMEOUT_SECONDS * 2)
    await node.asks_nothing_more(1)
    fetch.sends(b"slow").ends()
    assert {(await viewer.answer()).body for viewer in viewers} == {b"slow"}


@pytest.mark.parametrize("is_confirmed", [True, False])
async def test_a_slow_refresh_lets_those_go_who_joined_and_they_keep_their_stale_copy(is_confirmed: bool) -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH, ("etag", '"1"'))
    node.now += 60
    first, second = node.viewer().asks("/a"), node.viewer().asks("/a")
    slow = await node.fetch(2)
    node.passes(COALESCE_TIMEOUT_SECONDS)
    (await node.fetch(3)).fails(UpstreamErrorKind.READ_TIMEOUT)
    assert (await second.answer()).body == b"old"
    if is_confirmed:
        slow.confirms(FRESH)
    else:
        slow.fails()
    assert (await first.answer()).body == b"old"


async def test_a_refresh_that_brings_something_for_one_releases_the_others_and_the_old_copy_is_gone() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH, ("etag", '"1"'))
    node.now += 60
    viewers = [node.viewer().asks("/a") for _ in range(3)]
    (await node.fetch(2)).answers(200, b"1", PRIVATE)
    for fetch in await fetches(node, 3, 4):
        fetch.answers(200, b"x", PRIVATE)
    assert [(await viewer.answer()).body for viewer in viewers] == [b"1", b"x", b"x"]
    viewer = node.viewer().asks("/a")
    (await node.fetch(5)).fails()
    assert (await viewer.answer()).status == 502  # no copy that the origin has taken back stands in


async def test_no_more_than_one_viewer_waits_for_each_refresh_of_what_is_never_fresh() -> None:
    """max-age=0 and a validator: each viewer asks by itself, and all at the same time."""
    node = Node()
    await node.stores("/a", b"same", ("cache-control", "max-age=0"), ("etag", '"1"'))
    viewers = [node.viewer().asks("/a") for _ in range(3)]
    for fetch in await fetches(node, 2, 4):
        assert fetch.request["if-none-match"] == '"1"'
        fetch.confirms(("cache-control", "max-age=0"))
    assert {(await viewer.answer()).body for viewer in viewers} == {b"same"}


async def test_the_first_who_leaves_before_the_head_leaves_the_fetch_to_the_others() -> None:
    node = Node()
    first, second = node.viewer().asks("/a"), node.viewer().asks("/a")
    fetch = await node.fetch()
    first.leaves()
    third = node.viewer().asks("/a")
    fetch.answers(200, b"hello", FRESH)
    assert {(await viewer.answer()).body for viewer in (second, third)} == {b"hello"}
    await node.asks_nothing_more(1)


async def test_the_fetch_ends_when_the_last_has_left_and_no_timer_stays() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(3)]
    fetch = await node.fetch()
    for viewer in viewers:
        viewer.leaves()
    await flush(lambda: fetch.is_cancelled and not node.tasks)
    assert [timer.is_cancelled for timer in node.timers] == [True]
    assert {record.reason for record in node.records.all} == {"viewer_left"}


async def test_who_left_is_not_asked_for_again_when_the_others_are_released() -> None:
    node = Node()
    viewers = [node.viewer().asks("/me") for _ in range(3)]
    fetch = await node.fetch()
    viewers[1].leaves()
    fetch.answers(200, b"1", PRIVATE)
    (await node.fetch(2)).answers(200, b"2", PRIVATE)
    assert (await viewers[2].answer()).body == b"2"
    await node.asks_nothing_more(2)


async def test_nobody_joins_after_an_invalidation() -> None:
    node = Node()
    before = node.viewer().asks("/a")
    fetch = await node.fetch()
    node.invalidates("/a")
    after = node.viewer().asks("/a")
    fetch.answers(200, b"before", FRESH)
    (await node.fetch(2)).answers(200, b"after", FRESH)
    assert ((await before.answer()).body, (await after.answer()).body) == (b"before", b"after")


async def test_those_who_are_released_still_go_through_the_regional_tier() -> None:
    node = Node()
    node.knows_regionals("r1")
    for _ in range(2):
        node.viewer().asks("/me")
    (await node.fetch()).answers(200, b"1", PRIVATE)
    assert (await node.fetch(2)).tiers == [Tier.REGIONAL, Tier.ORIGIN]


# -- nobody takes the place of who began


STRICT: dict[str, Any] = {"semantics": configuration_pb2.SEMANTICS_RFC9111}
SWR = ("cache-control", "max-age=60, stale-while-revalidate=30")


@pytest.mark.parametrize("kind", [{}, STRICT])
@pytest.mark.parametrize("control", NOT_FOR_ALL)
async def test_what_came_for_a_refresh_in_the_background_is_for_nobody_who_joined_it(kind: Any, control: str) -> None:
    """It was asked for with the fields of the viewer who got the stale copy."""
    node = Node(behavior_message(**kind))
    await node.stores("/a", b"old", SWR)
    node.now += 60
    assert (await node.viewer().asks("/a", ("from", "a")).answer()).body == b"old"
    refresh = await node.fetch(2)
    node.now += 30
    viewers = [node.viewer().asks("/a", ("from", who)) for who in "bc"]
    refresh.answers(200, b"for a", ("cache-control", control), ("set-cookie", "a=1"))
    for fetch in await fetches(node, 3, 4):
        fetch.answers(200, b"for " + fetch.request["from"].encode(), ("cache-control", control))
    assert [(await viewer.answer()).body for viewer in viewers] == [b"for b", b"for c"]
    assert all("set-cookie" not in viewer.so_far().fields for viewer in viewers)


async def test_when_who_began_has_left_everybody_else_loses_patience() -> None:
    node = Node()
    first, *others = [node.viewer().asks("/a") for _ in range(3)]
    fetch = await node.fetch()
    first.leaves()
    node.passes(COALESCE_TIMEOUT_SECONDS)
    for own in await fetches(node, 2, 3):
        own.answers(200, b"own", FRESH)
    assert {(await viewer.answer()).body for viewer in others} == {b"own"}
    assert fetch.is_cancelled  # nobody waits for it
    assert (await node.viewer().asks("/a").answer()).body == b"own"


async def test_a_stale_copy_is_served_stale_for_those_alone_who_allow_it() -> None:
    """RFC 5861 section 4: who began said stale-if-error, and who joined did not."""
    node = Node(behavior_message(**STRICT))
    await node.stores("/a", b"old", ("cache-control", "max-age=60, stale-if-error=0"), ("etag", '"1"'))
    node.now += 60
    began = node.viewer().asks("/a", ("cache-control", "stale-if-error=600"))
    joined = node.viewer().asks("/a")
    (await node.fetch(2)).answers(503, b"broken")
    assert (await began.answer()).body == b"old"
    (await node.fetch(3)).answers(503, b"broken")
    answer = await joined.answer()
    assert (answer.status, answer.body) == (503, b"broken")


async def test_a_stale_copy_is_served_stale_for_who_joined_though_who_began_has_left() -> None:
    node = Node(behavior_message(**STRICT))
    await node.stores("/a", b"old", ("cache-control", "max-age=60, stale-if-error=0"), ("etag", '"1"'))
    node.now += 60
    began = node.viewer().asks("/a")
    allows, forbids = node.viewer().asks("/a", ("cache-control", "stale-if-error=600")), node.viewer().asks("/a")
    fetch = await node.fetch(2)
    began.leaves()
    fetch.answers(503, b"broken")
    assert (await allows.answer()).body == b"old"
    (await node.fetch(3)).answers(200, b"new", FRESH)
    assert (await forbids.answer()).body == b"new"
