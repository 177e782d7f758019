"""Origins that a test speaks for behind the real `Fetcher`: which is asked, how often, and what follows from how it fails.

origins = Origins()
node = Node(..., fetcher=origins.fetcher)
link = await origins.asked("192.0.2.1")     # the first connection to it
link.answers(503, b"broken")
"""

import asyncio
from collections.abc import Sequence

from edge_node.counters import Counters
from edge_node.errors import UpstreamError, UpstreamErrorKind
from edge_node.policy.upstream_requests import parse_request
from edge_node.upstream.connection import Ended, ResponseSink, make_response_head
from edge_node.upstream.fetching import Fetcher
from tests.conversations.dialogue import TextHeader, settle


class Link:
    """In the place of `UpstreamConnection`: one exchange with an origin."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.line = b""
        self.request: dict[str, str] = {}
        self.received_bytes = self.sent_bytes = 0
        self.is_closed = False
        self.body = bytearray()
        self._sink: ResponseSink | None = None
        self._ended: Ended = lambda error: None

    # -- what the test says

    def begins(self, status: int, *headers: TextHeader) -> "Link":
        fields = [(name.lower().encode(), value.encode()) for name, value in headers]
        if self._sink is not None:
            self._sink.head_arrived(make_response_head(status, b"X", fields))
        return self

    def sends(self, data: bytes) -> "Link":
        if self._sink is not None:
            self._sink.body_arrived(data)
        return self

    def ends(self) -> None:
        self._end(None)

    def answers(self, status: int, body: bytes, *headers: TextHeader) -> None:
        self.begins(status, *headers, ("content-length", str(len(body)))).sends(body).ends()

    def fails(self, kind: UpstreamErrorKind) -> None:
        self.give_up(kind, "the test said so")

    # -- what the fetcher says

    def begin(self, request: bytes, sink: ResponseSink, ended: Ended, *, is_head: bool, read_timeout: float) -> None:
        del is_head, read_timeout
        self.line, fields = parse_request(request.removesuffix(b"\r\n"))
        self.request = {name.decode().lower(): value.decode() for name, value in fields}
        self._sink, self._ended = sink, ended

    def give_up(self, kind: UpstreamErrorKind, detail: str) -> None:
        self.close()
        self._end(UpstreamError(kind, detail))

    def _end(self, error: UpstreamError | None) -> None:
        if self._sink is not None:
            self._sink = None
            self._ended(error)

    def write(self, data: bytes) -> None:
        self.body += data

    async def drain(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


class Origins:
    """In the place of `ConnectionPool`, with a real fetcher in front."""

    def __init__(self) -> None:
        self.now = 0.0
        self.links: list[Link] = []
        self.attempts: list[str] = []
        """The hosts to which connections were tried, in order."""
        self.unreachable: dict[str, UpstreamErrorKind] = {}
        self.counters = Counters()
        self.fetcher = Fetcher(self, self.counters, lambda: self.now)  # type: ignore[arg-type]  # same methods, no sockets

    def to(self, host: str) -> Sequence[Link]:
        return [link for link in self.links if link.host == host]

    async def asked(self, host: str, number: int = 1) -> Link:
        """The n-th exchange with a host, as soon as it begins."""
        await settle(lambda: len(self.to(host)) >= number and self.to(host)[number - 1].line)
        return self.to(host)[number - 1]

    # -- edge_node.upstream.pool.ConnectionPool

    def take_idle(self, address: tuple[str, int]) -> None:
        del address

    async def connect(self, address: tuple[str, int], timeout: float) -> Link:
        del timeout
        host = address[0]
        self.attempts.append(host)
        await asyncio.sleep(0)
        if host in self.unreachable:
            raise UpstreamError(self.unreachable[host], "the test said so", is_request_untouched=True)
        link = Link(host)
        self.links.append(link)
        return link

    def give_back(self, address: tuple[str, int], connection: Link, keepalive_seconds: float) -> None:
        del address, keepalive_seconds
        connection.close()
