"""What a node says to viewers and upstream, in order: storing, sharing, refreshing, stale answers (reference 2.2 to 2.10)."""

import pytest

from edge_node.fill.coalescer import COALESCE_TIMEOUT_SECONDS
from edge_node.model.configuration import Role
from edge_node.model.errors import UpstreamErrorKind
from edge_node.upstream.endpoints import Tier
from tests.builders import behavior_message, caching_disabled, listed, policy_message, read_distribution
from tests.conversations.dialogue import Node, Viewer
from tests.edge_state import put_distribution

FRESH = ("cache-control", "max-age=60")
EXPIRED = (FRESH, ("age", "60"))
"""As old as its lifetime when it arrives."""


async def test_a_miss_is_stored_and_the_next_request_is_a_hit() -> None:
    node = Node()
    first = node.viewer().asks("/a")
    (await node.fetch()).answers(200, b"hello", FRESH)
    answer = await first.answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (200, b"hello", "Miss from cloudfront")
    assert "age" not in answer.fields
    node.now += 7
    answer = await node.viewer().asks("/a").answer()
    assert (answer.status, answer.body, answer.fields["x-cache"], answer.fields["age"]) == (
        200,
        b"hello",
        "Hit from cloudfront",
        "7",
    )
    await node.asks_nothing_more(1)
    assert [(record.result, record.reason) for record in node.records.all] == [("miss", "not_stored"), ("hit", "fresh")]


async def test_the_object_is_asked_for_again_in_the_second_that_it_expires() -> None:
    node = Node()
    await node.stores("/a", b"one", FRESH)
    node.now += 59.9
    assert (await node.viewer().asks("/a").answer()).body == b"one"
    node.now += 0.1
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"two", FRESH)
    assert (await viewer.answer()).body == b"two"


async def test_waiting_viewers_share_one_fetch_and_get_every_byte() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(3)]
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "6")).sends(b"abc")
    viewers.append(node.viewer().asks("/a"))  # joins in the middle
    fetch.sends(b"def").ends()
    answers = [await viewer.answer() for viewer in viewers]
    assert {answer.body for answer in answers} == {b"abcdef"}
    assert [answer.fields["x-cache"].split()[0] for answer in answers] == ["Miss", "Hit", "Hit", "Hit"]
    assert node.counters.collapsed_requests == 3
    await node.asks_nothing_more(1)


@pytest.mark.parametrize(
    "control", ["private", "no-store", "no-cache", "max-age=0", "s-maxage=0, max-age=60", "private, max-age=60"]
)
async def test_waiting_viewers_are_released_when_the_response_is_not_for_all(control: str) -> None:
    """Reference 2.10: with a minimum TTL of 0 these directives turn collapsing off; the waiters go to the origin themselves."""
    node = Node()
    first, second = node.viewer().asks("/me"), node.viewer().asks("/me")
    (await node.fetch()).answers(200, b"for the first", ("cache-control", control))
    (await node.fetch(2)).answers(200, b"for the second", ("cache-control", control))
    assert (await first.answer()).body == b"for the first"
    assert (await second.answer()).body == b"for the second"


@pytest.mark.parametrize("control", ["private", "no-store", "no-cache", "max-age=0"])
async def test_nobody_joins_a_response_that_is_not_for_all_while_it_arrives(control: str) -> None:
    node = Node()
    first = node.viewer().asks("/me")
    fetch = (await node.fetch()).begins(200, ("cache-control", control), ("content-length", "9"))
    second = node.viewer().asks("/me")  # the head is there, no byte of the body yet
    fetch.sends(b"for first").ends()
    (await node.fetch(2)).answers(200, b"for second", ("cache-control", control))
    assert (await first.answer()).body == b"for first"
    assert (await second.answer()).body == b"for second"


async def test_with_cookies_forwarded_nobody_shares_a_fetch() -> None:
    node = Node(behavior_message(policy=policy_message(cookies=listed("session"))))
    first, second = (node.viewer().asks("/a", ("cookie", "session=1")) for _ in range(2))
    (await node.fetch(1)).answers(200, b"one", FRESH)
    (await node.fetch(2)).answers(200, b"two", FRESH)
    assert (await first.answer()).body == b"one"
    assert (await second.answer()).body == b"two"


async def test_a_refresh_that_is_confirmed_is_a_refresh_hit_with_a_new_lifetime() -> None:
    node = Node()
    await node.stores("/a", b"hello", *EXPIRED, ("etag", '"1"'), ("x-generation", "one"))
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == '"1"'
    fetch.confirms(FRESH, ("x-generation", "two"))
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (200, b"hello", "RefreshHit from cloudfront")
    assert answer.fields["x-generation"] == "two"
    node.now += 59
    assert (await node.viewer().asks("/a").answer()).fields["x-cache"] == "Hit from cloudfront"
    assert [record.result for record in node.records.all] == ["miss", "refresh_hit", "hit"]


async def test_all_who_wait_for_a_refresh_are_answered_from_it() -> None:
    node = Node()
    await node.stores("/a", b"hello", *EXPIRED, ("etag", '"1"'))
    viewers = [node.viewer().asks("/a") for _ in range(3)]
    (await node.fetch(2)).confirms(FRESH)
    assert {(await viewer.answer()).body for viewer in viewers} == {b"hello"}
    await node.asks_nothing_more(2)


async def test_a_refresh_that_brings_another_object_replaces_the_old_one() -> None:
    node = Node()
    await node.stores("/a", b"old", *EXPIRED, ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH, ("etag", '"2"'))
    answer = await viewer.answer()
    assert (answer.body, answer.fields["x-cache"]) == (b"new", "Miss from cloudfront")
    assert (await node.viewer().asks("/a").answer()).body == b"new"


async def test_a_head_request_never_stores_its_missing_body() -> None:
    """A HEAD for an expired object whose refresh brings 200 has no body to store: the next GET must get one."""
    node = Node()
    await node.stores("/a", b"old", *EXPIRED, ("etag", '"1"'))
    head = node.viewer().asks("/a", method="HEAD")
    (await node.fetch(2)).begins(200, FRESH, ("content-length", "3"), ("etag", '"2"')).ends()
    answer = await head.answer()
    assert (answer.status, answer.body, answer.fields["content-length"]) == (200, b"", "3")
    get = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"new", FRESH, ("etag", '"2"'))
    assert (await get.answer()).body == b"new"


async def test_a_head_request_does_not_give_its_answer_to_a_get_that_waits() -> None:
    node = Node()
    await node.stores("/a", b"old", *EXPIRED, ("etag", '"1"'))
    head, get = node.viewer().asks("/a", method="HEAD"), node.viewer().asks("/a")
    for number in (2, 3):
        fetch = await node.fetch(number)
        if fetch.method == b"HEAD":
            fetch.begins(200, FRESH, ("content-length", "3")).ends()
        else:
            fetch.answers(200, b"new", FRESH)
    assert (await head.answer()).body == b""
    assert (await get.answer()).body == b"new"


async def test_a_head_request_is_answered_from_what_a_get_stored() -> None:
    node = Node()
    await node.stores("/a", b"hello", FRESH)
    answer = await node.viewer().asks("/a", method="HEAD").answer()
    assert (answer.status, answer.body, answer.fields["content-length"]) == (200, b"", "5")
    assert answer.fields["x-cache"] == "Hit from cloudfront"


# -- the same request again on the same connection, whose decision is remembered


async def repeated(node: Node, target: str = "/a") -> Viewer:
    """A viewer that has asked often enough for the node to remember its answer."""
    viewer = node.viewer().asks(target)
    for _ in range(4):
        await viewer.answer()
        viewer.asks_again()
    await viewer.answer()
    assert viewer.fast_answers or not viewer.has_fast_path
    return viewer


async def test_a_remembered_answer_is_the_same_but_for_its_age_and_id() -> None:
    node = Node()
    await node.stores("/a", b"hello", FRESH, ("content-type", "text/plain"))
    viewer = node.viewer().asks("/a")
    first = await viewer.answer()
    ids = {first.fields["x-amz-cf-id"]}
    for age in range(1, 6):
        node.now += 1
        again = await viewer.asks_again().answer()
        assert (again.status, again.body, again.fields["age"]) == (200, b"hello", str(age))
        changed = {name for name in first.fields if first.fields[name] != again.fields[name]}
        assert changed == {"age", "x-amz-cf-id"} and first.fields.keys() == again.fields.keys()
        ids.add(again.fields["x-amz-cf-id"])
    assert viewer.fast_answers == (5 if viewer.has_fast_path else 0) and len(ids) == 6
    assert node.counters.finished["hit", "fresh", 200].count == 6


async def test_a_remembered_answer_ends_with_the_lifetime_of_its_entry() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH)
    viewer = await repeated(node)
    node.now += 60
    viewer.asks_again()
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


async def test_a_remembered_answer_ends_with_an_invalidation() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH)
    viewer = await repeated(node)
    node.invalidates("/a")
    viewer.asks_again()
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


@pytest.mark.parametrize("log_id", ["log-1", "log-2"])
async def test_a_remembered_answer_ends_with_another_snapshot(log_id: str) -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH)
    viewer = await repeated(node)
    node.learns(log_id, 7)
    viewer.asks_again()
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


async def test_a_remembered_answer_ends_with_another_configuration_at_the_same_index() -> None:
    node = Node()
    await node.stores("/a", b"old", FRESH)
    viewer = await repeated(node)
    node.message.enabled = False
    distribution = read_distribution(node.message)
    put_distribution(node.state, node.state.applied_index, distribution)
    assert (await viewer.asks_again().answer()).status == 403


async def test_a_remembered_answer_ends_when_its_entry_is_replaced_or_evicted() -> None:
    node = Node(capacity=80_000)
    await node.stores("/a", b"old", FRESH)
    viewer = await repeated(node)
    for number in range(20):
        await node.stores(f"/{number}", bytes(5_000), FRESH)
    count = len(node.fetcher.fetches)
    viewer.asks_again()
    (await node.fetch(count + 1)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"
    assert (await viewer.asks_again().answer()).body == b"new"


async def test_a_remembered_answer_is_not_given_to_another_request() -> None:
    node = Node()
    await node.stores("/a", b"hello", FRESH)
    await node.stores("/b", b"other", FRESH)
    viewer = await repeated(node)
    assert (await viewer.asks("/b").answer()).body == b"other"
    assert (await viewer.asks("/a", ("range", "bytes=0-0")).answer()).body == b"h"
    assert (await viewer.asks("/a", method="HEAD").answer()).body == b""


# -- stale answers: reference 2.3, 2.4


@pytest.mark.parametrize("failure", [500, 502, 503, 504, UpstreamErrorKind.REFUSED, UpstreamErrorKind.READ_TIMEOUT])
async def test_an_error_on_refresh_is_answered_stale_and_tried_again_after_ten_seconds_only(
    failure: int | UpstreamErrorKind,
) -> None:
    node = Node()
    await node.stores("/a", b"old", *EXPIRED, ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    if isinstance(failure, int):
        fetch.answers(failure, b"broken")
    else:
        fetch.fails(failure)
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (200, b"old", "Hit from cloudfront")
    assert node.records.all[-1].reason == "stale_on_error"
    node.now += 9.9
    assert (await node.viewer().asks("/a").answer()).body == b"old"
    await node.asks_nothing_more(2)
    node.now += 0.1
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


async def test_a_client_error_on_refresh_reaches_the_viewer_although_a_stale_copy_is_there() -> None:
    node = Node()
    await node.stores("/a", b"old", *EXPIRED, ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(404, b"gone")
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (404, b"gone", "Error from cloudfront")
    assert (await node.viewer().asks("/a").answer()).status == 404  # the error replaced it, for ten seconds
    node.now += 10
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"back", FRESH)
    assert (await viewer.answer()).body == b"back"


@pytest.mark.parametrize("control", ["max-age=60, must-revalidate", "max-age=60, stale-if-error=0", "no-cache"])
async def test_a_stale_copy_that_forbids_it_is_not_used(control: str) -> None:
    node = Node()
    await node.stores("/a", b"old", ("cache-control", control), ("age", "60"), ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(503, b"broken")
    assert (await viewer.answer()).status == 503


async def test_a_stale_copy_is_used_inside_its_window_only() -> None:
    node = Node()
    await node.stores("/a", b"old", ("cache-control", "max-age=60, stale-if-error=100"), ("etag", '"1"'))
    node.now += 159
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).fails()
    assert (await viewer.answer()).body == b"old"
    node.now += 10
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).fails()
    assert (await viewer.answer()).status == 502


async def test_an_error_is_kept_for_ten_seconds() -> None:
    node = Node()
    await node.stores("/a", b"broken", status=503)
    node.now += 9.9
    answer = await node.viewer().asks("/a").answer()
    assert (answer.status, answer.body) == (503, b"broken")
    node.now += 0.1
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"mended", FRESH)
    assert (await viewer.answer()).body == b"mended"


# -- conditional requests and ranges


async def test_a_viewers_condition_is_answered_from_the_store() -> None:
    node = Node()
    await node.stores("/a", b"hello", FRESH, ("etag", '"1"'))
    answer = await node.viewer().asks("/a", ("if-none-match", 'W/"1"')).answer()
    assert (answer.status, answer.body, answer.fields["etag"]) == (304, b"", '"1"')
    assert "content-length" not in answer.fields
    answer = await node.viewer().asks("/a", ("if-none-match", '"2"')).answer()
    assert (answer.status, answer.body) == (200, b"hello")


async def test_a_viewers_condition_travels_with_a_miss_and_its_304_is_not_stored() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", ("if-none-match", '"1"'))
    fetch = await node.fetch()
    assert fetch.request["if-none-match"] == '"1"'
    fetch.confirms(("etag", '"1"'))
    assert (await viewer.answer()).status == 304
    second = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"hello", FRESH)
    assert (await second.answer()).body == b"hello"


async def test_a_condition_that_fails_at_the_origin_still_fills_the_cache() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", ("if-none-match", '"1"'))
    (await node.fetch()).answers(200, b"hello", FRESH, ("etag", '"2"'))
    assert (await viewer.answer()).body == b"hello"
    assert (await node.viewer().asks("/a").answer()).fields["x-cache"] == "Hit from cloudfront"


@pytest.mark.parametrize(
    ("condition", "status"), [(("if-match", '"x"'), 412), (("range", "bytes=x"), 400), (("if-none-match", "x"), 404)]
)
async def test_an_error_that_a_condition_may_have_caused_is_not_for_others(
    condition: tuple[str, str], status: int
) -> None:
    node = Node()
    viewer = node.viewer().asks("/a", condition)
    (await node.fetch()).answers(status, b"because of you", FRESH)
    assert (await viewer.answer()).status == status
    second = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"hello", FRESH)
    assert (await second.answer()).body == b"hello"


async def test_a_fill_that_outgrows_the_store_and_has_no_viewer_ends() -> None:
    """The viewer was satisfied with 304; the body went on for the store alone, and now not even for that."""
    node = Node(capacity=8_000)
    viewer = node.viewer().asks("/a", ("if-none-match", '"1"'))
    fetch = (await node.fetch()).begins(200, FRESH, ("etag", '"1"'))
    assert (await viewer.answer()).status == 304
    cancelled = []
    for _ in range(2):
        fetch.sends(b"x" * 900)
        await node.asks_nothing_more(1)
        cancelled.append(fetch.is_cancelled)
    assert cancelled == [False, True] and not node.tasks
    assert node.store.statistics.used_bytes == 0


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=0-1", 206, b"he", "bytes 0-1/5"),
        ("bytes=3-", 206, b"lo", "bytes 3-4/5"),
        ("bytes=-2", 206, b"lo", "bytes 3-4/5"),
        ("bytes=2-99", 206, b"llo", "bytes 2-4/5"),
        ("bytes=5-", 416, b"", "bytes */5"),
        ("bytes=3-2", 200, b"hello", None),
        ("bytes=2-3,0-0", 200, b"hello", None),
        ("lines=0-1", 200, b"hello", None),
    ],
)
async def test_a_range_is_cut_from_the_stored_object(
    asked: str, status: int, body: bytes, content_range: str | None
) -> None:
    node = Node()
    await node.stores("/a", b"hello", FRESH)
    answer = await node.viewer().asks("/a", ("range", asked)).answer()
    assert (answer.status, answer.body, answer.fields.get("content-range")) == (status, body, content_range)
    assert answer.fields["content-length"] == str(len(body))
    await node.asks_nothing_more(1)


async def test_a_range_of_a_missing_object_is_asked_for_as_it_is_and_not_stored() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", ("range", "bytes=1-2"))
    fetch = await node.fetch()
    assert fetch.request["range"] == "bytes=1-2"
    fetch.answers(206, b"el", FRESH, ("content-range", "bytes 1-2/5"))
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["content-range"]) == (206, b"el", "bytes 1-2/5")
    second = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"hello", FRESH)
    assert (await second.answer()).body == b"hello"


async def test_an_origin_that_ignores_the_range_fills_the_cache() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", ("range", "bytes=1-2"))
    (await node.fetch()).answers(200, b"hello", FRESH)
    assert (await viewer.answer()).body == b"hello"
    answer = await node.viewer().asks("/a", ("range", "bytes=1-2")).answer()
    assert (answer.status, answer.body) == (206, b"el")


# -- methods


async def test_a_method_outside_the_behavior_is_refused() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", method="DELETE")
    answer = await viewer.answer()
    assert (answer.status, answer.fields["x-cache"], answer.fields["server"]) == (
        403,
        "Error from cloudfront",
        "CloudFront",
    )
    await node.asks_nothing_more(0)


async def test_uncached_methods_pass_the_regional_caches_by() -> None:
    node = Node(behavior_message(allowed_methods=["GET", "HEAD", "OPTIONS", "POST"]))
    node.knows_regionals("r1")
    for number, method in enumerate(("POST", "OPTIONS"), 1):
        viewer = node.viewer().asks("/a", method=method)
        fetch = await node.fetch(number)
        assert fetch.tiers == [Tier.ORIGIN]
        fetch.answers(200, b"done", FRESH)
        assert (await viewer.answer()).fields["x-cache"] == "Miss from cloudfront"
    node.viewer().asks("/a")
    assert (await node.fetch(3)).tiers == [Tier.REGIONAL, Tier.ORIGIN]


async def test_options_has_an_entry_of_its_own_when_it_is_cached() -> None:
    node = Node(behavior_message(allowed_methods=["GET", "HEAD", "OPTIONS"], cached_methods=["GET", "HEAD", "OPTIONS"]))
    viewer = node.viewer().asks("/a", method="OPTIONS")
    (await node.fetch()).answers(200, b"allowed", FRESH)
    assert (await viewer.answer()).body == b"allowed"
    get = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"content", FRESH)
    assert (await get.answer()).body == b"content"
    assert (await node.viewer().asks("/a", method="OPTIONS").answer()).body == b"allowed"
    await node.asks_nothing_more(2)


async def test_with_caching_disabled_every_request_goes_straight_to_the_origin() -> None:
    node = Node(behavior_message(policy=caching_disabled()))
    node.knows_regionals("r1")
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    for number in (1, 2):
        fetch = await node.fetch(number)
        assert fetch.tiers == [Tier.ORIGIN]
        fetch.answers(200, b"%d" % number, FRESH)
    assert [(await viewer.answer()).body for viewer in viewers] == [b"1", b"2"]
    assert {record.reason for record in node.records.all} == {"caching_disabled"}


# -- ends in the middle


async def test_a_body_that_breaks_off_is_cut_for_everybody_and_not_stored() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "9")).sends(b"half")
    fetch.fails(UpstreamErrorKind.TRUNCATED)
    for viewer in viewers:
        with pytest.raises(AssertionError, match="cut"):
            await viewer.answer()
    assert {record.reason for record in node.records.all} == {"upstream_failed"}
    again = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"whole now", FRESH)
    assert (await again.answer()).body == b"whole now"
    assert node.store.statistics.entries == 1


async def test_the_rest_of_another_object_is_never_joined_to_the_beginning_of_one() -> None:
    """The origin answers the request for the rest with the whole new object: the viewer must not see a byte of it behind the old beginning."""
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "6"), ("etag", '"1"')).sends(b"abc")
    assert fetch.sink.resume_point() == ((b"range", b"bytes=3-"), (b"if-range", b'"1"'))
    fetch.connects(fetch.targets[-1])
    fetch.begins(200, FRESH, ("content-length", "6"), ("etag", '"2"')).sends(b"uvwxyz").ends()
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert viewer.so_far().body == b"abc"
    assert node.store.statistics.entries == 0


@pytest.mark.parametrize(
    ("content_range", "length"),
    [
        ("bytes 3-4/6", "2"),
        ("bytes 3-5/7", "3"),
        ("bytes 2-5/6", "4"),
        ("bytes 3-5/*", "3"),
        ("bytes 3-5/6", "2"),
        ("bytes 3-5/6", "4"),
    ],
)
async def test_a_rest_that_is_not_the_whole_rest_is_refused(content_range: str, length: str) -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "6"), ("etag", '"1"')).sends(b"abc")
    fetch.connects(fetch.targets[-1])
    fetch.begins(206, FRESH, ("content-range", content_range), ("content-length", length), ("etag", '"1"')).sends(
        b"de"
    ).ends()
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert node.store.statistics.entries == 0


async def test_a_body_goes_on_where_it_broke_off() -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "6"), ("etag", '"1"')).sends(b"abc")
    fetch.connects(fetch.targets[-1])
    fetch.begins(206, FRESH, ("content-range", "bytes 3-5/6"), ("content-length", "3"), ("etag", '"1"')).sends(
        b"def"
    ).ends()
    assert (await viewer.answer()).body == b"abcdef"
    assert (await node.viewer().asks("/a").answer()).body == b"abcdef"


async def test_a_viewer_that_leaves_ends_the_fetch_that_nobody_else_waits_for() -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "9")).sends(b"half")
    viewer.leaves()
    again = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"whole now", FRESH)
    assert (await again.answer()).body == b"whole now"
    assert fetch.is_cancelled
    assert node.records.all[0].reason == "viewer_left"


async def test_a_viewer_that_leaves_takes_nothing_from_those_who_stay() -> None:
    node = Node()
    first, second = node.viewer().asks("/a"), node.viewer().asks("/a")
    fetch = await node.fetch()
    first.leaves()
    fetch.answers(200, b"hello", FRESH)
    assert (await second.answer()).body == b"hello"
    assert (await node.viewer().asks("/a").answer()).fields["x-cache"] == "Hit from cloudfront"


async def test_viewers_who_joined_a_fetch_that_failed_try_once_more() -> None:
    node = Node()
    first, second = node.viewer().asks("/a"), node.viewer().asks("/a")
    (await node.fetch()).fails(UpstreamErrorKind.READ_TIMEOUT)
    assert (await first.answer()).status == 504
    (await node.fetch(2)).answers(200, b"hello", FRESH)
    assert (await second.answer()).body == b"hello"


async def test_a_fault_of_this_program_answers_everybody_who_waits() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    (await node.fetch()).fails(UpstreamErrorKind.INTERNAL)
    (await node.fetch(2)).fails(UpstreamErrorKind.INTERNAL)
    for viewer in viewers:
        assert (await viewer.answer()).status == 502
    assert node.viewer().asks("/a").head and len(node.fetcher.fetches) == 3, (
        "it is not remembered as a failure of upstream"
    )


async def test_a_head_request_lets_its_upstream_connection_live() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", method="HEAD")
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "5"))
    assert (await viewer.answer()).body == b""
    fetch.ends()
    await node.asks_nothing_more(1)
    assert not fetch.is_cancelled


async def test_a_fetch_that_another_answer_made_needless_is_not_tried_again() -> None:
    """A stale copy stands in for a 503: whatever becomes of the rest of that response, nobody asks upstream again for this request."""
    node = Node()
    await node.stores("/a", b"old", *EXPIRED, ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch(2)).begins(503, ("content-length", "100000"))
    assert (await viewer.answer()).body == b"old"
    assert fetch.sink.has_started and fetch.sink.resume_point() is None


# -- backpressure


async def test_upstream_is_write_blocked_at_a_window_and_goes_on_when_the_viewer_has_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_node.fill.response_stream.WINDOW_BYTES", 100)
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, ("cache-control", "no-store"), ("content-length", "300"))
    viewer.holds()
    paused = []
    for data in (b"x" * 100, b"y"):
        fetch.sends(data)
        paused.append(fetch.connection.is_paused)
    viewer.takes_more()
    assert [*paused, fetch.connection.is_paused] == [False, True, False]
    assert not fetch.sink.stream.chunks
    fetch.sends(b"z" * 199).ends()
    assert (await viewer.answer()).body == b"x" * 100 + b"y" + b"z" * 199


async def test_a_viewer_that_caught_up_while_there_was_no_connection_does_not_stop_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_node.fill.response_stream.WINDOW_BYTES", 100)
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, ("cache-control", "no-store"), ("content-length", "201"), ("etag", '"1"'))
    viewer.holds()
    fetch.sends(b"x" * 101)
    fetch.sink.connected(None, fetch.targets[-1])  # it is gone
    viewer.takes_more()
    fetch.connects(fetch.targets[-1])
    assert not fetch.connection.is_paused
    rest = (("content-range", "bytes 101-200/201"), ("content-length", "100"), ("etag", '"1"'))
    fetch.begins(206, *rest).sends(b"y" * 100).ends()
    assert (await viewer.answer()).body == b"x" * 101 + b"y" * 100


async def test_a_viewer_that_has_not_caught_up_holds_up_the_next_connection_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_node.fill.response_stream.WINDOW_BYTES", 100)
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, ("cache-control", "no-store"), ("content-length", "201"), ("etag", '"1"'))
    viewer.holds()
    fetch.sends(b"x" * 101)
    fetch.sink.connected(None, fetch.targets[-1])  # it is gone
    fetch.connects(fetch.targets[-1])
    was_paused = fetch.connection.is_paused
    viewer.takes_more()
    assert (was_paused, fetch.connection.is_paused) == (True, False)
    rest = (("content-range", "bytes 101-200/201"), ("content-length", "100"), ("etag", '"1"'))
    fetch.begins(206, *rest).sends(b"y" * 100).ends()
    assert (await viewer.answer()).body == b"x" * 101 + b"y" * 100


# -- two tiers


async def test_an_error_that_the_origin_sent_is_kept_at_both_tiers() -> None:
    node = Node()
    node.knows_regionals("r1")
    first = node.viewer().asks("/a")
    (await node.fetch()).answers(404, b"none", ("x-edge-result", "error;upstream_status"))
    assert (await first.answer()).status == 404
    assert (await node.viewer().asks("/a").answer()).status == 404
    await node.asks_nothing_more(1)


async def test_an_error_that_the_regional_cache_made_is_kept_for_the_error_caching_minimum_ttl() -> None:
    node = Node()
    node.knows_regionals("r1")
    first = node.viewer().asks("/a")
    (await node.fetch()).answers(502, b"refused", ("x-edge-result", "error;upstream_failed"))
    assert (await first.answer()).status == 502
    node.now += 9.9
    assert (await node.viewer().asks("/a").answer()).status == 502
    await node.asks_nothing_more(1)
    node.now += 0.2
    second = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"well", FRESH, ("x-edge-result", "miss;not_stored"))
    assert (await second.answer()).body == b"well"


async def test_a_hit_at_the_regional_cache_is_a_hit_with_its_age() -> None:
    node = Node()
    node.knows_regionals("r1")
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(200, b"hello", FRESH, ("age", "20"), ("x-edge-result", "hit;fresh"))
    answer = await viewer.answer()
    assert (answer.fields["x-cache"], answer.fields["age"]) == ("Hit from cloudfront", "20")
    assert "x-edge-result" not in answer.fields
    node.now += 39
    assert (await node.viewer().asks("/a").answer()).fields["age"] == "59"
    node.now += 1
    node.viewer().asks("/a")
    await node.fetch(2)


async def test_an_origin_cannot_speak_for_a_regional_cache() -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(200, b"hello", FRESH, ("x-edge-result", "hit;fresh"))
    answer = await viewer.answer()
    assert answer.fields["x-cache"] == "Miss from cloudfront"
    assert "x-edge-result" not in answer.fields


async def test_a_regional_cache_says_how_it_came_to_its_answer() -> None:
    node = Node(role=Role.REGIONAL)
    edge = (("x-edge-log-index", "log-1:1"), ("x-edge-distribution", "E1"), ("x-edge-request-id", "id=="))
    first = node.viewer().asks("/a", *edge)
    (await node.fetch()).answers(200, b"hello", FRESH)
    answer = await first.answer()
    assert (answer.fields["x-edge-result"], answer.fields["x-amz-cf-id"]) == ("miss;not_stored", "id==")
    assert (await node.viewer().asks("/a", *edge).answer()).fields["x-edge-result"] == "hit;fresh"


async def test_a_slow_older_response_does_not_take_the_place_of_a_newer_one() -> None:
    """Two fetches of one object: what was asked for later is the newer one, whichever comes first."""
    node = Node()
    slow_viewer = node.viewer().asks("/a")
    slow = await node.fetch(1)
    node.passes(COALESCE_TIMEOUT_SECONDS - 1)
    fast_viewer = node.viewer().asks("/a", ("range", "bytes=0-"))
    (await node.fetch(2)).answers(200, b"newer", ("cache-control", "max-age=60"))
    slow.answers(200, b"older", ("cache-control", "max-age=60"))
    assert [(await viewer.answer()).body for viewer in (slow_viewer, fast_viewer)] == [b"older", b"newer"]
    assert (await node.viewer().asks("/a").answer()).body == b"newer"


async def test_a_clock_that_was_set_back_keeps_no_response_out() -> None:
    node = Node()
    await node.stores("/a", b"before", ("cache-control", "max-age=1"))
    node.now -= 3_600
    viewer = node.viewer().asks("/a", ("range", "bytes=0-99"))
    assert (await viewer.answer()).body == b"before"
    node.invalidates("/a")
    await node.stores("/a", b"after", ("cache-control", "max-age=60"))
    assert (await node.viewer().asks("/a").answer()).body == b"after"


async def test_a_refresh_is_stored_though_the_log_moved_on_about_something_else() -> None:
    """The expired entry's stamp moves forward when others ask for it, past that of the refresh under way: that does not make it newer."""
    node = Node()
    await node.stores("/a", b"old", ("cache-control", "max-age=60"))
    node.now += 60
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    node.invalidates("/other")
    also = node.viewer().asks("/a")
    fetch.answers(200, b"new", ("cache-control", "max-age=60"))
    assert {(await who.answer()).body for who in (viewer, also)} == {b"new"}
    assert (await node.viewer().asks("/a").answer()).body == b"new"
    await node.asks_nothing_more(2)
