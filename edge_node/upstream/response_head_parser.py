"""The heads that nearly all responses have, read in one piece.

A final response in HTTP/1.1 whose framing leaves no two opinions: its head is there whole, every line of it is a name, a colon and visible characters, the body is
framed by one Content-Length (or the status has none), and nothing is said of transfer codings, upgrades or closing. All others are left to the parser, which reads
these in the same way: tests/property/edge_node/upstream/test_response_head_parser_properties.py.
Lines repeat from one response to the next, so what a line says is remembered.
"""

import re
from functools import lru_cache
from typing import Final, cast

from edge_node.model.http import Header, Headers, ResponseHead

LARGEST_USUAL_HEAD_BYTES: Final = 16_384
LONGEST_USUAL_LINE_BYTES: Final = 512
MOST_REMEMBERED_LINES: Final = 4_096
"""Together at most 2 MiB of lines, and as much of what they say."""
MOST_REMEMBERED_NAMES: Final = 512
_LONGEST_LENGTH_DIGITS: Final = 18

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)").fullmatch
_is_token: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_is_visible: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
"""RFC 9112 sections 4 and 5."""
_MALFORMED_NAME: Final = b""
"""Of a line that is no field."""
_SELDOM_REPEATED: Final = frozenset(
    {b"age", b"content-range", b"etag", b"expires", b"last-modified", b"set-cookie", b"x-amz-cf-id", b"x-request-id"}
)
"""Their lines are of one response, and would only push out those of many."""
_known_names: Final[dict[bytes, bytes]] = {}
"""Names as they came, and in lower case."""
_known_lines: Final[dict[bytes, object]] = {}
"""What the lines say that came of late."""
_STATUSES_WITHOUT_BODY: Final = frozenset({204, 304})


class ParsedHead:
    """A head that was read in one piece, of a response after which the connection stays open."""

    __slots__ = ("body_length", "body_start", "head")

    def __init__(
        self,
        head: ResponseHead,
        body_start: int,
        body_length: int,
    ) -> None:
        self.head: Final = head
        self.body_start: Final = body_start
        """Where the body begins in what was read."""
        self.body_length: Final = body_length


def read_usual_head(data: bytes) -> ParsedHead | None:
    """The head at the beginning of these bytes; None when it is not of the usual kind. For responses to other methods than HEAD."""
    end = data.find(b"\r\n\r\n", 0, LARGEST_USUAL_HEAD_BYTES)
    if end < 0:
        return None
    lines = data[:end].split(b"\r\n")
    status_and_reason = _read_status_line(lines[0])
    if status_and_reason is None:
        return None
    if end > LONGEST_USUAL_LINE_BYTES and len(max(lines, key=len)) > LONGEST_USUAL_LINE_BYTES:
        return None
    headers, fields = _read_fields(lines[1:])
    if _MALFORMED_NAME in fields or _is_unusual(fields):
        return None
    length_text = fields.get(b"content-length")
    if len(fields) < len(headers):
        fields = join_repeated(headers)
        if fields.get(b"content-length") != length_text:
            return None
    status, reason = status_and_reason
    if length_text is None:
        if status not in _STATUSES_WITHOUT_BODY:
            return None
        length = None
    elif length_text.isdigit() and len(length_text) <= _LONGEST_LENGTH_DIGITS:
        length = int(length_text)
    else:
        return None
    head = ResponseHead(status, reason, headers, length, fields)
    return ParsedHead(head, end + 4, 0 if status in _STATUSES_WITHOUT_BODY else length or 0)


def _read_fields(lines: list[bytes]) -> tuple[Headers, dict[bytes, bytes]]:
    """In their order, and by name, where the last one of a name counts. Kept as objects: typed pairs would be taken apart and put together anew by compiled code."""
    headers: list[object] = []
    fields: dict[bytes, bytes] = {}
    for line in lines:
        header = _known_lines.get(line) or _read_line(line)
        headers.append(header)
        name, value = cast("Header", header)
        fields[name] = value
    return cast("Headers", tuple(headers)), fields


def _is_unusual(fields: dict[bytes, bytes]) -> bool:
    """Something is said of the connection or of transfer codings."""
    connection = fields.get(b"connection")
    if connection is not None and connection != b"keep-alive" and connection.lower() != b"keep-alive":
        return True
    return b"transfer-encoding" in fields or b"upgrade" in fields or b"proxy-connection" in fields


def join_repeated(headers: Headers) -> dict[bytes, bytes]:
    """Fields by name, repeated ones joined by a comma (RFC 9110 section 5.3); Set-Cookie is only ever read from the list."""
    by_name: dict[bytes, bytes] = {}
    for name, value in headers:
        by_name[name] = by_name[name] + b", " + value if name in by_name else value
    return by_name


@lru_cache(maxsize=256)
def _read_status_line(line: bytes) -> tuple[int, bytes] | None:
    match = _STATUS_LINE(line) if len(line) <= LONGEST_USUAL_LINE_BYTES else None
    return None if match is None else (int(match[1]), match[2])


def _read_line(line: bytes) -> object:
    """A line that is not known; most are from now on: those that repeat are soon known again after all were forgotten."""
    spelled, colon, value = line.partition(b":")
    name = _known_names.get(spelled) or _read_name(spelled)
    if not colon or name == _MALFORMED_NAME or not _is_field_value(value):
        return (_MALFORMED_NAME, b"")
    header = (name, value.strip(b" \t"))
    if name not in _SELDOM_REPEATED:
        if len(_known_lines) >= MOST_REMEMBERED_LINES:
            _known_lines.clear()
        _known_lines[line] = header
    return header


def _is_field_value(value: bytes) -> bool:
    """RFC 9112 section 5.5; nearly all are printable ASCII, which is found out in a third of the time."""
    text = value.decode("latin-1")
    return (text.isascii() and text.isprintable()) or _is_visible(value) is not None


def _read_name(spelled: bytes) -> bytes:
    """In lower case, and remembered if it is a name."""
    if _is_token(spelled) is None:
        return _MALFORMED_NAME
    name = spelled.lower()
    if len(_known_names) >= MOST_REMEMBERED_NAMES:
        _known_names.clear()
    _known_names[spelled] = name
    return name
