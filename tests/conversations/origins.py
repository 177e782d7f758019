"""Origins that a test speaks for behind the real `Fetcher`: which is asked, how often, and what follows from how it fails.

origins = Origins()
node = Node(..., fetcher=origins.fetcher)
link = await origins.asked("192.0.2.1")     # the first connection to it
link.answers(503, b"broken")
"""

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import assert_never

from edge_node.model.counters import Counters
from edge_node.model.errors import UpstreamError, UpstreamErrorKind
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.fetcher import Fetcher
from tests.conversations.dialogue import TextHeader, flush
from tests.edge_wires import FakeTransport, turn
from tests.fuzz.strict_http import End, Request, read_requests


class Pieces(Enum):
    """In which reads a response comes."""

    HEAD_AND_BODY = "the head, then the body"
    ONE = "all in one"
    BYTES = "byte by byte"
    HEAD_AND_SOME = "the head with the first byte of the body, then the rest"

    def of(self, head: bytes, body: bytes) -> list[bytes]:
        match self:
            case Pieces.HEAD_AND_BODY:
                return [head, body] if body else [head]
            case Pieces.ONE:
                return [head + body]
            case Pieces.BYTES:
                return [bytes([byte]) for byte in head + body]
            case Pieces.HEAD_AND_SOME:
                return [head + body[:1], body[1:]] if len(body) > 1 else [head + body]
            case _ as unreachable:
                assert_never(unreachable)


usual_pieces = Pieces.HEAD_AND_BODY
"""Where a test does not say (conftest.py)."""


class Link:
    """One exchange with an origin, on a real connection without a socket."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.connection = UpstreamConnection(asyncio.get_running_loop())
        self._transport = FakeTransport(self.connection)

    @property
    def line(self) -> bytes:
        """The request's; empty until it has come."""
        return b"" if self._asked is None else self._asked.raw.partition(b"\r\n")[0]

    @property
    def request(self) -> dict[str, str]:
        return {} if self._asked is None else {name.decode(): value.decode() for name, value in self._asked.fields}

    @property
    def body(self) -> bytes:
        """As far as it has come, without its framing."""
        return b"" if self._asked is None else self._asked.body

    @property
    def is_heard_out(self) -> bool:
        """The request has come whole."""
        return self._asked is not None and self._asked.is_whole

    @property
    def is_closed(self) -> bool:
        return self._transport.is_closing()

    @property
    def _asked(self) -> Request | None:
        """What the node has written, read strictly: one request, or the beginning of it."""
        requests, end = read_requests(bytes(self._transport.written))
        assert end is not End.INVALID and len(requests) <= 1, bytes(self._transport.written)
        return requests[0] if requests else None

    def begins(self, status: int, *headers: TextHeader) -> "Link":
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return self.sends(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())

    def sends(self, data: bytes) -> "Link":
        if not self.is_closed:
            self.connection.data_received(data)
        return self

    def ends(self) -> None:
        """By the end of the connection; one whose length is known has ended by itself."""
        if not self.is_closed:
            self._transport.close()

    def answers(self, status: int, body: bytes, *headers: TextHeader, pieces: Pieces | None = None) -> None:
        """A whole response; a real peer's comes in any pieces, and the node must not care."""
        for piece in self._whole(status, body, headers, pieces or usual_pieces):
            self.sends(piece)

    async def answers_slowly(self, status: int, body: bytes, *headers: TextHeader, pieces: Pieces) -> None:
        """The same, with turns of the loop between the pieces, in which whoever waits can act."""
        for piece in self._whole(status, body, headers, pieces):
            self.sends(piece)
            await turn()

    def _whole(self, status: int, body: bytes, headers: Sequence[TextHeader], pieces: Pieces) -> list[bytes]:
        lines = "".join(f"{name}: {value}\r\n" for name, value in (*headers, ("content-length", str(len(body)))))
        head = f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode()
        return pieces.of(head, b"" if self.line.startswith(b"HEAD ") else body)

    def fails(self, kind: UpstreamErrorKind) -> None:
        self.connection.give_up(kind, "the test said so")


class Origins:
    """In the place of `ConnectionPool`, with a real fetcher in front."""

    def __init__(self) -> None:
        self.now = 0.0
        self.links: list[Link] = []
        self.attempts: list[str] = []
        """The hosts to which connections were tried, in order."""
        self.unreachable: dict[str, UpstreamErrorKind] = {}
        self.counters = Counters()
        self.fetcher = Fetcher(self, self.counters, lambda: self.now)

    def to(self, host: str) -> Sequence[Link]:
        return [link for link in self.links if link.host == host]

    async def asked(self, host: str, number: int = 1) -> Link:
        """The n-th exchange with a host, as soon as it begins."""
        await flush(lambda: len(self.to(host)) >= number and self.to(host)[number - 1].line)
        return self.to(host)[number - 1]

    # -- edge_node.upstream.pool.ConnectionPool

    def take_idle(self, address: tuple[str, int]) -> None:
        del address

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        del timeout_seconds
        host = address[0]
        self.attempts.append(host)
        await asyncio.sleep(0)
        if host in self.unreachable:
            raise UpstreamError(self.unreachable[host], "the test said so", is_request_untouched=True)
        link = Link(host)
        self.links.append(link)
        return link.connection

    def release(self, address: tuple[str, int], connection: UpstreamConnection, keepalive_seconds: float) -> None:
        del address, keepalive_seconds
        connection.close()
