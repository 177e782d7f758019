"""A viewer on a raw socket: says exactly the bytes of a test and reads answers strictly, so that a framing mistake cannot pass unseen."""

import asyncio
from dataclasses import dataclass
from types import TracebackType

from tests.fuzz.strict_http import End, read_responses

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """A response that has arrived whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        values = [value for given, value in self.headers if given.lower() == name.lower()]
        return ", ".join(values) if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    @property
    def result(self) -> str:
        """The word of X-Cache."""
        return self["x-cache"].removesuffix(" from cloudfront")


class Viewer:
    """`async with Viewer(address) as viewer:`; one connection."""

    def __init__(self, address: str, *, receive_buffer: int | None = None, source: str = "") -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._source = (source, 0) if source else None
        self._limit = receive_buffer or 1 << 22
        self._last_head = b""
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> "Viewer":
        self.reader, self.writer = await asyncio.open_connection(
            *self._address, limit=self._limit, local_addr=self._source
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(
        self, host: str, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None
    ) -> None:
        """Send a request without waiting for its answer."""
        await self.send(request_bytes(host, target, *headers, method=method, body=body))

    async def read_head(self) -> Answer:
        """The next response's head; its body is left to read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = self._last_head = await self.reader.readuntil(b"\r\n\r\n")
        responses, end = read_responses(head, [b"GET"], is_closed=False)
        assert len(responses) == 1 and end is not End.INVALID, head
        status_line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = [(name, value.removeprefix(" ")) for name, _, value in (line.partition(":") for line in lines)]
        return Answer(int(status), headers, b"")

    async def read(self, method: str = "GET") -> Answer:
        """The next response, whole."""
        head = await self.read_head()
        async with asyncio.timeout(PATIENCE_SECONDS):
            framed = bytearray()
            answer = Answer(head.status, head.headers, await self._body(head, method, framed))
        is_closed = head.get("content-length") is None and head.get("transfer-encoding") is None
        responses, end = read_responses(self._last_head + framed, [method.encode()], is_closed=is_closed)
        assert end is End.CLEAN and [response.body for response in responses] == [answer.body], self._last_head
        return answer

    async def _body(self, head: Answer, method: str, framed: bytearray) -> bytes:
        """`framed`: gets the same as it came."""
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return b""
        if (head.get("transfer-encoding") or "") == "chunked":
            assert head.get("content-length") is None
            body = bytearray()
            while True:
                line = await self.reader.readuntil(b"\r\n")
                chunk = await self.reader.readexactly(int(line, 16) + 2)
                framed += line + chunk
                body += chunk[:-2]
                if len(chunk) == 2:  # the last one, and no trailers
                    return bytes(body)
        length = head.get("content-length")
        if length is not None:
            framed += await self.reader.readexactly(int(length))
            return bytes(framed)
        assert head.get("connection") == "close", "neither a length nor a close tells the end"
        framed += await self.reader.read(-1)
        return bytes(framed)

    async def get(
        self, host: str, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None
    ) -> Answer:
        await self.ask(host, target, *headers, method=method, body=body)
        return await self.read(method)

    async def read_rest(self) -> bytes:
        """Everything until the node closes; a reset counts as a close."""
        data = bytearray()
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while piece := await self.reader.read(65_536):
                    data += piece
            except ConnectionError:
                pass
        return bytes(data)


def request_bytes(
    host: str, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


async def get(
    address: str, host: str, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None
) -> Answer:
    """One request on a connection of its own."""
    async with Viewer(address) as viewer:
        return await viewer.get(host, target, *headers, method=method, body=body)
