"""Viewers of a comparison: a few connections to one edge, each with one request at a time. It does little of its own, since both labs share the machine with it.

It reads heads and lengths only: that bodies are right is for experiments to say. An answer must have a length, or none by its method or status.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from lab.errors import LabError
from lab.regression.workloads import Ask

SILENCE_SECONDS = 30.0
_MOST_BYTES: Final = 16 << 20


def request_bytes(ask: Ask, host: str) -> bytes:
    """As a viewer sends it."""
    lines = (f"{ask.method} {ask.target} HTTP/1.1", f"Host: {host}", *ask.fields)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


@dataclass(slots=True)
class Batch:
    """Requests that are under way, and what has come of them."""

    requests: Sequence[bytes]
    done: "asyncio.Future[None]"
    sent: int = 0
    seconds: list[float] = field(default_factory=list)
    """How long each took, from its last byte written to its last byte read."""
    body_bytes: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def next_request(self) -> bytes | None:
        """None when all are sent."""
        if self.sent == len(self.requests):
            return None
        self.sent += 1
        return self.requests[self.sent - 1]

    def answered(self, status: int, body_bytes: int, seconds: float) -> None:
        self.seconds.append(seconds)
        self.body_bytes += body_bytes
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if len(self.seconds) == len(self.requests) and not self.done.done():
            self.done.set_result(None)

    def failed(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(LabError(why))


class ViewerConnection(asyncio.Protocol):
    """One, kept alive."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._batch: Batch | None = None
        self._head_is_all = False
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._batch is not None:
            self._batch.failed(f"an edge closed the connection in the middle of a request: {error or 'no reason'}")

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def go_on(self, batch: Batch) -> None:
        """The next request of the batch, if there is one."""
        request = batch.next_request()
        self._batch = batch if request is not None else None
        if request is None:
            return
        if self._transport is None:
            batch.failed("an edge has closed the connection")
            return
        self._head_is_all = request.startswith(b"HEAD ")
        self._started = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        batch = self._batch
        head_bytes = self._buffer.find(b"\r\n\r\n") + 4
        if batch is None or head_bytes < 4:
            return
        try:
            status, length = read_head(bytes(self._buffer[:head_bytes]), self._head_is_all)
        except ValueError as error:
            batch.failed(f"an edge answered with what is no answer: {error}")
            return
        if len(self._buffer) < head_bytes + length:
            return
        if len(self._buffer) > head_bytes + length:
            batch.failed("an edge sent more than its answer")
            return
        self._buffer.clear()
        batch.answered(status, length, time.perf_counter() - self._started)
        self.go_on(batch)


def read_head(head: bytes, is_head_request: bool) -> tuple[int, int]:
    """Status and length of the body (RFC 9112 section 6.3). ValueError when it has no length."""
    first, *lines = head[:-4].split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError(f"its first line is {first[:80].decode('latin-1')!r}")
    status = int(rest[:3])
    if is_head_request or status in (204, 304):
        return status, 0
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
            if length > _MOST_BYTES:
                raise ValueError(f"a body of {length} bytes")
            return status, length
    raise ValueError(f"no Content-Length: {first.decode('latin-1')}")


async def _wait_for(batch: Batch) -> None:
    """However long all of it takes; LabError when nothing is answered for too long."""
    answered = -1
    while answered < len(batch.seconds):
        answered = len(batch.seconds)
        await asyncio.wait([batch.done], timeout=SILENCE_SECONDS)
        if batch.done.done():
            return batch.done.result()
    raise LabError(
        f"an edge did not answer for {SILENCE_SECONDS:g} s: {answered} of {len(batch.requests)} requests are answered"
    )


class Viewers:
    """Connections to one edge."""

    def __init__(self, address: str, host: str) -> None:
        """`host`: as a browser sends it."""
        self._host_and_port = address.rpartition(":")
        self.host = host
        self._connections: list[ViewerConnection] = []

    async def ask(self, requests: Sequence[bytes], at_once: int) -> Batch:
        """All of them, so many at a time; LabError when an answer is missing or takes too long."""
        loop = asyncio.get_running_loop()
        await self._connect(at_once)
        batch = Batch(requests, loop.create_future())
        for connection in self._connections[:at_once]:
            connection.go_on(batch)
        await _wait_for(batch)
        return batch

    async def _connect(self, count: int) -> None:
        """Those that edges have closed while they were idle are replaced."""
        loop = asyncio.get_running_loop()
        host, _, port = self._host_and_port
        self._connections = [each for each in self._connections if each.is_open]
        while len(self._connections) < count:
            _, connection = await loop.create_connection(ViewerConnection, host, int(port))
            self._connections.append(connection)

    def close(self) -> None:
        for each in self._connections:
            each.close()
