"""The smallest HTTP client that the lab needs to watch its nodes: one GET or PUT, one bounded answer, one connection.

Asyncio streams; every exchange has a deadline and a bound on size. Not for viewers' traffic: that is loadtests/.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

MAXIMUM_BYTES = 4 << 20


class ExchangeFailedError(Exception):
    """No whole answer: refused, silent, cut short or not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(
    address: str,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_seconds: float = 1.0,
) -> Answer:
    """Asks `address` (host:port) and closes; HTTP/1.1 with Connection: close, so the end of the body is certain."""
    host, _, port = address.rpartition(":")
    fields = {"host": address, "connection": "close", **(headers or {})}
    if body or method == "PUT":
        fields["content-length"] = str(len(body))
    head = "".join(
        [f"{method} {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            received = await _send_and_receive(host, int(port), head.encode("latin-1") + body)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise ExchangeFailedError(f"{method} http://{address}{path}: {error or type(error).__name__}") from error
    return _parse(received, f"{method} http://{address}{path}")


async def _send_and_receive(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        received = bytearray()
        while piece := await reader.read(65536):
            received += piece
            if len(received) > MAXIMUM_BYTES:
                raise OSError("the answer is too large")
        return bytes(received)
    finally:
        writer.close()


def _parse(received: bytes, what: str) -> Answer:
    head, separator, rest = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise ExchangeFailedError(f"{what}: not an HTTP answer")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = _dechunk(rest, what) if "chunked" in headers.get("transfer-encoding", "") else rest
    length = headers.get("content-length", "")
    if length.isdigit() and len(body) < int(length):
        raise ExchangeFailedError(f"{what}: {len(body)} of {length} bytes arrived")
    return Answer(int(words[1]), headers, body)


def _dechunk(rest: bytes, what: str) -> bytes:
    """RFC 9112 section 7.1; trailers are of no interest."""
    body = b""
    while True:
        size_line, separator, rest = rest.partition(b"\r\n")
        try:
            size = int(size_line.split(b";")[0], 16)
        except ValueError as error:
            raise ExchangeFailedError(f"{what}: a chunk without a size") from error
        if not separator or len(rest) < size:
            raise ExchangeFailedError(f"{what}: cut short")
        if size == 0:
            return body
        body, rest = body + rest[:size], rest[size + 2 :]
