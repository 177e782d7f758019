"""HTTP/1.1 messages read as RFC 9112 says and no other way: slow, over whole byte strings, and sharing nothing with the node.

Whatever a section leaves to the recipient's tolerance is refused here (bare line ends, folded lines, white space before the colon, repeated lengths), so a message
that is read has one meaning only. The tests hold the node to it: it may refuse more than this reader, and must never understand anything else.
"""

import re
from dataclasses import dataclass
from enum import Enum

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/1\.([01])")  # RFC 9112 section 3
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}) ([\t -~\x80-\xff]*)")  # section 4
_ANY_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([^\r\n]*))?")
"""Section 4: whoever receives a reason phrase should ignore it, so it may say anything, or not be there at all."""
_FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t -~\x80-\xff]*)?")
"""Section 7.1.1; extensions are ignored, and so is their form, as long as it is all in one line."""
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(?::([0-9]*))?")
"""RFC 3986 section 3.2.2, but for the comma, which whoever lists values in one line takes for a separator, and for addresses of the future."""
_ABSOLUTE = re.compile(rb"http://([^/?#]*)([^#]*)", re.IGNORECASE)

Fields = tuple[tuple[bytes, bytes], ...]


class End(Enum):
    """How a byte string ends."""

    CLEAN = "between two messages"
    INCOMPLETE = "in the middle of a message"
    INVALID = "in something that is no message"


class InvalidError(Exception):
    """This is no message."""


class _IncompleteError(Exception):
    """More bytes could make it one."""


@dataclass(frozen=True)
class Request:
    method: bytes
    target: bytes
    """In origin-form."""
    host: bytes
    """Lower case, without its port."""
    minor_version: int
    fields: Fields
    body: bytes
    is_whole: bool
    raw: bytes = b""
    """From its request line on."""

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field == name]


@dataclass(frozen=True)
class Response:
    status: int
    reason: bytes
    fields: Fields
    body: bytes
    is_whole: bool
    ends_at_close: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field == name]


def read_requests(data: bytes) -> tuple[list[Request], End]:
    """All requests in the order of a connection; the last one may not be whole."""
    requests: list[Request] = []
    at = 0
    while True:
        while data.startswith(b"\r\n", at):  # section 2.2: an empty line before a request line is ignored
            at += 2
        if at == len(data) or data[at:] == b"\r":
            return requests, End.CLEAN
        start = at
        try:
            head, at = _read_request_head(data, at)
        except _IncompleteError:
            return requests, End.INCOMPLETE
        except InvalidError:
            return requests, End.INVALID
        body, end, at = _read_body(data, at, _request_framing(head))
        requests.append(Request(*head, body, end is End.CLEAN, data[start:at]))
        if end is not End.CLEAN:
            return requests, end


def read_request_head(data: bytes) -> Request:
    """One head and not a byte more; its body is left to whoever reads on. Raises InvalidError."""
    try:
        head, at = _read_request_head(data, 0)
    except _IncompleteError:
        raise InvalidError("not a whole head") from None
    if at != len(data):
        raise InvalidError("more than a head")
    return Request(*head, b"", _request_framing(head) == 0, data)


def read_responses(
    data: bytes, methods: list[bytes], *, is_closed: bool, is_from_origin: bool = False
) -> tuple[list[Response], End]:
    """Responses to these requests, interim ones included; `is_closed`: the connection was closed in an orderly way after the data.

    Bytes after the last response are left over: END.INVALID. `is_from_origin`: the node reads this, and does not write it, so line ends before a status line and
    whatever stands for a reason are let pass: neither changes what the response means.
    """
    responses: list[Response] = []
    at = 0
    for method in methods:
        while True:
            try:
                head, at = _read_response_head(data, at, is_from_origin)
                framing = _response_framing(head, method)
            except _IncompleteError:
                return responses, End.CLEAN if at == len(data) else End.INCOMPLETE
            except InvalidError:
                return responses, End.INVALID
            if framing == "close":
                responses.append(Response(*head, data[at:], is_whole=is_closed, ends_at_close=True))
                return responses, End.CLEAN if is_closed else End.INCOMPLETE
            body, end, at = _read_body(data, at, framing)
            responses.append(Response(*head, body, is_whole=end is End.CLEAN))
            if end is not End.CLEAN:
                return responses, end
            if head[0] >= 200:
                break
    return responses, End.CLEAN if at == len(data) else End.INVALID


# -- heads


def _lines(data: bytes, at: int) -> tuple[list[bytes], int]:
    """The lines up to the empty one; only CRLF ends a line, and neither half of it stands alone (section 2.2)."""
    lines: list[bytes] = []
    while True:
        end = data.find(b"\r\n", at)
        line = data[at : end if end >= 0 else None]
        if b"\n" in line or b"\r" in (line if end >= 0 else line[:-1]):
            raise InvalidError("a bare CR or LF")
        if end < 0:
            raise _IncompleteError
        at = end + 2
        if not line:
            return lines, at
        lines.append(line)


def _fields(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise InvalidError(f"no field line: {line!r}")
        fields.append((match[1].lower(), match[2]))
    return tuple(fields)


_RequestHead = tuple[bytes, bytes, bytes, int, Fields]
_ResponseHead = tuple[int, bytes, Fields]


def _read_request_head(data: bytes, at: int) -> tuple[_RequestHead, int]:
    lines, at = _lines(data, at)
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise InvalidError("no request line")
    method, target, minor_version = match[1], match[2], int(match[3])
    fields = _fields(lines[1:])
    if method == b"CONNECT":
        raise InvalidError("CONNECT takes an authority (section 3.2.3), and this is no tunnel")
    target, host = _target_and_host(target, minor_version, [v for name, v in fields if name == b"host"])
    head = (method, target, host, minor_version, fields)
    _request_framing(head)
    return head, at


def _target_and_host(target: bytes, minor_version: int, hosts: list[bytes]) -> tuple[bytes, bytes]:
    """Section 3.2 and 3.2.2: one Host, and an absolute target says the same."""
    if len(hosts) > 1 or (not hosts and minor_version == 1):
        raise InvalidError("not one Host")
    named = _authority(hosts[0]) if hosts else (b"", b"80")
    if target.startswith(b"/") and b"#" not in target:
        return target, named[0]
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise InvalidError("neither origin-form nor absolute-form")
    authority, path = _authority(match[1]), match[2]
    if hosts and hosts[0] and authority != named:
        raise InvalidError("target and Host disagree")
    if not authority[0]:
        raise InvalidError("an http URI has a host")
    return path if path.startswith(b"/") else b"/" + path, authority[0]


def _authority(value: bytes) -> tuple[bytes, bytes]:
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        raise InvalidError(f"no authority: {value!r}")
    return match[1].lower(), (match[2] or b"80").lstrip(b"0")


def _read_response_head(data: bytes, at: int, is_from_origin: bool) -> tuple[_ResponseHead, int]:
    while is_from_origin and data.startswith((b"\r", b"\n"), at):
        at += 1
    start = at
    lines, at = _lines(data, at)
    match = (_ANY_STATUS_LINE if is_from_origin else _STATUS_LINE).fullmatch(lines[0])
    if match is None:
        raise InvalidError(f"no status line: {data[start : start + 40]!r}")
    return (int(match[2]), match[3] or b"", _fields(lines[1:])), at


# -- bodies (section 6.3)

_Framing = int | str
"""A length, "chunked" or "close"."""


def _request_framing(head: _RequestHead) -> _Framing:
    framing = _declared_framing(head[4])
    if framing == "chunked" and head[3] == 0:
        raise InvalidError("a transfer coding in HTTP/1.0 (section 6.1)")
    return 0 if framing is None else framing


def _response_framing(head: _ResponseHead, method: bytes) -> _Framing:
    if method == b"HEAD" or head[0] < 200 or head[0] in (204, 304):
        return 0
    declared = _declared_framing(head[2])
    return "close" if declared is None else declared


def _declared_framing(fields: Fields) -> _Framing | None:
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    lengths = [value for name, value in fields if name == b"content-length"]
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise InvalidError("a transfer coding that is not chunked alone")
        return "chunked"
    if not lengths:
        return None
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]+", lengths[0]) or int(lengths[0]) >= 1 << 64:
        raise InvalidError("no length")
    return int(lengths[0])


def _read_body(data: bytes, at: int, framing: _Framing) -> tuple[bytes, End, int]:
    if isinstance(framing, int):
        body = data[at : at + framing]
        return body, End.CLEAN if len(body) == framing else End.INCOMPLETE, at + len(body)
    chunks = bytearray()
    try:
        while True:
            size, at = _read_chunk_line(data, at)
            if size == 0:
                lines, at = _lines(data, at)
                _fields(lines)
                return bytes(chunks), End.CLEAN, at
            chunks += data[at : at + size]
            after = data[at + size : at + size + 2]
            if not b"\r\n".startswith(after):
                raise InvalidError("a chunk longer than its size")
            if after != b"\r\n":
                raise _IncompleteError
            at += size + 2
    except _IncompleteError:
        return bytes(chunks), End.INCOMPLETE, at
    except InvalidError:
        return bytes(chunks), End.INVALID, at


def _read_chunk_line(data: bytes, at: int) -> tuple[int, int]:
    end = data.find(b"\r\n", at)
    line = data[at : end if end >= 0 else None]
    if end < 0:
        if b"\n" in line or b"\r" in line[:-1]:
            raise InvalidError("a bare CR or LF")
        raise _IncompleteError
    match = _CHUNK_LINE.fullmatch(line)
    if match is None or int(match[1], 16) >= 1 << 64:
        raise InvalidError("no chunk size")
    return int(match[1], 16), end + 2
