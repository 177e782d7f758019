"""The smallest HTTP client that the lab needs to watch its nodes: one GET or PUT, one bounded answer, one connection.

Asyncio streams; every exchange has a deadline and a bound on size. Not for viewers' traffic: that is loadtests/.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from lab.errors import LabError

MAXIMUM_BYTES = 4 << 20


class ExchangeFailedError(LabError):
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
    """Asks `address` (host:port) and closes; the body ends with its length, its last chunk, or the connection."""
    host, _, port = address.rpartition(":")
    fields = {"host": address, "connection": "close", **(headers or {})}
    if body or method == "PUT":
        fields["content-length"] = str(len(body))
    head = "".join(
        [f"{method} {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]
    )
    what = f"{method} http://{address}{path}"
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _send_and_receive(host, int(port), head.encode("latin-1") + body, what)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ExchangeFailedError(f"{what}: {str(error) or type(error).__name__}") from error


async def _send_and_receive(host: str, port: int, request: bytes, what: str) -> Answer:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        status, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"), what)
        length = headers.get("content-length", "")
        if length.isdigit():
            if int(length) > MAXIMUM_BYTES:
                raise ExchangeFailedError(f"{what}: {length} bytes are too many")
            return Answer(status, headers, await reader.readexactly(int(length)))
        rest = await _read_to_end(reader, what)
    finally:
        writer.close()
    is_chunked = "chunked" in headers.get("transfer-encoding", "")
    return Answer(status, headers, _dechunk(rest, what) if is_chunked else rest)


async def _read_to_end(reader: asyncio.StreamReader, what: str) -> bytes:
    received = bytearray()
    while piece := await reader.read(65536):
        received += piece
        if len(received) > MAXIMUM_BYTES:
            raise ExchangeFailedError(f"{what}: the answer is too large")
    return bytes(received)


def _parse_head(head: bytes, what: str) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise ExchangeFailedError(f"{what}: not an HTTP answer")
    headers = {}
    for line in lines[1:-2]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(words[1]), headers


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
