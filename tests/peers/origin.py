"""An origin whose every response, delay and chunk a test decides: a real HTTP/1.1 server on a loopback socket.

A path is answered by a *script*, an `async def` that gets the exchange and says when which bytes go out. Waiting is for events of the test, never for time.
All that a node has said on a connection is read by a strict reader when the origin stops, also what no script looked at.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType

from tests.fuzz.strict_http import End, read_requests

JUDGED_BYTES = 262_144
"""Of each connection that are kept and read strictly when the origin stops; what a long upload says after it is its script's to read."""

Header = tuple[str, str]
Script = Callable[["OriginExchange"], Awaitable[None]]


@dataclass
class OriginRequest:
    """What the origin was asked."""

    method: str
    target: str
    headers: list[Header]
    body: bytes = b""

    def __getitem__(self, name: str) -> str:
        """All values of a field, joined by a comma."""
        values = [value for given, value in self.headers if given.lower() == name.lower()]
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def get(self, name: str) -> str | None:
        return self[name] if name.lower() in {given.lower() for given, _ in self.headers} else None


@dataclass
class OriginExchange:
    """One request at the origin, and the means to answer it byte by byte."""

    request: OriginRequest
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: int
    is_over: bool = False
    """The connection carries no further request."""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_head(
        self, status: int = 200, *headers: Header, length: int | None = None, reason: str = "X"
    ) -> None:
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def answer(self, status: int, body: bytes, *headers: Header) -> None:
        """A whole response in one write."""
        lines = [
            f"HTTP/1.1 {status} X",
            *(f"{name}: {value}" for name, value in headers),
            f"Content-Length: {len(body)}",
        ]
        sent_body = b"" if self.request.method == "HEAD" else body
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + sent_body)

    async def send_chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def close(self) -> None:
        self.is_over = True
        self.writer.close()

    def abort(self) -> None:
        """Reset the connection."""
        self.is_over = True
        self.writer.transport.abort()

    async def read_body(self) -> bytes:
        """The request's body, whole."""
        if (self.request.get("transfer-encoding") or "") == "chunked":
            body = bytearray()
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readline()
            self.request.body = bytes(body)
        else:
            self.request.body = await self.reader.readexactly(int(self.request.get("content-length") or 0))
        return self.request.body


def reply(status: int = 200, body: bytes = b"hello", *headers: Header) -> Script:
    """A script that answers at once and always the same."""

    async def script(exchange: OriginExchange) -> None:
        await exchange.read_body()
        await exchange.answer(status, body, *headers)

    return script


def cacheable(body: bytes = b"hello", seconds: int = 3600, *headers: Header) -> Script:
    return reply(200, body, ("Cache-Control", f"max-age={seconds}"), *headers)


def in_turn(*scripts: Script) -> Script:
    """The first request gets the first script, and so on; the last one for ever."""
    waiting = list(scripts)

    async def script(exchange: OriginExchange) -> None:
        await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(exchange)

    return script


def gated(gate: asyncio.Event, then: Script) -> Script:
    """Answer when the gate opens."""

    async def script(exchange: OriginExchange) -> None:
        await gate.wait()
        await then(exchange)

    return script


def _before_tunnel(data: bytes) -> bytes:
    """Up to the end of a handshake: what follows belongs to the two ends of the tunnel (RFC 6455 section 4)."""
    at = data.find(b"upgrade: websocket\r\n")
    return data if at < 0 else data[: data.find(b"\r\n\r\n", at) + 4]


@dataclass
class ScriptedOrigin:
    """`async with ScriptedOrigin() as origin:`; scripts by path, with or without the query string."""

    host: str = "127.17.0.1"
    port: int = 0
    scripts: dict[str, Script] = field(default_factory=dict)
    requests: list[OriginRequest] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _heard: list[bytearray] = field(default_factory=list)
    """By connection, the beginning of what came on it."""

    async def __aenter__(self) -> "ScriptedOrigin":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        heard, self._heard = self._heard, []
        for data in heard:
            _, end = read_requests(_before_tunnel(bytes(data)))
            assert end is not End.INVALID, f"a node sent what is no request: {bytes(data[:2000])!r}"

    def asked(self, path: str) -> list[OriginRequest]:
        """The requests for a path, in order."""
        return [request for request in self.requests if path in (request.target, request.target.partition("?")[0])]

    async def wait_asked(self, path: str, count: int = 1, timeout: float = 10.0) -> list[OriginRequest]:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(self.asked(path)) >= count)
        return self.asked(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._heard.append(_keep_what_comes(reader))
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while (request := await _read_head(reader)) is not None:
                self.requests.append(request)
                async with self._changed:
                    self._changed.notify_all()
                script = (
                    self.scripts.get(request.target)
                    or self.scripts.get(request.target.partition("?")[0])
                    or reply(404, b"no script")
                )
                exchange = OriginExchange(request, reader, writer, number)
                await script(exchange)
                if exchange.is_over:
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the node went away, or the test is over
        finally:
            self._open.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


def _keep_what_comes(reader: asyncio.StreamReader) -> bytearray:
    """The beginning of what is fed to a reader from now on: called before the loop has read anything from the new connection."""
    heard = bytearray()
    feed = reader.feed_data

    def keep(data: bytes) -> None:
        heard.extend(data[: JUDGED_BYTES - len(heard)] if len(heard) < JUDGED_BYTES else b"")
        feed(data)

    reader.feed_data = keep  # type: ignore[assignment, method-assign]
    return heard


async def _read_head(reader: asyncio.StreamReader) -> OriginRequest | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = request_line.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return OriginRequest(method, target, headers)
