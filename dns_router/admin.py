"""The admin port: a few GET requests of HTTP/1.1, one a connection (docs/contracts.md, Admin ports).

Small on purpose: a bounded head, a deadline for it and for the client to take the answer, no body, no keep-alive (RFC 9112 section
9.6 lets a server close after any response that says so). What the answers say is in `metrics`.
"""

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from dns_router.metrics import NodeReport
from proto.admin_access import AdminAccess, read_fields
from proto.exposition import CONTENT_TYPE

HEAD_BYTES: Final = 8192
DEADLINE_SECONDS: Final = 5.0
MAXIMUM_CONNECTIONS: Final = 32

_TEXT: Final = "text/plain; charset=utf-8"
_END_OF_HEAD: Final = b"\r\n\r\n"
_REQUEST_LINE_WORDS: Final = 3


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response before it has bytes."""

    status: HTTPStatus
    content: bytes
    content_type: str = _TEXT

    def encode(self) -> bytes:
        """Head and content."""
        allow = "Allow: GET\r\n" if self.status is HTTPStatus.METHOD_NOT_ALLOWED else ""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.content)}\r\n"
            f"Cache-Control: no-store\r\n{allow}Connection: close\r\n\r\n"
        )
        return head.encode("ascii") + self.content


def reply_to(head: bytes, report: NodeReport, access: AdminAccess) -> Reply:
    """Answer one request by its head."""
    request_line, *lines = head.split(b"\r\n")
    words = request_line.split(b" ")
    if len(words) != _REQUEST_LINE_WORDS or not words[2].startswith(b"HTTP/1."):
        return Reply(HTTPStatus.BAD_REQUEST, b"not an HTTP/1 request\n")
    refusal = access.refusal(read_fields(line.decode("latin-1") for line in lines))
    if refusal is not None:
        return Reply(HTTPStatus(refusal.status), f"{refusal.reason}\n".encode())
    method, target = words[0], words[1]
    answer = _PAGES.get(target.partition(b"?")[0])
    if answer is None:
        return Reply(HTTPStatus.NOT_FOUND, b"here are /healthz, /readyz, /metrics and /status\n")
    if method != b"GET":
        return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n")
    return answer(report)


def _health(_report: NodeReport) -> Reply:
    return Reply(HTTPStatus.OK, b"ok\n")


def _readiness(report: NodeReport) -> Reply:
    if report.is_ready():
        return Reply(HTTPStatus.OK, b"ok\n")
    return Reply(
        HTTPStatus.SERVICE_UNAVAILABLE, b"no routing table yet, neither from the control plane nor from disk\n"
    )


def _metrics(report: NodeReport) -> Reply:
    return Reply(HTTPStatus.OK, report.exposition(), CONTENT_TYPE)


def _status(report: NodeReport) -> Reply:
    return Reply(HTTPStatus.OK, json.dumps(report.status()).encode() + b"\n", "application/json")


_PAGES: Final = {b"/healthz": _health, b"/readyz": _readiness, b"/metrics": _metrics, b"/status": _status}


class AdminListener:
    """The connections of the admin port."""

    def __init__(self, report: NodeReport, access: AdminAccess) -> None:
        self.report = report
        self.access = access
        self._transports: dict[asyncio.Transport, None] = {}

    def new_connection(self) -> "AdminConnection":
        """What the event loop calls for each accepted connection."""
        return AdminConnection(self)

    def admit(self, transport: asyncio.Transport) -> None:
        """One more; beyond the limit the oldest goes: who asks anything has been answered by then, since that takes no longer than the request."""
        if len(self._transports) >= MAXIMUM_CONNECTIONS:
            oldest = next(iter(self._transports))
            self.forget(oldest)
            oldest.abort()
        self._transports[transport] = None

    def forget(self, transport: asyncio.Transport) -> None:
        """The connection is closed."""
        self._transports.pop(transport, None)

    def close(self) -> None:
        """Close all connections."""
        for transport in tuple(self._transports):
            transport.abort()


class AdminConnection(asyncio.Protocol):
    """One request, one response."""

    def __init__(self, listener: AdminListener) -> None:
        self._listener = listener
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        # A cast: uvloop's transports have the methods of asyncio's classes without deriving from them.
        stream = cast("asyncio.Transport", transport)
        self._listener.admit(stream)
        self._transport = stream
        self._deadline = asyncio.get_running_loop().call_later(DEADLINE_SECONDS, stream.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Stop the clock."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._transport is not None:
            self._listener.forget(self._transport)
            self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer once the head is whole, or too long to be one."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._received += data
        head, separator, _ = bytes(self._received).partition(_END_OF_HEAD)
        if separator and len(head) <= HEAD_BYTES:
            transport.write(reply_to(head, self._listener.report, self._listener.access).encode())
            transport.close()
        elif len(self._received) > HEAD_BYTES:
            transport.write(Reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"head too large\n").encode())
            transport.close()
