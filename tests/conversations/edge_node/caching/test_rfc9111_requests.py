"""Behaviors that follow the RFCs: what a request may demand (RFC 9111 sections 3.5, 5.2.1 and 5.4, RFC 5861 section 4, RFC 8246)."""

import pytest

from tests.conversations.dialogue import Node
from tests.conversations.tiers import Tiers, strict, strict_node

FRESH = ("cache-control", "max-age=60")
TAG = ("etag", '"1"')


async def aged(seconds: float, control: str = "max-age=60", *more: tuple[str, str]) -> Node:
    """A node with /a, stored so long ago."""
    node = strict_node()
    await node.stores("/a", b"old", ("cache-control", control), TAG, *more)
    node.now += seconds
    return node


async def is_answered_at_once(node: Node, *ask: tuple[str, str], body: bytes = b"old") -> bool:
    """Whether the stored response is used without asking; if the origin is asked, it confirms."""
    asked_before = len(node.fetcher.fetches)
    viewer = node.viewer().asks("/a", *ask)
    if viewer.is_done:
        assert (await viewer.answer()).body == body
        return True
    fetch = await node.fetch(asked_before + 1)
    assert fetch.request["if-none-match"] == '"1"'
    fetch.confirms(FRESH)
    assert (await viewer.answer()).body == body
    return False


@pytest.mark.parametrize(
    ("age", "demand", "is_used"),
    [
        (10, "no-cache", False),
        (10, "no-cache=x", False),
        (10, "NO-CACHE, max-stale", False),
        (10, "max-age=0", False),
        (10, "max-age=9", False),
        (10, "max-age=10", True),
        (10, "max-age=x", False),
        (10, "max-age=50, max-age=5", False),
        (10, "min-fresh=50", True),
        (10, "min-fresh=51", False),
        (10, "only-if-cached", True),
        (10, "no-store", True),
        (10, "no-transform, unknown=1", True),
        (70, "max-stale", True),
        (70, "max-stale=10", True),
        (70, "max-stale=9", False),
        (70, "max-stale=x", False),
        (70, "max-age=100, max-stale=20", True),
        (70, "max-age=100", False),
        (70, "min-fresh=1, max-stale", False),
    ],
)
async def test_the_directives_of_a_request_are_followed(age: float, demand: str, is_used: bool) -> None:
    node = await aged(age)
    assert await is_answered_at_once(node, ("cache-control", demand)) is is_used


@pytest.mark.parametrize(
    ("ask", "is_used"),
    [
        ([("pragma", "no-cache")], False),
        ([("pragma", "x, No-Cache")], False),
        ([("pragma", "no-cache"), ("cache-control", "max-age=60")], True),
        ([("pragma", "x")], True),
    ],
)
async def test_pragma_counts_where_there_is_no_cache_control(ask: list[tuple[str, str]], is_used: bool) -> None:
    assert await is_answered_at_once(await aged(10), *ask) is is_used


@pytest.mark.parametrize("forbidding", ["must-revalidate", "proxy-revalidate", "s-maxage=60"])
async def test_no_request_gets_stale_what_the_response_forbids_to_use_stale(forbidding: str) -> None:
    node = await aged(70, f"max-age=60, {forbidding}")
    assert not await is_answered_at_once(node, ("cache-control", "max-stale"))


@pytest.mark.parametrize(("demand", "is_used"), [("max-age=0", True), ("no-cache", False), ("min-fresh=55", False)])
async def test_an_immutable_response_is_not_reloaded_while_it_is_fresh(demand: str, is_used: bool) -> None:
    node = await aged(10, "max-age=60, immutable")
    assert await is_answered_at_once(node, ("cache-control", demand)) is is_used


async def test_an_immutable_response_that_is_stale_is_validated() -> None:
    assert not await is_answered_at_once(await aged(60, "max-age=60, immutable"), ("cache-control", "max-age=0"))


@pytest.mark.parametrize("age", [None, 60])
async def test_only_if_cached_is_answered_504_where_the_origin_would_have_to_be_asked(age: int | None) -> None:
    node = strict_node() if age is None else await aged(age)
    count = len(node.fetcher.fetches)
    answer = await node.viewer().asks("/a", ("cache-control", "only-if-cached")).answer()
    assert answer.status == 504
    assert node.records.all[-1].reason == "only_if_cached"
    await node.asks_nothing_more(count)


async def test_a_request_that_says_no_store_stores_nothing_and_shares_nothing() -> None:
    node = strict_node()
    viewers = [node.viewer().asks("/a", ("cache-control", "no-store")) for _ in range(2)]
    for number in (1, 2):
        (await node.fetch(number)).answers(200, b"%d" % number, FRESH)
    assert [(await viewer.answer()).body for viewer in viewers] == [b"1", b"2"]
    plain = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"3", FRESH)
    assert (await plain.answer()).body == b"3"


async def test_a_request_that_says_no_store_leaves_what_is_stored_as_it_is() -> None:
    node = await aged(10, "max-age=60", ("x-generation", "one"))
    viewer = node.viewer().asks("/a", ("cache-control", "no-store, no-cache"))
    (await node.fetch(2)).confirms(("x-generation", "two"))
    assert (await viewer.answer()).fields["x-generation"] == "two"
    answer = await node.viewer().asks("/a").answer()
    assert (answer.body, answer.fields["x-generation"], answer.fields["age"]) == (b"old", "one", "10")


async def test_a_viewer_that_demands_a_refresh_gets_no_stale_answer_instead() -> None:
    node = await aged(10)
    viewer = node.viewer().asks("/a", ("cache-control", "no-cache"))
    (await node.fetch(2)).fails()
    assert (await viewer.answer()).status == 502
    assert (await node.viewer().asks("/a").answer()).body == b"old"


async def test_demands_travel_with_the_request_and_hold_at_both_tiers() -> None:
    tiers = Tiers(strict())
    await tiers.stores("/a", b"old", FRESH, TAG)
    tiers.passes(10)
    viewer = tiers.viewer().asks("/a", ("cache-control", "max-age=5"))
    fetch = await tiers.origin_fetch(2)
    assert (fetch.request["cache-control"], fetch.request["if-none-match"]) == ("max-age=5", '"1"')
    fetch.confirms(FRESH)
    answer = await viewer.answer()
    assert (answer.body, answer.fields["x-cache"]) == (b"old", "RefreshHit from cloudfront")


# -- Authorization: RFC 9111 section 3.5

LOGIN = ("authorization", "Basic Zm9v")


@pytest.mark.parametrize(
    ("control", "is_stored"),
    [
        ("max-age=60", False),
        ("max-age=60, immutable", False),
        ("public, max-age=60", True),
        ("s-maxage=60", True),
        ("max-age=60, must-revalidate", True),
        ("max-age=60, proxy-revalidate", False),
    ],
)
async def test_a_response_to_authorization_is_for_others_only_if_it_says_so(control: str, is_stored: bool) -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a", LOGIN)
    fetch = await node.fetch()
    assert fetch.request["authorization"] == LOGIN[1]
    fetch.answers(200, b"mine", ("cache-control", control))
    assert (await viewer.answer()).body == b"mine"
    other = node.viewer().asks("/a")
    if is_stored:
        assert (await other.answer()).body == b"mine"
    else:
        (await node.fetch(2)).answers(200, b"theirs", FRESH)
        assert (await other.answer()).body == b"theirs"


async def test_nobody_shares_a_fetch_with_authorization_that_does_not_allow_it() -> None:
    node = strict_node()
    first, second = node.viewer().asks("/a", LOGIN), node.viewer().asks("/a")
    (await node.fetch(1)).answers(200, b"mine", FRESH)
    fetch = await node.fetch(2)
    assert "authorization" not in fetch.request
    fetch.answers(200, b"theirs", FRESH)
    assert ((await first.answer()).body, (await second.answer()).body) == (b"mine", b"theirs")


async def test_who_is_authorized_gets_what_is_for_all_and_its_refresh_takes_it_from_nobody() -> None:
    node = await aged(10)
    assert await is_answered_at_once(node, LOGIN)
    viewer = node.viewer().asks("/a", LOGIN, ("cache-control", "no-cache"))
    (await node.fetch(2)).confirms(("cache-control", "max-age=600"))
    assert (await viewer.answer()).body == b"old"
    assert await is_answered_at_once(node)
    node.now += 50
    assert not await is_answered_at_once(node)  # the longer lifetime was said to the authorized viewer alone


# -- cookies: RFC 9111 section 7.3


async def test_a_response_that_sets_a_cookie_is_stored_with_it_unless_it_says_otherwise() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, ("set-cookie", "a=1; Path=/"), ask=[("cookie", "b=2")])
    assert node.fetcher.fetches[0].request["cookie"] == "b=2"
    answer = await node.viewer().asks("/a", ("cookie", "c=3")).answer()
    assert (answer.body, answer.fields["set-cookie"]) == (b"hello", "a=1; Path=/")


async def test_cookies_do_not_prevent_sharing_or_validation() -> None:
    node = await aged(60)
    viewers = [node.viewer().asks("/a", ("cookie", f"id={number}")) for number in range(2)]
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == '"1"'
    fetch.confirms(FRESH)
    assert [(await viewer.answer()).body for viewer in viewers] == [b"old", b"old"]
    await node.asks_nothing_more(2)


# -- conditions that are for the origin: RFC 9110 section 13.2.1


@pytest.mark.parametrize("condition", [("if-match", '"2"'), ("if-unmodified-since", "Fri, 15 Jan 2027 08:00:00 GMT")])
@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_precondition_for_the_origin_is_forwarded_and_its_412_is_for_nobody_else(
    condition: tuple[str, str], is_stored: bool
) -> None:
    node = await aged(10) if is_stored else strict_node()
    count = len(node.fetcher.fetches)
    viewer = node.viewer().asks("/a", condition)
    fetch = await node.fetch(count + 1)
    assert fetch.request[condition[0]] == condition[1] and "if-none-match" not in fetch.request
    fetch.answers(412, b"changed", FRESH)
    assert (await viewer.answer()).status == 412
    if is_stored:
        assert await is_answered_at_once(node)


async def test_a_precondition_for_the_origin_joins_no_other_request() -> None:
    node = strict_node()
    plain, guarded = node.viewer().asks("/a"), node.viewer().asks("/a", ("if-match", '"2"'))
    (await node.fetch(1)).answers(200, b"hello", FRESH, TAG)
    (await node.fetch(2)).answers(412, b"changed")
    assert ((await plain.answer()).status, (await guarded.answer()).status) == (200, 412)


async def test_a_precondition_reaches_the_origin_through_both_tiers() -> None:
    tiers = Tiers(strict())
    await tiers.stores("/a", b"hello", FRESH, TAG)
    viewer = tiers.viewer().asks("/a", ("if-match", '"2"'))
    fetch = await tiers.origin_fetch(2)
    assert fetch.request["if-match"] == '"2"'
    fetch.answers(412, b"changed")
    assert (await viewer.answer()).status == 412
