"""The lab's clock goes forward, and everything that is stored is older by as much: docs/time-travel.md. Only an entry of the log moves it; the true time stands still."""

import pytest

from edge_node.model.errors import UpstreamErrorKind
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message
from tests.conversations.dialogue import Node
from tests.conversations.tiers import strict

DAY = 86_400.0
A_DAY_LONG = ("cache-control", "max-age=86400")
ETAG = ("etag", '"1"')
LAST_MODIFIED = ("last-modified", "Fri, 15 Jan 2027 07:00:00 GMT")


@pytest.fixture(params=["cloudfront", "rfc9111"])
def behavior(request: pytest.FixtureRequest) -> configuration_pb2.Behavior:
    """One of each semantics."""
    return behavior_message() if request.param == "cloudfront" else strict()


async def said(node: Node) -> tuple[bytes, str, int, str]:
    """Body, result, age and reason of what a viewer gets at once."""
    viewer = node.viewer().asks("/a")
    assert viewer.is_done, "the viewer had to wait"
    answer = await viewer.answer()
    result = answer.fields["x-cache"].split()[0]
    return answer.body, result, int(answer.fields.get("age", "0")), node.records.all[-1].reason


async def test_a_ttl_of_a_day_is_over_at_once(behavior: configuration_pb2.Behavior) -> None:
    node = Node(behavior)
    await node.stores("/a", b"old", A_DAY_LONG, ETAG)
    assert await said(node) == (b"old", "Hit", 0, "fresh")
    node.travels(DAY - 1)
    assert await said(node) == (b"old", "Hit", 86_399, "fresh")
    node.travels(2)
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == '"1"'
    fetch.confirms(A_DAY_LONG)
    answer = await viewer.answer()
    assert (answer.body, answer.fields["x-cache"].split()[0]) == (b"old", "RefreshHit")
    assert int(answer.fields.get("age", "0")) == 0 and node.records.all[-1].reason == "revalidated"
    node.now += 5
    assert await said(node) == (b"old", "Hit", 5, "fresh")
    await node.asks_nothing_more(2)


async def test_what_was_stored_after_the_move_has_its_whole_time(behavior: configuration_pb2.Behavior) -> None:
    node = Node(behavior)
    node.travels(30 * DAY)
    await node.stores("/a", b"new", A_DAY_LONG)
    node.now += DAY - 1
    assert await said(node) == (b"new", "Hit", 86_399, "fresh")


async def test_a_response_that_was_under_way_is_a_day_older_than_its_head_says() -> None:
    """By the RFCs a response is as old as the request for it took (RFC 9111 section 4.2.3), and that was a day."""
    node = Node(strict())
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch()
    node.travels(DAY / 2)
    fetch.answers(200, b"old", A_DAY_LONG)
    await viewer.answer()
    assert await said(node) == (b"old", "Hit", 43_200, "fresh")


async def test_stale_while_revalidate_has_its_window_in_the_lab_s_time() -> None:
    node = Node()
    await node.stores("/a", b"old", ("cache-control", "max-age=86400, stale-while-revalidate=3600"), ETAG)
    node.travels(DAY + 3_599)
    assert (await said(node))[3] == "stale_while_revalidate"
    (await node.fetch(2)).fails(UpstreamErrorKind.READ_TIMEOUT)
    node.travels(3_600)
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"new", A_DAY_LONG)
    assert (await viewer.answer()).body == b"new"


async def test_stale_if_error_has_its_window_in_the_lab_s_time() -> None:
    node = Node()
    await node.stores("/a", b"old", ("cache-control", "max-age=86400, stale-if-error=3600"), ETAG)
    node.travels(DAY + 60)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).fails(UpstreamErrorKind.READ_TIMEOUT)
    assert (await viewer.answer()).body == b"old" and node.records.all[-1].reason == "stale_on_error"
    node.travels(3_600)
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).fails(UpstreamErrorKind.READ_TIMEOUT)
    assert (await viewer.answer()).status == 504


async def test_a_failure_is_remembered_for_its_time_only() -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    (await node.fetch()).fails(UpstreamErrorKind.REFUSED)
    assert (await viewer.answer()).status == 502
    assert (await node.viewer().asks("/a").answer()).status == 502
    await node.asks_nothing_more(1)
    assert node.records.all[-1].reason == "failed_recently"
    node.travels(DAY)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"well")
    assert (await viewer.answer()).body == b"well"


async def test_an_error_of_the_origin_is_stored_for_its_time_only() -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(404, b"no")
    assert (await viewer.answer()).status == 404
    assert (await said(node))[1] == "Error"
    await node.asks_nothing_more(1)
    node.travels(DAY)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"well")
    assert (await viewer.answer()).body == b"well"


async def test_requests_wait_for_each_other_again_a_day_after_a_response_that_was_for_one_alone() -> None:
    node = Node()
    first = node.viewer().asks("/a")
    (await node.fetch()).answers(200, b"mine", ("cache-control", "private"))
    await first.answer()
    both = [node.viewer().asks("/a"), node.viewer().asks("/a")]
    await node.asks_nothing_more(3)
    for number in (2, 3):
        (await node.fetch(number)).answers(200, b"mine", ("cache-control", "private"))
    for viewer in both:
        await viewer.answer()
    node.travels(DAY)
    both = [node.viewer().asks("/a"), node.viewer().asks("/a")]
    await node.asks_nothing_more(4)
    (await node.fetch(4)).answers(200, b"ours", A_DAY_LONG)
    assert [(await viewer.answer()).body for viewer in both] == [b"ours", b"ours"]


async def test_what_an_invalidation_has_dropped_stays_dropped_and_what_came_after_it_ages() -> None:
    node = Node()
    await node.stores("/a", b"old", A_DAY_LONG)
    node.travels(60)
    node.invalidates("/a")
    await node.stores("/a", b"new", A_DAY_LONG)
    node.travels(60)
    assert await said(node) == (b"new", "Hit", 60, "fresh")


async def test_a_heuristic_lifetime_counts_from_the_lab_s_dates() -> None:
    """A tenth of the time since the last change (RFC 9111 section 4.2.2), at an origin that has the same clock."""
    node = Node(strict())
    date = ("date", "Fri, 15 Jan 2027 08:00:00 GMT")
    await node.stores("/a", b"old", LAST_MODIFIED, date)
    node.travels(350)
    assert (await said(node))[2:] == (350, "fresh")
    node.travels(20)
    viewer = node.viewer().asks("/a")
    await node.asks_nothing_more(2)
    assert (await node.fetch(2)).request["if-modified-since"] == LAST_MODIFIED[1]
    (await node.fetch(2)).confirms(("date", "Fri, 15 Jan 2027 08:06:10 GMT"))
    assert (await viewer.answer()).body == b"old"
