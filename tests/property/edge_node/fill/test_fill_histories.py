"""Whatever viewers and origins do, each viewer gets whole responses of its own, and nothing of what was for another one or was not to be passed on.

Histories of requests that join each other, viewers that leave, origins that answer in any pieces, fail over, break off, say private, Vary or 304, with error pages and
ranges, in both semantics, through one tier and two. Every byte is read by the strict reader of `tests/fuzz/strict_http.py`; each request says who asks, and each response
that is for one alone says for whom it is.
"""

import asyncio
import random
import re
from collections import Counter
from typing import Any

import pytest

from edge_node.listeners.http1 import ViewerConnection
from edge_node.model.configuration import Peer, Role
from edge_node.model.counters import Counters
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.fetcher import Fetcher
from edge_node.upstream.pool import ConnectionPool
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, origin_message
from tests.conversations.dialogue import Node
from tests.conversations.origins import Pieces
from tests.depth import examples
from tests.edge_wires import FakeListener, FakeTransport, turn
from tests.fuzz.strict_http import End, Response, read_requests, read_responses

STRICT = configuration_pb2.SEMANTICS_RFC9111
PRIMARY, SECONDARY, REGIONAL = "192.0.2.1", "192.0.2.2", "192.0.2.50"
LISTED = (404, 503)
PAGE = "/page.html"
TARGETS = ("/a", "/a", "/a", "/b")
VIEWERS = 5
MOST_ATTEMPTS = 6
"""Two at each origin, and on connections that turned out to be closed."""


class OriginRequest:
    """One request at an origin."""

    def __init__(self, host: str, data: bytes, transport: FakeTransport) -> None:
        self.host = host
        self.transport = transport
        (asked,), end = read_requests(data)
        assert end is End.CLEAN, data
        self.method, self.target = asked.method.decode(), asked.target.decode()
        self.fields = {name.decode(): value.decode("latin-1") for name, value in asked.fields}


class Upstreams:
    """The real pool of one node; behind it origins that answer when they are told to, or another node."""

    def __init__(self, regional: "Node | None" = None) -> None:
        pool = ConnectionPool(asyncio.get_running_loop())
        self.take_idle, self.release = pool.take_idle, pool.release
        self.pending: list[OriginRequest] = []
        self.transports: list[FakeTransport] = []
        self._regional = regional

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        connection = UpstreamConnection(asyncio.get_running_loop())
        if address[0] == REGIONAL:
            assert self._regional is not None
            self.transports.append(pipe(connection, self._regional))
            return connection
        pending = self.pending

        class Transport(FakeTransport):
            def write(self, data: Any) -> None:
                super().write(data)
                pending.append(OriginRequest(address[0], bytes(data), self))

        self.transports.append(Transport(connection))
        return connection


def pipe(near: UpstreamConnection, node: Node) -> FakeTransport:
    """A connection between two nodes."""
    loop = asyncio.get_running_loop()
    ends: list[FakeTransport] = []

    class Transport(FakeTransport):
        def __init__(self, protocol: asyncio.Protocol, other: int) -> None:
            super().__init__(protocol)
            self._other = other

        def write(self, data: Any) -> None:
            if self.is_lost:
                return
            super().write(data)
            loop.call_soon(self._arrives, bytes(data))

        def _arrives(self, data: bytes) -> None:
            other = ends[self._other]
            if not other.is_lost and not other.is_closing():
                other.protocol.data_received(data)

        def _lose(self) -> None:
            was_lost = self.is_lost
            super()._lose()
            if not was_lost:
                loop.call_soon(self._other_hears)

        def _other_hears(self) -> None:
            if not ends[self._other].is_lost:
                ends[self._other].close()

    ends.append(Transport(near, 1))
    far = ViewerConnection(FakeListener(node.pipeline, node.fast_path))
    ends.append(Transport(far, 0))
    return ends[0]


class ViewerTransport(FakeTransport):
    """A viewer that is gone takes nothing, and the node hears of it a turn later."""

    has_left = False

    def leaves(self) -> None:
        self.has_left = True
        self.abort()

    def write(self, data: Any) -> None:
        if not self.has_left:
            super().write(data)


class Viewer:
    """One connection."""

    def __init__(self, node: Node) -> None:
        self.connection = ViewerConnection(FakeListener(node.pipeline, node.fast_path))
        self.transport = ViewerTransport(self.connection)
        self.asked: list[tuple[str, str, str]] = []
        """Method, target, who."""

    @property
    def is_over(self) -> bool:
        return self.transport.is_closing() or self.transport.is_lost or self.transport.has_written_eof


class Lab:
    """Viewers, an edge, perhaps a regional cache, two origins."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.is_strict = rng.random() < 0.5
        self.has_group, self.has_pages = rng.random() < 0.6, rng.random() < 0.3
        self.nodes: list[Node] = []
        self.upstreams: list[Upstreams] = []
        regional = self._node(Role.REGIONAL, None) if rng.random() < 0.4 else None
        self.edge = self._node(Role.EDGE, regional)
        if regional is not None:
            self.edge.state.put_directory([Peer("r-1", Role.REGIONAL, "eu", "FRA", REGIONAL, 80, "")])
        self.viewers = [Viewer(self.edge) for _ in range(VIEWERS)]
        self.bodies: dict[str, set[bytes]] = {}
        """What was said to everybody, by target."""
        self.requests = 0
        self.versions = 0
        self.seen: Counter[str] = Counter()

    def _node(self, role: Role, regional: Node | None) -> Node:
        upstreams = Upstreams(regional)
        counters = Counters()
        changes: dict[str, Any] = {"origin_group_id": "group"} if self.has_group else {}
        behavior = behavior_message(
            semantics=STRICT if self.is_strict else configuration_pb2.SEMANTICS_CLOUDFRONT,
            **changes,
        )
        node = Node(
            behavior,
            role=role,
            policy="s3fifo",
            origins=[
                origin_message(PRIMARY, 80, connection_attempts=2),
                origin_message(SECONDARY, 80, id="second", connection_attempts=2),
            ],
            origin_groups=[
                configuration_pb2.OriginGroup(
                    id="group", primary_origin_id="origin", secondary_origin_id="second", failover_statuses=LISTED
                )
            ],
            upstream=Fetcher(upstreams, counters, lambda: 0.0),
            counters=counters,
        )
        if self.has_pages:
            for status in (404, 500, 502):
                node.message.error_responses.add(
                    error_status=status, minimum_ttl_seconds=5, page_path=PAGE, response_status=status
                )
            node.learns("log-1", 2)
        self.nodes.append(node)
        self.upstreams.append(upstreams)
        return node

    # -- what happens

    def asks(self) -> None:
        rng, number = self.rng, self.rng.randrange(VIEWERS)
        if self.viewers[number].is_over:
            self.replaces(number)
        viewer, who = self.viewers[number], f"w{self.requests}"
        self.requests += 1
        method, target = "HEAD" if rng.random() < 0.05 else "GET", rng.choice(TARGETS)
        lines = [f"{method} {target} HTTP/1.1", "Host: d1.cdn.localhost", f"From: {who}"]
        match rng.randrange(10):
            case 0:
                lines.append(f"Range: bytes={rng.randrange(4)}-{rng.randrange(4, 12)}")
            case 1:
                lines.append('If-None-Match: "1"')
            case 2:
                lines.append("Cache-Control: " + rng.choice(["no-cache", "max-age=0", "stale-if-error=600"]))
        viewer.asked.append((method, target, who))
        viewer.connection.data_received("\r\n".join([*lines, "", ""]).encode())

    def replaces(self, number: int) -> None:
        """This viewer has gone; another one comes."""
        self.judges(self.viewers[number])
        if not self.viewers[number].transport.is_lost:
            self.viewers[number].transport.leaves()
        self.viewers[number] = Viewer(self.edge)

    async def answers(self) -> None:
        pending = [(up, asked) for up in self.upstreams for asked in up.pending if not asked.transport.is_lost]
        if not pending:
            return
        upstreams, asked = self.rng.choice(pending)
        upstreams.pending.remove(asked)
        status, body, fields = self._response(asked)
        is_chunked = body is not None and status not in (304, 206) and self.rng.random() < 0.15
        sent = body or b""
        if is_chunked:
            fields.append("Transfer-Encoding: chunked")
            sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent) if sent else b"0\r\n\r\n"
        elif body is not None:
            fields.append(f"Content-Length: {len(sent)}")
        if asked.method == "HEAD":
            sent = b""
        head = "\r\n".join([f"HTTP/1.1 {status} X", *fields, "", ""]).encode()
        breaks_off = self.rng.random() < 0.08 and len(sent) > 1
        is_slow = self.rng.random() < 0.5
        for piece in self.rng.choice(list(Pieces)).of(head, sent[:-1] if breaks_off else sent):
            if asked.transport.is_lost or asked.transport.is_closing():
                return
            asked.transport.protocol.data_received(piece)
            if is_slow:
                await turn(1)
                if self.rng.random() < 0.1:
                    if self.rng.random() < 0.5:
                        self.asks()
                    else:
                        self.replaces(self.rng.randrange(VIEWERS))
        if breaks_off and not asked.transport.is_lost:
            asked.transport.close()

    def _response(self, asked: OriginRequest) -> tuple[int, bytes | None, list[str]]:
        """Status, body (None: there is none) and fields."""
        rng, who = self.rng, asked.fields.get("from", "nobody")
        is_listed = self.has_group and asked.host == PRIMARY
        choice = rng.random()
        if "if-none-match" in asked.fields and choice < 0.4:
            fields = ['ETag: "1"', "Cache-Control: max-age=30"]
            return 304, None, ['ETag: "1"', "Cache-Control: private", f"X-For: {who}"] if rng.random() < 0.3 else fields
        if choice < 0.2:
            status = rng.choice(LISTED)
            return status, b"LISTED" if is_listed else b"ERROR", ["Cache-Control: max-age=5"]
        if choice < 0.25:
            return 500, b"ERROR", []
        if choice < 0.5 and asked.target != PAGE:
            control = rng.choice(["private", "no-store", "private, max-age=60"])
            return 200, f"for {who};".encode(), [f"Cache-Control: {control}", f"Set-Cookie: for={who}"]
        if choice < 0.6 and self.is_strict and asked.target != PAGE:
            return 200, f"for {who};".encode(), ["Cache-Control: max-age=60", "Vary: From", f"X-For: {who}"]
        self.versions += 1
        version = rng.choice(["1", "1", f"v{self.versions}"])
        body = f"public {asked.target} {version};".encode() * 3
        self.bodies.setdefault(asked.target, set()).add(body)
        fields = [f'ETag: "{version}"', "Cache-Control: " + rng.choice(["max-age=60", "max-age=1", "max-age=0"])]
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.fields.get("range", ""))
        if match and rng.random() < 0.7:
            first, last = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
            return 206, body[first : last + 1], [*fields, f"Content-Range: bytes {first}-{last}/{len(body)}"]
        return 200, body, fields

    # -- what has to hold

    def judges(self, viewer: Viewer) -> None:
        """All that one connection has got."""
        transport, data = viewer.transport, bytes(viewer.transport.written)
        is_closed = (transport.is_closing() and not transport.is_aborted) or transport.has_written_eof
        responses, end = read_responses(data, [method.encode() for method, _, _ in viewer.asked], is_closed=is_closed)
        assert end is not End.INVALID, data
        assert end is End.CLEAN or not is_closed, data
        assert b"LISTED" not in data, data
        for response, (_, target, who) in zip(responses, viewer.asked, strict=False):
            for name in (b"x-for", b"set-cookie"):
                for value in response.values(name):
                    assert value.removeprefix(b"for=") == who.encode(), (who, response)
            for other in re.findall(rb"for (w\d+);", response.body):
                assert other == who.encode(), (who, response)
            if response.is_whole and response.body:
                assert self._is_right(response, target), (who, target, response)
            self.seen[f"{response.status}"] += response.is_whole

    def _is_right(self, response: Response, target: str) -> bool:
        """The body is that of one version of what was asked for, of the page for an error, of an error, or a text of the node's own."""
        body = response.body
        if response.status >= 400:
            said = body == b"ERROR" or b"could not be satisfied" in body or body in self.bodies.get(PAGE, ())
            return said or b"Bad" in body
        if response.status == 206:
            return any(body in whole for whole in self.bodies.get(target, ())) or b"for w" in body
        return body in self.bodies.get(target, ()) or body.startswith(b"for w")

    def judges_all(self) -> None:
        for viewer in self.viewers:
            self.judges(viewer)
        for node in self.nodes:
            assert node.counters.internal_errors == 0
            for entry in node.store._entries.values():
                assert b"LISTED" not in entry.block
                lines = entry.field_lines.lower().split(b"\r\n")
                said = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
                assert said == [entry.length], entry.block
                held = entry.block[entry.body_start :]
                assert b"for w" not in held or self.is_strict, entry.block

    async def ends(self) -> None:
        for viewer in self.viewers:
            if not viewer.transport.is_lost:
                viewer.transport.leaves()
        await turn(40)
        for _ in range(MOST_ATTEMPTS):  # what goes on for the store alone is tried again
            for upstreams in self.upstreams:
                for transport in tuple(upstreams.transports):
                    if not transport.is_lost:
                        transport.abort()
            await turn(40)
        for node in self.nodes:
            assert not node.tasks, "a fetch without an end"
            assert node.store.statistics.used_bytes == sum(e.cost_bytes for e in node.store._entries.values())


async def live_through(seed: str) -> Counter[str]:
    rng = random.Random(seed)
    lab = Lab(rng)
    for _ in range(rng.randint(20, 80)):
        match rng.randrange(20):
            case number if number < 9:
                lab.asks()
            case number if number < 16:
                await lab.answers()
            case 16:
                lab.replaces(rng.randrange(VIEWERS))
            case 17:
                seconds = rng.choice([1.0, 6.0, 31.0, 61.0])
                for node in lab.nodes:
                    node.passes(seconds)
            case 18 if rng.random() < 0.3:
                for node in lab.nodes:
                    node.invalidates(rng.choice(["/*", "/b"]))
            case _:
                pass
        await turn(rng.choice([0, 1, 3, 12]))
        lab.judges_all()
    await lab.ends()
    return lab.seen


@pytest.mark.parametrize("batch", range(examples(2)))
def test_nobody_gets_what_was_for_another_one_or_what_is_no_response(batch: int) -> None:
    seen: Counter[str] = Counter()
    for number in range(40):
        seed = f"{batch}:{number}"
        try:
            seen += asyncio.run(live_through(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert seen["200"] > 130 and seen["206"] > 3 and seen["304"] > 3, seen
