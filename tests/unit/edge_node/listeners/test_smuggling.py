"""Request smuggling and cache poisoning: one attack a row, and the rule that it breaks. Each is refused, and nothing behind it is ever taken for a request.

What an attack hopes for is that two readers of one connection count its bytes differently. So every row carries a second request, /smuggled, in the bytes that the
readers would quarrel about, and no part of the node may see it.
"""

import pytest

from edge_node.policy.parse_cache import ParseCache
from edge_node.upstream.connection import UpstreamConnection
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message
from tests.edge_wires import turn
from tests.fuzz.origin_side import World
from tests.fuzz.strict_http import read_responses
from tests.fuzz.viewer_side import Understood, outcome_of
from tests.unit.edge_node.upstream.test_connection import Conversation

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
BEFORE = b"GET /before HTTP/1.1\r\nHost: h\r\n\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n" + body


def get(fields: bytes = b"Host: h\r\n", line: bytes = b"GET / HTTP/1.1\r\n") -> bytes:
    return line + fields + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
FIVE = b"Content-Length: 5\r\n"

ATTACKS = [
    # RFC 9112 section 6.3, rule 3, and 6.1: both framings
    ("CL.TE: a length beside a coding", post(FIVE + CHUNKED, b"0\r\n\r\n"), 400),
    ("TE.CL: a coding beside a length", post(CHUNKED + FIVE, b"0\r\n\r\n"), 400),
    ("CL.TE with a length of 0", post(b"Content-Length: 0\r\n" + CHUNKED, b"0\r\n\r\n"), 400),
    # section 6.3, rule 5, and RFC 9110 section 8.6: lengths
    ("CL.CL: lengths that differ", post(FIVE + b"Content-Length: 6\r\n", b"hello"), 400),
    ("CL.CL: the same length twice", post(FIVE + FIVE, b"hello"), 400),
    ("a list of lengths", post(b"Content-Length: 5, 5\r\n", b"hello"), 400),
    ("a signed length", post(b"Content-Length: +5\r\n", b"hello"), 400),
    ("a negative length", post(b"Content-Length: -5\r\n", b"hello"), 400),
    ("a hexadecimal length", post(b"Content-Length: 0x5\r\n", b"hello"), 400),
    ("a length with a separator of digits", post(b"Content-Length: 0_5\r\n", b"hello"), 400),
    ("a length in other digits", post("Content-Length: \u0665\r\n".encode(), b"hello"), 400),
    ("two lengths in one value", post(b"Content-Length: 5 0\r\n", b"hello"), 400),
    ("an empty length", post(b"Content-Length: \r\n", b"hello"), 400),
    ("a length with a fraction", post(b"Content-Length: 5.0\r\n", b"hello"), 400),
    ("a length beyond all numbers", post(b"Content-Length: 18446744073709551621\r\n", b"hello"), 400),
    # section 6.1 and 7: transfer codings
    ("a coding that is not known", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 501),
    ("chunked is not the last coding", post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), 400),
    ("chunked behind another coding", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
    ("chunked twice", post(CHUNKED + CHUNKED, b"0\r\n\r\n"), 400),
    ("identity", post(b"Transfer-Encoding: identity\r\n", b""), 501),
    ("an empty coding", post(b"Transfer-Encoding: \r\n", b""), 400),
    ("a coding behind a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    ("a coding with a NUL", post(b"Transfer-Encoding: chunked\0\r\n", b"0\r\n\r\n"), 400),
    ("a coding in quotes", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), 501),
    ("a coding with a parameter", post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"), 501),
    ("a coding in HTTP/1.0", post(CHUNKED, b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
    # section 5: field lines
    ("white space before the colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    ("a tab before the colon", post(b"Content-Length\t: 5\r\n", b"hello"), 400),
    ("a field name with white space in it", post(b"Content Length: 5\r\n", b"hello"), 400),
    ("a field name with a NUL", post(b"Content-Length\0: 5\r\n", b"hello"), 400),
    ("a field name with a vertical tab", post(b"Content-Length\x0b: 5\r\n", b"hello"), 400),
    ("a field name that is not ASCII", post("Content-Length\u00a0: 5\r\n".encode(), b"hello"), 400),
    ("an empty field name", post(b": 5\r\n", b""), 400),
    ("a line without a colon", post(b"Content-Length\r\n", b""), 400),
    ("white space before the first field", get(b" Host: h\r\n"), 400),
    ("obs-fold: a folded value", get(b"Host: h\r\nA: b\r\n c\r\n"), 400),
    ("obs-fold: a folded coding", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), 400),
    ("obs-fold: folded with a tab", get(b"Host: h\r\nA: b\r\n\tc\r\n"), 400),
    ("obs-fold: a fold before the end", get(b"Host: h\r\n \r\n"), 400),
    ("a control character in a value", get(b"Host: h\r\nA: b\x01c\r\n"), 400),
    ("DEL in a value", get(b"Host: h\r\nA: b\x7fc\r\n"), 400),
    ("a NUL in a value", get(b"Host: h\r\nA: b\0c\r\n"), 400),
    # section 2.2: line ends
    ("bare LF after the request line", b"GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
    ("bare LF after a field", b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400),
    ("bare LF for the empty line", b"GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
    ("bare CR in a value", get(b"Host: h\r\nA: b\rc\r\n"), 400),
    ("bare CR after a field", b"GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n", 400),
    ("CR CR LF", b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400),
    ("LF CR", b"GET / HTTP/1.1\r\nHost: h\n\r\n\r\n", 400),
    # section 3: request lines
    ("white space in the target", get(line=b"GET /a b HTTP/1.1\r\n"), 400),
    ("a tab for a space", get(line=b"GET\t/ HTTP/1.1\r\n"), 400),
    ("white space after the version", get(line=b"GET / HTTP/1.1 \r\n"), 400),
    ("a request line in the target", get(line=b"GET / HTTP/1.1\rGET /b HTTP/1.1\r\n"), 400),
    ("a control character in the target", get(line=b"GET /\x01 HTTP/1.1\r\n"), 400),
    ("a byte that is not ASCII in the target", get(line="GET /\u00e9 HTTP/1.1\r\n".encode()), 400),
    ("a fragment in the target", get(line=b"GET /a#b HTTP/1.1\r\n"), 400),
    ("a version of three parts", get(line=b"GET / HTTP/1.1.1\r\n"), 400),
    ("a version in small letters", get(line=b"GET / http/1.1\r\n"), 400),
    ("HTTP/2 without a preface", get(line=b"GET / HTTP/2.0\r\n"), 505),
    ("a method in small letters", get(line=b"get / HTTP/1.1\r\n"), 400),
    # section 3.2: whom it is for
    ("two Hosts", get(b"Host: h\r\nHost: x\r\n"), 400),
    ("the same Host twice", get(b"Host: h\r\nHost: h\r\n"), 400),
    ("no Host", get(b"A: b\r\n"), 400),
    ("two hosts in one Host", get(b"Host: h, x\r\n"), 400),
    ("a path in Host", get(b"Host: h/x\r\n"), 400),
    ("a user in Host", get(b"Host: x@h\r\n"), 400),
    ("a port that is none", get(b"Host: h:8a\r\n"), 400),
    ("a target that says another host", get(line=b"GET http://x/ HTTP/1.1\r\n"), 400),
    ("a user in the target", get(line=b"GET http://h@x/ HTTP/1.1\r\n"), 400),
    ("a target of another scheme", get(line=b"GET ftp://h/ HTTP/1.1\r\n"), 400),
    ("an asterisk for a target", get(line=b"OPTIONS * HTTP/1.1\r\n"), 400),
    ("a tunnel", get(line=b"CONNECT h:80 HTTP/1.1\r\n"), 400),
]

BROKEN_BODIES = [  # section 7.1; the head was right, so the request has begun, and never becomes whole
    ("a chunk size with a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative chunk size", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with white space before it", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with white space after it", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that is empty", b"\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size beyond all numbers", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that ends with bare LF", b"5\nhello\r\n0\r\n\r\n"),
    ("a chunk size that ends with bare CR", b"5\rhello\r\n0\r\n\r\n"),
    ("a chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
    ("a chunk without its line end", b"5\r\nhello0\r\n\r\n"),
    ("a chunk that ends with bare LF", b"5\r\nhello\n0\r\n\r\n"),
    ("a line end inside an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("a bare CR inside an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("a NUL inside an extension", b"5;a\0\r\nhello\r\n0\r\n\r\n"),
    ("a last chunk that ends with bare LF", b"0\n\n"),
    ("a trailer line that is folded", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("a trailer section that ends with bare LF", b"0\r\nA: b\r\n\n"),
    ("a trailer line with white space before its colon", b"0\r\nA : b\r\n\r\n"),
]

READS = pytest.mark.parametrize("size", [1_000_000, 1, 7], ids=["at once", "byte by byte", "by sevens"])


def reads(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@READS
@pytest.mark.parametrize(("attack", "status"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
async def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_heard(
    attack: bytes, status: int, size: int
) -> None:
    outcome = await outcome_of(reads(BEFORE + attack + SMUGGLED, size), ParseCache())
    assert [request.head.target for request in outcome.requests] == [b"/before"]
    assert outcome.refusal == status
    assert outcome.is_ended


@READS
@pytest.mark.parametrize("body", [row[1] for row in BROKEN_BODIES], ids=[row[0] for row in BROKEN_BODIES])
async def test_a_broken_body_never_becomes_whole_and_nothing_behind_it_is_heard(body: bytes, size: int) -> None:
    outcome = await outcome_of(reads(BEFORE + post(CHUNKED, body) + SMUGGLED, size), ParseCache())
    assert [request.head.target for request in outcome.requests] in ([b"/before"], [b"/before", b"/"])
    assert not any(request.is_whole for request in outcome.requests[1:])
    assert outcome.is_ended


async def test_a_request_in_a_body_stays_in_the_body() -> None:
    by_length = post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED)
    by_chunks = post(CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))
    outcome = await outcome_of([BEFORE + by_length + by_chunks + BEFORE], ParseCache())
    assert [request.head.target for request in outcome.requests] == [b"/before", b"/", b"/", b"/before"]
    assert [bytes(request.body) for request in outcome.requests] == [b"", SMUGGLED, SMUGGLED, b""]


async def test_a_get_with_a_body_is_read_with_its_body() -> None:
    """Whoever forgets that a GET may have one takes it for the next request."""
    outcome = await outcome_of([get(b"Host: h\r\nContent-Length: %d\r\n" % len(SMUGGLED)) + SMUGGLED], ParseCache())
    assert [request.head.target for request in outcome.requests] == [b"/"]


@pytest.mark.parametrize("name", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n"])
async def test_a_trailer_section_frames_nothing(name: bytes) -> None:
    """RFC 9110 section 6.5.1: fields of framing and routing do not count in a trailer section; the node may refuse them, too."""
    outcome = await outcome_of([post(CHUNKED, b"0\r\n" + name + b"\r\n") + BEFORE], ParseCache())
    targets = [request.head.target for request in outcome.requests]
    assert targets == [b"/", b"/before"] or (targets == [b"/"] and outcome.is_ended)
    assert outcome.requests[0].head.host == b"h"


LINES = [
    b"GET /a HTTP/1.1", b"HEAD /a HTTP/1.1", b"GET /b HTTP/1.1", b"POST /a HTTP/1.1", b"GET /a HTTP/1.0", b"GET http://h/a HTTP/1.1", b"GET http://x/a HTTP/1.1",
    b"GET /a HTTP/2.0", b"get /a HTTP/1.1", b"GET /a b HTTP/1.1", b"CONNECT h:1 HTTP/1.1", b"GET /%b HTTP/1.1" % (b"a" * 600),
]  # fmt: skip
SECTIONS = [
    b"Host: h\r\n", b"Host: H\r\n", b"Host: x\r\n", b"Host: h\r\nA: b\r\n", b"A: b\r\nHost: h\r\n", b"A: b\r\n", b"Host: h\r\nContent-Length: 0\r\n",
    b"Host: h\r\nContent-Length: 5\r\n", b"Host: h\r\nTransfer-Encoding: chunked\r\n", b"Host: h\r\nConnection: close\r\n", b"Host: h\r\nRange: bytes=0-1\r\n",
    b"Host: h\r\nUpgrade: x\r\nConnection: upgrade\r\n", b"Host: h\r\nExpect: 100-continue\r\n", b"Host: h\r\nHost: h\r\n",
]  # fmt: skip


def full_meaning(request: Understood) -> tuple[object, ...]:
    head = request.head
    return request.meaning, request.is_whole, head.fields, head.is_keep_alive, head.has_body, head.is_plain


async def test_parts_that_are_remembered_mean_together_what_they_mean_when_they_are_read() -> None:
    """Every line with every section, in a node that has seen all of them, and in one that has seen none."""
    known = ParseCache()
    requests = [b"%b\r\n%b\r\n" % (line, section) for line in LINES for section in SECTIONS]
    fast_answers = 0
    for data in requests * 2:
        warm, cold = await outcome_of([data, data], known), await outcome_of([data, data], ParseCache())
        assert [full_meaning(request) for request in warm.requests] == [full_meaning(r) for r in cold.requests]
        assert (warm.refusal, warm.is_ended, warm.written) == (cold.refusal, cold.is_ended, cold.written)
        fast_answers += warm.fast_answers
    assert fast_answers, "nothing was remembered"


# -- poisoning: what an origin says


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nA: b\nX: y\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nA: b\rX: y\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 O\rK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_an_ambiguous_response_is_a_502_and_nothing_of_it_is_stored(response: bytes) -> None:
    asks = b"GET /a HTTP/1.1\r\nHost: d1.cdn.localhost\r\n\r\n"
    world = World([([response.replace(b"\r\n", b"\r\nCache-Control: max-age=60\r\n", 1)], True)])
    await world.hears(asks)
    await world.settles()
    answers, _ = read_responses(bytes(world.transport.written), [b"GET"], is_closed=False)
    assert [answer.status for answer in answers] == [502]
    assert (await world.another_viewer(asks)).startswith(b"HTTP/1.1 502 ")
    await world.close()


async def test_a_response_to_nobody_is_not_the_next_answer() -> None:
    conversation = Conversation()
    _, end = conversation.asks()
    conversation.hears(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    await turn()
    assert end.done() and isinstance(conversation.connection, UpstreamConnection)
    assert not conversation.connection.is_open


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL),
        b"HTTP/1.1 103 X\r\nContent-Length: %d\r\n\r\nx%b" % (len(EVIL) + 1, EVIL),
        b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + EVIL,
        pytest.param(b"HTTP/1.1 000 X\r\n\r\n" + EVIL),
        pytest.param(b"HTTP/1.1 099 X\r\n\r\n" + EVIL),
        pytest.param(b"HTTP/1.1 104 X\r\nContent-Length: %d\r\n\r\n%b" % (len(EVIL), EVIL)),
        pytest.param(b"HTTP/1.1 150 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL)),
        pytest.param(b"HTTP/1.1 199 X\r\nTransfer-Encoding: x\r\n\r\n" + EVIL),
    ],
    ids=lambda response: repr(response[:12]),
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_an_interim_head_has_no_body_that_could_become_an_answer(response: bytes, method: bytes) -> None:
    """RFC 9110 section 15, RFC 9112 section 6.3, rule 1. It went to the viewer as it came, before any head: an answer of whoever chose those bytes."""
    world = World([([response + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], True)])
    await world.hears(method + b" /a HTTP/1.1\r\nHost: d1.cdn.localhost\r\n\r\n")
    await world.settles()
    written = bytes(world.transport.written)
    await world.close()
    answers, _ = read_responses(written, [method], is_closed=True)
    assert [answer.status for answer in answers] == [502]
    assert EVIL not in written


@pytest.mark.parametrize("space", [b"\t", b" \t", b"\t "])
async def test_a_coding_with_a_tab_behind_it_is_refused(space: bytes) -> None:
    """The parser knows no coding there, and gave the lines of the chunks out as the body."""
    world = World(
        [([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + space + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"], True)]
    )
    await world.hears(b"GET /a HTTP/1.1\r\nHost: d1.cdn.localhost\r\n\r\n")
    await world.settles()
    written = bytes(world.transport.written)
    await world.close()
    assert written.startswith(b"HTTP/1.1 502 ") and b"hello" not in written


# -- what the parser lets pass, and this node does not

LENIENT_READINGS = [
    ("bare LF before a request line (section 2.2)", b"\n" + get()),
    ("bare CR before a request line (section 2.2)", b"\r" + get()),
    ("two spaces after the method (section 3)", get(line=b"GET  / HTTP/1.1\r\n")),
    ("two spaces before the version (section 3)", get(line=b"GET /  HTTP/1.1\r\n")),
    ("a GET of another protocol (section 2.3)", get(line=b"GET / RTSP/1.0\r\n")),
    ("a method of another protocol, and its version", get(line=b"SOURCE / ICE/1.0\r\n")),
    ("a target that says another port than Host (section 3.2.2)", get(b"Host: h:81\r\n", b"GET http://h:82/ HTTP/1.1\r\n")),
    ("an http URI without a host (RFC 9110 section 4.2.1)", get(b"Host: \r\n", b"GET http:///a HTTP/1.1\r\n")),
    ("CONNECT to a path (section 3.2.3)", get(line=b"CONNECT / HTTP/1.1\r\n")),
    ("a Host that is no name (RFC 3986 section 3.2.2)", get(b"Host: h\xff\r\n")),
    ("something behind the brackets of an address", get(b"Host: [::1]x\r\n")),
]  # fmt: skip


@pytest.mark.parametrize("attack", [row[1] for row in LENIENT_READINGS], ids=[row[0] for row in LENIENT_READINGS])
async def test_what_only_a_lenient_reader_takes_is_refused(attack: bytes) -> None:
    outcome = await outcome_of([attack], ParseCache())
    assert outcome.refusal == 400 and not outcome.requests


@pytest.mark.parametrize(
    "before",
    [get(), post(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"), post(CHUNKED, b"0\r\nA: b\r\n\r\n"), post(FIVE, b"hello")],
)
@pytest.mark.parametrize("attack", [b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", b"\n" + get(), b"\r\r\n" + get()])
async def test_a_request_line_is_looked_at_wherever_the_request_before_it_was_cut(before: bytes, attack: bytes) -> None:
    """The parser skips what is refused here, so it must never be given the end of one request and the beginning of the next together."""
    for place in range(1, len(before) + len(attack)):
        stream = before + attack
        outcome = await outcome_of([stream[:place], stream[place:]], ParseCache())
        assert [bytes(request.head.target) for request in outcome.requests] == [b"/"]
        assert outcome.is_ended and outcome.refusal in (400, None)  # None: while the answer to the first is under way


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://h", b"/"), (b"http://h?", b"/?"), (b"http://h?/", b"/?/"), (b"http://h?a/b?c", b"/?a/b?c"), (b"http://h/a?b", b"/a?b"), (b"http://h//a", b"//a"),
        (b"http://h/?http://x/", b"/?http://x/"),
    ],
)  # fmt: skip
async def test_what_follows_the_authority_of_an_absolute_target_is_kept_whole(target: bytes, path: bytes) -> None:
    outcome = await outcome_of([get(line=b"GET " + target + b" HTTP/1.1\r\n")], ParseCache())
    assert [(request.head.host, request.head.target) for request in outcome.requests] == [(b"h", path)]


async def test_white_space_around_a_value_is_no_part_of_it() -> None:
    """RFC 9112 section 5.1; with it, one key becomes several, and `chunked ` is refused."""
    outcome = await outcome_of([get(b"Host: h\r\nA: \t b c \t \r\n"), post(b"Transfer-Encoding: chunked \r\n", b"0\r\n\r\n")], ParseCache())  # fmt: skip
    assert outcome.requests[0].head.fields[b"a"] == b"b c"
    assert outcome.requests[1].is_whole


@pytest.mark.parametrize(
    "request_bytes", [post(b"Connection: close\r\n" + FIVE), post(FIVE).replace(b"1.1", b"1.0", 1)]
)
async def test_the_body_of_a_last_request_may_come_later(request_bytes: bytes) -> None:
    outcome = await outcome_of([request_bytes, b"hel", b"lo"], ParseCache())
    assert [bytes(request.body) for request in outcome.requests] == [b"hello"]
    assert outcome.requests[0].is_whole


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t "])
async def test_white_space_behind_a_length_does_not_make_a_broken_body_whole(space: bytes) -> None:
    """RFC 9112 sections 5.1 and 8: three of five bytes came, and they were stored."""
    asks = b"GET /a HTTP/1.1\r\nHost: d1.cdn.localhost\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5" + space + b"\r\n\r\n"
    world = World([([head + b"hel"], True)])
    await world.hears(asks)
    await world.settles()
    again = await world.another_viewer(asks)
    was_cut = world.transport.is_aborted
    await world.close()
    assert was_cut
    assert again.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("control", [b"\0", b"\x01", b"\x7f"])
async def test_a_reason_phrase_with_controls_is_not_passed_on(control: bytes) -> None:
    """RFC 9112 section 4: visible characters, spaces and tabs. Where the RFCs rule, interim responses are passed on, too."""
    interim = b"HTTP/1.1 103 E" + control + b"H\r\n\r\n"
    strict = behavior_message(semantics=configuration_pb2.SEMANTICS_RFC9111)
    world = World([([interim + b"HTTP/1.1 200 O" + control + b"K\r\nContent-Length: 0\r\n\r\n"], True)], strict)
    await world.hears(b"GET /a HTTP/1.1\r\nHost: d1.cdn.localhost\r\n\r\n")
    await world.settles()
    written = bytes(world.transport.written)
    await world.close()
    assert control not in written
    assert [line[:12] for line in written.split(b"\r\n") if line.startswith(b"HTTP")] == [
        b"HTTP/1.1 103",
        b"HTTP/1.1 200",
    ]
