"""Requests that consist of parts seen before: their lines and header sections, each parsed and checked once.

What a request means is a function of its request line and its header section, and apart from their sizes neither has a say in how the other is read. (Where one has,
it is not remembered: a body, another version than 1.1, an absolute target, an upgrade.) So a request whose line and whose section were both part of requests that were
parsed is put together from what they gave, without reading it again; the bytes themselves are compared, so that nothing else can be mistaken for it.
Browsers repeat their sections exactly, and thousands of viewers ask for the same lines.
"""

import re
from typing import Final, NamedTuple

from edge_node.caching.entry import Entry, EntryTemplate
from edge_node.model.http import RequestHead
from edge_node.policy.representation import Representation
from edge_node.policy.router import Route, Router

LONGEST_REMEMBERED_LINE_BYTES: Final = 512
LONGEST_REMEMBERED_SECTION_BYTES: Final = 2_048
MOST_REMEMBERED_LINES: Final = 16_384
MOST_REMEMBERED_CONTENTS: Final = 4
MOST_REMEMBERED_SECTIONS: Final = 4_096
"""Together at most 8 MiB of lines and 8 MiB of sections, were every one of the longest kind."""

_USUAL_LINE: Final = re.compile(rb"(GET|HEAD) (/[!$&-;=?-Z_a-z~%]*) HTTP/1\.1")
"""Lines about which no reader of requests can have two opinions: method and version as most requests have them, and a path of characters that a URI is made of
(RFC 3986 section 2). tests/property/edge_node/policy/test_parse_cache_properties.py compares it with the parser."""

_CANNOT_BE_RECOMBINED = (b"upgrade", b"expect", b"transfer-encoding", b"content-length", b"cdn-loop")
"""The last one because a stage looks at it (`stages/table.py`: loop detection)."""


def _read_usual_line(line: bytes) -> tuple[bytes, bytes] | None:
    match = _USUAL_LINE.fullmatch(line) if len(line) <= LONGEST_REMEMBERED_LINE_BYTES else None
    return None if match is None else (match[1], match[2])


class CachedRepresentation(NamedTuple):
    """What conditions and ranges gave, and all of the entry that they were asked of: its kind, and its fields, of which Content-Length is one."""

    template: EntryTemplate
    fields: bytes
    """With the empty line."""
    content: Representation
    lines: bytes
    """Its field lines as HTTP/1.1 sends them, and the empty line."""


class HeaderSection:
    """One header section, and what has been found out about it."""

    __slots__ = (
        "accept_encoding",
        "contents",
        "data",
        "fast_routes",
        "get_head",
        "head",
        "is_plain",
        "length",
        "log_texts",
        "router",
    )  # fmt: skip

    def __init__(self, data: bytes, head: RequestHead) -> None:
        self.data = data
        """From the end of the request line to the end of the request."""
        self.length = len(data)
        self.head = head
        """The request that it was read with first."""
        self.get_head = head.as_get()
        """The same of a GET, for what does not depend on the target."""
        self.is_plain = head.is_plain
        self.contents: dict[bytes, CachedRepresentation] = {}
        """What conditions and ranges gave for a line."""
        self.accept_encoding = head.fields.get(b"accept-encoding")
        self.router: Router | None = None
        self.fast_routes: dict[bytes, Route] = {}
        """Routes by request line for its host, as `router` has them."""
        self.log_texts: tuple[str, str, str] | None = None
        """What the access log makes of it."""

    def route_of(self, line: bytes, router: Router) -> Route | None:
        """The route for a GET of this line, if it was made before and nothing but the key matters."""
        if self.router is not router:
            self.router = router
            self.fast_routes = router.fast_routes_of(self.head.host)
        return self.fast_routes.get(line)

    def remember_content(self, line: bytes, entry: Entry, content: Representation) -> bytes:
        """What was worked out for an entry that has its body in its block; gives its field lines and the empty line."""
        if len(self.contents) >= MOST_REMEMBERED_CONTENTS:
            self.contents.clear()
        lines = content.field_lines + b"\r\n"
        self.contents[line] = CachedRepresentation(entry.template, entry.block[: entry.body_start], content, lines)
        return lines


class ParseCache:
    """The lines and sections that one node remembers."""

    def __init__(self) -> None:
        self._sections: dict[bytes, HeaderSection] = {}
        self._lines: dict[bytes, tuple[bytes, bytes]] = {}
        self.section_of = self._sections.get

    def remember(self, data: bytes, head: RequestHead, *, with_line: bool = True) -> None:
        """Remember the parts of a request that was read from exactly these bytes."""
        line, separator, _ = data.partition(b"\r\n")
        section = data[len(line) :]
        is_usual = head.minor_version == 1 and not head.has_body and head.is_keep_alive and head.method != b"CONNECT"
        is_short = len(line) <= LONGEST_REMEMBERED_LINE_BYTES and len(section) <= LONGEST_REMEMBERED_SECTION_BYTES
        if not (separator and is_usual and is_short and line == b"%b %b HTTP/1.1" % (head.method, head.target)):
            return
        if any(name in head.fields for name in _CANNOT_BE_RECOMBINED):
            return
        if with_line and not _USUAL_LINE.fullmatch(line):
            if len(self._lines) >= MOST_REMEMBERED_LINES:
                self._lines.clear()
            self._lines[line] = (head.method, head.target)
        if section not in self._sections:
            if len(self._sections) >= MOST_REMEMBERED_SECTIONS:
                self._sections.clear()
            self._sections[section] = HeaderSection(section, head.of(head.method, head.target, {}))

    def head_of(self, line: bytes, section: HeaderSection) -> RequestHead | None:
        """The request that a known section makes with this line; None when the line has not been read before."""
        first = section.head
        known = self._lines.get(line) or _read_usual_line(line)
        if known is None:
            return None
        if known == (first.method, first.target):
            return first
        method, target = known
        return first.of(method, target, first.memo)
