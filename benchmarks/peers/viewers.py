"""Viewers that wrk cannot play: some that fill a cache with each object once, some that stay idle, and many that want one object at the same time.

They share one event loop with the benchmark, on the core of the load. Answers are told apart by Content-Length; a status other than 200 is an error.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

from benchmarks.peers.processes import BenchmarkError
from benchmarks.peers.requests import BROWSER_HEADERS, request_to

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
BUFFER_BYTES = 256 * 1024
FILLERS = 24
ANSWER_SECONDS = 60.0


def head_and_body_bytes(head: bytes) -> int:
    """How long an answer is that begins with this; its head has to be whole."""
    end = head.index(b"\r\n\r\n") + 4
    length = _CONTENT_LENGTH.search(head, 0, end)
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise BenchmarkError(f"not a plain 200: {head[:end]!r}")
    return end + int(length[1])


class Asker(asyncio.Protocol):
    """One connection that asks for one target after the other, until there are no more."""

    def __init__(self, targets: Iterator[str], headers: dict[str, str]) -> None:
        self._targets = targets
        self._headers = headers
        self._received = b""
        self._missing_bytes = 0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        target = next(self._targets, None)
        if target is None:
            self.done.set_result(None)
        elif self._transport is not None:
            self._transport.write(request_to(target, self._headers))

    def data_received(self, data: bytes) -> None:
        """Ask for the next once an answer is whole."""
        if self.done.done():
            return
        if self._missing_bytes == 0:
            self._received += data
            if b"\r\n\r\n" not in self._received:
                return
            try:
                self._missing_bytes = head_and_body_bytes(self._received) - len(self._received)
            except BenchmarkError as error:
                self.done.set_exception(error)
                return
            self._received = b""
        else:
            self._missing_bytes -= len(data)
        if self._missing_bytes == 0:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """Too early is an error."""
        if not self.done.done():
            self.done.set_exception(BenchmarkError(f"the server closed a connection: {error}"))

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()


async def ask_for(
    address: str, targets: Iterator[str], count: int, headers: dict[str, str] | None = None
) -> list[Asker]:
    """Each target once, over some connections, which are still open afterwards."""
    host, _, port = address.partition(":")
    loop = asyncio.get_running_loop()
    askers = []
    for _ in range(count):
        _, asker = await loop.create_connection(lambda: Asker(targets, headers or {}), host, int(port))
        askers.append(asker)
    await asyncio.gather(*(asker.done for asker in askers))
    return askers


async def fill(address: str, targets: Iterator[str]) -> None:
    """Each target once."""
    for asker in await ask_for(address, targets, FILLERS):
        asker.close()


@asynccontextmanager
async def idle_connections(address: str, count: int) -> AsyncIterator[None]:
    """Browsers that have each asked once and stay; each asks before the next one comes."""
    askers: list[Asker] = []
    try:
        for _ in range(count):
            askers += await ask_for(address, iter(("/small/one",)), 1, BROWSER_HEADERS)
        yield
    finally:
        for asker in askers:
            asker.close()


# -- many viewers of one object


class Viewer(asyncio.BufferedProtocol):
    """Receives one large answer, at a time of its own; keeps the bytes only if told to."""

    shared_buffer = bytearray(BUFFER_BYTES)

    def __init__(self, is_keeping: bool) -> None:
        self._head = b""
        self._missing_bytes = 0
        self._kept = hashlib.sha256() if is_keeping else None
        self.transport: asyncio.Transport | None = None
        self.finished: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the others."""
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  the protocol's signature
        """All viewers share one: nothing is read while another reads."""
        return self.shared_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count; the time of the last byte is the result."""
        if self.finished.done():
            return
        body = memoryview(self.shared_buffer)[:nbytes]
        if self._missing_bytes == 0:
            self._head += bytes(body)
            if b"\r\n\r\n" not in self._head:
                return
            try:
                self._missing_bytes = head_and_body_bytes(self._head)
            except BenchmarkError as error:
                self.finished.set_exception(error)
                return
            nbytes = len(self._head)
            body = memoryview(self._head)[self._head.index(b"\r\n\r\n") + 4 :]
        if self._kept is not None:
            self._kept.update(body)
        self._missing_bytes -= nbytes
        if self._missing_bytes == 0:
            self.finished.set_result(asyncio.get_running_loop().time())

    def connection_lost(self, error: Exception | None) -> None:
        """Before the end it is an error."""
        if not self.finished.done():
            self.finished.set_exception(BenchmarkError(f"an answer broke off: {error}"))

    def digest(self) -> str | None:
        """Of the body, if it was kept."""
        return self._kept.hexdigest() if self._kept else None


async def view_together(address: str, target: str, count: int, kept: int) -> tuple[list[float], set[str | None]]:
    """When each viewer had everything, on the loop's clock, and the different bodies that the first of them saw."""
    host, _, port = address.partition(":")
    loop = asyncio.get_running_loop()
    viewers: list[Viewer] = []
    try:
        for number in range(count):
            _, viewer = await loop.create_connection(lambda number=number: Viewer(number < kept), host, int(port))  # type: ignore[misc]
            viewers.append(viewer)
        for viewer in viewers:
            assert viewer.transport is not None
            viewer.transport.write(request_to(target))
        async with asyncio.timeout(ANSWER_SECONDS):
            times = await asyncio.gather(*(viewer.finished for viewer in viewers))
        return times, {viewer.digest() for viewer in viewers[:kept]}
    finally:
        for viewer in viewers:
            if viewer.transport is not None:
                viewer.transport.abort()
