"""Requests that are put together from a remembered header section and a line nobody has sent before: the same in every field as what the parser makes of their bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.caching.stored_body import Piece
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.listeners.request_parser import RequestParser
from edge_node.model.http import RequestHead
from edge_node.policy.parse_cache import LONGEST_REMEMBERED_LINE_BYTES, ParseCache
from tests.depth import examples


class FirstRequest:
    """Takes what a reader reads."""

    request_bytes = 0
    is_write_blocked = may_keep_alive = False
    may_begin = True
    peer = ("192.0.2.7", 40_000)

    def __init__(self) -> None:
        self.taken: list[RequestHead] = []

    def take(self, head: RequestHead, body: RequestBodyStream | None) -> None:
        self.taken.append(head)

    def send(self, data: Piece) -> None:
        raise AssertionError("a reader sends nothing")

    def end_exchange(self, *, keep_alive: bool) -> None:
        raise AssertionError("a reader ends nothing")

    def abort(self) -> None:
        raise AssertionError("a reader cuts nothing")

    def look_at_body(self) -> None:
        pass


def parts_of(head: RequestHead | None) -> tuple[object, ...] | None:
    """All but what is only remembered with it."""
    if head is None:
        return None
    return (
        head.method, head.target, head.host, head.headers, head.fields, head.minor_version, head.is_keep_alive, head.has_body, head.is_plain,
    )  # fmt: skip


def parsed(data: bytes) -> RequestHead | None:
    """What the parser makes of these bytes, if they are exactly one request."""
    request_sink = FirstRequest()
    reader = RequestParser(request_sink)
    reader.read(data)
    alone = reader.was_one_request
    assert alone is None or request_sink.taken == [alone]
    return alone


USUAL_LINES = st.builds(
    lambda method, path: b"%b /%b HTTP/1.1" % (method, b"".join(path)),
    st.sampled_from([b"GET", b"HEAD"]),
    st.lists(
        st.sampled_from([b"a", b"/", b"?", b"=", b"&", b"%41", b"%", b"..", b"~", b":", b"@", b"http://x/"]), max_size=6
    ),
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.integers(0, 2),
        st.binary(max_size=1)
        | st.sampled_from([b" ", b"\t", b"\r", b"\n", b"\r\n", b"1", b"/", b" HTTP/1.1", b"#", b"\r\nHost: x"]),
        st.booleans(),
    ),
    max_size=2,
)


def edited(line: bytes, edits: list[tuple[int, int, bytes, bool]]) -> bytes:
    """With bytes left out and put in, at places counted from its beginning or its end."""
    for place, left_out, put_in, is_from_end in edits:
        at = max(0, len(line) - place) if is_from_end else min(place, len(line))
        line = line[:at] + put_in + line[at + left_out :]
    return line


@settings(max_examples=examples(200))
@given(USUAL_LINES, EDITS)
def test_a_line_that_is_taken_without_the_parser_is_what_the_parser_reads(
    usual: bytes, edits: list[tuple[int, int, bytes, bool]]
) -> None:
    """Over lines that nobody has sent before, with each section that may be remembered."""
    line = edited(usual, edits)
    for section in KNOWN_SECTIONS:
        known = ParseCache()
        first = b"GET /first HTTP/1.1" + section
        head = parsed(first)
        assert head is not None
        known.remember(first, head, with_line=False)
        remembered = known.section_of(section)
        assert remembered is not None
        assembled = known.head_of(line, remembered)
        assert assembled is not None or edits
        assert assembled is None or parts_of(assembled) == parts_of(parsed(line + section))


@pytest.mark.parametrize("code", range(256))
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_every_byte_of_a_usual_path_is_one_that_the_parser_takes_as_it_is(method: bytes, code: int) -> None:
    section = KNOWN_SECTIONS[0]
    known = ParseCache()
    first = b"GET /first HTTP/1.1" + section
    head = parsed(first)
    assert head is not None
    known.remember(first, head)
    remembered = known.section_of(section)
    assert remembered is not None
    is_of_uris = chr(code) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?@!$&'()*+,;=%"
    for path in (b"/%c" % code, b"/a%cb" % code, b"/?%c" % code):
        line = b"%b %b HTTP/1.1" % (method, path)
        assembled = known.head_of(line, remembered)
        if assembled is None:
            assert not is_of_uris, "a usual character is parsed each time"
        else:
            assert is_of_uris
            assert parts_of(assembled) == parts_of(parsed(line + section))


@given(st.binary(max_size=600).map(lambda path: bytes(b"abc/?&=%"[byte % 8] for byte in path)))
def test_a_line_as_long_as_any_is_read_the_same(path: bytes) -> None:
    section = KNOWN_SECTIONS[1]
    known = ParseCache()
    first = b"HEAD /first HTTP/1.1" + section
    head = parsed(first)
    assert head is not None
    known.remember(first, head)
    remembered = known.section_of(section)
    assert remembered is not None
    line = b"GET /%b HTTP/1.1" % path
    assembled = known.head_of(line, remembered)
    assert (assembled is None) == (len(line) > LONGEST_REMEMBERED_LINE_BYTES)
    assert assembled is None or parts_of(assembled) == parts_of(parsed(line + section))


@pytest.mark.parametrize(
    "section",
    [
        b"\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        b"\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"\r\nHost: h\r\nUpgrade: x\r\n\r\n",
        b"\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        b"\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_section_that_has_a_say_in_framing_is_never_remembered(section: bytes) -> None:
    known = ParseCache()
    data = b"GET /first HTTP/1.1" + section
    head = parsed(data)
    if head is not None:
        known.remember(data, head)
    assert known.section_of(section) is None


def test_the_line_of_another_version_or_host_is_not_remembered_with_its_section() -> None:
    """HTTP/1.0 has another default for the connection; an absolute target says the host itself."""
    for line in (b"GET /a HTTP/1.0", b"GET http://h/a HTTP/1.1"):
        known = ParseCache()
        data = line + KNOWN_SECTIONS[0]
        head = parsed(data)
        assert head is not None
        known.remember(data, head)
        assert known.section_of(KNOWN_SECTIONS[0]) is None


KNOWN_SECTIONS = [
    b"\r\nHost: h\r\n\r\n",
    b"\r\nHOST:  H:81 \r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n",
    b"\r\nHost: [::1]\r\nRange: bytes=0-1\r\nIf-None-Match: *\r\nConnection: keep-alive\r\n\r\n",
    b"\r\nHost: \r\nX: caf\xe9\r\nX: GET /b HTTP/1.1\r\n\r\n",
    b"\r\nHost: h\r\nConnection: x\r\n\r\n",
]
