"""The admin port: health, readiness, metrics, status and explanations, for operators and the lab. Never for viewers."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from edge_node.observability.explain import Explainer, read_explain_request
from proto.admin_access import AccessRefusal, AdminAccess, read_fields
from proto.fault_port import FaultPort
from proto.history_recorder import HistoryRecorder

MAXIMUM_HEAD_BYTES = 16_384
MAXIMUM_BODY_BYTES = 65_536
REQUEST_TIMEOUT_SECONDS = 5.0
MAXIMUM_CONNECTIONS = 64

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


@dataclass(frozen=True, slots=True)
class AdminSources:
    """What the admin port can tell."""

    render_metrics: Callable[[], bytes]
    status: Callable[[], dict[str, Any]]
    standing: Callable[[], dict[str, object]]
    """What other nodes ask that hold no lease (`control/peer_inquiry.py`)."""
    why_not_ready: Callable[[], str | None]
    explainer: Explainer
    access: AdminAccess
    faults: FaultPort | None = None
    """None: none may be injected."""
    history: HistoryRecorder | None = None
    """None: none is kept."""

    @property
    def json_paths(self) -> tuple[str, ...]:
        """Where content has to be JSON."""
        faults, history = self.faults is not None, self.history is not None
        return ("/explain", *(("/faults",) if faults else ()), *(("/history",) if history else ()))


def answer_admin_request(sources: AdminSources, method: str, path: str, body: bytes) -> Answer:
    """One request."""
    for port in (sources.faults, sources.history):
        told = None if port is None else port.answer(method, path, body)
        if told is not None:
            return told
    match (method, path):
        case ("GET", "/healthz"):
            return 200, "text/plain", b"ok\n"
        case ("GET", "/readyz"):
            reason = sources.why_not_ready()
            return (200, "text/plain", b"ready\n") if reason is None else (503, "text/plain", reason.encode() + b"\n")
        case ("GET", "/metrics"):
            return 200, "text/plain; version=0.0.4; charset=utf-8", sources.render_metrics()
        case ("GET", "/status"):
            return 200, "application/json", json.dumps(sources.status()).encode()
        case ("GET", "/standing"):
            return 200, "application/json", json.dumps(sources.standing()).encode()
        case ("POST", "/explain"):
            return _explain(sources.explainer, body)
        case (_, "/healthz" | "/readyz" | "/metrics" | "/status" | "/standing" | "/explain"):
            return 405, "text/plain", b"method not allowed\n"
        case _:
            return 404, "text/plain", b"there are /healthz, /readyz, /metrics, /status, /standing and POST /explain\n"


def _refused(refusal: AccessRefusal) -> Answer:
    return refusal.status, "text/plain", f"{refusal.reason}\n".encode()


def _explain(explainer: Explainer, body: bytes) -> Answer:
    try:
        request = read_explain_request(json.loads(body))
    except (ValueError, RecursionError) as error:
        return 400, "text/plain", f"{error}\n".encode()
    return 200, "application/json", json.dumps(explainer.explain(request)).encode()


class AdminServer:
    """A small HTTP/1.1 server: one request per connection, all bounded."""

    def __init__(self, sources: AdminSources) -> None:
        self._sources = sources
        self._open = 0

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        self._open += 1
        try:
            if self._open <= MAXIMUM_CONNECTIONS:
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    await self._serve(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that is slow, gone or talks nonsense gets a closed connection
        finally:
            self._open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.split("\r\n")
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        fields = read_fields(lines)
        stated_length = fields.get("content-length", "")
        length = int(stated_length) if re.fullmatch("[0-9]{1,9}", stated_length) else 0
        is_too_large = length > MAXIMUM_BODY_BYTES
        if is_too_large:
            answer: Answer = (413, "text/plain", b"too large\n")
        else:
            content = await reader.readexactly(
                length
            )  # also of what is refused: else closing would reset the connection
            takes_json = method == "POST" and path in self._sources.json_paths
            refusal = self._sources.access.refusal(fields, takes_json=takes_json)
            answer = _refused(refusal) if refusal else answer_admin_request(self._sources, method, path, content)
        status, content_type, body = answer
        phrase = HTTPStatus(status).phrase
        writer.write(
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        )
        if method != "HEAD":
            writer.write(body)
        await writer.drain()
        if is_too_large:  # closing with the body unread would reset the connection, and the answer with it
            writer.write_eof()
            while await reader.read(MAXIMUM_BODY_BYTES):
                pass


async def start_admin_server(sources: AdminSources, host: str, port: int) -> asyncio.Server:
    """Listen; OSError when the address is taken."""
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = AdminServer(
        sources
    ).serve_connection
    return await asyncio.start_server(handler, host, port, limit=MAXIMUM_HEAD_BYTES)
