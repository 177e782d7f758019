"""The other ends of the edge node's two kinds of connection, without sockets: a transport, a listener with a clock, and a service that echoes."""

import asyncio
from collections import deque
from math import inf
from typing import Any

from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.downstream import DownstreamHead, DownstreamStream
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.listeners.http1 import ViewerConnection
from edge_node.listeners.serving import FastPath, KeptAliveStream, OpenConnection, Service
from edge_node.model.configuration import Role
from edge_node.model.errors import UpstreamError, UpstreamFailure, ViewerError, ViewerLeftError
from edge_node.model.http import RequestHead
from edge_node.policy.fence import Fence
from edge_node.policy.parse_cache import HeaderSection, ParseCache
from edge_node.policy.response_head import LocalNode
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.response_sink import ResponseSink
from tests.fuzz.strict_http import End, read_requests, read_responses
from tests.turns import settle


class FakeTransport(asyncio.Transport):
    """Keeps what is written; takes of it only as much as the test says, as a socket would. What is fed to it while reading is paused waits, as it would in a socket."""

    def __init__(self, protocol: asyncio.Protocol, *, takes_everything: bool = True) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.unsent_bytes = 0
        self.is_paused = False
        """Reading is."""
        self.is_lost = False
        self.is_aborted = False
        self.has_written_eof = False
        self._is_closing = False
        self._takes_everything = takes_everything
        self.heard = bytearray()
        """What the peer has said."""
        self._fed: deque[bytes | None] = deque()
        """What the peer has sent and the node has not read; None: the end."""
        self._is_delivering = False
        self._high, self._low = 65_536, 16_384  # asyncio's
        self._is_writing_paused = False
        protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 40_000) if name == "peername" else default

    # -- what the peer does

    def feed(self, data: bytes) -> None:
        """The peer sends: heard at once if the node reads, else when it does again. After the end of the connection nobody hears it."""
        if data:
            self.heard += data
            self._fed.append(data)
            self._deliver()

    def feed_eof(self) -> None:
        """The peer has said all. The transport closes, unless the protocol wants to write on."""
        self._fed.append(None)
        self._deliver()

    @property
    def unread_bytes(self) -> int:
        """What was fed and waits."""
        return sum(len(data) for data in self._fed if data is not None)

    def takes(self, count: int) -> None:
        """The peer reads."""
        self.unsent_bytes -= min(count, self.unsent_bytes)
        if self._is_writing_paused and self.unsent_bytes <= self._low:
            self._is_writing_paused = False
            self.protocol.resume_writing()
        if self._is_closing and not self.unsent_bytes:
            self._lose()

    def _deliver(self) -> None:
        if self._is_delivering:  # in the middle of a read: the next one comes after it
            return
        self._is_delivering = True
        try:
            while self._fed and not self.is_paused and not self._is_closing:
                data = self._fed.popleft()
                if data is not None:
                    self.protocol.data_received(data)
                elif not self.protocol.eof_received():
                    self.close()
        finally:
            self._is_delivering = False

    # -- what the node does

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def write(self, data: Any) -> None:
        assert not self._is_closing and not self.has_written_eof, "nothing may be written after the end"
        self.written += data
        if not self._takes_everything:
            self.unsent_bytes += len(data)
            self._pause_protocol_beyond_limit()

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As asyncio does it: a quarter, or four times, of what is given; who is over the new limit is told."""
        if high is None:
            high = 65_536 if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low
        assert self._high >= self._low >= 0
        self._pause_protocol_beyond_limit()

    def _pause_protocol_beyond_limit(self) -> None:
        if self.unsent_bytes > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_written_eof = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        if not self.unsent_bytes:
            self._lose()

    def abort(self) -> None:
        self._is_closing = self.is_aborted = True
        self._lose()

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        """What waits is heard in a later turn of the loop, as it is from a socket."""
        assert self.is_paused
        self.is_paused = False
        asyncio.get_running_loop().call_soon(self._deliver)


NODE = LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 abc.cloudfront.net (CloudFront)")


def response_head(length: int | None, status: int = 200, *, must_close: bool = False) -> DownstreamHead:
    """A plain one."""
    word = b"Miss from cloudfront"
    return DownstreamHead(status, b"", Result.MISS, Reason.NOT_STORED, word, b"id", None, b"", length, must_close)


def reply(downstream: DownstreamStream, status: int, body: bytes = b"", *, must_close: bool = False) -> None:
    """Answer at once."""
    length = None if status == 204 else len(body)
    head = DownstreamHead(
        status, b"", Result.MISS, Reason.NOT_STORED, b"Miss from cloudfront", b"id", None, b"", length, must_close
    )
    downstream.send_whole(head, [body] if body else [])
    downstream.end()
    downstream.release()


class FakeListener:
    """One server's connections, on a clock that the test moves."""

    def __init__(self, service: Service, fast_path: FastPath) -> None:
        self.service = service
        self.fast_path = fast_path
        self.node = NODE
        self.is_draining = False
        self.now = 0.0
        self.open: set[OpenConnection] = set()
        self.capacity = 10

    def opened(self, connection: OpenConnection) -> bool:
        self.open.add(connection)
        return len(self.open) <= self.capacity

    def closed(self, connection: OpenConnection) -> None:
        self.open.discard(connection)

    def clock(self) -> float:
        return self.now

    def connect(self, *, takes_everything: bool = True) -> tuple[ViewerConnection, FakeTransport]:
        connection = ViewerConnection(self)
        return connection, FakeTransport(connection, takes_everything=takes_everything)


class BodyReading:
    """A request whose body is read, at its stream, as the node's own responses are."""

    def __init__(self, body: RequestBodyStream) -> None:
        self.body = body

    def credit_returned(self) -> None:
        """What is answered here is sent in one piece."""

    def viewer_left(self) -> None:
        self.body.break_off()


class EchoService:
    """Answers each request with what was understood of it: method, target, host and body. A path that begins with /wait is answered when the test says so."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.bodies: list[bytes] = []
        self.waiting: list[tuple[DownstreamStream, RequestHead]] = []
        self.violations: list[ViewerError] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.streams: list[DownstreamStream] = []
        self.reads_bodies = True
        self.parse_cache = ParseCache()
        self.remembered_targets: list[bytes] = []
        """Of requests of known parts that were answered at once."""

    # -- nothing is stored: every request takes the slow path, but those of known parts are not parsed again

    def section_of(self, data: bytes) -> HeaderSection | None:
        return self.parse_cache.section_of(data)

    def head_of(self, line: bytes, section: HeaderSection) -> RequestHead | None:
        return self.parse_cache.head_of(line, section)

    def answer(self, wire: KeptAliveStream, section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        return False

    def remember(self, data: bytes, head: RequestHead, *, is_answered: bool) -> None:
        self.parse_cache.remember(data, head, with_line=is_answered)

    def remember_target(self, head: RequestHead) -> None:
        self.remembered_targets.append(head.target)

    def handle(self, downstream: DownstreamStream, head: RequestHead, body: RequestBodyStream | None) -> None:
        self.heads.append(head)
        self.streams.append(downstream)
        if body is not None and self.reads_bodies:
            downstream.begin(BodyReading(body))
            body.take_up()
            task = asyncio.get_running_loop().create_task(self._answer_with_body(downstream, head, body))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif head.target.startswith(b"/wait"):
            self.waiting.append((downstream, head))
        else:
            self.echo(downstream, head, b"")

    async def _answer_with_body(self, downstream: DownstreamStream, head: RequestHead, body: RequestBodyStream) -> None:
        received = bytearray()
        try:
            while (chunk := await body.next_chunk()) is not None:
                received += chunk
        except ViewerLeftError:
            return
        self.bodies.append(bytes(received))
        self.echo(downstream, head, bytes(received))

    def echo(self, downstream: DownstreamStream, head: RequestHead, body: bytes) -> None:
        text = b"%b %b %b %b" % (head.method, head.target, head.host, body)
        if head.method == b"HEAD":
            text = b""
        reply(downstream, 200, text)

    def refuse_malformed(self, downstream: DownstreamStream, error: ViewerError) -> None:
        self.violations.append(error)
        reply(downstream, error.status)


async def turn(times: int = 20) -> None:
    """Let the loop run what is due, for so many turns at most."""
    await settle(times)


def statuses(transport: FakeTransport) -> list[int]:
    """The statuses of what a viewer got, read strictly: whole responses to what it sent, and nothing else."""
    methods = [request.method for request in read_requests(bytes(transport.heard))[0]]
    responses, end = read_responses(bytes(transport.written), [*methods, b"GET"], is_closed=False)
    assert end is End.CLEAN, f"not responses, after {len(responses)} of them: {bytes(transport.written[-200:])!r}"
    return [response.status for response in responses]


def end_of_exchange(
    connection: UpstreamConnection, sink: ResponseSink, *, is_head: bool = False, read_timeout: float = 60.0
) -> "asyncio.Future[None]":
    """Ask something; the future ends as the exchange does."""
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(failure: UpstreamFailure | None) -> None:
        assert not end.done(), "an exchange ends once"
        if failure is None:
            end.set_result(None)
        else:
            end.set_exception(
                UpstreamError(
                    failure.kind, failure.detail, failure.is_request_untouched, failure.is_on_reused_connection
                )
            )

    request = b"GET / HTTP/1.1\r\n\r\n"
    connection.begin(request, sink, ended, is_head=is_head, read_timeout=read_timeout)
    return end


def leased_fence() -> Fence:
    """Of a node that holds a lease for as long as the test lasts."""
    fence = Fence(0.0)
    fence.leased(inf)
    return fence
