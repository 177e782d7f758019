"""Demands, variants, validation, parts, stale copies, sharing, coding, failover and pages: the cases where one set of rules, or the second tier, was not shown yet.

Everything here goes through the whole pipeline. What both sets of rules share is said once and run twice.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edge_node.model.errors import UpstreamErrorKind
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, policy_message
from tests.conversations.dialogue import Node, TextHeader, flush
from tests.conversations.edge_node.caching.test_claims_freshness import (
    BOTH,
    CLOUDFRONT,
    ONE_OR_TWO,
    RFC9111,
    behavior,
    way,
)
from tests.conversations.edge_node.upstream.test_failover import PRIMARY, SECONDARY, group
from tests.conversations.origins import Origins
from tests.conversations.tiers import ALL_METHODS, strict

FRESH = ("cache-control", "max-age=60")
TAG, MODIFIED = ("etag", '"1"'), ("last-modified", "Fri, 15 Jan 2027 07:00:00 GMT")
TIMEOUT, REFUSED = UpstreamErrorKind.READ_TIMEOUT, UpstreamErrorKind.REFUSED
BY_LANGUAGE = ("vary", "Accept-Language")


# -- demands: RFC 9111 section 5.2.1


@ONE_OR_TWO
@pytest.mark.parametrize(
    ("control", "age", "demand", "is_used"),
    [
        ("max-age=60", 30, "max-age=30", True), ("max-age=60", 31, "max-age=30", False), ("max-age=60", 30, "min-fresh=30", True),
        ("max-age=60", 31, "min-fresh=30", False), ("max-age=60", 70, "max-stale=10", True), ("max-age=60", 71, "max-stale=10", False),
        ("max-age=60", 9_999, "max-stale", True), ("max-age=60, must-revalidate", 70, "max-stale", False), ("max-age=60", 0, "no-cache", False),
        ("max-age=60", 10, 'max-age="5"', False), ("max-age=60", 10, "max-age=5.5", False), ("max-age=60", 10, "max-age=-1", False),
        ("max-age=60", 10, "max-age=99999999999999999999", True), ("max-age=60, immutable", 10, "max-age=0", True),
        ("max-age=60, immutable", 70, "max-age=5, max-stale", False), ("max-age=60, immutable", 10, "no-cache", False),
        ("max-age=60, stale-while-revalidate=100", 70, "max-age=100", False), ("max-age=60, stale-while-revalidate=100", 70, "max-stale=5", False),
    ],
)  # fmt: skip
async def test_a_demand_holds_at_every_tier(control: str, age: int, demand: str, is_used: bool, tiers: int) -> None:
    there = way(tiers, behavior(RFC9111))
    await there.stores(("cache-control", control), TAG)
    there.passes(age)
    viewer = there.asks(("cache-control", demand))
    if is_used:
        assert (await viewer.answer()).body == b"hello" and there.asked == 1
        return
    fetch = await there.origin(2)
    assert fetch.request["if-none-match"] == TAG[1] and not viewer.is_done
    fetch.confirms(FRESH)
    assert (await viewer.answer()).body == b"hello"


@ONE_OR_TWO
async def test_only_if_cached_is_told_at_once_whether_it_is(tiers: int) -> None:
    there = way(tiers, behavior(RFC9111))
    demand = ("cache-control", "only-if-cached")
    assert (await there.asks(demand).answer()).status == 504
    await there.stores(FRESH)
    assert (await there.asks(demand).answer()).body == b"hello"
    there.passes(60)
    assert (await there.asks(demand).answer()).status == 504
    await there.last.asks_nothing_more(1)


# -- variants: RFC 9111 section 4.1


@ONE_OR_TWO
async def test_every_variant_of_one_url_is_kept_and_found(tiers: int) -> None:
    there = way(tiers, behavior(RFC9111))
    said: list[tuple[TextHeader, ...]] = [
        (("accept-language", "de"),), (("accept-language", "en, de;q=0.5"),), (("accept-language", ""),), (),
        (("accept-language", "de"), ("x-a", "1")),
    ]  # fmt: skip
    both = ("vary", "x-a , ACCEPT-LANGUAGE,")
    for number, ask in enumerate(said, 1):
        viewer = there.asks(*ask)
        (await there.origin(number)).answers(200, b"%d" % number, FRESH, both)
        assert (await viewer.answer()).body == b"%d" % number
    for number, ask in enumerate(said, 1):
        assert (await there.asks(*ask).answer()).body == b"%d" % number
    same = there.asks(("accept-language", " DE ;q=0.500 ,en;q=1"))
    assert (await same.answer()).body == b"2"
    assert there.asked == len(said)


@ONE_OR_TWO
@pytest.mark.parametrize("vary", ["*", "accept-language, *", "Accept-Language,*"])
async def test_vary_any_is_never_reused_without_asking(vary: str, tiers: int) -> None:
    there = way(tiers, behavior(RFC9111))
    await there.stores(
        ("cache-control", "max-age=60, stale-while-revalidate=60, stale-if-error=60"), TAG, ("vary", vary)
    )
    viewer = there.asks(("cache-control", "max-stale"))
    (await there.origin(2)).fails()
    assert (await viewer.answer()).status == 502


@ONE_OR_TWO
async def test_to_cloudfront_vary_selects_nothing(tiers: int) -> None:
    """Reference 2.4."""
    there = way(tiers, behavior(CLOUDFRONT))
    viewer = there.asks(("accept-language", "de"))
    (await there.origin(1)).answers(200, b"hallo", FRESH, BY_LANGUAGE)
    answers = [await viewer.answer(), await there.asks(("accept-language", "en")).answer()]
    assert [(answer.body, "vary" in answer.fields) for answer in answers] == [(b"hallo", False)] * 2


# -- validation: RFC 9111 sections 3.2 and 4.3, reference 2.4


@BOTH
async def test_a_304_puts_its_fields_in_the_place_of_the_old_ones(semantics: str) -> None:
    there = way(1, behavior(semantics))
    await there.stores(
        FRESH, TAG, MODIFIED, ("x-kept", "1"), ("x-new", "old"), ("x-new", "older"), ("content-type", "text/plain")
    )
    there.passes(60)
    viewer = there.asks()
    fetch = await there.origin(2)
    assert (fetch.request["if-none-match"], fetch.request["if-modified-since"]) == (TAG[1], MODIFIED[1])
    fetch.confirms(
        ("cache-control", "max-age=10"), TAG, ("x-new", "new"), ("content-length", "99"), ("content-encoding", "br")
    )
    for answer in (await viewer.answer(), await there.asks().answer()):
        assert (answer.body, answer.fields["x-kept"], answer.fields["x-new"]) == (b"hello", "1", "new")
        assert (answer.fields["content-length"], answer.fields["content-type"]) == ("5", "text/plain")
        assert "content-encoding" not in answer.fields
    there.passes(10)
    there.asks()
    await there.origin(3)


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ([("if-none-match", '"1"')], 304), ([("if-none-match", 'W/"1"')], 304), ([("if-none-match", '"a,b", W/"1"')], 304), ([("if-none-match", "*")], 304),
        ([("if-none-match", '"2"')], 200), ([("if-none-match", '"2"'), ("if-modified-since", MODIFIED[1])], 200),
        ([("if-none-match", '"1"'), ("if-modified-since", "Fri, 15 Jan 2027 06:59:59 GMT")], 304), ([("if-modified-since", MODIFIED[1])], 304),
        ([("if-modified-since", "Fri, 15 Jan 2027 06:59:59 GMT")], 200), ([("if-modified-since", "Friday, 15-Jan-27 07:00:00 GMT")], 304),
        ([("if-none-match", '"1"'), ("range", "bytes=0-1")], 304), ([("if-none-match", '"2"'), ("range", "bytes=0-1")], 206),
        ([("range", "bytes=0-1"), ("if-range", '"1"')], 206), ([("range", "bytes=0-1"), ("if-range", 'W/"1"')], 200),
        ([("range", "bytes=0-1"), ("if-range", '"2"')], 200), ([("range", "bytes=0-1"), ("if-range", MODIFIED[1])], 206),
        ([("range", "bytes=0-1"), ("if-range", "Fri, 15 Jan 2027 07:00:01 GMT")], 200), ([("range", "bytes=-2")], 206), ([("range", "bytes=3-")], 206),
        ([("range", "bytes=5-")], 416), ([("range", "bytes=-0")], 416), ([("range", "bytes=1-0")], 200), ([("range", "lines=0-1")], 200),
    ],
)  # fmt: skip
async def test_conditions_and_ranges_are_answered_from_what_is_stored(
    asked: list[TextHeader], status: int, semantics: str, tiers: int
) -> None:
    there = way(tiers, behavior(semantics))
    await there.stores(FRESH, TAG, MODIFIED, ("date", "Fri, 15 Jan 2027 08:00:00 GMT"))
    answer = await there.asks(*asked).answer()
    wanted = {200: b"hello", 304: b"", 416: b"", 206: None}[status]
    assert answer.status == status and (wanted is None or answer.body == wanted)
    assert answer.fields.get("content-range", "").startswith(
        "bytes */5" if status == 416 else "bytes " if status == 206 else ""
    )
    assert there.asked == 1


@BOTH
@pytest.mark.parametrize(("seconds_before", "status"), [(0, 200), (1, 206), (60, 206)])
async def test_a_date_of_the_same_second_identifies_no_bytes(seconds_before: int, status: int, semantics: str) -> None:
    """RFC 9110 sections 8.8.2.2 and 13.1.5: content may have changed twice in that second."""
    modified = f"Fri, 15 Jan 2027 07:{59 - seconds_before // 60:02}:{59 - seconds_before % 60:02} GMT"
    there = way(1, behavior(semantics))
    await there.stores(FRESH, ("last-modified", modified), ("date", "Fri, 15 Jan 2027 07:59:59 GMT"))
    answer = await there.asks(("range", "bytes=0-1"), ("if-range", modified)).answer()
    assert answer.status == status


@ONE_OR_TWO
@pytest.mark.parametrize(("tag", "is_same"), [('"1"', True), ('"2"', False)])
async def test_a_head_updates_or_outdates_the_stored_get_at_every_tier(tag: str, is_same: bool, tiers: int) -> None:
    there = way(tiers, behavior(RFC9111))
    await there.stores(FRESH, TAG, ("x-generation", "one"))
    viewer = there.asks(("cache-control", "no-cache"), method="HEAD")
    fetch = await there.origin(2)
    assert fetch.method == b"HEAD"
    fetch.begins(200, FRESH, ("etag", tag), ("x-generation", "two"), ("content-length", "5")).ends()
    assert (await viewer.answer()).fields["x-generation"] == "two"
    get = there.asks()
    if is_same:
        answer = await get.answer()
        assert (answer.body, answer.fields["x-generation"], there.asked) == (b"hello", "two", 2)
    else:
        assert "if-none-match" not in (await there.origin(3)).request


# -- parts: RFC 9111 sections 3.3 and 3.4, reference 2.8


@ONE_OR_TWO
@BOTH
async def test_parts_are_kept_served_and_completed(semantics: str, tiers: int) -> None:
    there = way(tiers, behavior(semantics))
    viewer = there.asks(("range", "bytes=0-1"))
    fetch = await there.origin(1)
    assert fetch.request["range"] == "bytes=0-1"
    fetch.answers(206, b"he", FRESH, TAG, ("content-range", "bytes 0-1/5"))
    assert (await viewer.answer()).body == b"he"
    assert (await there.asks(("range", "bytes=1-1")).answer()).body == b"e"
    viewer = there.asks()
    fetch = await there.origin(2)
    assert (fetch.request["range"], fetch.request["if-range"]) == ("bytes=2-4", TAG[1])
    fetch.answers(206, b"llo", FRESH, TAG, ("content-range", "bytes 2-4/5"))
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (200, b"hello")
    assert (await there.asks(("range", "bytes=-2")).answer()).body == b"lo"
    assert there.asked == 2


@BOTH
@pytest.mark.parametrize(
    ("asked", "strict_ranges", "is_whole_for_cloudfront"),
    [("bytes=0-0,500-500", 2, False), ("bytes=500-500,0-0", 2, True), ("bytes=0-9,5-20,900-900", 2, True), ("bytes=0-1,3-4", 1, False)],
)  # fmt: skip
async def test_several_ranges(asked: str, strict_ranges: int, is_whole_for_cloudfront: bool, semantics: str) -> None:
    """RFC 9110 section 15.3.7.2 lets a server join those that nearly touch; reference 2.8 takes ascending, disjoint ones only."""
    there = way(1, behavior(semantics))
    viewer = there.asks()
    (await there.origin(1)).answers(200, bytes(1_000), FRESH, TAG)
    await viewer.answer()
    answer = await there.asks(("range", asked)).answer()
    if semantics == CLOUDFRONT and is_whole_for_cloudfront:
        assert (answer.status, len(answer.body)) == (200, 1_000)
        return
    count = 2 if semantics == CLOUDFRONT else strict_ranges
    assert answer.status == 206
    assert answer.body.count(b"Content-Range: bytes ") == (count if count > 1 else 0)
    assert int(answer.fields["content-length"]) == len(answer.body)


# -- stale: RFC 5861, reference 2.3


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize(("seconds", "is_inside"), [(0, True), (29.5, True), (30, False), (30.5, False)])
async def test_the_window_of_stale_while_revalidate_ends(
    seconds: float, is_inside: bool, semantics: str, tiers: int
) -> None:
    there = way(tiers, behavior(semantics))
    await there.stores(("cache-control", "max-age=60, stale-while-revalidate=30"), TAG)
    there.passes(60 + seconds)
    viewer = there.asks()
    assert viewer.is_done is is_inside
    assert (await there.origin(2)).request["if-none-match"] == TAG[1]


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize("failure", [500, 503, 504, REFUSED, TIMEOUT])
@pytest.mark.parametrize(("seconds", "is_inside"), [(0, True), (29.5, True), (30, False)])
async def test_the_window_of_stale_if_error_ends(
    seconds: float, is_inside: bool, failure: int | UpstreamErrorKind, semantics: str, tiers: int
) -> None:
    there = way(tiers, behavior(semantics))
    await there.stores(("cache-control", "max-age=60, stale-if-error=30"), TAG)
    there.passes(60 + seconds)
    viewer = there.asks()
    fetch = await there.origin(2)
    if isinstance(failure, int):
        fetch.answers(failure, b"broken")
    else:
        fetch.fails(failure)
    answer = await viewer.answer()
    assert (answer.body == b"hello", answer.status == 200) == (is_inside, is_inside)


# -- sharing a fetch: reference 2.10


@ONE_OR_TWO
@BOTH
async def test_who_joins_in_the_middle_streams_with_the_others(semantics: str, tiers: int) -> None:
    there = way(tiers, behavior(semantics))
    first = there.asks()
    fetch = (await there.origin(1)).begins(200, FRESH, ("content-length", "9")).sends(b"one")
    await flush(lambda: first.body == b"one")
    second = there.asks()
    await flush(lambda: second.body == b"one")
    fetch.sends(b"two")
    await flush(lambda: first.body == second.body == b"onetwo")
    assert not first.is_done and not second.is_done
    fetch.sends(b"end").ends()
    assert [(await viewer.answer()).body for viewer in (first, second)] == [b"onetwoend"] * 2
    assert there.asked == 1


@BOTH
async def test_who_joined_waits_five_seconds_for_a_head_and_then_asks_alone(semantics: str) -> None:
    there = way(1, behavior(semantics))
    first, second = there.asks(), there.asks()
    slow = await there.origin(1)
    there.edge.passes(4.9)
    await there.edge.asks_nothing_more(1)
    there.edge.passes(0.2)
    (await there.origin(2)).answers(200, b"alone", FRESH)
    assert (await second.answer()).body == b"alone"
    slow.answers(200, b"at last", FRESH)
    assert (await first.answer()).body == b"at last"


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize("control", ["no-store", "private", "no-cache", "max-age=0", "s-maxage=0, max-age=60"])
async def test_those_who_wait_for_what_is_not_for_all_are_released_together(
    control: str, semantics: str, tiers: int
) -> None:
    there = way(tiers, behavior(semantics))
    viewers = [there.asks() for _ in range(4)]
    (await there.origin(1)).answers(200, b"1", ("cache-control", control))
    for number in (2, 3, 4):
        await there.origin(number)  # all three, before any of them is answered
    for number in (2, 3, 4):
        (await there.origin(number)).answers(200, b"%d" % number, ("cache-control", control))
    assert sorted([(await viewer.answer()).body for viewer in viewers]) == [b"1", b"2", b"3", b"4"]


@ONE_OR_TWO
@BOTH
async def test_a_first_fetch_that_fails_does_not_fail_all(semantics: str, tiers: int) -> None:
    """But for CloudFront's rules behind a regional cache: the error that it makes is a response there, for all and for ten seconds (reference 2.5)."""
    there = way(tiers, behavior(semantics))
    viewers = [there.asks() for _ in range(3)]
    (await there.origin(1)).fails()
    if (semantics, tiers) == (CLOUDFRONT, 2):
        assert [(await viewer.answer()).status for viewer in viewers] == [502] * 3 and there.asked == 1
        return
    (await there.origin(2)).answers(200, b"second", FRESH)
    answers = [await viewer.answer() for viewer in viewers]
    assert [answer.status for answer in answers] == [502, 200, 200]


# -- coding at the edge: reference 2.7


def coding(semantics: str) -> configuration_pb2.Behavior:
    policy = policy_message(accept_encoding_gzip=True, accept_encoding_brotli=True)
    return (strict if semantics == RFC9111 else behavior_message)(policy=policy, compress=True)


TEXT = ("content-type", "text/plain")


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize(
    ("ask", "said", "is_coded"),
    [
        ([], [], True), ([("accept-encoding", "br;q=0, gzip;q=0")], [], False), ([("range", "bytes=0-99")], [], False),
        ([], [("content-encoding", "gzip")], False), ([], [("content-encoding", "identity")], False), ([], [("cache-control", "no-transform")], False),
        ([], [("content-type", "image/png")], False), ([], [("content-range", "bytes 0-1999/4000")], False),
    ],
)  # fmt: skip
async def test_what_is_coded_and_what_is_not(
    ask: list[TextHeader], said: list[TextHeader], is_coded: bool, semantics: str, tiers: int
) -> None:
    there = way(tiers, coding(semantics))
    accept = [] if ask and ask[0][0] == "accept-encoding" else [("accept-encoding", "gzip, br")]
    viewer = there.asks(*accept, *ask)
    fields = {**dict([FRESH, TAG, TEXT, ("content-digest", "sha-256=:x:"), ("content-md5", "x")]), **dict(said)}
    (await there.origin(1)).answers(200, b"x" * 2_000, *fields.items())
    answer = await viewer.answer()
    coded = answer.fields.get("content-encoding") == "br"
    assert coded is is_coded
    assert answer.fields["etag"] == ('W/"1"' if is_coded else '"1"')
    assert ("content-digest" in answer.fields, "content-md5" in answer.fields) == (not is_coded, not is_coded)
    assert (answer.body == b"x" * 2_000) is not is_coded


@BOTH
async def test_zstd_is_for_the_rfcs_alone(semantics: str) -> None:
    there = way(1, coding(semantics))
    viewer = there.asks(("accept-encoding", "zstd"))
    (await there.origin(1)).answers(200, b"x" * 2_000, FRESH, TEXT)
    assert (await viewer.answer()).fields.get("content-encoding") == ("zstd" if semantics == RFC9111 else None)


# -- errors and failover, where the RFCs rule: reference 1.5 and 2.5


@pytest.mark.parametrize("why", [503, REFUSED, TIMEOUT])
async def test_a_group_fails_over_where_the_rfcs_rule_too(why: int | UpstreamErrorKind) -> None:
    origins = Origins()
    if why is REFUSED:
        origins.unreachable[PRIMARY] = REFUSED
    node = group(origins, [503, 504], semantics=configuration_pb2.SEMANTICS_RFC9111)
    viewer = node.viewer().asks("/a", ("cache-control", "max-age=60"))
    if isinstance(why, int):
        (await origins.asked(PRIMARY)).begins(why, ("content-length", "3"))
    elif why is TIMEOUT:
        (await origins.asked(PRIMARY)).fails(TIMEOUT)
    (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    assert (await viewer.answer()).body == b"second"
    assert (await node.viewer().asks("/a").answer()).fields["x-cache"] == "Hit from cloudfront"
    assert origins.attempts == [PRIMARY, SECONDARY]


def error(status: int, minimum_ttl: int, page: str = "", shown: int = 0) -> configuration_pb2.ErrorResponse:
    return configuration_pb2.ErrorResponse(
        error_status=status, minimum_ttl_seconds=minimum_ttl, page_path=page, response_status=shown
    )


async def test_an_error_page_is_fetched_by_itself_and_cached_as_itself() -> None:
    node = Node(strict(), error_responses=[error(404, 10, "/sorry", 200)])
    for number, target in enumerate(("/a", "/b")):
        viewer = node.viewer().asks(target)
        (await node.fetch(1 if number == 0 else 3)).answers(404, b"not found")
        if number == 0:
            (await node.fetch(2)).answers(200, b"sorry", FRESH)
        answer = await viewer.answer()
        assert (answer.status, answer.body, answer.fields["x-cache"]) == (200, b"sorry", "Error from cloudfront")
    assert (await node.viewer().asks("/sorry").answer()).fields["x-cache"] == "Hit from cloudfront"


@BOTH
async def test_a_stale_copy_comes_before_the_page(semantics: str) -> None:
    node = Node(behavior(semantics), error_responses=[error(503, 10, "/sorry", 200)])
    await node.stores("/a", b"old", FRESH, TAG)
    node.now += 60
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(503, b"broken")
    assert (await viewer.answer()).body == b"old"


async def test_the_minimum_of_each_status_counts_for_cloudfront_and_not_for_the_rfcs() -> None:
    for semantics, minimum in ((CLOUDFRONT, 25), (CLOUDFRONT, 3), (RFC9111, 25)):
        node = Node(behavior(semantics), error_responses=[error(404, minimum), error(500, minimum + 10)])
        viewer = node.viewer().asks("/a")
        (await node.fetch(1)).answers(404, b"no")
        assert (await viewer.answer()).status == 404
        if semantics == CLOUDFRONT:
            node.now += minimum - 0.1
            assert node.viewer().asks("/a").is_done
            node.now += 0.1
        assert not node.viewer().asks("/a").is_done


# -- who does not share a fetch


@ONE_OR_TWO
@pytest.mark.parametrize(
    "demand",
    ["no-cache", "no-store", "max-age=0", "max-age=3600", "min-fresh=1", "max-stale", "stale-if-error=5"],
)
async def test_who_has_demands_waits_for_nobody_elses_answer(demand: str, tiers: int) -> None:
    """Under the RFCs: what is on its way was perhaps made before the request (section 5.2.1.4), and a request with no-store leaves nothing behind."""
    there = way(tiers, behavior(RFC9111))
    plain, demanding = there.asks(), there.asks(("cache-control", demand))
    (await there.origin(1)).begins(200, FRESH, ("content-length", "5")).sends(b"pla")
    assert (await there.origin(2)).request["cache-control"] == demand
    (await there.origin(2)).answers(200, b"fresh", FRESH)
    assert (await demanding.answer()).body == b"fresh"
    (await there.origin(1)).sends(b"in").ends()
    assert (await plain.answer()).body == b"plain"


@ONE_OR_TWO
@BOTH
async def test_who_wants_a_part_does_not_wait_for_the_whole(semantics: str, tiers: int) -> None:
    """Reference 2.8: the range goes on; the whole may take hours."""
    there = way(tiers, behavior(semantics))
    there.asks()
    (await there.origin(1)).begins(200, FRESH, TAG, ("content-length", "5")).sends(b"h")
    viewer = there.asks(("range", "bytes=3-4"))
    fetch = await there.origin(2)
    assert fetch.request["range"] == "bytes=3-4"
    fetch.answers(206, b"lo", FRESH, TAG, ("content-range", "bytes 3-4/5"))
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (206, b"lo")


# -- Cache-Status: RFC 9211 section 2


async def test_the_cache_nearest_to_the_origin_comes_first_also_behind_one_that_we_do_not_know() -> None:
    there = way(2, behavior(RFC9111))
    viewer = there.asks()
    (await there.origin(1)).answers(200, b"hello", FRESH, ("cache-status", "Elsewhere; hit; ttl=30"))
    await viewer.answer()
    said = ", ".join(viewer.so_far().values("cache-status"))
    members = [member.partition(";")[0] for member in said.split(", ")]
    assert members == ["Elsewhere", "FRA56-P1", "FRA56-P1"]


# -- what is asked for a second time: reference 1.4 and 2.6, RFC 9110 section 9.2.2


@BOTH
@pytest.mark.parametrize(
    ("method", "attempts"), [("GET", 3), ("HEAD", 3), ("POST", 1), ("DELETE", 1), ("PUT", 1), ("PATCH", 1)]
)
async def test_a_write_is_sent_once_however_it_fails(method: str, attempts: int, semantics: str) -> None:
    """Not even one without a body: the origin may have done it, and only its answer was lost."""
    origins = Origins()
    values = configuration_pb2.SEMANTICS_RFC9111 if semantics == RFC9111 else configuration_pb2.SEMANTICS_UNSPECIFIED
    node = group(origins, [504], attempts=3, semantics=values, allowed_methods=ALL_METHODS)
    viewer = node.viewer().asks("/a", method=method)
    for number in range(1, attempts + 1):
        (await origins.asked(PRIMARY, number)).fails(TIMEOUT)
    if attempts > 1:
        (await origins.asked(SECONDARY)).begins(200, ("content-length", "0")).ends()
    assert (await viewer.answer()).status == (200 if attempts > 1 else 504)
    assert origins.attempts == [PRIMARY] * attempts + [SECONDARY] * (attempts > 1)


@BOTH
@pytest.mark.parametrize(("tag", "goes_on"), [('"1"', True), ('W/"1"', False), (None, False)])
async def test_a_body_goes_on_where_it_broke_off_only_if_a_strong_tag_proves_that_it_is_the_same(
    tag: str | None, goes_on: bool, semantics: str
) -> None:
    origins = Origins()
    values = configuration_pb2.SEMANTICS_RFC9111 if semantics == RFC9111 else configuration_pb2.SEMANTICS_UNSPECIFIED
    viewer = group(origins, [504], attempts=3, semantics=values).viewer().asks("/a")
    validator = () if tag is None else (("etag", tag),)
    first = (await origins.asked(PRIMARY)).begins(200, FRESH, ("content-length", "5"), *validator).sends(b"he")
    first.fails(UpstreamErrorKind.RESET)
    if not goes_on:
        await flush(lambda: viewer.is_cut)
        assert origins.attempts == [PRIMARY]
        return
    second = await origins.asked(PRIMARY, 2)
    assert (second.request["range"], second.request["if-range"]) == ("bytes=2-", '"1"')
    second.answers(206, b"llo", FRESH, *validator, ("content-range", "bytes 2-4/5"))
    assert (await viewer.answer()).body == b"hello"


@BOTH
@pytest.mark.parametrize("field", [("range", "bytes=0-1"), ("if-range", '"1"')])
async def test_the_whole_that_came_for_a_range_is_not_asked_for_again_by_a_second_range(
    field: tuple[str, str], semantics: str
) -> None:
    """Two lines of one field that is no list mean nothing (RFC 9110 section 5.3), and this origin has not honoured the first."""
    origins = Origins()
    values = configuration_pb2.SEMANTICS_RFC9111 if semantics == RFC9111 else configuration_pb2.SEMANTICS_UNSPECIFIED
    viewer = group(origins, [504], attempts=3, semantics=values).viewer().asks("/a", field)
    first = (await origins.asked(PRIMARY)).begins(200, FRESH, ("content-length", "5"), ("etag", '"1"')).sends(b"he")
    first.fails(UpstreamErrorKind.RESET)
    await flush(lambda: viewer.is_cut)
    assert origins.attempts == [PRIMARY]


@BOTH
async def test_what_was_asked_for_earlier_does_not_take_the_place_of_what_was_asked_for_later(semantics: str) -> None:
    """DESIGN section 4, rule 1: the stamp says which is older, also where the invalidation between them was of something else."""
    node = Node(behavior(semantics))
    early = node.viewer().asks("/a", ("if-none-match", '"0"'))  # a fetch that nobody joins
    fetch = await node.fetch(1)
    node.invalidates("/elsewhere")
    late = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    fetch.answers(200, b"old", FRESH)
    assert [(await viewer.answer()).body for viewer in (early, late)] == [b"old", b"new"]
    assert (await node.viewer().asks("/a").answer()).body == b"new"


@pytest.mark.parametrize(("left", "attempts"), [(0.002, 1), (0.02, 2)])
async def test_a_timer_that_rings_early_begins_no_further_attempt(left: float, attempts: int) -> None:
    """Reference 1.4: the completion timeout bounds all attempts; that of the event loop may be a little before the clock."""
    origins = Origins()
    viewer = group(origins, [504], attempts=3, completion=60_000).viewer().asks("/a")
    link = await origins.asked(PRIMARY)
    origins.now += 60.0 - left
    link.fails(UpstreamErrorKind.READ_TIMEOUT)
    await origins.asked(SECONDARY if attempts == 1 else PRIMARY, attempts)
    assert origins.attempts == ([PRIMARY, SECONDARY] if attempts == 1 else [PRIMARY, PRIMARY])
    viewer.leaves()


async def test_a_further_attempt_has_what_is_left_of_the_completion_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference 1.4: it bounds all attempts at an origin together."""
    origins = Origins()
    bounds: list[float] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def note(seconds: float, callback: Callable[..., object], *rest: Any, **more: Any) -> asyncio.TimerHandle:
        if callback.__name__ == "give_up":  # and not the watch for progress
            bounds.append(seconds)
        return call_later(seconds, callback, *rest, **more)

    monkeypatch.setattr(loop, "call_later", note)
    viewer = group(origins, [504], attempts=3, completion=60_000).viewer().asks("/a")
    for number, spent in ((1, 40.0), (2, 15.0)):
        link = await origins.asked(PRIMARY, number)
        origins.now += spent
        link.fails(UpstreamErrorKind.RESET)
    (await origins.asked(PRIMARY, 3)).answers(200, b"third", FRESH)
    assert (await viewer.answer()).body == b"third"
    assert [round(seconds) for seconds in bounds] == [60, 20, 5]
