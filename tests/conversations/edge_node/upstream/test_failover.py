"""Origin groups: what sends a request from the primary to the secondary, and what does not (reference 1.5, 1.4)."""

from collections.abc import Iterable
from typing import Any

import pytest

from edge_node.delivery.request_body import RequestBodyStream
from edge_node.model.errors import UpstreamErrorKind
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, caching_disabled, origin_message, policy_id
from tests.conversations.dialogue import Answer, Node, Viewer
from tests.conversations.origins import Link, Origins, Pieces

FRESH = ("cache-control", "max-age=60")
EVERY_CRITERION = (400, 403, 404, 416, 429, 500, 502, 503, 504)
PRIMARY, SECONDARY, REGIONAL = "192.0.2.1", "192.0.2.2", "192.0.2.9"
Kind = UpstreamErrorKind


def group(
    origins: Origins, statuses: Iterable[int] = EVERY_CRITERION, attempts: int = 1, completion: int = 0, **changes: Any
) -> Node:
    """A node whose only behavior leads to a group."""
    behavior = behavior_message(origin_group_id="group", **changes)
    return Node(
        behavior,
        upstream=origins.fetcher,
        origins=[
            origin_message(
                PRIMARY,
                80,
                connection_attempts=attempts,
                completion_timeout_milliseconds=completion,
                path_prefix="/one",
            ),
            origin_message(SECONDARY, 8080, id="second", connection_attempts=attempts, path_prefix="/two"),
        ],
        origin_groups=[
            configuration_pb2.OriginGroup(
                id="group", primary_origin_id="origin", secondary_origin_id="second", failover_statuses=statuses
            )
        ],
    )


@pytest.mark.parametrize("status", EVERY_CRITERION)
async def test_a_status_that_is_listed_sends_the_request_to_the_secondary(status: int) -> None:
    origins = Origins()
    node = group(origins, [status])
    viewer = node.viewer().asks("/a?q", ("x", "y"))
    primary = await origins.asked(PRIMARY)
    primary.begins(status, ("content-length", "3"))
    secondary = await origins.asked(SECONDARY)
    assert (primary.is_closed, primary.line) == (True, b"GET /one/a?q HTTP/1.1")
    assert (secondary.line, secondary.request["host"]) == (b"GET /two/a?q HTTP/1.1", f"{SECONDARY}:8080")
    secondary.answers(200, b"from the second", FRESH)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (200, b"from the second")
    assert (await node.viewer().asks("/a?q").answer()).fields["x-cache"] == "Hit from cloudfront"


@pytest.mark.parametrize("status", EVERY_CRITERION)
async def test_a_status_that_is_not_listed_goes_to_the_viewer(status: int) -> None:
    origins = Origins()
    node = group(origins, [other for other in EVERY_CRITERION if other != status])
    viewer = node.viewer().asks("/a")
    (await origins.asked(PRIMARY)).answers(status, b"raw")
    assert (await viewer.answer()).status == status
    assert origins.attempts == [PRIMARY]


@pytest.mark.parametrize("status", [200, 204, 301, 304, 401, 410, 501])
async def test_no_other_status_ever_fails_over(status: int) -> None:
    origins = Origins()
    node = group(origins)
    viewer = node.viewer().asks("/a", ("if-none-match", '"x"'))
    link = await origins.asked(PRIMARY)
    link.begins(status).ends()
    assert (await viewer.answer()).status == status
    assert origins.attempts == [PRIMARY]


CONNECTION_FAILURES = [Kind.REFUSED, Kind.CONNECT_TIMEOUT, Kind.NAME]


@pytest.mark.parametrize("kind", CONNECTION_FAILURES)
async def test_without_a_connection_503_is_the_criterion(kind: UpstreamErrorKind) -> None:
    origins = Origins()
    origins.unreachable[PRIMARY] = kind
    viewer = group(origins, [503], attempts=3).viewer().asks("/a")
    (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    assert (await viewer.answer()).body == b"second"
    assert origins.attempts == [PRIMARY] * 3 + [SECONDARY]  # each connection attempt counts: reference 1.5


@pytest.mark.parametrize("kind", CONNECTION_FAILURES)
async def test_without_a_connection_no_other_status_counts(kind: UpstreamErrorKind) -> None:
    origins = Origins()
    origins.unreachable[PRIMARY] = kind
    viewer = group(origins, [status for status in EVERY_CRITERION if status != 503]).viewer().asks("/a")
    assert (await viewer.answer()).status == (504 if kind is Kind.CONNECT_TIMEOUT else 502)
    assert origins.attempts == [PRIMARY]


async def test_without_a_response_in_time_504_is_the_criterion() -> None:
    origins = Origins()
    viewer = group(origins, [504], attempts=2).viewer().asks("/a")
    for number in (1, 2):
        (await origins.asked(PRIMARY, number)).fails(Kind.READ_TIMEOUT)
    (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    assert (await viewer.answer()).body == b"second"


async def test_without_a_response_in_time_no_other_status_counts() -> None:
    origins = Origins()
    viewer = group(origins, [status for status in EVERY_CRITERION if status != 504]).viewer().asks("/a")
    (await origins.asked(PRIMARY)).fails(Kind.READ_TIMEOUT)
    assert (await viewer.answer()).status == 504
    assert origins.attempts == [PRIMARY]


@pytest.mark.parametrize(("statuses", "is_followed"), [([502], True), ([500, 503, 504], False)])
@pytest.mark.parametrize("kind", [Kind.RESET, Kind.INVALID_RESPONSE])
async def test_what_is_no_response_counts_as_502(
    kind: UpstreamErrorKind, statuses: list[int], is_followed: bool
) -> None:
    origins = Origins()
    viewer = group(origins, statuses).viewer().asks("/a")
    (await origins.asked(PRIMARY)).fails(kind)
    if is_followed:
        (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    assert (await viewer.answer()).status == (200 if is_followed else 502)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_stay_with_the_primary(method: str) -> None:
    origins = Origins()
    node = group(origins, allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"])
    viewer = node.viewer()
    body = RequestBodyStream(viewer, 4)
    body.feed(b"data")
    body.end()
    viewer.asks("/a", ("content-length", "4"), method=method, body=body)
    (await origins.asked(PRIMARY)).answers(503, b"raw")
    assert (await viewer.answer()).status == 503
    origins.unreachable[PRIMARY] = Kind.REFUSED
    assert (await node.viewer().asks("/b", method=method).answer()).status == 502
    assert set(origins.attempts) == {PRIMARY}


async def test_head_and_cached_options_go_to_the_secondary_too() -> None:
    origins = Origins()
    methods = ["GET", "HEAD", "OPTIONS"]
    node = group(origins, allowed_methods=methods, cached_methods=methods)
    for number, method in enumerate(("HEAD", "OPTIONS"), 1):
        viewer = node.viewer().asks("/a", method=method)
        (await origins.asked(PRIMARY, number)).begins(500, ("content-length", "3"))
        secondary = await origins.asked(SECONDARY, number)
        assert secondary.line.startswith(method.encode())
        secondary.begins(200, FRESH, ("content-length", "0")).ends()
        assert (await viewer.answer()).status == 200


async def test_with_caching_disabled_a_get_fails_over_all_the_same() -> None:
    origins = Origins()
    viewer = group(origins, cache_policy_id=policy_id(caching_disabled())).viewer().asks("/a")
    (await origins.asked(PRIMARY)).begins(500)
    (await origins.asked(SECONDARY)).answers(200, b"second")
    assert (await viewer.answer()).body == b"second"


HANDSHAKE = (
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
)


@pytest.mark.parametrize("status", [200, *EVERY_CRITERION])
@pytest.mark.parametrize("body", [b"", b"no tunnel here"])
async def test_an_answer_to_a_handshake_goes_to_the_viewer_whatever_it_is(status: int, body: bytes) -> None:
    origins = Origins()
    viewer = group(origins).viewer().asks("/a", *HANDSHAKE)
    (await origins.asked(PRIMARY)).answers(status, body)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (status, body)
    assert origins.attempts == [PRIMARY], "a handshake is sent once"


async def test_each_miss_begins_at_the_primary_again() -> None:
    origins = Origins()
    node = group(origins, [500])
    for number, target in enumerate(("/a", "/b"), 1):
        viewer = node.viewer().asks(target)
        (await origins.asked(PRIMARY, number)).begins(500)
        (await origins.asked(SECONDARY, number)).answers(200, b"second", FRESH)
        await viewer.answer()
    assert origins.attempts == [PRIMARY, SECONDARY] * 2


async def test_a_refresh_asks_the_secondary_before_it_uses_the_stale_copy() -> None:
    origins = Origins()
    node = group(origins, [500])
    viewer = node.viewer().asks("/a")
    (await origins.asked(PRIMARY)).answers(200, b"old", FRESH, ("etag", '"1"'))
    await viewer.answer()
    node.now += 60
    viewer = node.viewer().asks("/a")
    (await origins.asked(PRIMARY, 2)).begins(500)
    secondary = await origins.asked(SECONDARY)
    assert secondary.request["if-none-match"] == '"1"'
    secondary.begins(304, FRESH).ends()
    answer = await viewer.answer()
    assert (answer.body, answer.fields["x-cache"]) == (b"old", "RefreshHit from cloudfront")
    node.now += 60
    viewer = node.viewer().asks("/a")
    (await origins.asked(PRIMARY, 3)).begins(500)
    (await origins.asked(SECONDARY, 2)).answers(500, b"also broken")
    assert (await viewer.answer()).body == b"old"


@pytest.mark.parametrize("status", [200, 404, 500, 503])
async def test_what_the_secondary_says_is_the_answer(status: int) -> None:
    origins = Origins()
    viewer = group(origins).viewer().asks("/a")
    (await origins.asked(PRIMARY)).begins(503)
    (await origins.asked(SECONDARY)).answers(status, b"second")
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (status, b"second")
    assert origins.attempts == [PRIMARY, SECONDARY]


@pytest.mark.parametrize(("kind", "status"), [(Kind.REFUSED, 502), (Kind.CONNECT_TIMEOUT, 504)])
async def test_when_the_secondary_fails_too_the_viewer_gets_its_error(kind: UpstreamErrorKind, status: int) -> None:
    origins = Origins()
    origins.unreachable = {PRIMARY: Kind.REFUSED, SECONDARY: kind}
    node = group(origins, attempts=2)
    assert (await node.viewer().asks("/a").answer()).status == status
    assert origins.attempts == [PRIMARY] * 2 + [SECONDARY] * 2
    assert (await node.viewer().asks("/a").answer()).status == status  # and is left alone for ten seconds
    assert len(origins.attempts) == 4


async def test_an_error_page_stands_at_the_end_of_the_way() -> None:
    origins = Origins()
    node = group(origins, [404])
    node.message.error_responses.add(
        error_status=404, minimum_ttl_seconds=10, page_path="/sorry.html", response_status=404
    )
    node.learns("log-1", 2)
    viewer = node.viewer().asks("/a")
    (await origins.asked(PRIMARY)).begins(404)
    (await origins.asked(SECONDARY)).answers(404, b"raw")
    (await origins.asked(PRIMARY, 2)).begins(404)  # the page is behind the same group
    (await origins.asked(SECONDARY, 2)).answers(200, b"page", FRESH)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (404, b"page")


async def test_everybody_who_waits_is_answered_from_the_secondary() -> None:
    origins = Origins()
    node = group(origins)
    viewers = [node.viewer().asks("/a") for _ in range(3)]
    (await origins.asked(PRIMARY)).begins(500)
    (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    assert {(await viewer.answer()).body for viewer in viewers} == {b"second"}
    assert origins.attempts == [PRIMARY, SECONDARY]


@pytest.mark.parametrize(("attempts", "failures", "status"), [(1, 1, 504), (3, 3, 504), (3, 2, 200)])
async def test_an_origin_is_tried_as_often_as_is_configured(attempts: int, failures: int, status: int) -> None:
    origins = Origins()
    viewer = group(origins, [500], attempts=attempts).viewer().asks("/a")
    for number in range(1, failures + 1):
        (await origins.asked(PRIMARY, number)).fails(Kind.READ_TIMEOUT)
    if status == 200:
        (await origins.asked(PRIMARY, failures + 1)).answers(200, b"at last", FRESH)
    assert (await viewer.answer()).status == status
    assert origins.attempts == [PRIMARY] * min(attempts, failures + 1)


async def test_a_status_that_is_listed_is_not_asked_for_again_at_the_primary() -> None:
    origins = Origins()
    viewer = group(origins, [500], attempts=3).viewer().asks("/a")
    (await origins.asked(PRIMARY)).begins(500)
    (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    await viewer.answer()
    assert origins.attempts == [PRIMARY, SECONDARY]


# -- the failed response in any pieces


def judged(viewer: Viewer) -> Answer:
    """All that a viewer was sent is one response."""
    viewer.judge()
    assert viewer.is_done
    return viewer.so_far()


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("second", Pieces)
@pytest.mark.parametrize("first", Pieces)
@pytest.mark.parametrize("semantics", [configuration_pb2.SEMANTICS_CLOUDFRONT, configuration_pb2.SEMANTICS_RFC9111])
async def test_no_byte_of_the_failed_response_goes_anywhere(
    first: Pieces, second: Pieces, is_slow: bool, semantics: configuration_pb2.Semantics.ValueType
) -> None:
    origins = Origins()
    node = group(origins, [503], semantics=semantics)
    viewers = [node.viewer().asks("/a") for _ in range(3)]
    for host, status, body, pieces in (
        (PRIMARY, 503, b"primary!\n", first),
        (SECONDARY, 200, b"secondary\n", second),
    ):
        link = await origins.asked(host)
        if is_slow:
            await link.answers_slowly(status, body, FRESH, pieces=pieces)
        else:
            link.answers(status, body, FRESH, pieces=pieces)
    for viewer in viewers:
        await viewer.answer()
    viewers.append(node.viewer().asks("/a"))
    await viewers[-1].answer()
    for viewer in viewers:
        response = judged(viewer)
        assert (response.status, response.body) == (200, b"secondary\n")
    assert origins.attempts == [PRIMARY, SECONDARY]


@pytest.mark.parametrize("pieces", Pieces)
@pytest.mark.parametrize("stale", [True, False])
async def test_when_both_fail_it_is_the_secondarys_error_or_the_stale_copy_and_no_byte_of_the_first(
    pieces: Pieces, stale: bool
) -> None:
    origins = Origins()
    node = group(origins, [503])
    if stale:
        viewer = node.viewer().asks("/a")
        (await origins.asked(PRIMARY)).answers(200, b"old", FRESH, pieces=pieces)
        await viewer.answer()
        node.now += 60
    viewer = node.viewer().asks("/a")
    (await origins.asked(PRIMARY, 1 + stale)).answers(503, b"primary!", pieces=pieces)
    (await origins.asked(SECONDARY)).answers(503, b"also broken", pieces=pieces)
    await viewer.answer()
    response = judged(viewer)
    assert (response.status, response.body) == ((200, b"old") if stale else (503, b"also broken"))


@pytest.mark.parametrize("pieces", Pieces)
async def test_a_range_is_answered_by_the_secondary_alone(pieces: Pieces) -> None:
    origins = Origins()
    node = group(origins, [503])
    viewer = node.viewer().asks("/a", ("range", "bytes=0-2"))
    (await origins.asked(PRIMARY)).answers(503, b"primary!", pieces=pieces)
    (await origins.asked(SECONDARY)).answers(
        206, b"sec", FRESH, ("content-range", "bytes 0-2/6"), ("etag", '"1"'), pieces=pieces
    )
    await viewer.answer()
    assert (judged(viewer).status, judged(viewer).body) == (206, b"sec")
    viewer = node.viewer().asks("/a", ("range", "bytes=1-2"))
    await viewer.answer()
    assert judged(viewer).body == b"ec"


@pytest.mark.parametrize("pieces", Pieces)
async def test_a_body_that_breaks_off_is_never_continued_by_an_error_in_one_piece(pieces: Pieces) -> None:
    origins = Origins()
    node = group(origins, [502, 503])
    viewer, _ = await breaks_off(origins, node)
    (await origins.asked(SECONDARY)).answers(503, b"no!", pieces=pieces)
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert viewer.so_far().body == b"abc"
    assert node.store.statistics.entries == 0


# -- in the middle of a body


async def breaks_off(origins: Origins, node: Node) -> tuple[Any, Link]:
    viewer = node.viewer().asks("/a")
    link = await origins.asked(PRIMARY)
    link.begins(200, FRESH, ("content-length", "6"), ("etag", '"1"')).sends(b"abc").fails(Kind.TRUNCATED)
    return viewer, link


async def test_a_body_goes_on_from_the_secondary_where_502_is_listed_and_it_has_the_same_object() -> None:
    origins = Origins()
    viewer, _ = await breaks_off(origins, group(origins, [502]))
    secondary = await origins.asked(SECONDARY)
    assert (secondary.request["range"], secondary.request["if-range"]) == ("bytes=3-", '"1"')
    secondary.begins(206, ("content-range", "bytes 3-5/6"), ("content-length", "3"), ("etag", '"1"'))
    secondary.sends(b"def").ends()
    assert (await viewer.answer()).body == b"abcdef"


async def test_a_body_is_cut_where_the_secondary_has_another_object() -> None:
    origins = Origins()
    node = group(origins, [502])
    viewer, _ = await breaks_off(origins, node)
    (await origins.asked(SECONDARY)).answers(200, b"uvwxyz", FRESH, ("etag", '"2"'))
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert viewer.so_far().body == b"abc"
    assert node.store.statistics.entries == 0


async def test_a_body_is_cut_where_502_is_not_listed() -> None:
    origins = Origins()
    viewer, _ = await breaks_off(origins, group(origins, [500, 503, 504]))
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert origins.attempts == [PRIMARY]


# -- the response completion timeout


async def test_the_completion_timeout_bounds_all_attempts_together() -> None:
    origins = Origins()
    viewer = group(origins, [500], attempts=3, completion=60_000).viewer().asks("/a")
    first = await origins.asked(PRIMARY)
    origins.now += 59.9
    first.fails(Kind.READ_TIMEOUT)
    second = await origins.asked(PRIMARY, 2)
    origins.now += 0.1
    second.fails(Kind.READ_TIMEOUT)
    assert (await viewer.answer()).status == 504
    assert origins.attempts == [PRIMARY] * 2


async def test_the_secondary_is_asked_after_the_completion_timeout_where_504_is_listed() -> None:
    origins = Origins()
    viewer = group(origins, [504], attempts=3, completion=60_000).viewer().asks("/a")
    first = await origins.asked(PRIMARY)
    origins.now += 60
    first.fails(Kind.READ_TIMEOUT)
    (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    assert (await viewer.answer()).body == b"second"


# -- through the regional tier


async def test_the_regional_cache_is_asked_first_and_finds_the_way_by_itself() -> None:
    origins = Origins()
    node = group(origins)
    node.knows_regionals("r1")
    viewer = node.viewer().asks("/a")
    regional = await origins.asked(REGIONAL)
    assert regional.line == b"GET /a HTTP/1.1"
    regional.answers(503, b"both are broken", ("x-edge-result", "miss;upstream_status"))
    assert (await viewer.answer()).status == 503  # what it says is the end of its own way through the group
    assert origins.attempts == [REGIONAL]


async def test_without_its_regional_cache_an_edge_goes_the_whole_way() -> None:
    origins = Origins()
    origins.unreachable[REGIONAL] = Kind.REFUSED
    node = group(origins)
    node.knows_regionals("r1")
    viewer = node.viewer().asks("/a")
    (await origins.asked(PRIMARY)).begins(500)
    (await origins.asked(SECONDARY)).answers(200, b"second", FRESH)
    assert (await viewer.answer()).body == b"second"
    assert origins.attempts == [REGIONAL, PRIMARY, SECONDARY]


async def test_a_response_that_was_not_wanted_is_no_failure_of_who_sent_it() -> None:
    """The stale copy answers for a 503, and the connection that brought it is closed: the regional cache is not down for that."""
    origins = Origins()
    node = group(origins)
    node.knows_regionals("r1")
    viewer = node.viewer().asks("/a")
    (await origins.asked(REGIONAL)).answers(200, b"old", FRESH, ("etag", '"1"'), ("x-edge-result", "miss;not_stored"))
    await viewer.answer()
    node.now += 60
    viewer = node.viewer().asks("/a")
    link = await origins.asked(REGIONAL, 2)
    link.begins(503, ("content-length", "1000000"), ("x-edge-result", "error;upstream_failed"))
    assert (await viewer.answer()).body == b"old"
    assert link.is_closed
    link.fails(Kind.TRUNCATED)
    viewer = node.viewer().asks("/b")
    (await origins.asked(REGIONAL, 3)).answers(200, b"well", FRESH)
    assert (await viewer.answer()).body == b"well"
    assert origins.attempts == [REGIONAL] * 3
    assert not origins.counters.upstream_errors
