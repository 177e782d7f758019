"""A WebSocket endpoint that sends back each message, and viewers that count round trips (RFC 6455): small, strict, and only as much as the benchmark needs.

One message is one frame of fixed length; anything else ends the connection with an error, which refuses the measurement. Both run in the benchmark's process, on the
load's core.
"""

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

from benchmarks.peers.processes import BenchmarkError, UnsupportedError
from benchmarks.peers.requests import request_to
from benchmarks.peers.servers import ECHO_ORIGIN

TARGET = "/echo/socket"
MESSAGE_BYTES = 32
"""Below 126, so that the length is in the frame's second byte (RFC 6455 5.2)."""
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE = 0x82, 0x88
"""First bytes of a frame: final, and its kind (RFC 6455 5.2)."""
_MASKED = 0x80
_MASK_BYTES = 4
MASKED_FRAME_BYTES = 2 + _MASK_BYTES + MESSAGE_BYTES
FRAME_BYTES = 2 + MESSAGE_BYTES
ANSWER_SECONDS = 30.0


def accept_of(key: bytes) -> bytes:
    """What the endpoint answers to a key (RFC 6455 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())


def masked(data: bytes, mask: bytes) -> bytes:
    """Exclusive or with the mask over and over; of masked data the data (RFC 6455 5.3)."""
    repeated = mask * (len(data) // _MASK_BYTES + 1)
    pattern = int.from_bytes(repeated[: len(data)], "big")
    return (int.from_bytes(data, "big") ^ pattern).to_bytes(len(data), "big")


def fields_of(head: bytes) -> tuple[bytes, Mapping[bytes, bytes]]:
    """The first line, and the fields by their lower-case names; a field twice is an error."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or name.lower() in fields:
            raise BenchmarkError(f"not a field, or a second one: {line!r}")
        fields[name.lower()] = value.strip()
    return first, fields


def _is_upgrade(fields: Mapping[bytes, bytes]) -> bool:
    options = {option.strip().lower() for option in fields.get(b"connection", b"").split(b",")}
    return fields.get(b"upgrade", b"").lower() == b"websocket" and b"upgrade" in options


def answer_to(head: bytes) -> tuple[bytes, bool]:
    """The endpoint's answer to an opening request, and whether the connection is a WebSocket then (RFC 6455 4.2.1)."""
    first, fields = fields_of(head)
    key = fields.get(b"sec-websocket-key", b"")
    is_key = re.fullmatch(rb"[A-Za-z0-9+/]{22}==", key) is not None
    is_request = re.fullmatch(rb"GET \S+ HTTP/1\.1", first) is not None
    if not (is_request and is_key and _is_upgrade(fields) and fields.get(b"sec-websocket-version") == b"13"):
        return (
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            False,
        )
    lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
    return b"\r\n".join((*lines, b"Sec-WebSocket-Accept: " + accept_of(key), b"", b"")), True


class EchoEndpoint(asyncio.Protocol):
    """One connection of the origin's side."""

    def __init__(self) -> None:
        self._received = b""
        self._is_open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the opening request."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        assert self._transport is not None
        received = self._received + data
        if not self._is_open:
            if b"\r\n\r\n" not in received:
                self._received = received
                return
            head, _, received = received.partition(b"\r\n\r\n")
            answer, self._is_open = answer_to(head + b"\r\n\r\n")
            self._transport.write(answer)
            if not self._is_open:
                self._transport.close()
                return
        while len(received) >= MASKED_FRAME_BYTES and received[:2] == bytes((_BINARY, _MASKED | MESSAGE_BYTES)):
            frame, received = received[:MASKED_FRAME_BYTES], received[MASKED_FRAME_BYTES:]
            message = masked(frame[6:], frame[2:6])
            self._transport.write(bytes((_BINARY, MESSAGE_BYTES)) + message)
        if len(received) >= 2 and received[:2] != bytes((_BINARY, _MASKED | MESSAGE_BYTES)):
            self._transport.write(bytes((_CLOSE, 0)))  # a viewer leaves, or sends what this benchmark does not
            self._transport.close()
        self._received = received


@asynccontextmanager
async def echo_origin() -> AsyncIterator[None]:
    """Listening where all servers expect it."""
    host, _, port = ECHO_ORIGIN.partition(":")
    server = await asyncio.get_running_loop().create_server(EchoEndpoint, host, int(port))
    try:
        yield
    finally:
        server.close()


class EchoViewer(asyncio.Protocol):
    """Sends a message, waits for the same one, sends the next."""

    def __init__(self) -> None:
        self._key = base64.b64encode(os.urandom(16))
        message, mask = os.urandom(MESSAGE_BYTES), os.urandom(_MASK_BYTES)
        self._frame = bytes((_BINARY, _MASKED | MESSAGE_BYTES)) + mask + masked(message, mask)
        self._expected = bytes((_BINARY, MESSAGE_BYTES)) + message
        self._received = b""
        self._is_open = False
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.failed: asyncio.Future[None] = loop.create_future()
        self.round_trips = 0
        self.is_asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade (RFC 6455 4.1)."""
        self._transport = cast(asyncio.Transport, transport)
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": self._key.decode(),
        }
        self._transport.write(request_to(TARGET, fields))

    def begin(self) -> None:
        """The first message; each echo brings the next, until told otherwise."""
        assert self._transport is not None
        self.is_asking = True
        self._transport.write(self._frame)

    def data_received(self, data: bytes) -> None:
        """The answer to the upgrade, then echoes."""
        self._received += data
        if not self._is_open:
            self._open()
        elif self._received == self._expected:
            self._received = b""
            self.round_trips += 1
            if self.is_asking and self._transport is not None:
                self._transport.write(self._frame)
        elif not self._expected.startswith(self._received):
            self._fail(BenchmarkError(f"not the message that was sent: {self._received[:80]!r}"))

    def _open(self) -> None:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        try:
            first, fields = fields_of(head + end)
        except BenchmarkError as error:
            self._fail(error)
            return
        if not first.startswith(b"HTTP/1.1 101 "):
            self._fail(UnsupportedError(f"the upgrade to a WebSocket was answered with {first.decode('latin-1')!r}"))
        elif not _is_upgrade(fields) or fields.get(b"sec-websocket-accept") != accept_of(self._key) or rest:
            self._fail(BenchmarkError(f"not the answer to this upgrade: {self._received[:500]!r}"))
        else:
            self._received, self._is_open = b"", True
            self.opened.set_result(None)

    def _fail(self, error: BenchmarkError) -> None:
        for future in (self.opened, self.failed):
            if not future.done():
                future.set_exception(error)
                future.exception()  # one of the two may have nobody who asks
        self.is_asking = False

    def connection_lost(self, error: Exception | None) -> None:
        """Before the end it is an error."""
        self._fail(BenchmarkError(f"the connection ended: {error}"))

    def close(self) -> None:
        """Leave."""
        self.is_asking = False
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def echo_viewers(address: str, count: int) -> AsyncIterator[list[EchoViewer]]:
    """Their WebSockets are open; UnsupportedError when the server does not switch protocols."""
    host, _, port = address.partition(":")
    viewers: list[EchoViewer] = []
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            for _ in range(count):
                _, viewer = await asyncio.get_running_loop().create_connection(EchoViewer, host, int(port))
                viewers.append(viewer)
                await viewer.opened
        yield viewers
    finally:
        for viewer in viewers:
            viewer.close()


async def round_trips(viewers: list[EchoViewer], seconds: float) -> float:
    """A second, by all of them together."""
    loop = asyncio.get_running_loop()
    before, began_at = sum(viewer.round_trips for viewer in viewers), loop.time()
    for viewer in viewers:
        viewer.begin()
    await asyncio.wait([viewer.failed for viewer in viewers], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    passed, after = loop.time() - began_at, sum(viewer.round_trips for viewer in viewers)
    for viewer in viewers:
        viewer.is_asking = False
        if viewer.failed.done():
            viewer.failed.result()
    return (after - before) / passed
