"""Two tiers that a test speaks with: an edge and a regional cache on one clock, the bytes between them as on the wire, the test in the place of viewers and origin.

tiers = Tiers(strict())
viewer = tiers.viewer().asks("/a")
(await tiers.origin_fetch()).answers(200, b"hello", ("cache-control", "max-age=60"))
assert (await viewer.answer()).body == b"hello"
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from edge_node.caching.stored_body import Piece
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import Role
from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.endpoints import Endpoint, Tier
from edge_node.upstream.fetch_sink import FetchSink, RequestBody, RunningFetch
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, policy_message
from tests.conversations.dialogue import Fetch, Http1Viewer, Node, ScriptedFetcher, Viewer, flush
from tests.fuzz.strict_http import End, read_request_head, read_responses
from tests.turns import settle

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


class Asker(Http1Viewer):
    """An edge, as a regional cache sees it: what it is sent goes on to the fetch that asked."""

    def __init__(self, node: Node, asks_for: "RelayedFetch") -> None:
        super().__init__(node)
        self.asks_for = asks_for
        if node.judged is not None:
            node.judged.append(self)

    def send(self, data: Piece) -> None:
        super().send(data)
        self.asks_for.more(bytes(data))

    def end_response(self, *, keep_alive: bool) -> None:
        super().end_response(keep_alive=keep_alive)
        self.judge()
        self.asks_for.whole()

    def abort(self) -> None:
        super().abort()
        self.asks_for.cut()


class RelayedFetch(Fetch):
    """A fetch that a regional cache answers, with the bytes between them as on the wire. Like bytes on a wire they arrive a turn of the loop later."""

    def __init__(
        self, regional: Node, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> None:
        super().__init__(targets, method, body, sink)
        self._asker = Asker(regional, asks_for=self)
        self._received = bytearray()
        self._interims = self._passed_bytes = 0
        self._has_head = False
        asked = read_request_head(targets[0].request + b"\r\n")
        head = make_request_head(asked.method, asked.target, list(asked.fields), 1, True)
        self._soon(lambda: regional.pipeline.handle(self._asker.opens(head), head, None))

    def _soon(self, step: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(lambda: None if self.is_over else step())

    def more(self, data: bytes) -> None:
        self._soon(lambda: self._take(data))

    def _take(self, data: bytes, *, is_closed: bool = False) -> None:
        """What has come by now, read strictly; its parts go to the sink once."""
        self._received += data
        responses, end = read_responses(bytes(self._received), [self.method], is_closed=is_closed)
        assert end is not End.INVALID, bytes(self._received[:2000])
        finals = [response for response in responses if response.status >= 200]
        interims = responses[: len(responses) - len(finals)]
        for response in interims[self._interims :]:
            self.sink.interim_arrived(make_response_head(response.status, response.reason, list(response.fields)))
        self._interims = len(interims)
        if not finals or self.is_over:
            return
        final = finals[0]
        if not self._has_head:
            self._has_head = True
            head = make_response_head(final.status, final.reason, list(final.fields))
            if final.is_whole and self._may_come_whole(head) and not final.ends_at_close:
                self._passed_bytes = len(final.body)
                self.sink.whole_arrived(head, final.body)
            else:
                self.sink.head_arrived(head)
        piece = final.body[self._passed_bytes :]
        self._passed_bytes = len(final.body)
        if piece and not self.connection.is_closed:
            self.sink.body_arrived(piece)

    def whole(self) -> None:
        is_closed = not self._asker.keeps_alive
        self._soon(lambda: self._end_whole(is_closed=is_closed))

    def _end_whole(self, *, is_closed: bool) -> None:
        self._take(b"", is_closed=is_closed)
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
        await settle()
        assert len(self.origin_fetches) == count

    async def stores(
        self, target: str, body: bytes, *headers: tuple[str, str], ask: Sequence[tuple[str, str]] = ()
    ) -> None:
        """One request, answered by the origin with this."""
        number = len(self.origin_fetches) + 1
        viewer = self.viewer().asks(target, *ask)
        (await self.origin_fetch(number)).answers(200, body, *headers)
        assert (await viewer.answer()).body == body
