"""Two tiers that a test speaks with: an edge and a regional cache on one clock, the bytes between them as on the wire, the test in the place of viewers and origin.

tiers = Tiers(strict())
viewer = tiers.viewer().asks("/a")
(await tiers.origin_fetch()).answers(200, b"hello", ("cache-control", "max-age=60"))
assert (await viewer.answer()).body == b"hello"
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_node.caching.stored_body import Piece
from edge_node.fill.cache_fill import CacheFill
from edge_node.http.request_head import make_request_head
from edge_node.listeners.http1_stream import Http1Stream
from edge_node.model.configuration import Role
from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure
from edge_node.model.http import Header
from edge_node.policy.upstream_request import parse_request
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.endpoints import Endpoint, Tier
from edge_node.upstream.fetch_sink import FetchSink, RequestBody, RunningFetch
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, policy_message
from tests.conversations.dialogue import Fetch, Node, ScriptedFetcher, Viewer, flush

ALL_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "M-SEARCH")


def strict(policy: configuration_pb2.CachePolicy | None = None, **changes: Any) -> configuration_pb2.Behavior:
    """A behavior that follows the RFCs, for all methods and one that nobody knows."""
    values: dict[str, Any] = {
        "semantics": configuration_pb2.SEMANTICS_RFC9111,
        "allowed_methods": ALL_METHODS,
    } | changes
    return behavior_message(policy=policy or policy_message(), **values)


def strict_node(**changes: Any) -> Node:
    """An edge that has nothing between it and the origin."""
    return Node(strict(**changes))


@dataclass(eq=False)
class Asker(Viewer):
    """An edge, as a regional cache sees it: what it is sent goes on to the fetch that asked."""

    asks_for: "RelayedFetch | None" = None

    def send(self, data: Piece) -> None:
        super().send(data)
        assert self.asks_for is not None
        self.asks_for.more(bytes(data))

    def end_response(self, *, keep_alive: bool) -> None:
        super().end_response(keep_alive=keep_alive)
        self.judge()
        assert self.asks_for is not None
        self.asks_for.whole()

    def abort(self) -> None:
        super().abort()
        if self.asks_for is not None:
            self.asks_for.cut()


class RelayedFetch(Fetch):
    """A fetch that a regional cache answers, with the bytes between them as on the wire. Like bytes on a wire they arrive a turn of the loop later."""

    def __init__(
        self, regional: Node, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> None:
        super().__init__(targets, method, body, sink)
        self._asker = Asker(regional, asks_for=self)
        self._received = bytearray()
        self._has_head = self._is_chunked = False
        line, text = parse_request(targets[0].request)
        method, target, _ = line.split(b" ")
        fields: list[Header] = [(name.lower(), value) for name, value in text]
        head = self._asker.head = make_request_head(method, target, fields, 1, True)
        self._soon(lambda: regional.pipeline.handle(Http1Stream(self._asker, regional.facts, head, None), head, None))

    def _soon(self, step: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(lambda: None if self.is_over else step())

    def more(self, data: bytes) -> None:
        self._soon(lambda: self._take(data))

    def _take(self, data: bytes) -> None:
        self._received += data
        while not self._has_head and b"\r\n\r\n" in self._received:
            status, self._is_chunked = _take_head(self._received, self.sink)
            self._has_head = status >= 200
        if self._has_head and not self._is_chunked and self._received and not self.connection.is_closed:
            data = bytes(self._received)
            self._received.clear()
            self.sink.body_arrived(data)

    def whole(self) -> None:
        self._soon(self._end_whole)

    def _end_whole(self) -> None:
        if self._is_chunked:
            self.sink.body_arrived(unchunk(bytes(self._received)))
        self._end(None)

    def cut(self) -> None:
        kind = UpstreamErrorKind.TRUNCATED if self._has_head else UpstreamErrorKind.RESET
        self._soon(lambda: self._end(UpstreamFailure(kind, "the regional cache cut the connection")))

    def cancel(self) -> None:
        super().cancel()
        if not self._asker.is_done and self._asker.is_open:
            self._asker.leaves()


class Relay(ScriptedFetcher):
    """The edge's way upstream: what goes to the regional tier is asked there, everything else is the test's to answer."""

    def __init__(self, regional: Node) -> None:
        super().__init__()
        self._regional = regional

    def fetch(
        self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> RunningFetch:
        if targets[0].tier is not Tier.REGIONAL:
            return super().fetch(targets, method, body, sink)
        fetch = RelayedFetch(self._regional, targets, method, body, sink)
        self.fetches.append(fetch)
        return fetch


def _take_head(received: bytearray, sink: CacheFill) -> tuple[int, bool]:
    """Hand one head over, interim or final; its status, and whether the body is chunked."""
    data, _, rest = bytes(received).partition(b"\r\n\r\n")
    received[:] = rest
    status_line, *lines = data.split(b"\r\n")
    fields = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    _, status, reason = status_line.split(b" ", 2)
    head = make_response_head(int(status), reason, fields)
    if head.status < 200:
        sink.interim_arrived(head)
    else:
        sink.head_arrived(head)
    return head.status, (b"transfer-encoding", b"chunked") in fields


def unchunk(data: bytes) -> bytes:
    body = bytearray()
    while data:
        size, _, rest = data.partition(b"\r\n")
        body += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return bytes(body)


class Tiers:
    """Edges and a regional cache."""

    def __init__(self, *behaviors: configuration_pb2.Behavior, edges: int = 1) -> None:
        self.regional = Node(*behaviors, role=Role.REGIONAL)
        self.edges = [Node(*behaviors, fetcher=Relay(self.regional)) for _ in range(edges)]
        self.edge = self.edges[0]
        for edge in self.edges:
            edge.knows_regionals("regional-1")

    @property
    def origin_fetches(self) -> list[Fetch]:
        return self.regional.fetcher.fetches

    def viewer(self) -> Viewer:
        return self.edge.viewer()

    async def origin_fetch(self, number: int = 1) -> Fetch:
        """The n-th fetch from the origin since the start."""
        await flush(lambda: len(self.origin_fetches) >= number)
        return self.origin_fetches[number - 1]

    def passes(self, seconds: float) -> None:
        """Time, at both tiers."""
        for node in (*self.edges, self.regional):
            node.now += seconds

    async def asks_origin_nothing_more(self, count: int) -> None:
        for _ in range(60):
            await asyncio.sleep(0)
        assert len(self.origin_fetches) == count

    async def stores(
        self, target: str, body: bytes, *headers: tuple[str, str], ask: Sequence[tuple[str, str]] = ()
    ) -> None:
        """One request, answered by the origin with this."""
        number = len(self.origin_fetches) + 1
        viewer = self.viewer().asks(target, *ask)
        (await self.origin_fetch(number)).answers(200, body, *headers)
        assert (await viewer.answer()).body == body
