"""Requests on connections that have carried one before: an upstream may close such a connection at any time (RFC 9112 section 9.3.1), which is no failure of its own."""

import copy

import pytest

from edge_node.model.errors import UpstreamErrorKind
from edge_node.upstream.connection import UpstreamConnection
from tests.builders import origin_message
from tests.conversations.dialogue import Node
from tests.conversations.origins import Link, Origins

ORIGIN = "192.0.2.1"
FRESH = ("cache-control", "max-age=60")


class KeptAlive(Origins):
    """Whose connections are used again."""

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[Link] = []

    def take_idle(self, address: tuple[str, int]) -> UpstreamConnection | None:  # type: ignore[override]
        if not self._idle:
            return None
        link = copy.copy(self._idle.pop())
        link._transport.written.clear()
        self.links.append(link)
        return link.connection

    def release(self, address: tuple[str, int], connection: UpstreamConnection, keepalive_seconds: float) -> None:
        self._idle += [link for link in self.links if link.connection is connection][-1:]


async def used_before() -> tuple[KeptAlive, Node]:
    """An origin that is tried once, with one idle connection."""
    origins = KeptAlive()
    node = Node(upstream=origins.fetcher, origins=[origin_message(ORIGIN, 80, connection_attempts=1)])
    viewer = node.viewer().asks("/first")
    (await origins.asked(ORIGIN)).answers(200, b"first", FRESH)
    await viewer.answer()
    return origins, node


async def test_a_request_goes_on_the_idle_connection() -> None:
    origins, node = await used_before()
    viewer = node.viewer().asks("/a")
    (await origins.asked(ORIGIN, 2)).answers(200, b"a", FRESH)
    assert (await viewer.answer()).body == b"a"
    assert origins.attempts == [ORIGIN]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_one_that_turns_out_to_be_closed_costs_no_attempt_and_is_no_error(method: str) -> None:
    origins, node = await used_before()
    viewer = node.viewer().asks("/a", method=method)
    (await origins.asked(ORIGIN, 2)).ends()
    (await origins.asked(ORIGIN, 3)).answers(200, b"a", FRESH)
    assert (await viewer.answer()).status == 200
    assert origins.attempts == [ORIGIN] * 2
    assert not origins.counters.upstream_errors


async def test_an_upstream_that_says_nothing_in_time_is_slow_on_any_connection() -> None:
    origins, node = await used_before()
    viewer = node.viewer().asks("/a")
    (await origins.asked(ORIGIN, 2)).fails(UpstreamErrorKind.READ_TIMEOUT)
    assert (await viewer.answer()).status == 504
    assert origins.attempts == [ORIGIN], "it is not asked twice by one that is to ask once"
    assert origins.counters.upstream_errors == {("origin", "read_timeout"): 1}


async def test_one_that_breaks_off_in_a_response_was_not_idle() -> None:
    origins, node = await used_before()
    viewer = node.viewer().asks("/a")
    (await origins.asked(ORIGIN, 2)).sends(b"HTTP/1.1 20").ends()
    assert (await viewer.answer()).status == 502
    assert origins.attempts == [ORIGIN]
