"""A node's pipeline between a viewer and an upstream that a test speaks for, on a clock that stands still until the test moves it.

    viewer = node.viewer()
    viewer.asks("/a")
    fetch = await node.fetch()            # what the node asks upstream
    fetch.answers(200, b"hello", ("cache-control", "max-age=60"))
    assert (await viewer.answer()).body == b"hello"

Everything between is the real code: pipeline, fills, transfers, exchanges, hits, store. Only the two wires, the fetcher's sockets and the clock are fakes.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from edge_node.caching.stored_body import LentPiece, Piece
from edge_node.delivery.downstream import DownstreamStream, ResponseSource
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.delivery.request_ids import RequestIds
from edge_node.delivery.request_record import LogRecord, Record
from edge_node.delivery.request_recorder import RequestRecorder
from edge_node.fill.cache_fill import CacheFill
from edge_node.http.request_head import make_request_head
from edge_node.listeners.fast_path import HitFastPath
from edge_node.listeners.http1_stream import Http1Stream
from edge_node.model.configuration import Peer, Role
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.counters import Counters
from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure, ViewerLeftError
from edge_node.model.http import Header, RequestHead, ResponseHead
from edge_node.model.tunnel import TunnelEnd
from edge_node.observability.access_log import AccessLog
from edge_node.pipeline.pipeline import Pipeline, PipelineDependencies
from edge_node.policy.response_head import LocalNode
from edge_node.stages.table import StageTable
from edge_node.storage.cache import Cache
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.memory import MemoryStore
from edge_node.storage.node_state import InvalidatedPaths, NodeState, ServedResources
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.endpoints import Endpoint, Tier
from edge_node.upstream.fetch_sink import FetchSink, RequestBody, RunningFetch, UpgradeSink, UpstreamFetcher
from proto.cdn.v1 import configuration_pb2
from proto.clock_faults import Clocks, clocks_of
from proto.fault_port import FaultPort
from tests.builders import behavior_message, distribution_message, origin_message, read_distribution
from tests.edge_state import reconfigured
from tests.edge_wires import leased_fence
from tests.fuzz.strict_http import End, Fields, Response, read_request_head, read_responses
from tests.turns import settle

HOST = b"d1.cdn.localhost"
TextHeader = tuple[str, str]
Interim = tuple[int, Fields]
VIEWER = ConnectionFacts("192.0.2.7", 40_000)


@dataclass
class Answer:
    """What a viewer has got so far, read as HTTP."""

    status: int
    fields: dict[str, str]
    body: bytes
    lines: Sequence[TextHeader] = ()
    """All fields, repeated ones too."""
    is_whole: bool = False
    interims: Sequence[Interim] = ()
    """What came before it."""

    def values(self, name: str) -> list[str]:
        return [value for given, value in self.lines if given == name]


def answer_of(status: int, fields: Fields, body: bytes, *, is_whole: bool, interims: Sequence[Interim]) -> Answer:
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    return Answer(status, dict(lines), body, lines, is_whole, interims)


class Viewer:
    """A viewer that asks one thing after another and keeps what it is sent. Which protocol it speaks is a subclass; every byte or frame is read strictly."""

    has_fast_path = False
    """Requests of known parts take it, where it is open."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.is_open = True
        self.is_cut = False
        """The node broke the response off."""
        self.is_done = False
        """The response is whole."""
        self.keeps_alive: bool | None = None
        """What a connection without streams has promised."""
        self.head: RequestHead | None = None
        self.data = b""
        self.fast_answers = 0
        """How many requests were answered by the fast path."""

    def asks(
        self,
        target: str,
        *headers: TextHeader,
        method: str = "GET",
        body: RequestBodyStream | None = None,
        minor_version: int = 1,
    ) -> "Viewer":
        """Send a request; another one may follow when it is answered."""
        fields: list[Header] = [(name.lower().encode(), value.encode()) for name, value in headers]
        if not any(name == b"host" for name, _ in fields):
            fields.insert(0, (b"host", HOST))
        self.head = make_request_head(method.encode(), target.encode(), fields, minor_version, True)
        lines = [b"%b: %b\r\n" % field for field in fields]
        self.data = b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode(), target.encode(), b"".join(lines))
        if minor_version == 1:
            self.node.fast_path.remember(self.data, self.head)
        self.node.pipeline.handle(self.opens(self.head, body), self.head, body)
        return self

    def asks_again(self) -> "Viewer":
        """The same once more."""
        assert self.head is not None
        self.node.pipeline.handle(self.opens(self.head), self.head, None)
        return self

    def opens(self, head: RequestHead, body: RequestBodyStream | None = None) -> DownstreamStream:
        """A stream for the answer to this."""
        raise NotImplementedError

    def leaves(self) -> None:
        """Wants no more."""
        raise NotImplementedError

    def holds(self) -> None:
        """Reads no more for now."""
        raise NotImplementedError

    def takes_more(self) -> None:
        """Reads again."""
        raise NotImplementedError

    def judge(self) -> None:
        """All that has come until now is what may come: where the response is over one response and nothing else, else the beginning of one."""
        raise NotImplementedError

    def read(self) -> Answer | None:
        """The response, as far as its head has come."""
        raise NotImplementedError

    async def answer(self) -> Answer:
        """The response, once it is whole."""
        await flush(lambda: self.is_done or self.is_cut)
        assert self.is_done, "the connection was cut"
        self.judge()
        return self.so_far()

    def so_far(self) -> Answer:
        read = self.read()
        assert read is not None, "no answer yet"
        return read

    @property
    def body(self) -> bytes:
        """Of the response, as far as it has come."""
        read = self.read()
        return b"" if read is None else read.body

    @property
    def has_got_nothing(self) -> bool:
        """Not a byte."""
        raise NotImplementedError

    def look_at_body(self) -> None:
        """The body of a request has room, or none any more (`edge_node.delivery.request_body`)."""


class Http1Viewer(Viewer):
    """A connection of HTTP/1.1: it is the wire beneath the node's own streams."""

    has_fast_path = True

    def __init__(self, node: "Node") -> None:
        super().__init__(node)
        self.sent = bytearray()
        self.is_write_blocked = False
        self.facts = VIEWER
        self.request_bytes = 100
        self.may_keep_alive = True
        self.source: ResponseSource | None = None
        self._method = b""
        """Of the request that `sent` answers."""
        self.write: Callable[[Piece], None] = self.send
        self.write_lent: Callable[[LentPiece, int], int] | None = None

    def asks_again(self) -> "Viewer":
        """The same bytes once more, as `listeners/http1.py` takes them: by the fast path, where that is open."""
        fast_path = self.node.fast_path
        assert self.head is not None
        line, _, _ = self.data.partition(b"\r\n")
        section = fast_path.section_of(self.data[len(line) :])
        self._begins(self.head)
        if not self.has_fast_path or section is None or not fast_path.answer(self, section, line, len(self.data)):
            head = (section and fast_path.head_of(line, section)) or self.head
            self.node.pipeline.handle(self.opens(head), head, None)
        else:
            self.fast_answers += 1
            self.is_done = self.keeps_alive = True  # the fast path keeps the connection open and ends no response
        return self

    def opens(self, head: RequestHead, body: RequestBodyStream | None = None) -> DownstreamStream:
        self._begins(head)
        return Http1Stream(self, self.node.facts, head, body)

    def _begins(self, head: RequestHead) -> None:
        self.judge()
        self.head, self._method = head, head.method
        self.sent.clear()
        self.is_done = False

    def leaves(self) -> None:
        self.is_open = False
        source, self.source = self.source, None
        if source is not None:
            source.viewer_left()

    def holds(self) -> None:
        self.is_write_blocked = True

    def takes_more(self) -> None:
        self.is_write_blocked = False
        if self.source is not None:
            self.source.credit_returned()

    def judge(self) -> None:
        responses, end = self._responses()
        final = [response for response in responses if response.status >= 200]
        if self.is_done:
            assert end is End.CLEAN and len(final) == 1, (end, bytes(self.sent[:2000]))
        else:
            assert end is not End.INVALID, bytes(self.sent[:2000])
            assert not (self.is_cut and any(response.is_whole for response in final)), "cut off, and it looks whole"

    def _responses(self) -> tuple[list[Response], End]:
        is_closed = self.is_done and not self.keeps_alive
        return read_responses(bytes(self.sent), [self._method], is_closed=is_closed)

    def read(self) -> Answer | None:
        responses, end = self._responses()
        assert end is not End.INVALID, bytes(self.sent[:2000])
        if not responses or responses[-1].status < 200:
            return None
        *before, last = responses
        interims = [(response.status, response.fields) for response in before]
        return answer_of(last.status, last.fields, last.body, is_whole=last.is_whole, interims=interims)

    @property
    def has_got_nothing(self) -> bool:
        return not self.sent

    # -- the node's side: edge_node.listeners.http1_stream.Http1Wire

    def begin_response(self, source: ResponseSource, *, is_unbuffered: bool) -> None:
        self.source = source

    def end_response(self, *, keep_alive: bool) -> None:
        assert not self.is_done, "one end per request"
        self.source = None
        self.is_done, self.keeps_alive = True, keep_alive

    def send(self, data: Piece) -> None:
        assert not self.is_done, "nothing may follow the end of a response"
        self.sent += data

    def send_many(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self.send(piece)

    def hand_over(self) -> TunnelEnd:
        raise AssertionError("tunnels are spoken with over sockets")

    def abort(self) -> None:
        self.is_cut = True
        self.leaves()


class Arrival(Enum):
    """In which pieces upstream's responses come; whatever they are, the answer to viewers is the same."""

    PIECES = "head, then body"
    WHOLE = "a response whose length is known in one piece, as most come"
    SPLIT = "head, then the body in several pieces"


class FakeConnection:
    """The upstream end of a fetch, as far as a fill can see it."""

    def __init__(self, gives_up: Callable[[UpstreamErrorKind, str], None]) -> None:
        self.is_paused = False
        self.is_closed = False
        self.give_up = gives_up

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self.is_closed = True


class Fetch:
    """One fetch of the node; the test speaks for upstream."""

    arrival = Arrival.PIECES
    """Of what `answers` sends, and of responses without a body (conftest.py)."""

    def __init__(self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink) -> None:
        self.targets = targets
        self.method = method
        self.body = body
        assert isinstance(sink, CacheFill)
        self.sink = sink
        self.connection = FakeConnection(self.gives_up)
        self.is_over = False
        self.is_cancelled = False
        for target in targets:
            asked = read_request_head(target.request + b"\r\n")
            assert asked.method == method, target.request
        self.connects(targets[0])

    @property
    def request(self) -> dict[str, str]:
        """Fields of the request as its first target gets them."""
        fields = read_request_head(self.targets[0].request + b"\r\n").fields
        return {name.decode(): value.decode() for name, value in fields}

    def gives_up(self, kind: UpstreamErrorKind, detail: str) -> None:
        self._end(UpstreamFailure(kind, detail))

    @property
    def tiers(self) -> list[Tier]:
        return [target.tier for target in self.targets]

    def connects(self, target: Endpoint) -> None:
        self.connection = FakeConnection(self.gives_up)
        self.sink.connected(self.connection, target)

    def begins(self, status: int, *headers: TextHeader, reason: bytes = b"OK") -> "Fetch":
        """The head of the response."""
        head = self._make_head(status, headers, reason)
        is_whole = status in (204, 304) or head.content_length == 0
        if is_whole and self._may_come_whole(head):
            self.sink.whole_arrived(head, b"")
        else:
            self.sink.head_arrived(head)
        return self

    def _make_head(self, status: int, headers: Sequence[TextHeader], reason: bytes = b"OK") -> ResponseHead:
        return make_response_head(
            status, reason, [(name.lower().encode(), value.strip().encode()) for name, value in headers]
        )

    def _may_come_whole(self, head: ResponseHead) -> bool:
        """As `edge_node/upstream/connection.py` hands responses over."""
        fields = head.fields
        is_usual = b"transfer-encoding" not in fields and fields.get(b"connection", b"keep-alive") == b"keep-alive"
        return self.arrival is Arrival.WHOLE and self.method != b"HEAD" and is_usual

    def informs(self, status: int, *headers: TextHeader) -> None:
        """An interim response."""
        self.sink.interim_arrived(self._make_head(status, headers, {100: b"Continue", 103: b"Early Hints"}[status]))

    def sends(self, data: bytes) -> "Fetch":
        self.sink.body_arrived(data)
        return self

    def ends(self) -> None:
        self._end(None)

    def answers(self, status: int, body: bytes, *headers: TextHeader) -> None:
        """A whole response."""
        headers = (*headers, ("content-length", str(len(body))))
        head = self._make_head(status, headers)
        if self._may_come_whole(head):
            self.sink.whole_arrived(head, body)
        else:
            self.begins(status, *headers)
            for piece in self._pieces(body):
                self.sends(piece)
        self.ends()

    def _pieces(self, body: bytes) -> list[bytes]:
        if self.arrival is not Arrival.SPLIT:
            return [body] if body else []
        third = len(body) // 3
        return [piece for piece in (body[:1], body[1:third], body[max(third, 1) :]) if piece]

    def confirms(self, *headers: TextHeader) -> None:
        self.begins(304, *headers)
        self.ends()

    def fails(self, kind: UpstreamErrorKind = UpstreamErrorKind.REFUSED) -> None:
        self._end(UpstreamFailure(kind, "the test said so"))

    def cancel(self) -> None:
        """By the node: nobody wants it."""
        self.is_cancelled = self.is_over = True

    def _end(self, failure: UpstreamFailure | None) -> None:
        if not self.is_over:
            self.is_over = True
            self.sink.connected(None, self.targets[0])
            self.sink.fetch_ended(failure)


class ScriptedFetcher:
    """In the place of `edge_node.upstream.fetcher.Fetcher`."""

    def __init__(self) -> None:
        self.fetches: list[Fetch] = []
        self.down: set[str] = set()

    def is_down(self, peer_id: str) -> bool:
        return peer_id in self.down

    def fetch(
        self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> RunningFetch:
        fetch = Fetch(targets, method, body, sink)
        self.fetches.append(fetch)
        return fetch

    def upgrade(self, targets: Sequence[Endpoint], sink: UpgradeSink) -> RunningFetch:
        return self.fetch(targets, b"GET", None, sink)


class ServingFetcher(ScriptedFetcher):
    """One whose fetches are answered by a coroutine."""

    def fetch(
        self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> RunningFetch:
        return ServedFetch(self, targets, method, body, sink)

    async def serve(
        self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> None:
        raise NotImplementedError


class ServedFetch:
    """A fetch of a ServingFetcher; it begins a turn of the loop later."""

    def __init__(
        self,
        fetcher: ServingFetcher,
        targets: Sequence[Endpoint],
        method: bytes,
        body: RequestBody | None,
        sink: FetchSink,
    ) -> None:
        self._target = targets[0]
        self._sink = sink
        self._task = asyncio.get_running_loop().create_task(self._run(fetcher.serve(targets, method, body, sink)))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._sink.connected(FakeConnection(lambda kind, detail: self.cancel()), self._target)
        try:
            await work
        except ViewerLeftError:
            self._sink.fetch_abandoned()
            return
        self._sink.connected(None, self._target)
        self._sink.fetch_ended(None)

    def cancel(self) -> None:
        self._task.cancel()


class Records:
    """In the place of the access log: keeps the records, but for those of the fast path. They may go to a log as well."""

    is_enabled = True

    def __init__(self, counters: Counters) -> None:
        self.log: AccessLog | None = None
        self._counters = counters
        self._kept: list[LogRecord] = []

    def write(self, records: Sequence[Record]) -> None:
        self._kept += [record for record in records if isinstance(record, LogRecord)]
        if self.log is not None:
            self.log.write(records)

    def flush(self) -> None:
        self._counters.flush()

    @property
    def all(self) -> list[LogRecord]:
        self.flush()
        return self._kept


@dataclass(eq=False)
class Timer:
    """In the place of `asyncio.TimerHandle`."""

    rings_at: float
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Node:
    """A node without sockets."""

    def __init__(
        self,
        *behaviors: configuration_pb2.Behavior,
        role: Role = Role.EDGE,
        capacity: int = 1 << 24,
        policy: str = "lru",
        fetcher: ScriptedFetcher | None = None,
        upstream: UpstreamFetcher | None = None,
        counters: Counters | None = None,
        **distribution: Any,
    ) -> None:
        self.now = 1_800_000_000.0
        """Of both clocks; the lab's wall clock may be ahead of it."""
        clocks = clocks_of(FaultPort(()), Clocks(lambda: self.now, lambda: self.now))
        self.counters = counters or Counters()
        self.fetcher = fetcher or ScriptedFetcher()
        self.records = Records(self.counters)
        recorder = RequestRecorder(self.counters, self.records, clocks.wall, clocks.steady)
        stages = StageTable(role)
        self.state = NodeState("eu", leased_fence(), stages.compile, clocks.put_ahead)
        self.store = MemoryStore(capacity, POLICIES[policy])
        self.facts = LocalNode(role, b"FRA56-P1", b"1.1 abc.cloudfront.net (CloudFront)")
        cache = Cache(self.facts, self.store, self.state.invalidations, clocks.wall)
        self.tasks: set[asyncio.Task[None]] = set()
        self.timers: list[Timer] = []
        request_ids = RequestIds(bytes(20))
        self.fast_path = HitFastPath(
            self.facts, self.store, self.state, recorder, request_ids, clocks.wall, clocks.steady
        )
        self.pipeline = Pipeline(
            PipelineDependencies(
                cache=cache,
                state=self.state,
                fetcher=upstream or self.fetcher,
                recorder=recorder,
                counters=self.counters,
                request_ids=request_ids,
                entry_stages=stages.entry,
                spawn=self._spawn,
                monotonic=clocks.steady,
                call_later=self._call_later,
            )
        )
        self.state.invalidate_everything = self.pipeline.invalidate_everything
        self.message = distribution_message(
            origin_message("192.0.2.1", 8000), *(behaviors or (behavior_message(),)), **distribution
        )
        self.learns("log-1", 1)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        timer = Timer(self.now + seconds, callback)
        self.timers.append(timer)
        return timer

    def passes(self, seconds: float) -> None:
        """Time, and what waits for it."""
        self.now += seconds
        due = [timer for timer in self.timers if timer.rings_at <= self.now and not timer.is_cancelled]
        self.timers = [timer for timer in self.timers if timer.rings_at > self.now and not timer.is_cancelled]
        for timer in due:
            timer.callback()

    def travels(self, seconds: float) -> None:
        """An entry of the log moves the lab's clock forward; no timer rings."""
        reconfigured(
            self.state,
            self.state.applied_index + 1,
            clock_ahead_seconds=self.state.clock_ahead_seconds + seconds,
        )

    def learns(self, log_id: str, index: int) -> None:
        """A snapshot arrives."""
        distribution = read_distribution(self.message)
        self.state.replace(log_id, index, ServedResources({distribution.id: distribution}, {"eu": 0.0}))

    def invalidates(self, *paths: str) -> int:
        index = self.state.applied_index + 1
        self.state.apply(index, invalidated=[InvalidatedPaths("E1", paths)])
        return index

    def knows_regionals(self, *ids: str) -> None:
        self.state.put_directory([Peer(i, Role.REGIONAL, "eu", "FRA-R", "192.0.2.9", 80, "192.0.2.9:81") for i in ids])

    viewer_kind: type[Viewer] = Http1Viewer
    """Which protocol viewers speak (conftest.py)."""
    judged: list[Viewer] | None = None
    """Where viewers are kept, so that what they have got is judged when the test is over (conftest.py)."""

    def forgets_viewers(self) -> None:
        """They are not judged at the end, and nothing of the tests holds them."""
        if self.judged is not None:
            self.judged.clear()

    def viewer(self) -> Viewer:
        viewer = self.viewer_kind(self)
        if self.judged is not None:
            self.judged.append(viewer)
        return viewer

    async def fetch(self, number: int = 1) -> Fetch:
        """The n-th fetch since the start, as soon as the node makes it."""
        await flush(lambda: len(self.fetcher.fetches) >= number)
        return self.fetcher.fetches[number - 1]

    async def asks_nothing_more(self, count: int) -> None:
        """After everything has settled, there have been exactly so many fetches."""
        await settle()
        assert len(self.fetcher.fetches) == count

    async def stores(
        self, target: str, body: bytes, *headers: TextHeader, status: int = 200, ask: Sequence[TextHeader] = ()
    ) -> None:
        """One request from an empty cache, answered with this."""
        number = len(self.fetcher.fetches)
        viewer = self.viewer().asks(target, *ask)
        await flush(lambda: len(self.fetcher.fetches) > number)
        self.fetcher.fetches[-1].answers(status, body, *headers)
        assert (await viewer.answer()).body == body


async def flush(condition: Any) -> None:
    """Let the loop turn until something holds; it never takes real time."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")
