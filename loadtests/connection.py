"""One HTTP/1.1 connection of a viewer, on gevent's sockets and geventhttpclient's parser (FastHttpUser's engine).

Says exactly how far an exchange came when it broke, because that decides whether a browser may try elsewhere:
before any byte of a response (`NoResponseError`) or after (`BrokenResponseError`). Who tries where is viewer.py's.
"""

import errno
from dataclasses import dataclass, field
from typing import NamedTuple

import gevent.socket
from geventhttpclient.response import HTTPParseError, HTTPResponse
from isal.isal_zlib import crc32

from proto.host_clock import host_nanoseconds

# Large reads keep the parser's callbacks few in downloads; a small response still arrives in one read.
READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds on a viewer's patience. Browsers wait longer; a run of half a minute cannot."""

    connect_seconds: float = 2.0
    read_seconds: float = 10.0


class ExchangeError(Exception):
    """A request did not end in a whole response."""


class ConnectError(ExchangeError):
    """Refused, unreachable or no answer to the handshake: nothing was sent."""


class NoResponseError(ExchangeError):
    """Reset, closed or silent before the first byte of a response: an idempotent request may go elsewhere.

    A silent server (timeout) is not a connection that had died: a fresh one to the same address would be as silent.
    """

    def __init__(self, message: str, is_silent: bool = False) -> None:
        super().__init__(message)
        self.is_silent = is_silent


class BrokenResponseError(ExchangeError):
    """The response began and did not end as announced; what arrived of it is in `response`, None if its head did not."""

    def __init__(self, message: str, response: "Response | None") -> None:
        super().__init__(message)
        self.response = response


class Response(NamedTuple):
    """What came of a response: all of it, but in a BrokenResponseError."""

    status: int
    headers: dict[str, str]
    body: bytes
    """Empty when the request did not keep it; the next two are true either way."""
    received_bytes: int
    checksum: int
    """CRC-32 of the body, as far as it came."""
    address: str
    first_byte_ns: int
    """Of the host's clock: when there was something to read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a viewer asks; `keeps_body` is False where only the count of bytes matters."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keeps_body: bool = True

    @property
    def is_idempotent(self) -> bool:
        """RFC 9110 section 9.2.2."""
        return self.method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")

    def encode(self, host: str) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method in ("POST", "PUT"):
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class _Parser(HTTPResponse):  # type: ignore[misc]  # geventhttpclient is not analysed (pyproject), its classes are Any
    """Counts body bytes and sums them up, and drops them where nobody will look."""

    def __init__(self, method: str, keeps_body: bool) -> None:
        super().__init__(method=method)
        self._keeps_body = keeps_body
        self.received_bytes = 0
        self.checksum = 0
        self.first_byte_ns = 0

    def _on_body(self, buf: bytearray) -> None:
        self.received_bytes += len(buf)
        self.checksum = crc32(buf, self.checksum)
        if self._keeps_body:
            self._body_buffer += buf

    @property
    def is_final(self) -> bool:
        """Interim 1xx responses come before the one that counts (RFC 9110 section 15.2)."""
        return bool(self.message_complete and self.get_code() >= 200)

    def response_from(self, address: str) -> Response | None:
        """As far as it has come; None without a head."""
        status = self.get_code()
        if not self.headers_complete or status < 200:
            return None
        headers = {name.lower(): value for name, value in self.items()}
        body, count, checksum = bytes(self._body_buffer), self.received_bytes, self.checksum
        return Response(status, headers, body, count, checksum, address, self.first_byte_ns)


class Connection:
    """Open to one address; `is_reused` once it has carried a response."""

    def __init__(self, address: str, port: int, timeouts: Timeouts, source: str = "") -> None:
        """`source`: the address to connect from; empty: the system's choice."""
        self.address = address
        self.is_reused = False
        self.is_open = True
        self._timeouts = timeouts
        try:
            self._socket = self._connect(address, port, timeouts.connect_seconds, (source, 0) if source else None)
        except OSError as error:
            raise ConnectError(f"connect to {address}:{port}: {_reason(error)}") from error
        self._socket.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        self._socket.settimeout(timeouts.read_seconds)

    def _connect(self, address: str, port: int, seconds: float, local: tuple[str, int] | None) -> gevent.socket.socket:
        return gevent.socket.create_connection((address, port), seconds, local)

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _read(self) -> bytes:
        return bytes(self._socket.recv(READ_BYTES))

    def close(self) -> None:
        self.is_open = False
        self._socket.close()

    def exchange(self, request: Request, host: str) -> Response:
        """One request, one whole response. The connection closes itself after anything but a clean end."""
        try:
            response = self._exchange(request, host)
        except BaseException:  # also a greenlet that is killed in the middle: the rest of a response must not be reused
            self.close()
            raise
        self.is_reused = True
        return response

    def _exchange(self, request: Request, host: str) -> Response:
        parser = _Parser(request.method, request.keeps_body)
        try:
            self._send(request.encode(host))
        except OSError as error:
            # A server may answer and close before it has read everything: that answer counts.
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise NoResponseError(f"send to {self.address}: {_reason(error)}") from error
        self._receive(parser)
        response = parser.response_from(self.address)
        assert response is not None  # _receive ends with a final response or raises
        if not parser.should_keep_alive() or parser.parser_failed():
            self.close()
        return response

    def _receive(self, parser: _Parser) -> None:
        has_begun = False
        while not parser.is_final:
            try:
                data = self._read()
                if not has_begun:
                    parser.first_byte_ns = host_nanoseconds()
                parser.feed(data)  # an empty feed is the end of the stream: it completes a body without a length
            except OSError as error:
                self._fail(parser, has_begun, _reason(error), error)
            except HTTPParseError as error:
                # At the end of the stream the parser complains of a body cut short, or of nothing at all.
                self._fail(parser, has_begun or bool(data), f"closed early or not HTTP: {error}", error)
            if not data and not parser.is_final:
                self._fail(parser, has_begun, "closed before the end of the response", None)
            has_begun = True

    def _fail(self, parser: _Parser, has_begun: bool, reason: str, cause: Exception | None) -> None:
        if not has_begun:
            raise NoResponseError(f"{self.address}: {reason}", isinstance(cause, TimeoutError)) from cause
        raise BrokenResponseError(f"{self.address}: {reason}", parser.response_from(self.address)) from cause


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return error.strerror or str(error)
