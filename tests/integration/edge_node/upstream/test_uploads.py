"""Request bodies against origins that answer early, keep the connection open and do not read, and viewers that are slow: raw sockets on both sides.

Every byte that an origin got is read again by `tests/fuzz/strict_http.py`: a connection on which a request that is not whole is
not the last one was reused too early.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType

import pytest
import pytest_asyncio

from tests.builders import behavior_message, caching_disabled
from tests.fuzz.strict_http import End, read_requests
from tests.peers.nodes import EdgeLab, Site
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
READ_TIMEOUT_MILLISECONDS = 1_000
LARGE = 3_000_000
"""More than the sockets between node and origin hold while nobody reads."""
DEADLINE_SECONDS = 20.0


@dataclass(eq=False)
class Link:
    """One connection at the origin, and all that came on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: bytearray = field(default_factory=bytearray)
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def read_head(self) -> bytes:
        """The next request head; what HTTP says is body before it has to be read first."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.heard += head
        return head

    async def read_exactly(self, count: int) -> bytes:
        data = await self.reader.readexactly(count)
        self.heard += data
        return data

    async def drop_body(self, head: bytes) -> None:
        """As RFC 9112 section 9.3 has it: a server that keeps the connection open reads the whole body."""
        lines = head.lower().split(b"\r\n")
        missing = sum(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        while missing:
            data = await self.reader.read(min(missing, 65_536))
            if not data:
                raise asyncio.IncompleteReadError(b"", missing)
            self.heard += data
            missing -= len(data)

    def says(self, data: bytes) -> None:
        self.writer.write(data)


Script = Callable[[Link, bytes], Awaitable[None]]


class KeepAliveOrigin:
    """Never closes what HTTP lets it keep. A script gets each request head, and reads of the body what it wants; the rest is dropped as the RFC says."""

    def __init__(self) -> None:
        self.scripts: dict[bytes, Script] = {}
        self.links: list[Link] = []
        self.targets: list[bytes] = []
        self.changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> "KeepAliveOrigin":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=65_536)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_asked(self, target: bytes) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: target in self.targets)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link = Link(reader, writer)
        self.links.append(link)
        try:
            while True:
                head = await link.read_head()
                target = head.split(b" ")[1]
                self.targets.append(target)
                async with self.changed:
                    self.changed.notify_all()
                before = len(link.heard)
                await self.scripts[target](link, head)
                if len(link.heard) == before:
                    await link.drop_body(head)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            link.has_ended.set()
            writer.transport.abort()
            self._tasks.discard(task)

    async def has_heard_only_requests(self) -> bool:
        """On each connection whole requests; one that is not whole is the last one, and the node has closed there."""
        for link in self.links:
            _, end = read_requests(bytes(link.heard))
            if end is End.INVALID:
                return False
            if end is End.INCOMPLETE:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await link.has_ended.wait()
        return True


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("uploads")) as lab:
        await lab.start("edge-1")
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def origin() -> AsyncIterator[KeepAliveOrigin]:
    async with KeepAliveOrigin() as origin:
        yield origin


async def site_at(lab: EdgeLab, origin: KeepAliveOrigin) -> Site:
    return await lab.site(
        behavior_message(policy=caching_disabled(), allowed_methods=ALL_METHODS),
        host="127.0.0.1",
        port=origin.port,
        path_prefix="",
        connection_attempts=1,
        read_timeout_milliseconds=READ_TIMEOUT_MILLISECONDS,
    )


def says(status: int, body: bytes) -> Script:
    async def script(link: Link, head: bytes) -> None:
        link.says(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (status, len(body), body)
        )

    return script


async def never(link: Link, head: bytes) -> None:
    await asyncio.Event().wait()


def post(site: Site, target: str, *fields: str) -> bytes:
    return "\r\n".join([f"POST {target} HTTP/1.1", f"Host: {site.host}", *fields, "", ""]).encode()


@pytest.mark.parametrize("sent_bytes", [0, 10, LARGE // 2])
async def test_a_connection_whose_request_was_not_sent_whole_is_not_used_again(
    lab: EdgeLab, origin: KeepAliveOrigin, sent_bytes: int
) -> None:
    """RFC 9112 section 9.3: the origin takes whatever comes next on the connection for the body that it was promised."""
    site = await site_at(lab, origin)
    origin.scripts = {b"/upload": says(403, b"no"), b"/next": says(200, b"next")}
    async with Viewer(lab.edge.http) as viewer, Viewer(lab.edge.http) as other:
        await viewer.send(post(site, "/upload", f"Content-Length: {LARGE}"))
        sending = asyncio.ensure_future(viewer.send(bytes(sent_bytes)))
        answer = await viewer.read()
        assert (answer.status, answer.body, answer["connection"]) == (403, b"no", "close")
        for _ in range(2):
            answer = await other.get(site.host, "/next")
            assert (answer.status, answer.body) == (200, b"next")
        sending.cancel()
    assert await origin.has_heard_only_requests()


async def test_an_early_answer_comes_at_once_though_the_origin_takes_nothing_more(
    lab: EdgeLab, origin: KeepAliveOrigin
) -> None:
    """The node is held up by an origin that does not read (its buffers are full) when the answer comes."""
    site = await site_at(lab, origin)
    is_full, has_answer = asyncio.Event(), asyncio.Event()

    async def refuses_when_full(link: Link, head: bytes) -> None:
        await is_full.wait()
        await says(413, b"too much")(link, head)
        await has_answer.wait()  # until then it reads no body, and does not close

    origin.scripts = {b"/upload": refuses_when_full, b"/next": says(200, b"next")}
    async with Viewer(lab.edge.http) as viewer, Viewer(lab.edge.http) as other:
        await viewer.send(post(site, "/upload", f"Content-Length: {LARGE * 10}"))
        sending = asyncio.ensure_future(viewer.send(bytes(LARGE * 10)))
        await origin.wait_asked(b"/upload")
        assert (await other.get(site.host, "/next")).body == b"next"
        is_full.set()
        answer = await viewer.read()
        assert (answer.status, answer.body) == (413, b"too much")
        has_answer.set()
        assert (await other.get(site.host, "/next")).body == b"next"
        sending.cancel()
    assert await origin.has_heard_only_requests()


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_a_connection_whose_request_was_sent_whole_is_used_again(
    lab: EdgeLab, origin: KeepAliveOrigin, framing: str
) -> None:
    site = await site_at(lab, origin)

    async def reads_all(link: Link, head: bytes) -> None:
        await link.read_exactly(5 if "Length" in framing else len(b"5\r\nhello\r\n0\r\n\r\n"))
        await says(200, b"done")(link, head)

    origin.scripts = {b"/upload": reads_all, b"/next": says(200, b"next")}
    body = b"hello" if "Length" in framing else b"5\r\nhello\r\n0\r\n\r\n"
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(post(site, "/upload", framing) + body)
        assert (await viewer.read()).body == b"done"
        assert (await viewer.get(site.host, "/next")).body == b"next"
    assert len(origin.links) == 1
    assert await origin.has_heard_only_requests()


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_viewer_that_pauses_in_its_body_is_not_the_origins_fault(
    lab: EdgeLab, origin: KeepAliveOrigin, framing: str
) -> None:
    """The pause is longer than the origin's read timeout: a request that waits for its answer since then has run into it."""
    site = await site_at(lab, origin)
    half = b"hello" if "Length" in framing else b"5\r\nhello\r\n"
    end = b"" if "Length" in framing else b"0\r\n\r\n"

    async def reads_all(link: Link, head: bytes) -> None:
        await link.read_exactly(len(half + half + end))
        await says(200, b"done")(link, head)

    origin.scripts = {b"/upload": reads_all, b"/never": never}
    async with Viewer(lab.edge.http) as viewer, Viewer(lab.edge.http) as clock:
        await viewer.send(post(site, "/upload", framing) + half)
        await origin.wait_asked(b"/upload")
        for _ in range(2):
            assert (await clock.get(site.host, "/never")).status == 504
        await viewer.send(half + end)
        answer = await viewer.read()
        assert (answer.status, answer.body) == (200, b"done")
    assert await origin.has_heard_only_requests()


async def test_after_the_last_byte_the_origin_has_its_time_and_no_more(lab: EdgeLab, origin: KeepAliveOrigin) -> None:
    site = await site_at(lab, origin)
    origin.scripts = {b"/upload": never, b"/never": never}
    async with Viewer(lab.edge.http) as viewer, Viewer(lab.edge.http) as clock:
        await viewer.send(post(site, "/upload", "Content-Length: 10") + b"hello")
        assert (await clock.get(site.host, "/never")).status == 504
        await viewer.send(b"hello")
        assert (await viewer.read()).status == 504


async def test_an_origin_that_takes_no_body_runs_into_its_read_timeout(lab: EdgeLab, origin: KeepAliveOrigin) -> None:
    site = await site_at(lab, origin)
    origin.scripts = {b"/upload": never}
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(post(site, "/upload", f"Content-Length: {LARGE * 10}"))
        sending = asyncio.ensure_future(viewer.send(bytes(LARGE * 10)))
        assert (await viewer.read()).status == 504
        sending.cancel()


async def test_nothing_went_wrong_inside(lab: EdgeLab) -> None:
    assert await lab.edge.metric("cdn_internal_errors_total") == 0
    assert "Traceback" not in lab.edge.log()
