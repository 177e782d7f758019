"""One viewer's connection against bytes, ends and clocks: framing, order, limits, time limits, and how it closes."""

import pytest

from edge_node.listeners import deadlines, http1
from tests.edge_wires import EchoService, FakeListener, FakeTransport, response_head, statuses, turn

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"


def open_connection(
    *, takes_everything: bool = True
) -> tuple[http1.ViewerConnection, FakeTransport, EchoService, FakeListener]:
    service = EchoService()
    listener = FakeListener(service, service)
    connection, transport = listener.connect(takes_everything=takes_everything)
    return connection, transport, service, listener


REFUSED = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # a TLS ClientHello on the plain port
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"nonsense\r\n\r\n", 400),
    (b"GET /\r\n\r\n", 505),
    (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400),
    (b"GET http://x/ HTTP/1.1\r\nHost: y\r\n\r\n", 400),
    (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: h\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA\x01: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 32_768 + b"\r\n\r\n", 494),
    (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 6_000 + b"\r\n", 494),
]


@pytest.mark.parametrize("piece", [1_000_000, 7], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("request_bytes", "status"), REFUSED, ids=[f"{r[:50]!r}" for r, _ in REFUSED])
async def test_what_is_no_request_gets_one_answer_and_a_close(request_bytes: bytes, status: int, piece: int) -> None:
    _, transport, service, _ = open_connection()
    transport.feed(GET)
    transport.written.clear()
    for start in range(0, len(request_bytes), piece):
        transport.feed(request_bytes[start : start + piece])
    transport.feed(GET)  # is not heard any more
    await turn()
    assert statuses(transport) == [status]
    assert transport.is_lost or transport.has_written_eof
    assert [head.target for head in service.heads] == [b"/a"]


TAKEN = [
    (GET, b"GET /a h "),
    (b"GET http://H:8080/a?b HTTP/1.1\r\nHost: h:8080\r\n\r\n", b"GET /a?b h "),
    (b"GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /?b h "),
    (b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", b"GET / h "),
    (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", b"GET / [::1] "),
    (b"GET / HTTP/1.1\r\nhOST: EXAMPLE.org\r\n\r\n", b"GET / example.org "),
    (b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", b"GET / h "),
    (b"GET /%00%ff HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /%00%ff h "),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", b"POST / h hello"),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", b"POST / h "),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"POST / h hello",
    ),
]


@pytest.mark.parametrize("piece", [1_000_000, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(("request_bytes", "understood"), TAKEN)
async def test_a_request_is_understood_the_same_however_it_arrives(
    request_bytes: bytes, understood: bytes, piece: int
) -> None:
    _, transport, _, _ = open_connection()
    for _ in range(2):  # the second time on the same connection
        for start in range(0, len(request_bytes), piece):
            transport.feed(request_bytes[start : start + piece])
        await turn()
    assert statuses(transport) == [200, 200]
    assert transport.written.count(understood) == 2
    assert not transport.is_closing()


async def test_answers_come_in_the_order_of_the_requests() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(GET + WAIT + GET.replace(b"/a", b"/b") + WAIT + GET.replace(b"/a", b"/c"))
    assert transport.is_paused  # nothing more is read while requests wait
    assert [head.target for head in service.heads] == [b"/a", b"/wait"]
    service.echo(*service.waiting[0], b"")
    assert [head.target for head in service.heads] == [b"/a", b"/wait", b"/b", b"/wait"]
    service.echo(*service.waiting[1], b"")
    assert [head.target for head in service.heads][-1] == b"/c"
    assert statuses(transport) == [200] * 5
    assert not transport.is_paused


@pytest.mark.parametrize(
    "reads",
    [[GET + GET], [GET, GET + GET], [GET[:9], GET[9:]], [GET, GET[:9], GET[9:] + GET], [GET + GET[:9], GET[9:]]],
)
async def test_reads_that_are_repeated_are_answered_as_the_first_time(reads: list[bytes]) -> None:
    """A read of exactly one request is remembered; nothing else may be taken for it."""
    _, transport, _, _ = open_connection()
    for _ in range(3):
        for read in reads:
            transport.feed(read)
    assert statuses(transport) == [200] * 3 * b"".join(reads).count(b"GET")


async def test_where_a_request_of_known_parts_leads_is_remembered_if_it_was_answered_at_once() -> None:
    """Or the next one would never find the fast path: a line that is as usual need not be parsed, not even the first time."""
    _, transport, service, _ = open_connection()
    transport.feed(GET)
    transport.feed(GET.replace(b"/a", b"/b"))
    transport.feed(WAIT)
    service.echo(*service.waiting[0], b"")
    assert statuses(transport) == [200] * 3
    assert service.remembered_targets == [b"/b"]


async def test_many_pipelined_requests_in_one_read_are_no_large_head() -> None:
    _, transport, _, _ = open_connection()
    transport.feed(GET * 3_000 + GET[:10])
    transport.feed(GET[10:])
    assert statuses(transport) == [200] * 3_001


async def test_however_many_requests_come_at_once_all_are_answered_and_no_more_is_read_meanwhile() -> None:
    connection, transport, service, _ = open_connection()
    transport.feed(WAIT + GET * 1_000)
    transport.feed(GET * 1_000)
    assert transport.is_paused and len(service.heads) == 1
    service.echo(*service.waiting[0], b"")
    assert statuses(transport) == [200] * 1_001
    await turn()
    assert statuses(transport) == [200] * 2_001 and not transport.unread_bytes
    assert connection.may_keep_alive


@pytest.mark.parametrize("is_answered", [False, True])
async def test_a_stream_is_open_until_it_is_answered_or_its_viewer_has_left(is_answered: bool) -> None:
    _, transport, service, _ = open_connection()
    transport.feed(WAIT)
    stream, head = service.waiting[0]
    was_open = stream.is_open
    if is_answered:
        service.echo(stream, head, b"")
    else:
        transport.abort()
        await turn()
    assert (was_open, stream.is_open) == (True, False)


async def test_requests_wait_while_their_viewer_does_not_take_the_answers() -> None:
    _, transport, service, _ = open_connection(takes_everything=False)
    transport.feed(GET * 10_000)
    answered = len(service.heads)
    assert answered < 10_000 and transport.is_paused
    assert http1.WRITE_BLOCKED_BYTES < transport.unsent_bytes < http1.WRITE_BLOCKED_BYTES + 1_000
    while transport.unsent_bytes:
        transport.takes(100_000)
        await turn(2)
    assert statuses(transport) == [200] * 10_000 and not transport.is_paused


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_a_body_that_follows_while_its_request_waits_is_read_in_its_turn(framing: bytes, expect: bytes) -> None:
    """Reading was paused for the request that waited, and nothing of its body could ever come."""
    _, transport, service, _ = open_connection()
    transport.feed(WAIT + b"POST / HTTP/1.1\r\nHost: h\r\n%b%b\r\n\r\n" % (expect, framing))
    transport.feed(b"5\r\nhello\r\n0\r\n\r\n" if framing.startswith(b"T") else b"hello")
    transport.feed(GET)
    assert transport.unread_bytes
    service.echo(*service.waiting[0], b"")
    await turn()
    assert statuses(transport) == ([200, 100, 200, 200] if expect else [200] * 3)
    assert service.bodies == [b"hello"] and not transport.is_paused


async def test_what_is_no_request_is_told_after_what_is_before_it_is_answered() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(WAIT + GET + b"nonsense\r\n\r\n" + GET)
    service.echo(*service.waiting[0], b"")
    assert statuses(transport) == [200, 200, 400] and len(service.heads) == 2


async def test_a_body_that_is_none_is_told_so_if_nothing_has_been_answered() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    transport.feed(b"lo\r\nnonsense\r\n")
    await turn()
    assert statuses(transport) == [400] and transport.has_written_eof
    assert not service.tasks


async def test_a_body_that_is_none_cuts_an_answer_that_has_begun() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    service.streams[0].send_head(response_head(9))
    transport.feed(b"lo\r\nnonsense\r\n")
    await turn()
    assert transport.is_aborted and not service.violations and not service.tasks


async def test_the_rest_of_a_body_whose_request_is_answered_is_for_nobody() -> None:
    """The connection ends with the answer, which says so; what still comes is read for a moment, or closing would reset the answer as well (RFC 9112 section 9.6)."""
    _, transport, service, _ = open_connection()
    service.reads_bodies = False
    transport.feed(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n")
    for _ in range(50):
        transport.feed(b"x" * 10_000)
    assert statuses(transport) == [200] and b"Connection: close" in transport.written
    assert transport.has_written_eof and not transport.is_paused and not transport.is_aborted


async def test_a_head_that_never_ends_is_refused_while_it_grows() -> None:
    _, transport, _, _ = open_connection()
    transport.feed(b"GET / HTTP/1.1\r\nHost: h\r\n")
    for _ in range(40):
        transport.feed(b"A: " + b"a" * 1_000 + b"\r\n")
    assert statuses(transport) == [494]


async def test_a_trailer_section_that_never_ends_costs_no_memory() -> None:
    connection, transport, _, _ = open_connection()
    transport.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    for _ in range(100):
        transport.feed(b"A: b\r\n" * 100)
    assert len(connection._reader._headers) == 2


@pytest.mark.parametrize("first", [GET, WAIT])
async def test_a_request_to_upgrade_is_answered_as_any_other_and_is_the_last(first: bytes) -> None:
    _, transport, service, _ = open_connection()
    transport.feed(
        first.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") + b"\x81\x05hello"
    )
    for wire, head in service.waiting:
        service.echo(wire, head, b"")
    await turn()
    assert statuses(transport) == [200]
    assert b"Connection: close" in transport.written
    assert transport.is_lost or transport.has_written_eof
    assert service.heads[0].upgrade == b"websocket"


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
async def test_a_wish_to_upgrade_is_let_be(framing: bytes, upgrade: bytes) -> None:
    if not framing and upgrade == b"websocket":
        return  # above
    _, transport, service, _ = open_connection()
    body = {b"": b"", b"C": b"hello", b"T": b"5\r\nhello\r\n0\r\n\r\n"}[framing[:1]]
    request = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n%b" % (upgrade, framing, body)
    for stream in request + GET, request * 3 + GET:
        for piece in 1, 7, len(stream):
            for start in range(0, len(stream), piece):
                transport.feed(stream[start : start + piece])
            await turn()
    assert statuses(transport) == [200] * 3 * (2 + 4) and not transport.is_closing()
    assert set(service.bodies) == ({b"hello"} if framing else set())
    assert {head.upgrade for head in service.heads} == {upgrade, b""}


async def test_http_1_0_closes_unless_it_asks_to_stay() -> None:
    _, transport, _, _ = open_connection()
    transport.feed(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
    assert not transport.is_closing()
    transport.feed(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")
    assert transport.is_closing()


@pytest.mark.parametrize("rest", [GET, b"garbage", GET[:10]])
async def test_nothing_after_the_last_request_is_answered(rest: bytes) -> None:
    _, transport, service, _ = open_connection()
    transport.feed(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + rest)
    await turn()
    assert statuses(transport) == [200]
    assert transport.is_lost and len(service.heads) == 1


async def test_a_draining_node_answers_one_more_request_and_closes() -> None:
    _, transport, _, listener = open_connection()
    transport.feed(GET)
    listener.is_draining = True
    transport.feed(GET + GET)
    await turn()
    assert statuses(transport) == [200, 200]
    assert transport.is_lost


# -- 100-continue (RFC 9110 section 10.1.1)

EXPECT = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"


async def test_who_waits_for_100_gets_it() -> None:
    _, transport, _, _ = open_connection()
    transport.feed(EXPECT)
    assert statuses(transport) == [100]
    transport.feed(b"hello")
    await turn()
    assert statuses(transport) == [100, 200]


async def test_who_waits_for_100_behind_another_request_gets_it_in_its_turn() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(WAIT + EXPECT)
    assert not transport.written
    service.echo(*service.waiting[0], b"")
    assert statuses(transport) == [200, 100]
    transport.feed(b"hello")
    await turn()
    assert statuses(transport) == [200, 100, 200]


async def test_http_1_0_is_never_told_to_continue() -> None:
    _, transport, _, _ = open_connection()
    transport.feed(EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
    await turn()
    assert statuses(transport) == [200]


# -- ends


async def test_a_viewer_that_has_said_all_gets_all_its_answers() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(WAIT + GET + WAIT)
    transport.feed_eof()
    service.echo(*service.waiting[0], b"")
    await turn()  # what it said is all read now, and so its end is heard
    assert not transport.is_closing()
    service.echo(*service.waiting[1], b"")
    await turn()
    assert statuses(transport) == [200, 200, 200]
    assert transport.written.count(b"Connection: close") == 1  # the last one
    assert transport.is_lost


async def test_an_end_that_is_heard_after_the_last_answer_closes() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(WAIT + GET + GET[:9])
    transport.feed_eof()
    service.echo(*service.waiting[0], b"")
    await turn()
    assert statuses(transport) == [200, 200] and transport.is_lost


async def test_a_viewer_that_ends_in_the_middle_of_its_body_gets_a_close() -> None:
    _, transport, service, _ = open_connection()
    transport.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
    transport.feed_eof()
    assert transport.is_closing()
    await turn()
    assert not service.tasks  # nobody waits for the rest
    assert not transport.written


async def test_a_viewer_that_ends_between_requests_gets_a_close() -> None:
    _, transport, _, _ = open_connection()
    transport.feed(GET)
    transport.feed_eof()
    assert transport.is_closing()


async def test_an_answer_before_the_end_of_the_request_is_not_lost_in_a_reset() -> None:
    """Closing a socket with unread bytes resets it; so the node says that it has ended, and reads on for a moment."""
    connection, transport, service, listener = open_connection()
    service.reads_bodies = False
    transport.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome")
    assert statuses(transport) == [200]
    assert transport.has_written_eof and not transport.is_closing() and not transport.is_paused
    transport.feed(b"x" * 100_000)
    transport.feed(GET)  # is part of the body that nobody reads
    assert statuses(transport) == [200]
    listener.now += deadlines.LINGER_SECONDS
    connection.check_deadline(listener.now)
    assert transport.is_aborted


async def test_a_drained_listener_closes_idle_connections_and_lets_the_others_end() -> None:
    _, transport, service, listener = open_connection()
    _, idle_transport = listener.connect()
    idle_transport.feed(GET)
    transport.feed(WAIT + GET)
    listener.is_draining = True
    for each in tuple(listener.open):
        each.drain()
    await turn()
    assert idle_transport.is_lost
    service.echo(*service.waiting[0], b"")
    await turn()
    assert statuses(transport) == [200] and b"Connection: close" in transport.written
    assert transport.has_written_eof  # and reads on for a moment: there may be more of what it has not read
    transport.feed_eof()
    await turn()
    assert transport.is_lost and not listener.open


async def test_one_connection_too_many_is_refused() -> None:
    _, _, _, listener = open_connection()
    listener.capacity = 1
    _, transport = listener.connect()
    await turn()
    assert transport.is_aborted and len(listener.open) == 1


# -- time limits


def pass_time(connection: http1.ViewerConnection, listener: FakeListener, seconds: float) -> None:
    """As the node does it: a look about once a second."""
    end = listener.now + seconds
    while listener.now < end:
        listener.now = min(end, listener.now + 1.0)
        connection.check_deadline(listener.now)


async def test_a_head_that_dribbles_is_refused_in_time() -> None:
    connection, transport, _, listener = open_connection()
    for byte in GET[:9]:
        transport.feed(bytes([byte]))
        pass_time(connection, listener, 1.0)
    assert not transport.written
    pass_time(connection, listener, 1.0)
    assert statuses(transport) == [408]


async def test_a_connection_that_says_nothing_is_closed() -> None:
    connection, transport, _, listener = open_connection()
    pass_time(connection, listener, deadlines.HEAD_TIMEOUT_SECONDS)
    assert transport.is_closing() and not transport.written


async def test_empty_lines_are_no_request() -> None:
    connection, transport, _, listener = open_connection()
    for _ in range(int(deadlines.HEAD_TIMEOUT_SECONDS)):
        transport.feed(b"\r\n")
        pass_time(connection, listener, 1.0)
    assert transport.is_closing()


async def test_an_idle_connection_is_kept_for_its_time() -> None:
    connection, transport, _, listener = open_connection()
    for _ in range(3):
        transport.feed(GET)
        pass_time(connection, listener, deadlines.IDLE_TIMEOUT_SECONDS - 1)
    assert not transport.is_closing()
    pass_time(connection, listener, 1.0)
    assert transport.is_closing()


POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n"


async def test_a_body_that_stops_ends_the_connection() -> None:
    connection, transport, service, listener = open_connection()
    transport.feed(POST)
    pass_time(connection, listener, deadlines.BODY_WINDOW_SECONDS - 1)
    assert not transport.is_closing()
    pass_time(connection, listener, 1.0)
    await turn()
    assert transport.is_aborted and not service.tasks


@pytest.mark.parametrize(("bytes_a_second", "is_cut"), [(1, True), (499, True), (500, False), (5_000, False)])
@pytest.mark.parametrize("first", [0, 1_000_000], ids=["slow", "slow after a fast start"])
async def test_a_body_has_a_least_rate(bytes_a_second: int, is_cut: bool, first: int) -> None:
    connection, transport, _, listener = open_connection()
    transport.feed(POST + b"x" * first)
    await turn()
    for _ in range(4 * int(deadlines.BODY_WINDOW_SECONDS)):
        transport.feed(b"x" * bytes_a_second)
        await turn(2)
        pass_time(connection, listener, 1.0)
    assert transport.is_aborted == is_cut


async def test_a_body_that_stops_ends_the_connection_however_fast_it_was_before() -> None:
    connection, transport, _, listener = open_connection()
    transport.feed(POST)
    for _ in range(10):
        transport.feed(b"x" * 10_000)
        await turn()
    pass_time(connection, listener, 2 * deadlines.BODY_WINDOW_SECONDS - 1)
    assert not transport.is_closing(), "each window is looked at when it is over"
    pass_time(connection, listener, 1.0)
    assert transport.is_aborted


async def test_time_in_which_the_node_did_not_read_is_not_the_viewers_fault() -> None:
    connection, transport, _, listener = open_connection()
    transport.feed(POST + b"x" * 100_000)
    was_paused = transport.is_paused
    assert was_paused  # upstream has taken nothing yet
    pass_time(connection, listener, 10 * deadlines.BODY_WINDOW_SECONDS)
    await turn()  # now it takes everything
    was_resumed = not transport.is_paused
    assert was_resumed
    pass_time(connection, listener, deadlines.BODY_WINDOW_SECONDS - 1)
    assert not transport.is_closing()
    pass_time(connection, listener, 1.0)
    assert transport.is_aborted


@pytest.mark.parametrize(
    ("bytes_a_second", "is_cut"), [(0, True), (1, True), (400, True), (600, False), (3_000, False)]
)
async def test_an_answer_has_a_least_rate(bytes_a_second: int, is_cut: bool) -> None:
    connection, transport, service, listener = open_connection(takes_everything=False)
    transport.feed(WAIT)
    wire, _ = service.waiting[0]
    wire.send_head(response_head(1_000_000))
    wire.send_body(b"x" * 1_000_000)
    for _ in range(3 * int(deadlines.STALL_TIMEOUT_SECONDS)):
        pass_time(connection, listener, 1.0)
        if not transport.is_closing():
            transport.takes(bytes_a_second)
    assert transport.is_aborted == is_cut


async def test_a_viewer_that_takes_no_more_is_cut_off_however_fast_it_was_before() -> None:
    connection, transport, service, listener = open_connection(takes_everything=False)
    transport.feed(WAIT)
    wire, _ = service.waiting[0]
    wire.send_head(response_head(1_000_000))
    wire.send_body(b"x" * 1_000_000)
    transport.takes(500_000)
    pass_time(connection, listener, deadlines.STALL_TIMEOUT_SECONDS)
    pass_time(connection, listener, deadlines.STALL_TIMEOUT_SECONDS - 1)
    assert not transport.is_closing(), "each window is looked at when it is over"
    pass_time(connection, listener, 1.0)
    assert transport.is_aborted


async def test_a_last_answer_that_is_never_taken_does_not_keep_the_connection() -> None:
    connection, transport, _, listener = open_connection(takes_everything=False)
    transport.feed(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert transport.is_closing() and not transport.is_lost
    pass_time(connection, listener, deadlines.STALL_TIMEOUT_SECONDS)
    assert transport.is_aborted


async def test_a_request_that_takes_long_upstream_is_no_fault_of_the_viewer() -> None:
    connection, transport, service, listener = open_connection()
    transport.feed(WAIT)
    pass_time(connection, listener, 1_000.0)
    service.echo(*service.waiting[0], b"")
    assert statuses(transport) == [200] and not transport.is_closing()
