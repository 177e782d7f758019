"""Errors: how long they are kept, and what viewers get instead of them (reference 2.5)."""

import gc
import weakref
from typing import Any

import pytest

from edge_node.delivery.request_body import RequestBodyStream
from edge_node.model.configuration import NO_HEAD, Role
from edge_node.model.errors import UpstreamErrorKind, ViewerError
from edge_node.upstream.negative_cache import MAXIMUM_NEGATIVE_ENTRIES
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, caching_disabled, listed, origin_message, policy_message
from tests.conversations.dialogue import Answer, Node
from tests.conversations.tiers import strict

FRESH = ("cache-control", "max-age=60")
ALL_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
TIMEOUT = UpstreamErrorKind.READ_TIMEOUT


def error(status: int, minimum_ttl: int = 10, page: str = "", shown: int = 0) -> configuration_pb2.ErrorResponse:
    return configuration_pb2.ErrorResponse(
        error_status=status, minimum_ttl_seconds=minimum_ttl, page_path=page, response_status=shown
    )


def page(status: int, shown: int, path: str = "/sorry.html", minimum_ttl: int = 10) -> configuration_pb2.ErrorResponse:
    return error(status, minimum_ttl, path, shown)


def node_with(*errors: configuration_pb2.ErrorResponse, behaviors: Any = (), **changes: Any) -> Node:
    return Node(*behaviors, error_responses=errors, **changes)


async def ask(node: Node, target: str, *answers: Any, method: str = "GET") -> Answer:
    """One request; each fetch that follows is answered with (status, body, fields...) or fails as it is told."""
    number = len(node.fetcher.fetches)
    viewer = node.viewer().asks(target, method=method)
    for answer in answers:
        number += 1
        fetch = await node.fetch(number)
        if isinstance(answer, UpstreamErrorKind):
            fetch.fails(answer)
        elif method == "HEAD":
            fetch.begins(answer[0], *answer[2:], ("content-length", str(len(answer[1])))).ends()
        else:
            fetch.answers(*answer)
    got = await viewer.answer()
    await node.asks_nothing_more(number)
    return got


# -- how long


@pytest.mark.parametrize(
    ("status", "control", "seconds"),
    [
        *[(status, None, 10) for status in (404, 414, 500, 501, 502, 503, 504)],
        *[(status, "max-age=30", 30) for status in (404, 414, 500, 501, 502, 503, 504)],
        *[(status, "s-maxage=40, max-age=3", 40) for status in (404, 503)],
        *[(status, "max-age=3", 10) for status in (404, 503)],
        *[(status, "max-age=30, no-store", 0) for status in (404, 410, 414, 501)],
        *[(status, "private", 0) for status in (404, 414, 501)],
        *[(status, "no-cache", 10) for status in (500, 502, 503, 504)],
        *[(status, None, 0) for status in (400, 403, 405, 410, 412, 415)],
        *[(status, "max-age=30", 30) for status in (400, 403, 405, 412, 415)],
        *[(status, "max-age=30", 0) for status in (401, 402, 406, 409, 416, 429)],
    ],
)
async def test_how_long_an_error_of_the_origin_is_kept(status: int, control: str | None, seconds: int) -> None:
    node = Node()
    fields = (("cache-control", control),) if control else ()
    assert (await ask(node, "/a", (status, b"first", *fields))).body == b"first"
    if seconds:
        node.now += seconds - 0.1
        kept = await ask(node, "/a")
        assert (kept.status, kept.body, kept.fields["x-cache"]) == (status, b"first", "Error from cloudfront")
        node.now += 0.1
    assert (await ask(node, "/a", (200, b"second", FRESH))).body == b"second"


@pytest.mark.parametrize(("status", "minimum_ttl"), [(404, 300), (503, 60), (404, 3), (500, 1)])
async def test_the_minimum_is_that_of_the_status(status: int, minimum_ttl: int) -> None:
    node = node_with(error(status, minimum_ttl), error(502, 7))
    await ask(node, "/a", (status, b"first"))
    node.now += minimum_ttl - 0.1
    assert (await ask(node, "/a")).status == status
    node.now += 0.1
    assert (await ask(node, "/a", (200, b"second", FRESH))).status == 200


async def test_a_minimum_of_0_keeps_no_error_that_says_nothing() -> None:
    node = node_with(error(404, 0), error(504, 0))
    await ask(node, "/a", (404, b"first"))
    await ask(node, "/a", (404, b"second"))
    await ask(node, "/b", TIMEOUT)
    await ask(node, "/b", TIMEOUT)


async def test_the_maximum_ttl_bounds_what_an_error_says_but_not_the_minimum() -> None:
    node = node_with(error(404, 90), behaviors=[behavior_message(policy=policy_message(maximum_ttl_seconds=50, default_ttl_seconds=50))])  # fmt: skip
    await ask(node, "/said", (500, b"x", ("cache-control", "max-age=70")))
    await ask(node, "/minimum", (404, b"x"))
    node.now += 49.9
    assert (await ask(node, "/said")).status == 500
    node.now += 0.1
    assert (await ask(node, "/said", (200, b"well"))).status == 200
    node.now += 39.9
    assert (await ask(node, "/minimum")).status == 404
    node.now += 0.1
    assert (await ask(node, "/minimum", (200, b"well"))).status == 200


async def test_with_caching_disabled_no_error_is_kept() -> None:
    node = node_with(error(404, 100), behaviors=[behavior_message(policy=caching_disabled())])
    for _ in range(2):
        await ask(node, "/a", (404, b"none", FRESH))
        await ask(node, "/a", TIMEOUT)


# -- errors made here


@pytest.mark.parametrize(
    ("kind", "status"),
    [(TIMEOUT, 504), (UpstreamErrorKind.CONNECT_TIMEOUT, 504), (UpstreamErrorKind.REFUSED, 502)]
    + [(kind, 502) for kind in (UpstreamErrorKind.NAME, UpstreamErrorKind.RESET, UpstreamErrorKind.INVALID_RESPONSE)],
)
async def test_an_origin_that_failed_is_left_alone_for_the_minimum(kind: UpstreamErrorKind, status: int) -> None:
    node = node_with(error(status, 30))
    first = await ask(node, "/a", kind)
    assert (first.status, first.fields["server"], first.fields["x-cache"]) == (status, "CloudFront", "Error from cloudfront")  # fmt: skip
    node.now += 29.9
    again = await ask(node, "/a")
    assert (again.status, again.fields["x-cache"]) == (status, "Error from cloudfront")
    assert [record.reason for record in node.records.all] == ["upstream_failed", "failed_recently"]
    assert (await ask(node, "/a", method="HEAD")).status == status
    assert (await ask(node, "/b", (200, b"another object", FRESH))).status == 200
    node.now += 0.1
    assert (await ask(node, "/a", (200, b"well", FRESH))).body == b"well"


async def test_an_invalidation_asks_for_another_attempt() -> None:
    node = Node()
    await ask(node, "/a", TIMEOUT)
    await ask(node, "/b", TIMEOUT)
    node.invalidates("/a")
    assert (await ask(node, "/a", (200, b"well", FRESH))).body == b"well"
    assert (await ask(node, "/b")).status == 504


async def test_another_log_forgets_failures() -> None:
    node = Node()
    await ask(node, "/a", TIMEOUT)
    node.learns("log-2", 1)
    assert (await ask(node, "/a", (200, b"well", FRESH))).body == b"well"


async def test_a_range_is_answered_by_the_failure_too_and_a_post_never() -> None:
    node = Node(behavior_message(allowed_methods=ALL_METHODS))
    await ask(node, "/a", TIMEOUT)
    assert (await node.viewer().asks("/a", ("range", "bytes=0-1")).answer()).status == 504
    assert (await ask(node, "/a", (200, b"done"), method="POST")).status == 200
    for method in ("POST", "HEAD"):  # what was not asked by GET says nothing of the object
        await ask(node, "/p", TIMEOUT, method=method)
    assert (await ask(node, "/p", (200, b"well", FRESH))).status == 200


async def test_failures_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAXIMUM_NEGATIVE_ENTRIES <= 4_096
    monkeypatch.setattr("edge_node.upstream.negative_cache.MAXIMUM_NEGATIVE_ENTRIES", 2)
    node = Node()
    for target in ("/a", "/b", "/c"):
        await ask(node, target, TIMEOUT)
    await ask(node, "/b")
    await ask(node, "/c")
    assert (await ask(node, "/a", (200, b"forgotten", FRESH))).status == 200


async def test_an_expired_copy_that_may_not_stand_in_does_not_wake_the_origin_each_time() -> None:
    node = Node()
    await node.stores("/a", b"old", ("cache-control", "max-age=60, must-revalidate"), ("etag", '"1"'))
    node.now += 60
    assert (await ask(node, "/a", TIMEOUT)).status == 504
    node.now += 9.9
    assert (await ask(node, "/a")).status == 504
    node.now += 0.1
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).confirms(("cache-control", "max-age=60"))
    assert (await viewer.answer()).body == b"old"


# -- pages


async def test_a_viewer_gets_the_page_with_the_status_that_is_configured() -> None:
    node = node_with(page(404, 404), page(500, 503))
    html = ("content-type", "text/html")
    answer = await ask(node, "/a?q", (404, b"raw", ("x-of", "error")), (200, b"<p>sorry", FRESH, html))
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (404, b"<p>sorry", "Error from cloudfront")
    assert answer.fields["content-type"] == "text/html" and "x-of" not in answer.fields
    answer = await ask(node, "/b", (500, b"raw"))  # the page is kept by its own behavior
    assert (answer.status, answer.body) == (503, b"<p>sorry")
    asked = [fetch.targets[0].request.split(b" ")[1] for fetch in node.fetcher.fetches]
    assert asked == [b"/a?q", b"/sorry.html", b"/b"]


async def test_the_log_has_what_was_asked_and_what_was_sent() -> None:
    node = node_with(page(404, 200))
    await ask(node, "/a", (404, b"raw"), (200, b"page", FRESH))
    await ask(node, "/a")
    for record in node.records.all:
        assert (record.head.target, record.status, record.result) == (b"/a", 200, "error")
    assert len(node.records.all) == 2


async def test_a_page_of_its_own_is_no_error() -> None:
    node = node_with(page(404, 404))
    await ask(node, "/a", (404, b"raw"), (200, b"page", FRESH))
    answer = await ask(node, "/sorry.html")
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (200, b"page", "Hit from cloudfront")


async def test_the_page_goes_through_the_behaviors_and_their_origins() -> None:
    """It is fetched from where its own path leads, and kept for as long as that behavior says."""
    pages = origin_message("192.0.2.5", 80, id="pages")
    node = Node(
        behavior_message("/errors/*", policy_message(default_ttl_seconds=20), origin_id="pages"),
        behavior_message(),
        origins=[origin_message("192.0.2.1", 8000), pages],
        error_responses=[page(404, 404, "/errors/404.html", minimum_ttl=100)],
    )
    node.knows_regionals("r1")
    await ask(node, "/a", (404, b"raw"), (200, b"page"))
    assert [fetch.targets[-1].address[0] for fetch in node.fetcher.fetches] == ["192.0.2.1", "192.0.2.5"]
    assert node.fetcher.fetches[1].targets[0].peer_id == "r1"
    node.now += 19.9
    assert (await ask(node, "/a")).body == b"page"
    node.now += 0.1
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"new page")
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (404, b"new page")


async def test_an_error_that_becomes_a_page_is_not_fetched_to_its_end_for_nobody() -> None:
    node = node_with(page(404, 404), behaviors=[behavior_message(policy=caching_disabled())])
    viewer = node.viewer().asks("/a")
    raw = (await node.fetch()).begins(404, ("content-length", "1000000")).sends(b"r")
    (await node.fetch(2)).answers(200, b"page")
    assert (await viewer.answer()).body == b"page"
    assert raw.is_cancelled


async def test_a_page_whose_behavior_does_not_cache_is_fetched_each_time() -> None:
    node = Node(
        behavior_message("/errors/*", caching_disabled()),
        behavior_message(),
        error_responses=[page(404, 404, "/errors/404.html")],
    )
    for body in (b"one", b"two"):
        answers = [(404, b"raw")] if body == b"one" else []
        assert (await ask(node, "/a", *answers, (200, body))).body == body


@pytest.mark.parametrize(
    ("of_page", "status"), [((404, b"no page"), 404), ((503, b"no page"), 503), ((403, b""), 403), (TIMEOUT, 504)]
)
async def test_a_page_that_cannot_be_had_gives_the_status_of_its_own_fetch(of_page: Any, status: int) -> None:
    node = node_with(page(500, 200), page(404, 200, "/other.html"), page(504, 200, "/other.html"))
    answer = await ask(node, "/a", (500, b"raw"), of_page)
    assert (answer.status, answer.fields["x-cache"]) == (status, "Error from cloudfront")
    assert (node.records.all[-1].status, node.records.all[-1].result) == (status, "error")


async def test_a_page_for_an_error_that_is_the_page_itself_does_not_go_round() -> None:
    node = node_with(page(404, 200))
    answer = await ask(node, "/sorry.html", (404, b"raw"))
    assert answer.status == 404


async def test_errors_made_here_are_replaced_too() -> None:
    node = node_with(page(504, 503), page(403, 403, "/forbidden.html"))
    assert (await ask(node, "/a", TIMEOUT, (200, b"page", FRESH))).status == 503
    answer = await ask(node, "/a")  # the failure is remembered, and the page is stored
    assert (answer.status, answer.body) == (503, b"page")
    answer = await ask(node, "/a", (200, b"not allowed", FRESH), method="DELETE")
    assert (answer.status, answer.body) == (403, b"not allowed")


async def test_a_second_try_is_made_before_the_page() -> None:
    node = node_with(page(504, 503))
    first, second = node.viewer().asks("/a"), node.viewer().asks("/a")
    (await node.fetch()).fails(TIMEOUT)
    by_target = {}
    for number in (2, 3):
        fetch = await node.fetch(number)
        by_target[fetch.targets[0].request.split(b" ")[1]] = fetch
    by_target[b"/sorry.html"].answers(200, b"page", FRESH)
    by_target[b"/a"].answers(200, b"well", FRESH)
    assert ((await first.answer()).body, (await second.answer()).body) == (b"page", b"well")


async def test_everybody_who_waited_for_the_error_gets_the_page_of_one_fetch() -> None:
    node = node_with(page(404, 404))
    viewers = [node.viewer().asks("/a") for _ in range(5)]
    (await node.fetch()).answers(404, b"raw")
    (await node.fetch(2)).answers(200, b"page", FRESH)
    assert {((await viewer.answer()).status, viewer.so_far().body) for viewer in viewers} == {(404, b"page")}
    await node.asks_nothing_more(2)
    assert {record.result for record in node.records.all} == {"error"}


async def test_an_error_that_is_replaced_is_kept_all_the_same() -> None:
    """Its body is not passed on, but its time counts: the origin is left alone for it."""
    node = node_with(page(404, 404, minimum_ttl=30))
    viewer = node.viewer().asks("/a")
    error_fetch = (await node.fetch()).begins(404, ("content-length", "6"))
    (await node.fetch(2)).answers(200, b"page", FRESH)
    assert (await viewer.answer()).body == b"page"
    error_fetch.sends(b"origin").ends()
    await node.asks_nothing_more(2)
    node.now += 29.9
    assert (await ask(node, "/a")).body == b"page"
    node.now += 0.1
    assert (await ask(node, "/a", (200, b"well", FRESH))).body == b"well"


async def test_an_error_without_a_page_passes_as_it_is() -> None:
    node = node_with(page(404, 404), error(503, 10))
    answer = await ask(node, "/a", (503, b"raw", ("x-of", "error")))
    assert (answer.status, answer.body, answer.fields["x-of"]) == (503, b"raw", "error")


async def test_a_head_request_gets_the_head_of_the_page() -> None:
    node = node_with(page(404, 404))
    answer = await ask(node, "/a", (404, b"raw"), (200, b"the page", FRESH), method="HEAD")
    assert (answer.status, answer.body, answer.fields["content-length"]) == (404, b"", "8")
    assert node.fetcher.fetches[1].method == b"HEAD"
    await ask(node, "/a", (404, b"raw"), (200, b"the page", FRESH))
    answer = await ask(node, "/a", method="HEAD")
    assert (answer.status, answer.body, answer.fields["content-length"]) == (404, b"", "8")


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize(
    ("status", "is_kept"),
    [
        *((status, False) for status in (400, 405, 414, 416, 500, 501)),
        *((status, True) for status in (403, 404, 502, 503, 504)),
    ],
)
@pytest.mark.http1_only(reason="other protocols have no connection that would have to close")
async def test_which_connections_close_after_a_page(status: int, is_kept: bool, is_stored: bool) -> None:
    node = node_with(page(status, status))
    if is_stored:
        await node.stores("/sorry.html", b"page", FRESH)
    viewer = node.viewer().asks("/a")
    number = 2 if is_stored else 1
    (await node.fetch(number)).answers(status, b"raw")
    if not is_stored:
        (await node.fetch(number + 1)).answers(200, b"page", FRESH)
    answer = await viewer.answer()
    assert (answer.status, answer.fields["connection"], viewer.keeps_alive) == (
        status,
        "keep-alive" if is_kept else "close",
        is_kept,
    )


async def test_the_page_is_asked_for_without_what_the_viewer_said_of_the_object() -> None:
    node = node_with(page(412, 404), page(416, 404), page(404, 404))
    said = [
        ("if-match", '"x"'),
        ("if-none-match", '"y"'),
        ("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("range", "bytes=0-1"),
        ("if-range", '"z"'),
        ("cache-control", "no-cache"),
    ]
    viewer = node.viewer()
    for is_again in (False, True):  # the second time its header section is known
        number = len(node.fetcher.fetches)
        viewer = viewer.asks_again() if is_again else viewer.asks("/a", *said)
        (await node.fetch(number + 1)).answers(404, b"raw", ("cache-control", "no-store"))
        fetch = await node.fetch(number + 2)
        assert not {name for name, _ in said} & fetch.request.keys()
        fetch.answers(200, b"the page", ("cache-control", "no-store"), ("etag", '"y"'))
        answer = await viewer.answer()
        assert (answer.status, answer.body) == (404, b"the page")


async def test_a_stored_page_is_sent_whole_whatever_range_was_asked_for() -> None:
    node = node_with(page(404, 404))
    await node.stores("/sorry.html", b"the page", FRESH, ("etag", '"p"'))
    viewer = node.viewer().asks("/a", ("range", "bytes=0-1"), ("if-none-match", '"p"'))
    (await node.fetch(2)).answers(404, b"raw")
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (404, b"the page")


async def test_those_who_asked_for_ranges_wait_for_one_page() -> None:
    node = node_with(page(404, 404))
    viewers = [node.viewer().asks("/a", ("range", f"bytes={number}-")) for number in range(3)]
    for number in range(1, 4):
        (await node.fetch(number)).answers(404, b"raw")
    (await node.fetch(4)).answers(200, b"the page", FRESH)
    assert {((await viewer.answer()).status, viewer.so_far().body) for viewer in viewers} == {(404, b"the page")}
    await node.asks_nothing_more(4)


async def test_the_page_has_the_viewers_fields_that_its_behavior_forwards() -> None:
    node = node_with(page(404, 404), behaviors=[behavior_message(policy=policy_message(headers=listed("accept-language"), cookies=listed("s")))])  # fmt: skip
    viewer = node.viewer().asks("/a", ("accept-language", "de"), ("cookie", "s=1; t=2"))
    (await node.fetch()).answers(404, b"raw")
    fetch = await node.fetch(2)
    assert (fetch.request["accept-language"], fetch.request["cookie"]) == ("de", "s=1")
    fetch.answers(200, b"Seite", FRESH)
    assert (await viewer.answer()).body == b"Seite"


async def test_an_unsatisfiable_range_has_its_page_too_and_is_not_kept() -> None:
    node = node_with(page(416, 416))
    viewer = node.viewer().asks("/a", ("range", "bytes=100-"))
    (await node.fetch()).answers(416, b"", ("content-range", "bytes */5"))
    (await node.fetch(2)).answers(200, b"page", FRESH)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (416, b"page") and "content-range" not in answer.fields
    assert (await ask(node, "/a", (200, b"hello", FRESH))).body == b"hello"
    answer = await node.viewer().asks("/a", ("range", "bytes=100-")).answer()  # found out here
    assert (answer.status, answer.body) == (416, b"page")
    assert (await node.viewer().asks("/a", ("range", "bytes=1-1")).answer()).body == b"e"


async def test_a_malformed_request_gets_no_page() -> None:
    node = node_with(page(400, 200), page(403, 200))
    viewer = node.viewer()
    node.pipeline.refuse_malformed(viewer.opens(NO_HEAD), ViewerError(400, "two lengths"))
    answer = await viewer.answer()
    assert answer.status == 400 and b"two lengths" in answer.body
    unknown = await node.viewer().asks("/a", ("host", "unknown.example")).answer()
    assert unknown.status == 403
    await node.asks_nothing_more(0)


async def test_who_wants_no_origin_to_be_asked_gets_no_page_from_it() -> None:
    node = node_with(page(504, 200), behaviors=[strict()])
    answer = await node.viewer().asks("/a", ("cache-control", "only-if-cached")).answer()
    assert answer.status == 504
    await node.asks_nothing_more(0)


async def test_a_400_of_the_origin_has_its_page() -> None:
    node = node_with(page(400, 200))
    answer = await ask(node, "/a", (400, b"raw"), (200, b"page", FRESH))
    assert (answer.status, answer.body) == (200, b"page")


async def test_a_get_with_a_body_gets_no_page_because_its_body_is_still_to_come() -> None:
    node = node_with(page(403, 200))
    viewer = node.viewer()
    viewer.asks("/a", ("content-length", "5"), body=RequestBodyStream(viewer, 5))
    answer = await viewer.answer()
    assert answer.status == 403 and not viewer.keeps_alive
    assert node.records.all[-1].head.target == b"/a"
    await node.asks_nothing_more(0)


async def test_an_error_for_a_post_is_replaced_when_its_body_has_been_read() -> None:
    node = node_with(page(500, 500), behaviors=[behavior_message(allowed_methods=ALL_METHODS)])
    viewer = node.viewer()
    body = RequestBodyStream(viewer, 4)
    viewer.asks("/a", ("content-length", "4"), ("content-type", "text/plain"), method="POST", body=body)
    body.feed(b"data")
    body.end()
    (await node.fetch()).answers(500, b"raw")
    fetch = await node.fetch(2)
    assert fetch.method == b"GET" and not {"content-length", "content-type"} & fetch.request.keys()
    fetch.answers(200, b"page", FRESH)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (500, b"page")
    assert node.records.all[-1].head.method == b"POST"


async def test_an_error_for_a_post_whose_body_is_still_coming_passes_as_it_is() -> None:
    node = node_with(page(500, 500), behaviors=[behavior_message(allowed_methods=ALL_METHODS)])
    viewer = node.viewer()
    viewer.asks("/a", ("content-length", "4"), method="POST", body=RequestBodyStream(viewer, 4))
    (await node.fetch()).answers(500, b"raw")
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (500, b"raw") and not viewer.keeps_alive


async def test_a_viewer_that_leaves_while_its_page_is_fetched_ends_that_fetch() -> None:
    node = node_with(page(404, 404))
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(404, b"raw")
    fetch = await node.fetch(2)
    viewer.leaves()
    await node.asks_nothing_more(2)
    assert fetch.is_cancelled and not node.tasks
    assert [(record.head.target, record.reason) for record in node.records.all] == [(b"/a", "viewer_left")]


async def test_a_page_that_breaks_off_is_cut_and_not_stored() -> None:
    node = node_with(page(404, 404))
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(404, b"raw")
    (await node.fetch(2)).begins(200, FRESH, ("content-length", "9")).sends(b"half").fails(UpstreamErrorKind.TRUNCATED)
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert (await ask(node, "/a", (200, b"the page", FRESH))).body == b"the page"


async def test_a_stale_page_is_better_than_none() -> None:
    node = node_with(page(404, 404, minimum_ttl=600))
    await node.stores("/sorry.html", b"old page", FRESH, ("etag", '"1"'))
    node.now += 60
    answer = await ask(node, "/a", (404, b"raw"), TIMEOUT)
    assert (answer.status, answer.body) == (404, b"old page")


@pytest.mark.parametrize("failure", [(503, b"raw"), TIMEOUT])
async def test_a_stale_copy_comes_before_the_page(failure: Any) -> None:
    node = node_with(page(503, 503), page(504, 504))
    await node.stores("/a", b"old", FRESH)
    node.now += 60
    answer = await ask(node, "/a", failure)
    assert (answer.status, answer.body) == (200, b"old")


async def test_the_page_comes_where_no_stale_copy_may_be_used() -> None:
    node = node_with(page(503, 503))
    await node.stores("/a", b"old", ("cache-control", "max-age=60, stale-if-error=0"))
    node.now += 60
    assert (await ask(node, "/a", (503, b"raw"), (200, b"page", FRESH))).body == b"page"


async def test_a_regional_cache_leaves_pages_to_its_edges() -> None:
    node = node_with(page(404, 200), role=Role.REGIONAL)
    edge = (("x-edge-log-index", "log-1:1"), ("x-edge-distribution", "E1"), ("x-edge-request-id", "id=="))
    viewer = node.viewer().asks("/a", *edge)
    (await node.fetch()).answers(404, b"raw")
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (404, b"raw")
    await node.asks_nothing_more(1)


async def test_what_is_remembered_of_a_failure_holds_nothing_of_who_met_it() -> None:
    """An exception holds the frames that it passed, and they the fill, its viewers and their bodies."""
    node = Node()
    viewer = node.viewer().asks("/a")
    (await node.fetch()).fails()
    assert (await viewer.answer()).status == 502
    await node.asks_nothing_more(1)  # nothing is on its way to the viewer any more
    gone = weakref.ref(viewer)
    del viewer
    node.fetcher.fetches.clear()  # the test's own hold on it
    node.forgets_viewers()
    gc.collect()
    assert gone() is None
    assert (await node.viewer().asks("/a").answer()).status == 502
    await node.asks_nothing_more(0)
