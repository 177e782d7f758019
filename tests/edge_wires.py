"""The other ends of the edge node's two kinds of connection, without sockets: a transport, a listener with a clock, and a service that echoes."""

import asyncio
from typing import Any

from edge_node.errors import UpstreamError, ViewerError
from edge_node.exchange import BodyFromViewer, ViewerLeftError
from edge_node.listeners.http1 import Service, ViewerConnection
from edge_node.model import RequestHead
from edge_node.policy.sections import HeaderSection, Recollection
from edge_node.upstream.connection import ResponseSink, UpstreamConnection


class FakeTransport(asyncio.Transport):
    """Keeps what is written; takes of it only as much as the test says, as a socket would."""

    def __init__(self, protocol: asyncio.Protocol, *, takes_everything: bool = True) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.unsent_bytes = 0
        self.is_paused = False
        self.is_lost = False
        self.is_aborted = False
        self.has_written_eof = False
        self._is_closing = False
        self._takes_everything = takes_everything
        protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 40_000) if name == "peername" else default

    def write(self, data: Any) -> None:
        assert not self._is_closing and not self.has_written_eof, "nothing may be written after the end"
        self.written += data
        if not self._takes_everything:
            self.unsent_bytes += len(data)
            if self.unsent_bytes > 65_536:
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def takes(self, count: int) -> None:
        """The peer reads."""
        was_over = self.unsent_bytes > 65_536
        self.unsent_bytes -= count
        if was_over and self.unsent_bytes <= 16_384:
            self.protocol.resume_writing()
        if self._is_closing and not self.unsent_bytes:
            self._lose()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """A held-up viewer is one that does not take 64 KiB, here."""

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
        assert self.is_paused
        self.is_paused = False


class FakeListener:
    """One server's connections, on a clock that the test moves."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.is_draining = False
        self.now = 0.0
        self.open: set[ViewerConnection] = set()
        self.capacity = 10

    def opened(self, connection: ViewerConnection) -> bool:
        self.open.add(connection)
        return len(self.open) <= self.capacity

    def closed(self, connection: ViewerConnection) -> None:
        self.open.discard(connection)

    def clock(self) -> float:
        return self.now

    def connect(self, *, takes_everything: bool = True) -> tuple[ViewerConnection, FakeTransport]:
        connection = ViewerConnection(self)
        return connection, FakeTransport(connection, takes_everything=takes_everything)


class EchoService:
    """Answers each request with what was understood of it: method, target, host and body. A path that begins with /wait is answered when the test says so."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.bodies: list[bytes] = []
        self.waiting: list[tuple[ViewerConnection, RequestHead]] = []
        self.violations: list[ViewerError] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.reads_bodies = True
        self.recollection = Recollection()

    # -- nothing is stored: every request goes the long way, but those of known parts are not parsed again

    def section_of(self, data: bytes) -> HeaderSection | None:
        return self.recollection.section_of(data)

    def head_of(self, line: bytes, section: HeaderSection) -> RequestHead | None:
        return self.recollection.head_of(line, section)

    def answer_known(self, wire: ViewerConnection, section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        return False

    def learn(self, data: bytes, head: RequestHead, *, is_answered: bool) -> None:
        self.recollection.learn(data, head, with_line=is_answered)

    def learn_target(self, head: RequestHead) -> None:
        pass

    def handle(self, wire: ViewerConnection, head: RequestHead, body: BodyFromViewer | None) -> None:
        self.heads.append(head)
        if body is not None and self.reads_bodies:
            task = asyncio.get_running_loop().create_task(self._answer_with_body(wire, head, body))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif head.target.startswith(b"/wait"):
            self.waiting.append((wire, head))
        else:
            self.answer(wire, head, b"", body)

    async def _answer_with_body(self, wire: ViewerConnection, head: RequestHead, body: BodyFromViewer) -> None:
        received = bytearray()
        try:
            while (chunk := await body.next_chunk()) is not None:
                received += chunk
        except ViewerLeftError:
            return
        self.bodies.append(bytes(received))
        self.answer(wire, head, bytes(received), body)

    def answer(
        self, wire: ViewerConnection, head: RequestHead, body: bytes, given: BodyFromViewer | None = None
    ) -> None:
        text = b"%b %b %b %b" % (head.method, head.target, head.host, body)
        keep_alive = wire.may_keep_alive and (given is None or given.is_complete)
        connection = b"keep-alive" if keep_alive else b"close"
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: %b\r\n\r\n%b" % (len(text), connection, text))
        wire.end_exchange(keep_alive=keep_alive)

    def refuse_malformed(self, wire: ViewerConnection, error: ViewerError) -> None:
        self.violations.append(error)
        wire.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % error.status)
        wire.end_exchange(keep_alive=False)


async def turn(times: int = 20) -> None:
    """Let the loop run what is due."""
    for _ in range(times):
        await asyncio.sleep(0)


def statuses(written: bytes | bytearray) -> list[int]:
    """The statuses of the responses in a stream; fails when the stream is not made of whole responses."""
    found = []
    data = bytes(written)
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator and head.startswith(b"HTTP/1.1 "), f"not a response: {head[:100]!r}"
        status = int(head[9:12])
        found.append(status)
        lengths = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        ]
        if status >= 200:
            assert len(lengths) == 1 and len(data) >= lengths[0]
            data = data[lengths[0] :]
    return found


def end_of_exchange(
    connection: UpstreamConnection, sink: ResponseSink, *, is_head: bool = False, read_timeout: float = 60.0
) -> "asyncio.Future[None]":
    """Ask something; the future ends as the exchange does."""
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(error: UpstreamError | None) -> None:
        assert not end.done(), "an exchange ends once"
        if error is None:
            end.set_result(None)
        else:
            end.set_exception(error)

    request = b"GET / HTTP/1.1\r\n\r\n"
    connection.begin(request, sink, ended, is_head=is_head, read_timeout=read_timeout)
    return end
