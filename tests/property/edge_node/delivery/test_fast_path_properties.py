"""The fast path and the pipeline say the same: over any history, what a connection that takes the fast path wherever it is open sends, logs and counts is byte for byte
what connections send, log and count for which every request is parsed and decided anew."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_node.control.resource_reader import read_geo_table
from edge_node.listeners.http1 import ViewerConnection
from edge_node.listeners.serving import FastPath, KeptAliveStream
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.observability.access_log import AccessLog
from edge_node.policy.parse_cache import HeaderSection
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetch_sink import FetchSink, RequestBody
from proto.cdn.v1 import configuration_pb2
from tests.builders import (
    ALL,
    behavior_message,
    caching_disabled,
    geo_table_message,
    listed,
    policy_message,
    read_distribution,
)
from tests.conversations.dialogue import Node, ServingFetcher
from tests.depth import examples
from tests.edge_state import put_distribution, reconfigured
from tests.edge_wires import FakeListener, FakeTransport, turn
from tests.fuzz.strict_http import End, read_requests, read_responses

# -- the world


class InstantUpstream(ServingFetcher):
    """Answers every fetch at once; what with, says the first letter of the path, and the version that the origin is at."""

    version = 1

    async def serve(
        self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> None:
        path = targets[0].request.split(b" ")[1]
        status, lifetime, size = ORIGIN.get(path[1:2], ORIGIN[b"a"])
        etag = b'"%d"' % self.version
        fields = [
            (b"cache-control", lifetime),
            (b"content-type", b"text/plain"),
            (b"date", b"Fri, 15 Jan 2027 07:00:00 GMT"),
            (b"last-modified", b"Fri, 15 Jan 2027 06:00:00 GMT"),
            (b"etag", etag),
        ]
        if etag in targets[0].request and b"if-none-match" in targets[0].request:
            sink.head_arrived(make_response_head(304, b"Not Modified", fields))
            return
        content = (b"%d" % self.version + path) * (size // (len(path) + 1) + 1)
        fields.append((b"content-length", b"%d" % size))
        sink.head_arrived(make_response_head(status, b"As It Is", fields))
        if method != b"HEAD" and size:
            sink.body_arrived(content[:size])


ORIGIN = {
    b"a": (200, b"max-age=60", 5),
    b"b": (200, b"max-age=1, stale-while-revalidate=5", 1_000),
    b"c": (200, b"max-age=60", 40_000),
    b"d": (200, b"max-age=60", 200_000),
    b"e": (404, b"max-age=60", 10),
    b"f": (301, b"max-age=60", 0),
    b"g": (200, b"no-cache", 7),
    b"h": (200, b"no-store", 7),
}

BEHAVIORS: list[configuration_pb2.Behavior] = [
    behavior_message(),
    behavior_message(policy=policy_message(accept_encoding_gzip=True, accept_encoding_brotli=True)),
    behavior_message(policy=policy_message(query_strings=ALL)),
    behavior_message(policy=policy_message(headers=listed("x-a"))),
    behavior_message(policy=policy_message(cookies=listed("c"))),
    behavior_message(policy=caching_disabled()),
    behavior_message(semantics=configuration_pb2.SEMANTICS_RFC9111),
    behavior_message(viewer_protocol_policy=configuration_pb2.VIEWER_PROTOCOL_POLICY_REDIRECT_TO_HTTPS),
    behavior_message(viewer_protocol_policy=configuration_pb2.VIEWER_PROTOCOL_POLICY_HTTPS_ONLY),
]

HOME, ABROAD = "192.0.2.7", "198.51.100.9"
VIEWERS = [(HOME, b"http")] * 6 + [(ABROAD, b"http"), (HOME, b"https"), (ABROAD, b"https")]
"""Addresses and schemes of connections."""
RESTRICTIONS = [
    configuration_pb2.GeoRestriction(type=configuration_pb2.GeoRestriction.TYPE_ALLOW_LIST, countries=["DE"]),
    configuration_pb2.GeoRestriction(type=configuration_pb2.GeoRestriction.TYPE_DENY_LIST, countries=["FR"]),
    None,
]
COUNTRIES: list[dict[str, str]] = [
    {f"{HOME}/32": "DE", f"{ABROAD}/32": "FR"},
    {f"{HOME}/32": "FR", f"{ABROAD}/32": "DE"},
    {},
]


class CountingFastPath:
    """The node's, and how often it answered; closed, it remembers no section, so that every request is parsed and decided anew."""

    def __init__(self, fast_path: FastPath, *, is_open: bool) -> None:
        self.section_of = fast_path.section_of if is_open else lambda data: None
        self.head_of = fast_path.head_of
        self.remember = fast_path.remember
        self.remember_target = fast_path.remember_target
        self.answers = 0
        self._fast_path = fast_path

    def answer(self, wire: KeptAliveStream, section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        is_answered = self._fast_path.answer(wire, section, line, request_bytes)
        self.answers += is_answered
        return is_answered


class Side:
    """One of the two nodes, with its log."""

    def __init__(self, log: Path, behavior: int, *, is_fast: bool) -> None:
        self.upstream = InstantUpstream()
        self.node = Node(BEHAVIORS[behavior], fetcher=self.upstream)
        self.node.records.log = AccessLog(log, "FRA56-P1", self.node.counters)
        self.log = log
        self._is_fast = is_fast
        self.fast_path = CountingFastPath(self.node.fast_path, is_open=is_fast)
        self._connections: dict[tuple[str, bytes], tuple[ViewerConnection, FakeTransport]] = {}

    @property
    def fast_answers(self) -> int:
        return self.fast_path.answers

    def _connection_of(self, viewer: tuple[str, bytes]) -> tuple[ViewerConnection, FakeTransport]:
        """The one that it keeps alive, on the fast side; or another one."""
        known = self._connections.get(viewer) if self._is_fast else None
        if known is not None and not known[1].is_closing() and not known[1].has_written_eof:
            return known
        address, scheme = viewer
        connection, transport = FakeListener(self.node.pipeline, self.fast_path).connect()
        connection.facts = ConnectionFacts(address, 40_000, scheme)
        self._connections[viewer] = connection, transport
        return connection, transport

    async def asks(self, viewer: tuple[str, bytes], *reads: bytes) -> bytes:
        """What a viewer gets, that sends this in so many pieces."""
        connection, transport = self._connection_of(viewer)
        before = len(transport.written)
        for data in reads:
            if not transport.is_closing():
                connection.data_received(data)
            await turn(30)
        got = bytes(transport.written[before:])
        if not self._is_fast:  # all that this connection has heard and said
            methods = [request.method for request in read_requests(b"".join(reads))[0]]
            _, end = read_responses(got, [*methods, b"GET"], is_closed=transport.is_closing())
            assert end is not End.INVALID, got
        return got

    def changes(self, step: tuple[object, ...]) -> None:
        """What is no request."""
        node = self.node
        match step:
            case ("clock", float() as seconds):
                node.now += seconds
            case ("invalidate", str() as path):
                node.invalidates(path)
            case ("origin",):
                self.upstream.version += 1
            case ("configure", int() as number):
                node.message.default_behavior.CopyFrom(BEHAVIORS[number])
                self._put()
            case ("enable", bool() as is_enabled):
                node.message.enabled = is_enabled
                self._put()
            case ("lease", float() as seconds):
                node.state.fence.leased(node.now + seconds)
            case ("no lease",):
                node.state.fence.lease_lost()
            case ("restrict", int() as number):
                node.message.ClearField("geo_restriction")
                node.message.MergeFrom(configuration_pb2.Distribution(geo_restriction=RESTRICTIONS[number]))
                self._put()
            case ("move", int() as number):
                table = read_geo_table(geo_table_message(COUNTRIES[number]))
                reconfigured(node.state, node.state.applied_index + 1, geo_table=table)

    def _put(self) -> None:
        state = self.node.state
        put_distribution(state, state.applied_index + 1, read_distribution(self.node.message))


# -- histories

FIELDS = [
    b"Accept: */*",
    b"Accept-Encoding: gzip",
    b"Accept-Encoding: br, gzip",
    b"User-Agent: one",
    b"User-Agent: two",
    b"Referer: http://a/",
    b"Cookie: c=1",
    b"Cookie: c=2; d=3",
    b"X-A: 1",
    b"X-A: 2",
    b"Cache-Control: no-cache",
    b"Cache-Control: max-age=0",
    b'If-None-Match: "1"',
    b'If-None-Match: "2", W/"1"',
    b"If-Modified-Since: Fri, 15 Jan 2027 06:30:00 GMT",
    b"If-Match: *",
    b"Range: bytes=0-1",
    b"Range: bytes=1-2,4-4",
    b"Range: bytes=99999999-",
    b'If-Range: "1"',
    b"Connection: close",
]
TARGETS = [b"/%c" % letter for letter in b"aaaabbccdefgh"] + [b"/a?x=1", b"/a?x=2", b"/b/../a", b"/%61"]
METHODS = [b"GET"] * 12 + [b"HEAD", b"OPTIONS", b"POST"]
BEHAVIORS_AT_FIRST = [0, 0, 0, 1, 1, 1, 2, 3, 4, 6, 7, 8]


def make_request(rng: random.Random) -> bytes:
    """A head with some fields, each at most once."""
    fields = {line.split(b":")[0]: line for line in rng.sample(FIELDS, rng.choice([0, 0, 1, 1, 2, 3]))}
    version = rng.choice([b"HTTP/1.1"] * 15 + [b"HTTP/1.0"])
    lines = b"".join(line + b"\r\n" for line in fields.values())
    return b"%b %b %b\r\nHost: d1.cdn.localhost\r\n%b\r\n" % (rng.choice(METHODS), rng.choice(TARGETS), version, lines)


def make_change(rng: random.Random) -> tuple[object, ...]:
    """Time passes, mostly; or something is changed."""
    match rng.randrange(12):
        case 11:
            return ("lease", rng.choice([0.5, 2.0, 1e9]))
        case 10:
            return ("no lease",) if rng.random() < 0.3 else ("lease", 1e9)
        case 9:
            return ("restrict", rng.randrange(len(RESTRICTIONS)))
        case 8:
            return ("move", rng.randrange(len(COUNTRIES)))
        case 0:
            return ("invalidate", rng.choice(["/a", "/*", "/nothing"]))
        case 1:
            return ("origin",)
        case 2:
            return ("configure", rng.randrange(len(BEHAVIORS)))
        case 3:
            return ("enable", rng.random() < 0.8)
        case _:
            return ("clock", rng.choice([0.25, 0.5, 1.0, 3.0, 30.0, 61.0]))


def make_history(rng: random.Random) -> list[tuple[object, ...]]:
    """Requests that are often repeated, and now and then a change."""
    pool = [make_request(rng) for _ in range(rng.randint(2, 6))]
    return [
        make_change(rng)
        if rng.random() < 0.15
        else ("ask", rng.choice(VIEWERS), make_reads(rng, pool), rng.randint(1, 6))
        for _ in range(rng.randint(10, 40))
    ]


def make_reads(rng: random.Random, pool: list[bytes]) -> tuple[bytes, ...]:
    """A request as it arrives: in one piece, mostly; or in two, or together with the one that follows it, or as what is not a request where it stands."""
    request = rng.choice(pool)
    match rng.randrange(24):
        case 0:
            cut = rng.randrange(1, len(request))
            return request[:cut], request[cut:]
        case 1:
            return (request + rng.choice(pool),)
        case 2:
            return rng.choice(pool)[:-2] + b"X-B: ", request
        case 3:
            return rng.choice(pool)[:-2] + b"Content-Length: %d\r\n\r\n" % len(request), request
        case _:
            return (request,)


async def live_through(history: list[tuple[object, ...]], behavior: int, folder: Path) -> tuple[int, int]:
    """How many requests there were, and how many of them took the fast path."""
    fast = Side(folder / "fast.log", behavior, is_fast=True)
    slow = Side(folder / "slow.log", behavior, is_fast=False)
    asked = 0
    for step in history:
        if step[0] != "ask":
            for side in (fast, slow):
                side.changes(step)
            continue
        _, viewer, reads, times = step
        assert isinstance(viewer, tuple) and isinstance(reads, tuple) and isinstance(times, int)
        for _ in range(times):
            asked += 1
            assert await fast.asks(viewer, *reads) == await slow.asks(viewer, *reads), reads
    assert slow.fast_answers == 0
    stats_by_outcome = [
        {
            key: (stats.count, stats.sent_bytes, stats.received_bytes)
            for key, stats in side.node.counters.finished.items()
        }
        for side in (fast, slow)
    ]
    assert stats_by_outcome[0] == stats_by_outcome[1]
    for side in (fast, slow):
        side.node.records.flush()
        assert side.node.records.log is not None
        side.node.records.log.close()
    assert fast.log.read_bytes() == slow.log.read_bytes()
    return asked, fast.fast_answers


@pytest.mark.parametrize("batch", range(examples(2)))
def test_the_fast_path_and_the_pipeline_send_log_and_count_the_same(batch: int, tmp_path: Path) -> None:
    asked = answered_short = 0
    for number in range(100):
        rng = random.Random(1_000 * batch + number)
        folder = tmp_path / str(number)
        more, fast = asyncio.run(live_through(make_history(rng), rng.choice(BEHAVIORS_AT_FIRST), folder))
        asked, answered_short = asked + more, answered_short + fast
    assert asked > 6_000 and answered_short > asked / 8, f"{answered_short} of {asked} took the fast path"
