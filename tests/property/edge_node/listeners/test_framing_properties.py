"""Framing, one property per rule of RFC 9112: for all surroundings of a violation the request is refused, and for all forms of a right body it is the same body."""

import asyncio

from hypothesis import assume, given
from hypothesis import strategies as st

from edge_node.http.request_head import make_request_head
from edge_node.model.errors import ViewerError
from edge_node.model.http import Header, RequestHead
from edge_node.policy.origin_request_headers import ForwardingContext
from edge_node.policy.parse_cache import ParseCache
from edge_node.policy.router import Route, Router, Snapshot
from edge_node.policy.upstream_request import UpstreamRequest, to_origin, to_regional
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.endpoints import origin_endpoint
from proto.log_position import LogPosition
from tests.builders import (
    behavior_message,
    distribution_message,
    listed,
    origin_message,
    policy_message,
    read_distribution,
)
from tests.edge_wires import FakeTransport, end_of_exchange, turn
from tests.fuzz.edge_node.policy.test_forwarded_requests import FORWARDED
from tests.fuzz.origin_side import World
from tests.fuzz.strict_http import End, read_requests, read_responses
from tests.fuzz.viewer_side import Outcome, outcome_of

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

TOKENS = st.text("abcXYZ-_~!#09", min_size=1, max_size=8).map(str.encode)
VALUES = st.binary(max_size=12).map(lambda value: bytes(b for b in value if b >= 0x20 and b != 0x7F).strip(b" "))
LINES = st.lists(st.builds(lambda name, value: b"X" + name + b": " + value + b"\r\n", TOKENS, VALUES), max_size=3).map(
    b"".join
)
SIZES = st.integers(1, 60)
CONTROLS = st.sampled_from([bytes([code]) for code in (*range(9), 11, 12, *range(14, 32), 127)])


def heard(stream: bytes, size: int) -> Outcome:
    async def run() -> Outcome:
        return await outcome_of([stream[at : at + size] for at in range(0, len(stream), size)], ParseCache())

    return asyncio.run(run())


def is_refused(before: bytes, violation: bytes, after: bytes, size: int) -> None:
    """A head with this among its lines is no request, and what follows it is none either."""
    outcome = heard(b"POST / HTTP/1.1\r\nHost: h\r\n" + before + violation + after + b"\r\n" + SMUGGLED, size)
    assert not outcome.requests
    assert outcome.refusal in (400, 501) and outcome.is_ended


# -- what is refused, whatever stands around it


@given(LINES, TOKENS, VALUES, st.sampled_from([b" ", b"\t"]), LINES, SIZES)
def test_a_folded_line_is_refused(
    before: bytes, name: bytes, value: bytes, fold: bytes, after: bytes, size: int
) -> None:
    is_refused(before, b"X%b: a\r\n%b%b\r\n" % (name, fold, value), after, size)


@given(LINES, TOKENS, VALUES, VALUES, st.sampled_from([b"\r", b"\n", b"\r\r", b"\n\r"]), LINES, SIZES)
def test_a_bare_cr_or_lf_is_refused(
    before: bytes, name: bytes, start: bytes, rest: bytes, end: bytes, after: bytes, size: int
) -> None:
    assume(not (end.endswith(b"\r") and not rest))  # then the line's own CRLF follows
    is_refused(before, b"X%b: %b%b%b\r\n" % (name, start, end, b"x" + rest), after, size)


@given(
    LINES,
    st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"X"]),
    st.sampled_from([b" ", b"\t", b"  ", b"\x0b"]),
    VALUES,
    LINES,
    SIZES,
)
def test_white_space_before_a_colon_is_refused(
    before: bytes, name: bytes, space: bytes, value: bytes, after: bytes, size: int
) -> None:
    is_refused(before, b"%b%b: %b\r\n" % (name, space, value), after, size)


@given(LINES, st.integers(0, 99), LINES, st.integers(0, 99), LINES, SIZES)
def test_two_lengths_are_refused_even_equal_ones(
    before: bytes, first: int, between: bytes, second: int, after: bytes, size: int
) -> None:
    is_refused(before, b"Content-Length: %d\r\n%bcontent-length: %d\r\n" % (first, between, second), after, size)


@given(LINES, st.integers(0, 99), LINES, st.booleans(), LINES, SIZES)
def test_a_length_and_a_coding_are_refused(
    before: bytes, length: int, between: bytes, is_length_first: bool, after: bytes, size: int
) -> None:
    lines = [b"Content-Length: %d\r\n" % length, b"Transfer-Encoding: chunked\r\n"]
    is_refused(before, between.join(lines if is_length_first else lines[::-1]), after, size)


@given(LINES, VALUES, LINES, SIZES)
def test_a_coding_that_is_not_chunked_alone_is_refused(before: bytes, coding: bytes, after: bytes, size: int) -> None:
    assume(coding.lower() != b"chunked")
    is_refused(before, b"Transfer-Encoding: %b\r\n" % coding, after, size)


@given(LINES, VALUES, LINES, SIZES)
def test_a_length_that_is_not_all_digits_is_refused(before: bytes, length: bytes, after: bytes, size: int) -> None:
    assume(not (length.isascii() and length.isdigit()))
    is_refused(before, b"Content-Length: %b\r\n" % length, after, size)


@given(LINES, TOKENS, VALUES, CONTROLS, VALUES, LINES, SIZES)
def test_a_control_character_in_a_field_is_refused(
    before: bytes, name: bytes, start: bytes, control: bytes, rest: bytes, after: bytes, size: int
) -> None:
    is_refused(before, b"X%b: x%b%b%bx\r\n" % (name, start, control, rest), after, size)
    is_refused(before, b"X%b%b: x\r\n" % (name, control), after, size)


@given(LINES, TOKENS, SIZES)
def test_a_second_host_is_refused(between: bytes, host: bytes, size: int) -> None:
    is_refused(between, b"hOsT: " + host + b"\r\n", b"", size)


HOSTS = st.text("abc.-", min_size=1, max_size=8).map(str.encode)


@given(HOSTS, HOSTS, SIZES)
def test_a_target_and_a_host_that_disagree_are_refused(target: bytes, host: bytes, size: int) -> None:
    outcome = heard(b"GET http://%b/a HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host), size)
    if target == host:
        assert [(r.head.host, r.head.target) for r in outcome.requests] == [(host, b"/a")]
    else:
        assert not outcome.requests and outcome.refusal == 400


# -- what is taken, and how far


@given(st.binary(max_size=200), LINES, SIZES)
def test_a_length_counts_exactly_the_bytes_of_the_body(body: bytes, lines: bytes, size: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n" % (lines, len(body))
    outcome = heard(head + body + SMUGGLED, size)
    assert [(r.head.target, bytes(r.body)) for r in outcome.requests] == [(b"/", body), (b"/smuggled", b"")]


CHUNKS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40),
        st.sampled_from([b"%x", b"%X", b"000%x"]),
        st.sampled_from([b"", b";a", b";a=b", b';a="b"']),
    ),
    max_size=6,
)


@given(CHUNKS, LINES, SIZES)
def test_chunks_are_the_body_whatever_their_sizes_and_extensions(
    chunks: list[tuple[bytes, bytes, bytes]], trailers: bytes, size: int
) -> None:
    coded = b"".join(form % len(data) + extension + b"\r\n" + data + b"\r\n" for data, form, extension in chunks)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    outcome = heard(head + coded + b"0\r\n" + trailers + b"\r\n" + SMUGGLED, size)
    body = b"".join(data for data, _, _ in chunks)
    assert [(r.head.target, bytes(r.body)) for r in outcome.requests] == [(b"/", body), (b"/smuggled", b"")]


@given(st.binary(min_size=1, max_size=6), SIZES)
def test_a_chunk_size_is_hexadecimal_digits_or_the_body_never_ends(text: bytes, size: int) -> None:
    assume(not all(byte in b"0123456789abcdefABCDEF" for byte in text.partition(b";")[0]) or text.startswith(b";"))
    assume(b"\r\n" not in text)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    outcome = heard(head + text + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED, size)
    assert not any(request.is_whole for request in outcome.requests)


SECTIONS = st.sampled_from(
    [
        b"\r\nHost: h\r\n\r\n",
        b"\r\nHost: H\r\n\r\n",
        b"\r\nHost: h\r\nA: b\r\n\r\n",
        b"\r\nHost: h\r\nA: c\r\n\r\n",
        b"\r\nA: b\r\nHost: h\r\n\r\n",
        b"\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        b"\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n",
        b"\r\nHost: x\r\nA: b\r\n\r\n",
        b"\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
    ]
)
REQUEST_LINES = st.sampled_from(
    [
        b"GET /a HTTP/1.1",
        b"GET /a HTTP/1.1",
        b"GET /b HTTP/1.1",
        b"HEAD /a HTTP/1.1",
        b"POST /a HTTP/1.1",
        b"GET /a HTTP/1.0",
        b"GET http://h/a HTTP/1.1",
        b"GET  /a HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"BREW /a HTTP/1.1",
        b"CONNECT h:1 HTTP/1.1",
    ]
)


@given(st.lists(st.tuples(REQUEST_LINES, SECTIONS), min_size=2, max_size=12))
def test_what_is_remembered_changes_nothing(requests: list[tuple[bytes, bytes]]) -> None:
    """Each request of a warm node means what it means to a node that has never seen one."""

    async def check() -> None:
        known = ParseCache()
        for line, section in requests * 2:
            warm, cold = await outcome_of([line + section], known), await outcome_of([line + section], ParseCache())
            assert [(r.meaning, r.head.fields, r.head.is_plain, r.head.is_keep_alive) for r in warm.requests] == [
                (r.meaning, r.head.fields, r.head.is_plain, r.head.is_keep_alive) for r in cold.requests
            ]
            assert (warm.refusal, warm.is_ended, warm.written) == (cold.refusal, cold.is_ended, cold.written)

    asyncio.run(check())


# -- toward the origin


NAMES = st.sampled_from(
    [
        b"x-thing",
        b"referer",
        b"user-agent",
        b"te",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-edge-log-index",
        b"x-edge-distribution",
        b"proxy-authorization",
        b"connection",
        b"keep-alive",
        b"upgrade",
        b"trailer",
        b"expect",
        b"transfer-encoding",
        b"content-length",
        b"cookie",
        b"authorization",
        b"accept",
        b"accept-encoding",
        b"x-forwarded-for",
        b"via",
        b"x-amz-cf-id",
        b"cloudfront-viewer-country",
        b"x-http-method-override",
        b"forwarded",
        b"x-original-url",
        b"x-forwarded-host",
    ]
) | st.sampled_from(sorted(FORWARDED))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
TARGETS = st.binary(max_size=20).map(lambda path: b"/" + bytes(b for b in path if 0x21 <= b <= 0x7E and b != 0x23))
POLICY = policy_message(headers=listed("x-keyed"), cookies=listed("kept"), accept_encoding_gzip=True)


def upstream_request(method: bytes, target: bytes, fields: list[Header]) -> UpstreamRequest:
    try:
        head: RequestHead = make_request_head(method, target, [(b"host", b"d1.cdn.localhost"), *fields], 1, True)
    except ViewerError:
        assume(False)
        raise
    message = behavior_message(policy=POLICY, allowed_methods=["GET", "HEAD", "POST"])
    distribution = read_distribution(distribution_message(origin_message("192.0.2.1", 8000), message))
    route = Router(Snapshot("log", 1, {distribution.id: distribution})).route(head)
    assert isinstance(route, Route)
    return UpstreamRequest(head, route, ForwardingContext(b"id==", b"1.1 node", b"192.0.2.7"))


@given(st.sampled_from([b"GET", b"HEAD", b"POST"]), TARGETS, FIELDS)
def test_a_field_outside_the_policy_and_the_table_never_reaches_the_origin(
    method: bytes, target: bytes, fields: list[Header]
) -> None:
    """Reference 2.11; otherwise a viewer could make the origin answer something that the key knows nothing of."""
    asked = upstream_request(method, target, fields)
    written = origin_endpoint(asked.route.behavior.origin, to_origin(asked, asked.route.behavior.origin)).render()
    requests, end = read_requests(written)
    assert end is End.CLEAN and len(requests) == 1
    request = requests[0]
    allowed = FORWARDED | {
        b"host",
        b"user-agent",
        b"x-amz-cf-id",
        b"connection",
        b"cookie",
        b"accept-encoding",
        b"x-keyed",
    }
    if method == b"POST":
        allowed |= {b"authorization"}
    assert {name for name, _ in request.fields} <= allowed
    assert request.values(b"user-agent") == [b"Amazon CloudFront"]
    assert request.values(b"accept-encoding") in ([], [b"gzip"], [b"identity"])
    assert all(pair.startswith(b"kept=") for value in request.values(b"cookie") for pair in value.split(b"; "))


@given(st.sampled_from([b"GET", b"POST"]), TARGETS, FIELDS)
def test_no_bytes_of_a_viewer_add_a_line_to_a_request(method: bytes, target: bytes, fields: list[Header]) -> None:
    """However a value looks, what is sent reads as one request, and each of its lines is a viewer's whole field or the node's own."""
    asked = upstream_request(method, target, fields)
    origin = asked.route.behavior.origin
    for sent in (to_origin(asked, origin), to_regional(asked, LogPosition("log", 1))):
        requests, end = read_requests(origin_endpoint(origin, sent).render())
        assert end is End.CLEAN and len(requests) == 1
        asked_for = target[:-1] if target.find(b"?") == len(target) - 1 else target  # an empty query is none
        assert requests[0].target == asked_for and requests[0].body == b""
        assert requests[0].values(b"x-edge-log-index") in ([], [b"log:1"])
        said = {(name, value.strip(b" \t")) for name, value in fields}
        assert {pair for pair in requests[0].fields if pair[0] not in OWN_VALUES} <= said


OWN_VALUES = {
    b"accept-encoding", b"cdn-loop", b"connection", b"cookie", b"host", b"user-agent", b"via", b"x-amz-cf-id", b"x-edge-distribution", b"x-edge-log-index",
    b"x-edge-request-id", b"x-forwarded-for",
}  # fmt: skip


# -- toward the viewer


ASKS = b"GET /a HTTP/1.1\r\nHost: d1.cdn.localhost\r\n\r\n"
SPLITTERS = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b"a", b":", b"X: y", b"HTTP/1.1 200 OK", b"\x85", b"%0d%0a"]
    ),
    max_size=6,
).map(b"".join)


async def viewer_sees(response: bytes, cut_at: int | None = None) -> tuple[World, bytes]:
    world = World([([response[:cut_at]], True)])
    await world.hears(ASKS)
    await world.settles()
    return world, bytes(world.transport.written)


@given(SPLITTERS, SPLITTERS, SPLITTERS)
def test_no_bytes_of_an_origin_split_a_response(reason: bytes, name: bytes, value: bytes) -> None:
    async def check() -> None:
        response = b"HTTP/1.1 200 O%bK\r\nA%b: b%b\r\nContent-Length: 5\r\n\r\nhello" % (reason, name, value)
        world, written = await viewer_sees(response)
        answers, end = read_responses(written, [b"GET"], is_closed=False)
        finals = [answer for answer in answers if answer.status >= 200]
        assert len(finals) == 1
        assert end is End.CLEAN or world.transport.is_aborted
        await world.close()

    asyncio.run(check())


@given(st.binary(min_size=1, max_size=60), st.booleans(), st.booleans(), st.data())
def test_a_body_that_breaks_off_is_neither_stored_nor_shown_as_whole(
    body: bytes, is_chunked: bool, is_orderly: bool, data: st.DataObject
) -> None:
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
    if is_chunked:
        response = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        response = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    cut_at = data.draw(st.integers(0, len(response) - 1))

    async def check() -> None:
        world = World([([response[:cut_at]], is_orderly)])
        await world.hears(ASKS)
        await world.settles()
        answers, _ = read_responses(bytes(world.transport.written), [b"GET"], is_closed=False)
        assert answers[0].status == 502 or world.transport.is_aborted
        if world.transport.is_aborted and answers[0].status == 200:
            assert not answers[0].is_whole
        assert (await world.another_viewer(ASKS)).startswith(b"HTTP/1.1 502 ")
        await world.close()

    asyncio.run(check())


class Heads:
    """Counts what a connection to an upstream hands on."""

    def __init__(self) -> None:
        self.finals = 0
        self.interims = 0

    def interim_arrived(self, head: object) -> None:
        assert not self.finals
        self.interims += 1

    def head_arrived(self, head: object) -> None:
        self.finals += 1

    def body_arrived(self, data: bytes) -> None:
        assert self.finals == 1

    def whole_arrived(self, head: object, body: bytes) -> None:
        self.head_arrived(head)
        if body:
            self.body_arrived(body)


@given(st.lists(st.sampled_from([b"100", b"103", b"200", b"204"]), min_size=1, max_size=6), SIZES)
def test_one_request_has_one_final_response(statuses: list[bytes], size: int) -> None:
    stream = b"".join(
        b"HTTP/1.1 " + s + b" X\r\n" + (b"Content-Length: 0\r\n" if s == b"200" else b"") + b"\r\n" for s in statuses
    )

    async def check() -> None:
        connection = UpstreamConnection(asyncio.get_running_loop())
        transport = FakeTransport(connection)
        sink = Heads()
        end = end_of_exchange(connection, sink)
        for at in range(0, len(stream), size):
            if connection.is_open:
                connection.data_received(stream[at : at + size])
        await turn(3)
        has_final = any(status >= b"200" for status in statuses)
        assert sink.finals == has_final and end.done() == has_final
        if not transport.is_lost:
            transport.abort()
            await turn(3)
        end.exception()

    asyncio.run(check())
