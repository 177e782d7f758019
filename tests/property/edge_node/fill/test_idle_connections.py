"""A fetch that begins at once, on an idle connection, says, stores, counts and logs what one does that needs a task first: two nodes live through the same histories.

One of them finds idle connections; the other has to wait a turn of the loop for each. Both have the real fetcher, pool and connections; the origin behind them answers
when the history says so, so that others can join, viewers can leave, and the log can move on while a response is awaited.

That both say the same does not make it right: what each says to each viewer, and what it stores, is judged by the strict reader of `tests/fuzz/strict_http.py` as well.
"""

import asyncio
import random
import zlib
from collections import Counter
from dataclasses import fields as fields_of
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from edge_node.caching.entry import EntryTemplate
from edge_node.model.configuration import Peer, Role
from edge_node.model.counters import Counters
from edge_node.observability.access_log import AccessLog
from edge_node.storage.node_state import ServedResources
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.fetcher import Fetcher
from edge_node.upstream.pool import ConnectionPool
from proto.cdn.v1 import configuration_pb2
from tests.builders import ALL, behavior_message, caching_disabled, listed, origin_message, policy_message
from tests.conversations.dialogue import Node
from tests.depth import examples
from tests.edge_wires import FakeListener, FakeTransport, turn
from tests.fuzz.strict_http import End, Response, read_request_head, read_responses

BEHAVIORS: list[configuration_pb2.Behavior] = [
    behavior_message(),
    behavior_message(policy=policy_message(accept_encoding_gzip=True, accept_encoding_brotli=True), compress=True),
    behavior_message(policy=policy_message(query_strings=ALL, minimum_ttl_seconds=5)),
    behavior_message(policy=policy_message(headers=listed("x-a"))),
    behavior_message(policy=policy_message(cookies=listed("c"))),
    behavior_message(policy=caching_disabled()),
    behavior_message(semantics=configuration_pb2.SEMANTICS_RFC9111),
    behavior_message(origin_group_id="group"),
]
ORIGINS = [origin_message("192.0.2.1", 8000), origin_message("192.0.2.2", 8000, id="second")]
GROUP = configuration_pb2.OriginGroup(
    id="group", primary_origin_id="origin", secondary_origin_id="second", failover_statuses=[503, 502]
)
BEHAVIORS_MOSTLY = [0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 7]
REGIONAL = Peer("r-1", Role.REGIONAL, "eu", "FRA", "192.0.2.50", 8000, "")

STARTS = [b"HTTP/1.1 200 OK\r\n"] * 12 + [
    b"HTTP/1.1 200 Fine\r\n",
    b"HTTP/1.1 404 Not Found\r\n",
    b"HTTP/1.1 301 Moved\r\n",
    b"HTTP/1.1 503 Busy\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.0 200 OK\r\n",
]
FIELDS = [
    b"Cache-Control: max-age=60",
    b"Cache-Control: max-age=60",
    b"Cache-Control: max-age=60",
    b"Cache-Control: no-store",
    b"Cache-Control: no-cache",
    b'Cache-Control: max-age=60, no-cache="X-B"',
    b"Cache-Control: private",
    b"Cache-Control: max-age=0",
    b"Expires: Fri, 15 Jan 2027 09:00:00 GMT",
    b"Date: Fri, 15 Jan 2027 08:00:00 GMT",
    b"Vary: Accept-Encoding",
    b"Vary: *",
    b"Vary: X-A",
    b"Set-Cookie: a=1",
    b'ETag: "1"',
    b'ETag: W/"2"',
    b"Last-Modified: Fri, 15 Jan 2027 06:00:00 GMT",
    b"Age: 7",
    b"Connection: close",
    b"Connection: keep-alive",
    b"X-B: 1",
    b"X-B: 2",
    b"X-Edge-Result: hit;fresh",
    b"X-Edge-Result: error;upstream_status",
    b"Content-Type: text/html",
    b"Content-Type: image/png",
    b"Content-Encoding: gzip",
    b"Via: 1.0 x",
]
BUNDLES = [
    (b"Cache-Control: max-age=60",),
    (b"Cache-Control: max-age=60", b'ETag: "1"', b"Content-Type: text/html"),
    (b"Cache-Control: max-age=0",),
    (b'Cache-Control: max-age=60, no-cache="X-B"', b"X-B: 1"),
    (b"Cache-Control: max-age=60", b"Age: 3", b"X-Edge-Result: hit;fresh"),
    (),
]
BODIES = [b"", b"hello", b"x" * 1_200, b"y" * 40_000]
TEMPLATE_VALUES = attrgetter(*(each.name for each in fields_of(EntryTemplate)))
REQUEST_FIELDS = [
    b"Accept-Encoding: gzip",
    b"X-A: 1",
    b"X-A: 2",
    b"Cookie: c=1",
    b'If-None-Match: "1"',
    b"Range: bytes=1-2",
    b"User-Agent: one",
    b"Cache-Control: no-cache",
    b"Connection: close",
]
TARGETS = [b"/a", b"/a", b"/b", b"/c", b"/d?x=1", b"/d?x=2"]
VIEWERS = 3


class ManualOrigin:
    """The real pool, before connections whose other ends wait to be told what to say."""

    def __init__(self) -> None:
        pool = ConnectionPool(asyncio.get_running_loop())
        self.take_idle = pool.take_idle
        self.release = pool.release
        self.transports: list[FakeTransport] = []
        self.heard: list[tuple[tuple[str, int], bytes]] = []
        """All requests."""
        self.pending: list[tuple[bytes, FakeTransport]] = []
        """Those that wait for their answers. In the order of their ids: what begins without a task goes out a turn earlier."""

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        connection = UpstreamConnection(asyncio.get_running_loop())
        origin = self

        class Transport(FakeTransport):
            def write(self, data: Any) -> None:
                super().write(data)
                origin.heard.append((address, bytes(data)))
                (request_id,) = read_request_head(bytes(data)).values(b"x-amz-cf-id")
                origin.pending.append((request_id, self))

        self.transports.append(Transport(connection))
        return connection

    def answer(self, which: int, pieces: tuple[bytes, ...], *, closes: bool) -> None:
        self.pending = sorted(
            ((request_id, transport) for request_id, transport in self.pending if not transport.is_lost),
            key=lambda pair: pair[0],
        )
        if not self.pending:
            return
        _, transport = self.pending.pop(which % len(self.pending))
        for piece in pieces:
            if not transport.is_closing() and not transport.is_lost:
                transport.protocol.data_received(piece)
        if closes and not transport.is_closing() and not transport.is_lost:
            transport.close()


class Connections:
    """The real pool; it may be told to give connections to those alone who wait for them."""

    def __init__(self, origin: ManualOrigin, *, is_at_once: bool) -> None:
        self._origin = origin
        self._is_at_once = is_at_once
        self.release = origin.release
        self.begun_at_once = 0

    def take_idle(self, address: tuple[str, int]) -> UpstreamConnection | None:
        connection = self._origin.take_idle(address) if self._is_at_once else None
        self.begun_at_once += connection is not None
        return connection

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        idle = None if self._is_at_once else self._origin.take_idle(address)
        return idle or await self._origin.connect(address, timeout_seconds)


class Side:
    """One of the two nodes, with its viewers."""

    def __init__(self, log: Path, behavior: int, *, is_at_once: bool, has_regional: bool, is_regional: bool) -> None:
        self.origin = ManualOrigin()
        counters = Counters()
        role = Role.REGIONAL if is_regional else Role.EDGE
        self.connections = Connections(self.origin, is_at_once=is_at_once)
        self.node = Node(
            BEHAVIORS[behavior],
            role=role,
            policy="s3fifo",
            origins=ORIGINS,
            origin_groups=[GROUP],
            upstream=Fetcher(self.connections, counters, lambda: 0.0),
            counters=counters,
        )
        if has_regional:
            self.node.state.put_directory([REGIONAL])
        self.log = log
        self.node.records.log = AccessLog(log, "FRA56-P1", self.node.counters)
        self.viewers = [FakeListener(self.node.pipeline, self.node.fast_path).connect() for _ in range(VIEWERS)]
        self.written = [b""] * VIEWERS
        self.methods: list[list[bytes]] = [[] for _ in range(VIEWERS)]
        """Of the requests on each viewer's present connection."""
        self.judged = 0

    async def lives(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("ask", number, data):
                connection, transport = self.viewers[number]
                if transport.is_closing() or transport.is_lost or transport.has_written_eof:
                    self._connect_again(number)
                    connection, transport = self.viewers[number]
                self.methods[number].append(data.partition(b" ")[0])
                connection.data_received(data)
            case ("answer", which, pieces, closes):
                self.origin.answer(which, pieces, closes=closes)
            case ("leave", number):
                if not self.viewers[number][1].is_lost:
                    self.viewers[number][1].abort()
                self._connect_again(number)
            case ("hang up",):
                asked = [transport for _, transport in self.origin.pending]
                for transport in self.origin.transports:
                    if not transport.is_lost and transport not in asked:
                        transport.close()
            case ("clock", seconds):
                self.node.now += seconds
            case ("invalidate", path):
                self.node.invalidates(path)
            case ("another log",):
                state = self.node.state
                snapshot = state.router.snapshot
                state.replace(snapshot.log_id + "+", snapshot.index, ServedResources(snapshot.distributions))
        await turn(12)

    def _connect_again(self, number: int) -> None:
        self.judge(number)
        self.methods[number].clear()
        self.written[number] += bytes(self.viewers[number][1].written)
        self.viewers[number] = FakeListener(self.node.pipeline, self.node.fast_path).connect()

    def judge(self, number: int) -> None:
        """What a viewer has got on its present connection is responses to what it asked, made of bytes that an origin said of something; only a cut ends one early."""
        transport = self.viewers[number][1]
        is_closed = (transport.is_closing() and not transport.is_aborted) or transport.has_written_eof
        responses, end = read_responses(bytes(transport.written), self.methods[number], is_closed=is_closed)
        assert end is not End.INVALID, bytes(transport.written)
        assert end is End.CLEAN or not is_closed, "broken off, and closed as if it were whole"
        for response in responses:
            if response.is_whole:
                assert is_of_an_origin(response), response
                self.judged += 1

    def judge_store(self) -> None:
        """An entry's length is that of its body."""
        for entry in self.node.store._entries.values():
            lines = entry.field_lines.lower().split(b"\r\n")
            said = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
            assert said == [entry.length], entry.block[:500]

    def everything(self) -> dict[str, Any]:
        """All that can be seen of it."""
        counters = self.node.counters
        counters.flush()
        return {
            "viewers": [self.written[n] + bytes(self.viewers[n][1].written) for n in range(VIEWERS)],
            "open": [self.viewers[n][1].is_closing() for n in range(VIEWERS)],
            "origin": sorted(self.origin.heard),
            "stored": {
                key: (entry.block, TEMPLATE_VALUES(entry.template), entry.stamp, entry.age_base)
                for key, entry in self.node.store._entries.items()
            },
            "used": self.node.store.statistics.used_bytes,
            "finished": {
                key: (stats.count, stats.sent_bytes, stats.received_bytes) for key, stats in counters.finished.items()
            },
            "fetches": dict(counters.upstream_fetches),
            # A request that waits a turn may get a fresh connection where the other one got an idle one: only a fresh one that is reset counts.
            "errors": {key: count for key, count in counters.upstream_errors.items() if count and key[1] != "reset"},
            "transferred": dict(counters.transferred),
            "collapsed": counters.collapsed_requests,
            "hit for miss": sorted(self.node.pipeline._coalescer._hit_for_miss),
            "internal": counters.internal_errors,
        }

    async def ends(self) -> None:
        for number in range(VIEWERS):
            self.judge(number)
        for _, transport in self.viewers:
            if not transport.is_lost:
                transport.abort()
        for transport in self.origin.transports:
            if not transport.is_lost:
                transport.abort()
        await turn(20)
        assert not self.node.tasks
        self.node.records.flush()
        assert self.node.records.log is not None
        self.node.records.log.close()


def is_of_an_origin(response: Response) -> bool:
    """Whether the body is one that the origins have, as it is or coded on its way, a part of one, or this node's own text."""
    body = response.body
    if not body or any(body in whole for whole in BODIES) or b"could not be satisfied" in body:
        return True
    return response.values(b"content-encoding") == [b"gzip"] and zlib.decompress(body, 31) in BODIES


def make_response(rng: random.Random) -> tuple[bytes, ...]:
    """What an origin says, and in which pieces."""
    fields = rng.sample(FIELDS, rng.choice([0, 1, 1, 2, 3, 4])) + list(rng.choice(BUNDLES))
    body, start = rng.choice(BODIES), rng.choice(STARTS)
    is_chunked = rng.random() < 0.1
    fields.append(b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body))
    if is_chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    if b" 304 " in start:
        body = b""
    data = start + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body
    match rng.randrange(16):
        case 0:
            return (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + data,)
        case 1:
            return (data + b"surplus",)
        case 2:
            return (data[:-1],)
        case 3:
            return (b"nonsense\r\n\r\n",)
        case 4 | 5:
            cut = rng.randrange(1, len(data))
            return data[:cut], data[cut:]
        case 6:
            cut = data.index(b"\r\n\r\n") + 4
            return data[:cut], data[cut:]
        case _:
            return (data,)


def make_request(rng: random.Random) -> bytes:
    fields = rng.sample(REQUEST_FIELDS, rng.choice([0, 0, 0, 0, 1, 2]))
    lines = b"".join(line + b"\r\n" for line in fields)
    method = rng.choice([b"GET"] * 12 + [b"HEAD"])
    return b"%b %b HTTP/1.1\r\nHost: d1.cdn.localhost\r\n%b\r\n" % (method, rng.choice(TARGETS), lines)


def make_step(rng: random.Random) -> tuple[Any, ...]:
    match rng.randrange(24):
        case 0:
            return ("leave", rng.randrange(VIEWERS))
        case 1:
            return ("invalidate", rng.choice(["/a", "/*", "/b"]))
        case 2:
            return ("clock", rng.choice([0.5, 1.0, 30.0, 61.0]))
        case 3:
            return ("hang up",)
        case 4:
            return ("answer", rng.randrange(3), (), True)
        case 5 if rng.random() < 0.5:
            return ("another log",)
        case number if number < 14:
            return ("ask", rng.randrange(VIEWERS), make_request(rng))
        case _:
            return ("answer", rng.randrange(3), make_response(rng), False)


async def live_through(rng: random.Random, folder: Path) -> Counter[str]:
    behavior = rng.choice(BEHAVIORS_MOSTLY)
    tier = rng.choice(["edge", "edge", "with regional", "regional"])
    kinds = {"has_regional": tier == "with regional", "is_regional": tier == "regional"}
    at_once = Side(folder / "at_once.log", behavior, is_at_once=True, **kinds)
    waiting = Side(folder / "waiting.log", behavior, is_at_once=False, **kinds)
    for _ in range(rng.randint(10, 60)):
        step = make_step(rng)
        await at_once.lives(step)
        await waiting.lives(step)
        at_once.judge_store()
        waiting.judge_store()
        assert at_once.everything() == waiting.everything(), step
    await at_once.ends()
    await waiting.ends()
    assert at_once.everything() == waiting.everything()
    assert at_once.log.read_bytes() == waiting.log.read_bytes()
    assert waiting.connections.begun_at_once == 0
    whole = sum(count for (result, _, _), (count, _, _) in at_once.everything()["finished"].items() if result == "miss")
    return Counter(
        at_once=at_once.connections.begun_at_once,
        fetches=len(at_once.origin.heard),
        misses=whole,
        judged=at_once.judged,
    )


@pytest.mark.parametrize("batch", range(examples(2)))
def test_a_fetch_that_begins_at_once_says_stores_logs_and_counts_what_any_other_does(
    batch: int, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    for number in range(100):
        seen += asyncio.run(live_through(random.Random(1_000 * batch + number), tmp_path / str(number)))
    assert seen["fetches"] > 700 and seen["at_once"] > seen["fetches"] / 12 and seen["judged"] > 700, seen
