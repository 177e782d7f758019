"""Stale copies: while they are refreshed, instead of errors, and until when (reference 2.3, 2.5, RFC 5861)."""

from typing import Any

import pytest

from edge_node.model.errors import UpstreamErrorKind
from tests.builders import ALL, behavior_message, policy_message
from tests.conversations.dialogue import Node, TextHeader

FRESH = ("cache-control", "max-age=60")
ETAG = ("etag", '"1"')
TIMEOUT = UpstreamErrorKind.READ_TIMEOUT
SWR = ("cache-control", "max-age=60, stale-while-revalidate=30")


async def stored(*headers: TextHeader, **policy: Any) -> Node:
    """A node with `old` in its store, for 60 seconds."""
    node = Node(behavior_message(policy=policy_message(**policy)))
    await node.stores("/a", b"old", *headers)
    return node


async def word(node: Node, target: str = "/a", **request: Any) -> tuple[bytes, str]:
    """What a viewer gets at once."""
    viewer = node.viewer().asks(target, **request)
    assert viewer.is_done, "the viewer had to wait"
    answer = await viewer.answer()
    return answer.body, answer.fields["x-cache"].split()[0]


# -- stale-while-revalidate


async def test_the_stale_copy_is_there_at_once_and_refreshed_behind_it() -> None:
    node = await stored(SWR, ETAG)
    node.now += 60
    assert await word(node) == (b"old", "Hit")
    assert node.records.all[-1].reason == "stale_while_revalidate"
    fetch = await node.fetch(2)
    assert (fetch.method, fetch.request["if-none-match"]) == (b"GET", '"1"')
    fetch.answers(200, b"new", FRESH, ("etag", '"2"'))
    await node.asks_nothing_more(2)
    assert await word(node) == (b"new", "Hit")
    assert node.records.all[-1].reason == "fresh"


async def test_a_confirmed_copy_is_fresh_again() -> None:
    node = await stored(SWR, ETAG)
    node.now += 60
    await word(node)
    (await node.fetch(2)).confirms(SWR)
    await node.asks_nothing_more(2)
    node.now += 59.9
    assert await word(node) == (b"old", "Hit")
    await node.asks_nothing_more(2)


async def test_there_is_one_refresh_at_a_time() -> None:
    node = await stored(SWR, ETAG)
    node.now += 60
    for _ in range(10):
        assert await word(node) == (b"old", "Hit")
    await node.asks_nothing_more(2)


async def test_the_window_ends() -> None:
    node = await stored(SWR, ETAG)
    node.now += 89.9
    assert await word(node) == (b"old", "Hit")
    (await node.fetch(2)).fails()
    await node.asks_nothing_more(2)
    node = await stored(SWR, ETAG)
    node.now += 90
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


async def test_who_comes_after_the_window_waits_for_the_refresh_that_is_under_way() -> None:
    node = await stored(SWR, ETAG)
    node.now += 89
    await word(node)
    fetch = await node.fetch(2)
    node.now += 1
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    fetch.answers(200, b"new", FRESH)
    assert {(await viewer.answer()).body for viewer in viewers} == {b"new"}
    await node.asks_nothing_more(2)


@pytest.mark.parametrize(("window", "maximum", "last"), [(30, 100, 89.9), (1000, 100, 159.9), (30, 60, 89.9)])
async def test_the_maximum_ttl_bounds_the_window(window: int, maximum: int, last: float) -> None:
    said = ("cache-control", f"max-age=60, stale-while-revalidate={window}")
    node = await stored(said, ETAG, maximum_ttl_seconds=maximum, default_ttl_seconds=60)
    node.now += last
    assert await word(node) == (b"old", "Hit")
    (await node.fetch(2)).confirms(said)
    await node.asks_nothing_more(2)
    node.now += last + 0.1
    node.viewer().asks("/a")
    await node.fetch(3)
    assert len(node.records.all) == 2  # the second viewer waits


@pytest.mark.parametrize("forbids", ["must-revalidate", "proxy-revalidate"])
async def test_no_window_where_stale_use_is_forbidden(forbids: str) -> None:
    node = await stored(("cache-control", f"max-age=60, stale-while-revalidate=30, {forbids}"), ETAG)
    node.now += 60
    viewer = node.viewer().asks("/a")
    await node.fetch(2)
    assert not viewer.is_done


async def test_without_a_validator_the_refresh_asks_for_the_whole() -> None:
    node = await stored(SWR)
    node.now += 60
    assert await word(node) == (b"old", "Hit")
    fetch = await node.fetch(2)
    assert not {"if-none-match", "if-modified-since"} & fetch.request.keys()
    fetch.answers(200, b"new", FRESH)
    await node.asks_nothing_more(2)
    assert await word(node) == (b"new", "Hit")


async def test_with_cookies_forwarded_the_refresh_has_no_conditions() -> None:
    node = await stored(SWR, ETAG, cookies=ALL)
    node.now += 60
    assert await word(node) == (b"old", "Hit")
    assert "if-none-match" not in (await node.fetch(2)).request


async def test_a_head_or_a_range_refreshes_the_whole() -> None:
    node = await stored(SWR, ETAG)
    node.now += 60
    assert await word(node, method="HEAD") == (b"", "Hit")
    fetch = await node.fetch(2)
    assert fetch.method == b"GET"
    fetch.confirms(SWR)
    await node.asks_nothing_more(2)
    node.now += 60
    answer = await node.viewer().asks("/a", ("range", "bytes=1-2")).answer()
    assert (answer.status, answer.body) == (206, b"ld")
    fetch = await node.fetch(3)
    assert "range" not in fetch.request
    fetch.answers(200, b"new", FRESH)
    await node.asks_nothing_more(3)
    assert await word(node) == (b"new", "Hit")


@pytest.mark.parametrize("failure", [500, 503, UpstreamErrorKind.REFUSED, TIMEOUT])
async def test_an_origin_that_fails_in_the_background_is_left_alone_for_the_minimum(failure: Any) -> None:
    """No viewer notices, and the origin is not asked for each of them."""
    node = await stored(SWR, ETAG)
    node.now += 60
    assert await word(node) == (b"old", "Hit")
    fetch = await node.fetch(2)
    if isinstance(failure, int):
        fetch.answers(failure, b"broken")
    else:
        fetch.fails(failure)
    await node.asks_nothing_more(2)
    for _ in range(3):
        node.now += 3.3
        assert await word(node) == (b"old", "Hit")
        await node.asks_nothing_more(2)
    node.now += 0.2
    assert await word(node) == (b"old", "Hit")
    (await node.fetch(3)).answers(200, b"new", FRESH)
    await node.asks_nothing_more(3)
    assert await word(node) == (b"new", "Hit")
    assert node.counters.internal_errors == 0


@pytest.mark.parametrize("failure", [503, UpstreamErrorKind.REFUSED])
async def test_the_window_holds_where_the_other_one_is_turned_off(failure: Any) -> None:
    """stale-if-error=0 is about viewers who wait; in the background nobody does."""
    node = await stored(("cache-control", "max-age=60, stale-while-revalidate=30, stale-if-error=0"), ETAG)
    node.now += 60
    await word(node)
    fetch = await node.fetch(2)
    if isinstance(failure, int):
        fetch.answers(failure, b"broken")
    else:
        fetch.fails(failure)
    await node.asks_nothing_more(2)
    node.now += 9.9
    assert await word(node) == (b"old", "Hit")
    await node.asks_nothing_more(2)
    node.now += 20.1
    assert (await fails(node, failure))[0] in (502, 503)


async def test_a_client_error_in_the_background_replaces_the_copy() -> None:
    """Reference 2.4: it is the origin's word, whether somebody waits for it or not."""
    node = await stored(SWR, ETAG)
    node.now += 60
    await word(node)
    (await node.fetch(2)).answers(404, b"gone")
    await node.asks_nothing_more(2)
    assert (await node.viewer().asks("/a").answer()).status == 404


async def test_what_the_origin_takes_back_in_the_background_is_gone() -> None:
    node = await stored(SWR, ETAG)
    node.now += 60
    await word(node)
    fetch = (await node.fetch(2)).begins(200, ("cache-control", "private"), ("content-length", "3"))
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"new", ("cache-control", "private"))
    assert (await viewer.answer()).body == b"new"
    fetch.sends(b"x")
    await node.asks_nothing_more(3)
    assert fetch.is_cancelled and not node.tasks  # nobody wants the rest


async def test_a_refresh_that_breaks_off_in_the_background_leaves_the_copy() -> None:
    node = await stored(SWR, ETAG)
    node.now += 60
    await word(node)
    (await node.fetch(2)).begins(200, FRESH, ("content-length", "9")).sends(b"half").fails(UpstreamErrorKind.TRUNCATED)
    await node.asks_nothing_more(2)
    assert await word(node) == (b"old", "Hit")


async def test_an_invalidation_ends_the_window_and_invalidates_the_refresh_under_way() -> None:
    node = await stored(SWR, ETAG)
    node.now += 60
    await word(node)
    fetch = await node.fetch(2)
    node.invalidates("/a")
    viewer = node.viewer().asks("/a")
    again = await node.fetch(3)
    assert "if-none-match" not in again.request
    fetch.confirms(FRESH)
    again.answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"
    assert await word(node) == (b"new", "Hit")


async def test_the_window_of_another_confirmation_holds() -> None:
    """A 304 brings a new Cache-Control, and with it other windows."""
    node = await stored(SWR, ETAG)
    node.now += 60
    await word(node)
    (await node.fetch(2)).confirms(FRESH)
    await node.asks_nothing_more(2)
    node.now += 60
    viewer = node.viewer().asks("/a")
    await node.fetch(3)
    assert not viewer.is_done


async def test_what_was_remembered_of_a_fresh_copy_ends_with_its_time() -> None:
    """The same bytes again on the same connection: in the window the refresh begins here too."""
    node = await stored(SWR, ETAG)
    viewer = node.viewer().asks("/a")
    for _ in range(4):
        await viewer.answer()
        viewer.asks_again()
    assert viewer.fast_answers or not viewer.has_fast_path
    node.now += 60
    viewer.asks_again()
    assert (await viewer.answer()).body == b"old"
    await node.fetch(2)


# -- stale-if-error


async def fails(node: Node, failure: Any, target: str = "/a") -> tuple[int, bytes]:
    """A viewer asks, and the origin fails."""
    number = len(node.fetcher.fetches) + 1
    viewer = node.viewer().asks(target)
    fetch = await node.fetch(number)
    if isinstance(failure, int):
        fetch.answers(failure, b"broken")
    else:
        fetch.fails(failure)
    answer = await viewer.answer()
    return answer.status, answer.body


FAILURES = [
    500,
    502,
    599,
    UpstreamErrorKind.REFUSED,
    TIMEOUT,
    UpstreamErrorKind.NAME,
    UpstreamErrorKind.INVALID_RESPONSE,
]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("window", ["", ", stale-if-error=100"])
async def test_a_stale_copy_is_served_stale(failure: Any, window: str) -> None:
    node = await stored(("cache-control", "max-age=60" + window), ETAG)
    node.now += 60
    assert await fails(node, failure) == (200, b"old")
    assert node.records.all[-1].reason == "stale_on_error"


@pytest.mark.parametrize("status", [400, 403, 404, 410, 429, 499])
async def test_a_client_error_is_passed_on_although_a_copy_is_there(status: int) -> None:
    node = await stored(("cache-control", "max-age=60, stale-if-error=100"), ETAG)
    node.now += 60
    assert await fails(node, status) == (status, b"broken")


@pytest.mark.parametrize(
    ("said", "maximum", "last"),
    [
        ("max-age=60, stale-if-error=100", 31_536_000, 159.9),
        ("max-age=60, stale-if-error=1000", 100, 159.9),
        ("max-age=60", 100, 159.9),
        ("s-maxage=60, stale-if-error=1", 100, 60.9),
    ],
)
async def test_until_when(said: str, maximum: int, last: float) -> None:
    """At most the maximum TTL after it expired; without the directive, until then."""
    node = await stored(("cache-control", said), ETAG, maximum_ttl_seconds=maximum, default_ttl_seconds=60)
    node.now += last
    assert await fails(node, 503) == (200, b"old")
    node = await stored(("cache-control", said), ETAG, maximum_ttl_seconds=maximum, default_ttl_seconds=60)
    node.now += last + 0.2
    assert (await fails(node, 503))[0] == 503


@pytest.mark.parametrize("said", ["stale-if-error=0", "must-revalidate", "proxy-revalidate"])
async def test_it_is_turned_off(said: str) -> None:
    node = await stored(("cache-control", f"max-age=60, {said}"), ETAG)
    node.now += 60
    assert (await fails(node, TIMEOUT))[0] == 504


async def test_while_the_origin_is_left_alone_the_window_may_end() -> None:
    node = await stored(("cache-control", "max-age=60, stale-if-error=5"), ETAG)
    node.now += 64
    assert await fails(node, 503) == (200, b"old")
    node.now += 0.9
    assert await word(node) == (b"old", "Hit")
    node.now += 0.1
    assert (await fails(node, 503))[0] == 503


@pytest.mark.parametrize("minimum", [1, 30])
@pytest.mark.parametrize(
    ("failure", "status"), [(TIMEOUT, 504), (UpstreamErrorKind.REFUSED, 502), (500, 500), (503, 503)]
)
async def test_the_origin_is_asked_again_once_per_minimum_ttl_of_the_status(
    failure: Any, status: int, minimum: int
) -> None:
    node = Node()
    for other in (500, 502, 503, 504):
        node.message.error_responses.add(error_status=other, minimum_ttl_seconds=minimum if other == status else 5)
    node.learns("log-1", 2)
    await node.stores("/a", b"old", FRESH, ETAG)
    node.now += 60
    assert await fails(node, failure) == (200, b"old")
    node.now += minimum - 0.1
    assert await word(node) == (b"old", "Hit")
    node.now += 0.1
    assert await fails(node, failure) == (200, b"old")


async def test_without_a_validator_and_with_cookies_forwarded_a_copy_is_served_stale_too() -> None:
    for node in (await stored(FRESH), await stored(FRESH, ETAG, cookies=ALL)):
        node.now += 60
        assert await fails(node, 503) == (200, b"old")


async def test_a_confirmation_ends_the_time_in_which_the_origin_is_left_alone() -> None:
    node = await stored(FRESH, ETAG)
    node.now += 60
    assert await fails(node, 503) == (200, b"old")
    node.now += 10
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).confirms(FRESH)
    assert (await viewer.answer()).fields["x-cache"] == "RefreshHit from cloudfront"
    node.now += 60
    assert await fails(node, 503) == (200, b"old")


async def test_an_error_is_never_served_on_an_error() -> None:
    node = Node()
    await node.stores("/a", b"first", status=503)
    node.now += 10
    assert await fails(node, 500) == (500, b"broken")


async def test_an_invalidated_copy_is_never_served_stale() -> None:
    node = await stored(FRESH, ETAG)
    node.now += 60
    node.invalidates("/a")
    assert (await fails(node, 503))[0] == 503


async def test_a_copy_that_is_invalidated_while_it_is_refreshed_is_not_served_stale() -> None:
    node = await stored(FRESH, ETAG)
    node.now += 60
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    node.invalidates("/a")
    fetch.fails()
    assert (await viewer.answer()).status == 502


async def test_a_copy_of_another_log_is_not_served_stale() -> None:
    node = await stored(FRESH, ETAG)
    node.now += 60
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    node.learns("log-2", 1)
    fetch.fails()
    assert (await viewer.answer()).status == 502


async def test_a_head_is_answered_stale_too() -> None:
    node = await stored(FRESH, ETAG)
    node.now += 60
    viewer = node.viewer().asks("/a", method="HEAD")
    (await node.fetch(2)).fails()
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["content-length"]) == (200, b"", "3")


async def test_a_body_that_breaks_off_is_not_followed_by_the_stale_one() -> None:
    node = await stored(FRESH, ETAG)
    node.now += 60
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).begins(200, FRESH, ("content-length", "9")).sends(b"half").fails(UpstreamErrorKind.TRUNCATED)
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert viewer.so_far().body == b"half"
