"""An upstream gets no more requests at once than it may have, those who wait get their turn or a clear answer, and who goes round a regional cache has a reason."""

import pytest

from edge_node.model.counters import Counters
from edge_node.model.errors import UpstreamErrorKind
from edge_node.upstream.fetcher import Fetcher
from edge_node.upstream.health import BASE_EJECTION_SECONDS
from edge_node.upstream.limits import UpstreamLimits
from proto.cdn.v1 import configuration_pb2
from tests.builders import caching_disabled
from tests.conversations.dialogue import Node, Viewer, flush
from tests.conversations.origins import Origins
from tests.conversations.tiers import strict
from tests.turns import settle

ORIGIN, REGIONAL = "192.0.2.1", "192.0.2.9"
FRESH = ("cache-control", "max-age=60")


class Limited:
    """A node whose origin gets so many requests at once."""

    def __init__(
        self, connections: int, *behaviors: configuration_pb2.Behavior, waiting: int = 10, seconds: float = 60.0
    ) -> None:
        self.origins = Origins()
        limits = UpstreamLimits(connections, waiting, seconds)
        counters = Counters()
        self.fetcher = Fetcher(self.origins, counters, lambda: self.origins.now, limits)
        self.node = Node(*behaviors, upstream=self.fetcher, counters=counters)

    def asks(self, *targets: str) -> list[Viewer]:
        return [self.node.viewer().asks(target) for target in targets]

    async def is_asked_nothing_more(self, count: int) -> None:
        await settle()
        assert len(self.origins.links) == count


async def test_requests_beyond_the_limit_wait_for_their_turn() -> None:
    limited = Limited(2)
    viewers = limited.asks("/1", "/2", "/3", "/4")
    for number in range(1, 5):
        link = await limited.origins.asked(ORIGIN, number)
        await limited.is_asked_nothing_more(min(number + 1, 4))
        assert link.line.startswith(b"GET /%d " % number)  # in the order of coming
        link.answers(200, b"%d" % number, FRESH)
    assert [(await viewer.answer()).body for viewer in viewers] == [b"1", b"2", b"3", b"4"]
    assert limited.node.counters.upstream_waits == {"origin": 2}


async def test_one_too_many_gets_503_and_a_clear_text_and_nobody_remembers_it_as_a_failure() -> None:
    limited = Limited(1, waiting=1)
    first, second, third = limited.asks("/1", "/2", "/3")
    answer = await third.answer()
    assert answer.status == 503 and b"too many requests wait for 192.0.2.1:8000" in answer.body
    assert limited.node.counters.upstream_errors == {("origin", "overloaded"): 1}
    for number, viewer in enumerate((first, second), 1):
        (await limited.origins.asked(ORIGIN, number)).answers(200, b"%d" % number, FRESH)
        await viewer.answer()
    (again,) = limited.asks("/3")
    (await limited.origins.asked(ORIGIN, 3)).answers(200, b"3", FRESH)
    assert (await again.answer()).body == b"3"


async def test_who_waits_too_long_gets_503_once_and_is_not_made_to_wait_for_each_attempt() -> None:
    limited = Limited(1, seconds=0.0)
    _, second = limited.asks("/1", "/2")
    await limited.origins.asked(ORIGIN)
    answer = await second.answer()
    assert answer.status == 503 and b"was free in 0 s" in answer.body
    assert limited.node.counters.upstream_errors == {("origin", "overloaded"): 1}


async def test_a_stale_copy_is_served_stale_when_there_is_no_place() -> None:
    limited = Limited(1, waiting=0)
    stored = limited.asks("/old")
    (await limited.origins.asked(ORIGIN)).answers(200, b"old", FRESH, ("etag", '"1"'))
    await stored[0].answer()
    limited.node.now += 61
    limited.asks("/busy")
    await limited.origins.asked(ORIGIN, 2)
    (viewer,) = limited.asks("/old")
    assert (await viewer.answer()).body == b"old"


async def test_a_viewer_that_leaves_the_queue_leaves_its_turn_to_the_next() -> None:
    limited = Limited(1)
    _, second, third = limited.asks("/1", "/2", "/3")
    link = await limited.origins.asked(ORIGIN)
    second.leaves()
    link.answers(200, b"1", FRESH)
    (await limited.origins.asked(ORIGIN, 2)).answers(200, b"3", FRESH)
    assert (await third.answer()).body == b"3"
    await limited.is_asked_nothing_more(2)


@pytest.mark.parametrize("kind", list(UpstreamErrorKind))
async def test_a_failed_request_gives_its_place_back(kind: UpstreamErrorKind) -> None:
    limited = Limited(1)
    first, second = limited.asks("/1", "/2")
    while not first.is_done:  # whatever is tried again fails as well
        number = len(limited.origins.links)
        await flush(lambda count=number: first.is_done or len(limited.origins.links) > count)
        if not first.is_done and limited.origins.links[-1].line.startswith(b"GET /1"):
            limited.origins.links[-1].fails(kind)
        else:
            break
        await flush(lambda: limited.origins.links[-1].is_closed)
    await flush(lambda: limited.origins.links[-1].line.startswith(b"GET /2"))
    limited.origins.links[-1].answers(200, b"2", FRESH)
    assert (await second.answer()).body == b"2"


# -- regional caches


@pytest.fixture
async def edge() -> tuple[Node, Origins]:
    origins = Origins()
    node = Node(upstream=origins.fetcher)
    node.knows_regionals("r1")
    return node, origins


async def test_one_bad_object_does_not_take_the_regional_cache_out(edge: tuple[Node, Origins]) -> None:
    """Its body breaks off at the origin, and so at the regional cache: that is no fault of the latter, as often as it is asked for."""
    node, origins = edge
    for number in range(1, 6):
        viewer = node.viewer().asks("/bad")
        link = await origins.asked(REGIONAL, number)
        link.begins(200, FRESH, ("content-length", "10")).sends(b"half")
        link.fails(UpstreamErrorKind.TRUNCATED)
        await flush(lambda viewer=viewer: viewer.is_cut)
    assert not origins.fetcher.is_down("r1")
    assert origins.to(ORIGIN) == [] and origins.counters.upstream_ejections == 0


async def test_a_regional_cache_that_cannot_be_reached_is_left_out_after_two_attempts(
    edge: tuple[Node, Origins],
) -> None:
    node, origins = edge
    origins.unreachable[REGIONAL] = UpstreamErrorKind.REFUSED
    for number in range(1, 5):
        viewer = node.viewer().asks(f"/{number}")
        (await origins.asked(ORIGIN, number)).answers(200, b"x", FRESH)
        assert (await viewer.answer()).body == b"x"
    assert origins.attempts.count(REGIONAL) == 2
    assert origins.counters.upstream_ejections == 1
    del origins.unreachable[REGIONAL]
    origins.now += BASE_EJECTION_SECONDS
    viewer = node.viewer().asks("/again")
    (await origins.asked(REGIONAL)).answers(200, b"x", FRESH)
    assert (await viewer.answer()).body == b"x"


async def test_failures_with_answers_between_them_are_none_in_a_row(edge: tuple[Node, Origins]) -> None:
    node, origins = edge
    for number in range(1, 11):
        viewer = node.viewer().asks(f"/{number}")
        link = await origins.asked(REGIONAL, number)
        if number % 2:
            link.fails(UpstreamErrorKind.RESET)
            await flush(lambda count=number: len(origins.to(ORIGIN)) * 2 > count)
            origins.to(ORIGIN)[-1].answers(200, b"x", FRESH)
        else:
            link.answers(200, b"x", FRESH)
        assert (await viewer.answer()).body == b"x"
    assert not origins.fetcher.is_down("r1")


# -- uploads


async def test_a_write_whose_place_does_not_come_has_not_been_sent() -> None:
    limited = Limited(1, strict(policy=caching_disabled()), waiting=0)
    limited.asks("/busy")
    await limited.origins.asked(ORIGIN)
    viewer = limited.node.viewer().asks("/a", method="DELETE")
    assert (await viewer.answer()).status == 503
    await limited.is_asked_nothing_more(1)
