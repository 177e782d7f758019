"""The admin port: a few GET requests of HTTP/1.1, one a connection (docs/contracts.md, Admin ports).

Small on purpose: a bounded head, a deadline for it and for the client to take the answer, no keep-alive (RFC 9112 section
9.6 lets a server close after any response that says so), and a body, bounded too, only of what is sent to `/faults` and `/history`, where
there is such a thing. What the answers say is in `metrics`.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from dns_router.metrics import NodeReport
from proto.admin_access import AdminAccess, read_fields
from proto.exposition import CONTENT_TYPE
from proto.fault_port import MOST_BODY_BYTES, FaultPort
from proto.history_recorder import HistoryRecorder

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


@dataclass(frozen=True, slots=True)
class AdminSources:
    """What the port can tell, to whom, and what may be injected there."""

    report: NodeReport
    access: AdminAccess
    faults: FaultPort | None = None
    """None: no faults."""
    history: HistoryRecorder | None = None
    """None: none is kept."""

    def takes_json(self, method: bytes, path: bytes) -> bool:
        """Whether the content of such a request is meant to be JSON."""
        paths = {b"/faults": self.faults, b"/history": self.history}
        return method == b"POST" and paths.get(path) is not None

    def answer(self, method: str, path: str, content: bytes) -> Reply | None:
        """What faults and history say; None for another path."""
        for port in (self.faults, self.history):
            told = None if port is None else port.answer(method, path, content)
            if told is not None:
                return Reply(HTTPStatus(told[0]), told[2], told[1])
        return None

    def content_bytes(self, head: bytes) -> int:
        """How much content has to come behind a head before it is answered; only faults and histories have any."""
        if (self.faults is None and self.history is None) or not head.startswith(b"POST "):
            return 0
        stated = read_fields(line.decode("latin-1") for line in head.split(b"\r\n")[1:]).get("content-length", "")
        return int(stated) if re.fullmatch("[0-9]{1,9}", stated) else 0


def reply_to(head: bytes, content: bytes, sources: AdminSources) -> Reply:
    """Answer one request."""
    request_line, *lines = head.split(b"\r\n")
    words = request_line.split(b" ")
    if len(words) != _REQUEST_LINE_WORDS or not words[2].startswith(b"HTTP/1."):
        return Reply(HTTPStatus.BAD_REQUEST, b"not an HTTP/1 request\n")
    method, path = words[0], words[1].partition(b"?")[0]
    fields = read_fields(line.decode("latin-1") for line in lines)
    refusal = sources.access.refusal(fields, takes_json=sources.takes_json(method, path))
    if refusal is not None:
        return Reply(HTTPStatus(refusal.status), f"{refusal.reason}\n".encode())
    told = sources.answer(method.decode("latin-1"), path.decode("latin-1"), content)
    if told is not None:
        return told
    answer = _PAGES.get(path)
    if answer is None:
        return Reply(HTTPStatus.NOT_FOUND, b"here are /healthz, /readyz, /metrics and /status\n")
    if method != b"GET":
        return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n")
    return answer(sources.report)


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

    def __init__(self, sources: AdminSources) -> None:
        self.sources = sources
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
        """Answer once the request is whole, or its head too long to be one."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._received += data
        head, separator, content = bytes(self._received).partition(_END_OF_HEAD)
        if separator and len(head) <= HEAD_BYTES:
            sources = self._listener.sources
            length = sources.content_bytes(head)
            if length > MOST_BODY_BYTES:
                self._answer(transport, Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"content too large\n"))
            elif len(content) >= length:
                self._answer(transport, reply_to(head, content[:length], sources))
        elif len(self._received) > HEAD_BYTES:
            self._answer(transport, Reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"head too large\n"))

    def _answer(self, transport: asyncio.Transport, reply: Reply) -> None:
        transport.write(reply.encode())
        transport.close()
