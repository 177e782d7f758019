"""From received bytes to requests, refusals and expectations. No sockets: bytes in, events out (RFC 9112; the grammar is httptools').

Every size has a limit here, so that nothing a client sends can grow memory.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httptools

from origin.messages import BodyRule, Request, RequestBody

MAX_TARGET_BYTES = 8_192
MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 200

_SINGLE_FIELDS = frozenset(("host", "content-length", "content-type", "authorization", "range"))
# A request line that is well formed, whatever its method: then the method is at fault, else the syntax.
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [!-~]+ HTTP/1\.[01]\r?\n")


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A request is complete."""

    request: Request


@dataclass(frozen=True, slots=True)
class ContinueExpected:
    """The client waits for `100 Continue` before it sends the body."""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """What came cannot be a request that is served; the connection ends with this status."""

    status: int
    reason: str
    method: str = ""
    target: str = ""


Event = RequestArrived | ContinueExpected | RequestRefused


class ByteBudget:
    """How many bytes of unfinished uploads may be in memory at once, over all connections."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes

    def take(self, count: int) -> bool:
        """Whether there was room; if so it is taken."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def give_back(self, count: int) -> None:
        """Return what was taken."""
        self._left += count


class _RefusedError(Exception):
    """Leaves the parser's callback; the refusal itself is already noted."""


@dataclass(slots=True)
class _Incoming:
    """One request while it arrives."""

    target: bytes = b""
    path: str = ""
    query: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    method: str = ""
    headers_bytes: int = 0
    is_head_complete: bool = False
    unfinished_head_bytes: int = 0
    rule: BodyRule = field(default_factory=BodyRule)
    body_bytes: int = 0
    hash: Any = None
    kept: list[bytes] = field(default_factory=list)

    def body(self) -> RequestBody:
        if not self.body_bytes:
            return RequestBody()
        return RequestBody(self.body_bytes, self.hash.hexdigest(), b"".join(self.kept))


class RequestReader:
    """The requests of one connection, in order."""

    def __init__(
        self, body_rule: Callable[[str, str], BodyRule], uploads: ByteBudget, connection_number: int = 0
    ) -> None:
        self._body_rule = body_rule
        self._uploads = uploads
        self._connection_number = connection_number
        self._parser: Any = httptools.HttpRequestParser(self)
        self._incoming = _Incoming()
        self._events: list[Event] = []
        self._is_ended = False
        self._is_in_message = False

    @property
    def is_in_message(self) -> bool:
        """Part of a request has arrived, not all of it."""
        return self._is_in_message

    @property
    def is_in_head(self) -> bool:
        """Part of a head has arrived, not all of it."""
        return self._is_in_message and not self._incoming.is_head_complete

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete. After a refusal or a request that ends the connection, the rest is ignored."""
        unfinished = self._incoming if self.is_in_head else None
        rest: bytes | None = data
        while rest and not self._is_ended:
            rest = self._feed_parser(rest)
        if unfinished is self._incoming:
            self._check_unfinished_head(unfinished, len(data))
        events, self._events = self._events, []
        return events

    def abandon(self) -> None:
        """The connection is gone: an unfinished upload counts no longer."""
        self._uploads.give_back(sum(map(len, self._incoming.kept)))
        self._incoming = _Incoming()
        self._is_ended = True

    def _feed_parser(self, data: bytes) -> bytes | None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # RFC 9110, 7.8: a server may ignore Upgrade; what follows is the next request.
            self._parser = httptools.HttpRequestParser(self)
            return data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _RefusedError):
                raise
        except httptools.HttpParserError as error:
            self._refuse_malformed(data, error)
        return None

    # What httptools calls, in the order of a message.

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._incoming = _Incoming()
        self._is_in_message = True

    def on_url(self, part: bytes) -> None:
        """Part of the target."""
        incoming = self._incoming
        incoming.target += part
        if len(incoming.target) > MAX_TARGET_BYTES:
            self._refuse(414, f"the target is longer than {MAX_TARGET_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers come here too and are dropped (RFC 9110, 6.5.1 allows it)."""
        incoming = self._incoming
        if incoming.is_head_complete:
            return
        incoming.headers.append((name.decode("latin-1"), value.decode("latin-1")))
        incoming.headers_bytes += len(name) + len(value) + 4  # colon, space, end of line
        if len(incoming.headers) > MAX_HEADERS:
            self._refuse(431, f"more than {MAX_HEADERS} headers")
        if incoming.headers_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"the headers are longer than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """The head is whole: everything that can be refused without the body is refused now."""
        incoming = self._incoming
        incoming.is_head_complete = True
        incoming.method = self._parser.get_method().decode("latin-1")
        incoming.fields = self._combined_fields(incoming.headers)
        self._check_head(incoming)
        incoming.path, incoming.query = path_and_query(incoming.target.decode("latin-1"))
        incoming.rule = self._body_rule(incoming.method, incoming.path)
        length = incoming.fields.get("content-length")
        if length is not None:
            self._check_body_size(int(length))
        if "expect" in incoming.fields:
            self._check_expectation(incoming.fields["expect"], length)

    def on_body(self, data: bytes) -> None:
        """Part of the body."""
        incoming = self._incoming
        self._check_body_size(incoming.body_bytes + len(data))
        incoming.body_bytes += len(data)
        if incoming.hash is None:
            incoming.hash = sha256()
        incoming.hash.update(data)
        if incoming.rule.is_kept:
            if not self._uploads.take(len(data)):
                self._refuse(503, "too many uploads at once")
            incoming.kept.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        incoming = self._incoming
        self._is_in_message = False
        is_tunnel = incoming.method == "CONNECT"
        is_keep_alive = self._parser.should_keep_alive() and not is_tunnel
        request = Request(
            incoming.method,
            incoming.target.decode("latin-1"),
            incoming.path,
            incoming.query,
            tuple(incoming.headers),
            incoming.fields,
            incoming.body(),
            self._parser.get_http_version(),
            is_keep_alive,
            self._connection_number,
        )
        incoming.kept = []  # from here on the bytes are the connection's to give back
        self._is_ended = not is_keep_alive
        self._events.append(RequestArrived(request))

    # What is refused.

    def _check_head(self, incoming: _Incoming) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(505, f"HTTP/{version} is not spoken here")
        if version == "1.1" and "host" not in incoming.fields:
            self._refuse(400, "HTTP/1.1 needs a Host header")  # RFC 9112, 3.2

    def _check_body_size(self, size: int) -> None:
        limit = self._incoming.rule.limit_bytes
        if limit is not None and size > limit:
            self._refuse(413, f"the body is larger than {limit} bytes")

    def _check_expectation(self, expectation: str, length: str | None) -> None:
        if expectation.lower() != "100-continue":
            self._refuse(417, "only 100-continue can be expected")  # RFC 9110, 10.1.1
        has_body = length not in (None, "0") or "transfer-encoding" in self._incoming.fields
        if has_body and self._parser.get_http_version() == "1.1":
            self._events.append(ContinueExpected())

    def _combined_fields(self, headers: list[tuple[str, str]]) -> dict[str, str]:
        fields = {name.lower(): value for name, value in headers}
        if len(fields) == len(headers):
            return fields
        combined: dict[str, str] = {}
        for name, value in headers:
            key = name.lower()
            if key in combined and key in _SINGLE_FIELDS:
                self._refuse(400, f"more than one {name} header")
            # RFC 9110, 5.3; cookies are joined as RFC 6265, 5.4 writes them.
            joint = "; " if key == "cookie" else ", "
            combined[key] = f"{combined[key]}{joint}{value}" if key in combined else value
        return combined

    def _refuse(self, status: int, reason: str) -> None:
        self._note_refusal(status, reason)
        raise _RefusedError

    def _note_refusal(self, status: int, reason: str) -> None:
        self._is_ended = True
        self._is_in_message = False
        incoming = self._incoming
        self._uploads.give_back(sum(map(len, incoming.kept)))
        incoming.kept = []
        target = incoming.target[:MAX_TARGET_BYTES].decode("latin-1")
        self._events.append(RequestRefused(status, reason, incoming.method, target))

    def _check_unfinished_head(self, incoming: _Incoming, added_bytes: int) -> None:
        # The parser holds a header back until it is whole, so its size is known only by what came in since the head began.
        # Not counted is the read in which it began, which the transport bounds.
        incoming.unfinished_head_bytes += added_bytes
        if not incoming.is_head_complete and not self._is_ended and incoming.unfinished_head_bytes > MAX_HEAD_BYTES:
            self._note_refusal(431, f"the headers are longer than {MAX_HEAD_BYTES} bytes")

    def _refuse_malformed(self, data: bytes, error: Exception) -> None:
        if isinstance(error, httptools.HttpParserInvalidMethodError) and _REQUEST_LINE.match(data):
            self._note_refusal(501, "the method is unknown")
        elif not self._is_ended:  # bytes after a last request are no request: ignored, not answered
            self._note_refusal(400, str(error))


def path_and_query(target: str) -> tuple[str, str]:
    """The path and the query of a target in origin or absolute form (RFC 9112, 3.2), not decoded; a fragment is dropped."""
    rest = target.partition("#")[0] if "#" in target else target
    if not rest.startswith("/"):
        scheme, separator, after = rest.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            slash, mark = after.find("/"), after.find("?")
            start = min([position for position in (slash, mark) if position >= 0], default=len(after))
            rest = after[start:]
            rest = rest if rest.startswith("/") else "/" + rest
    path, _, query = rest.partition("?")
    return path, query
