"""One viewer's connection against bytes, ends and clocks: framing, order, limits, time limits, and how it closes."""

import pytest

from edge_node.listeners import http1
from tests.edge_wires import EchoService, FakeListener, FakeTransport, statuses, turn

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"


def open_connection(
    *, takes_everything: bool = True
) -> tuple[http1.ViewerConnection, FakeTransport, EchoService, FakeListener]:
    service = EchoService()
    listener = FakeListener(service)
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
    connection, transport, service, _ = open_connection()
    connection.data_received(GET)
    transport.written.clear()
    for start in range(0, len(request_bytes), piece):
        connection.data_received(request_bytes[start : start + piece])
    connection.data_received(GET)  # is not heard any more
    await turn()
    assert statuses(transport.written) == [status]
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
    connection, transport, _, _ = open_connection()
    for _ in range(2):  # the second time on the same connection
        for start in range(0, len(request_bytes), piece):
            connection.data_received(request_bytes[start : start + piece])
        await turn()
    assert statuses(transport.written) == [200, 200]
    assert transport.written.count(understood) == 2
    assert not transport.is_closing()


async def test_answers_come_in_the_order_of_the_requests() -> None:
    connection, transport, service, _ = open_connection()
    connection.data_received(GET + WAIT + GET.replace(b"/a", b"/b") + WAIT + GET.replace(b"/a", b"/c"))
    assert transport.is_paused  # nothing more is read while requests wait
    assert [head.target for head in service.heads] == [b"/a", b"/wait"]
    service.answer(*service.waiting[0], b"")
    assert [head.target for head in service.heads] == [b"/a", b"/wait", b"/b", b"/wait"]
    service.answer(*service.waiting[1], b"")
    assert [head.target for head in service.heads][-1] == b"/c"
    assert statuses(transport.written) == [200] * 5
    assert not transport.is_paused


@pytest.mark.parametrize(
    "reads",
    [[GET + GET], [GET, GET + GET], [GET[:9], GET[9:]], [GET, GET[:9], GET[9:] + GET], [GET + GET[:9], GET[9:]]],
)
async def test_reads_that_are_repeated_are_answered_as_the_first_time(reads: list[bytes]) -> None:
    """A read of exactly one request is remembered; nothing else may be taken for it."""
    connection, transport, _, _ = open_connection()
    for _ in range(3):
        for read in reads:
            connection.data_received(read)
    assert statuses(transport.written) == [200] * 3 * b"".join(reads).count(b"GET")


async def test_many_pipelined_requests_in_one_read_are_no_large_head() -> None:
    connection, transport, _, _ = open_connection()
    connection.data_received(GET * 3_000 + GET[:10])
    connection.data_received(GET[10:])
    assert statuses(transport.written) == [200] * 3_001


async def test_requests_that_wait_have_a_bound() -> None:
    connection, transport, _, _ = open_connection()
    connection.data_received(WAIT + GET * (http1.MAXIMUM_WAITING_REQUESTS + 1))
    assert transport.is_aborted


async def test_a_head_that_never_ends_is_refused_while_it_grows() -> None:
    connection, transport, _, _ = open_connection()
    connection.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n")
    for _ in range(40):
        connection.data_received(b"A: " + b"a" * 1_000 + b"\r\n")
    assert statuses(transport.written) == [494]


async def test_a_trailer_section_that_never_ends_costs_no_memory() -> None:
    connection, _, _, _ = open_connection()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    for _ in range(100):
        connection.data_received(b"A: b\r\n" * 100)
    assert len(connection._reader._headers) == 2


@pytest.mark.parametrize("first", [GET, WAIT])
async def test_a_request_to_upgrade_is_answered_as_any_other_and_is_the_last(first: bytes) -> None:
    connection, transport, service, _ = open_connection()
    connection.data_received(
        first.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") + b"\x81\x05hello"
    )
    for wire, head in service.waiting:
        service.answer(wire, head, b"")
    await turn()
    assert statuses(transport.written) == [200]
    assert b"Connection: close" in transport.written
    assert transport.is_lost


async def test_http_1_0_closes_unless_it_asks_to_stay() -> None:
    connection, transport, _, _ = open_connection()
    connection.data_received(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
    assert not transport.is_closing()
    connection.data_received(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")
    assert transport.is_closing()


@pytest.mark.parametrize("rest", [GET, b"garbage", GET[:10]])
async def test_nothing_after_the_last_request_is_answered(rest: bytes) -> None:
    connection, transport, service, _ = open_connection()
    connection.data_received(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + rest)
    await turn()
    assert statuses(transport.written) == [200]
    assert transport.is_lost and len(service.heads) == 1


async def test_a_draining_node_answers_one_more_request_and_closes() -> None:
    connection, transport, _, listener = open_connection()
    connection.data_received(GET)
    listener.is_draining = True
    connection.data_received(GET + GET)
    await turn()
    assert statuses(transport.written) == [200, 200]
    assert transport.is_lost


# -- 100-continue (RFC 9110 section 10.1.1)

EXPECT = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"


async def test_who_waits_for_100_gets_it() -> None:
    connection, transport, _, _ = open_connection()
    connection.data_received(EXPECT)
    assert statuses(transport.written) == [100]
    connection.data_received(b"hello")
    await turn()
    assert statuses(transport.written) == [100, 200]


async def test_who_waits_for_100_behind_another_request_gets_it_in_its_turn() -> None:
    connection, transport, service, _ = open_connection()
    connection.data_received(WAIT + EXPECT)
    assert not transport.written
    service.answer(*service.waiting[0], b"")
    assert statuses(transport.written) == [200, 100]
    connection.data_received(b"hello")
    await turn()
    assert statuses(transport.written) == [200, 100, 200]


async def test_http_1_0_is_never_told_to_continue() -> None:
    connection, transport, _, _ = open_connection()
    connection.data_received(EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
    await turn()
    assert statuses(transport.written) == [200]


# -- ends


async def test_a_viewer_that_has_said_all_gets_all_its_answers() -> None:
    connection, transport, service, _ = open_connection()
    connection.data_received(WAIT + GET + GET)
    assert connection.eof_received()
    service.answer(*service.waiting[0], b"")
    await turn()
    assert statuses(transport.written) == [200, 200, 200]
    assert transport.written.count(b"Connection: close") == 1  # the last one
    assert transport.is_lost


async def test_a_viewer_that_ends_in_the_middle_of_its_body_gets_a_close() -> None:
    connection, transport, service, _ = open_connection()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
    assert not connection.eof_received()  # which makes the transport close
    transport.close()
    await turn()
    assert not service.tasks  # nobody waits for the rest
    assert not transport.written


async def test_a_viewer_that_ends_between_requests_gets_a_close() -> None:
    connection, _, _, _ = open_connection()
    connection.data_received(GET)
    assert not connection.eof_received()


async def test_an_answer_before_the_end_of_the_request_is_not_lost_in_a_reset() -> None:
    """Closing a socket with unread bytes resets it; so the node says that it has ended, and reads on for a moment."""
    connection, transport, service, listener = open_connection()
    service.reads_bodies = False
    connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome")
    assert statuses(transport.written) == [200]
    assert transport.has_written_eof and not transport.is_closing() and not transport.is_paused
    connection.data_received(b"x" * 100_000)
    connection.data_received(GET)  # is part of the body that nobody reads
    assert statuses(transport.written) == [200]
    listener.now += http1.LINGER_SECONDS
    connection.check_deadline(listener.now)
    assert transport.is_aborted


async def test_a_drained_listener_closes_idle_connections_and_lets_the_others_end() -> None:
    connection, transport, service, listener = open_connection()
    idle, idle_transport = listener.connect()
    idle.data_received(GET)
    connection.data_received(WAIT + GET)
    listener.is_draining = True
    for each in tuple(listener.open):
        each.drain()
    await turn()
    assert idle_transport.is_lost
    service.answer(*service.waiting[0], b"")
    await turn()
    assert b"Connection: close" in transport.written
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
        connection.data_received(bytes([byte]))
        pass_time(connection, listener, 1.0)
    assert not transport.written
    pass_time(connection, listener, 1.0)
    assert statuses(transport.written) == [408]


async def test_a_connection_that_says_nothing_is_closed() -> None:
    connection, transport, _, listener = open_connection()
    pass_time(connection, listener, http1.HEAD_TIMEOUT_SECONDS)
    assert transport.is_closing() and not transport.written


async def test_empty_lines_are_no_request() -> None:
    connection, transport, _, listener = open_connection()
    for _ in range(int(http1.HEAD_TIMEOUT_SECONDS)):
        connection.data_received(b"\r\n")
        pass_time(connection, listener, 1.0)
    assert transport.is_closing()


async def test_an_idle_connection_is_kept_for_its_time() -> None:
    connection, transport, _, listener = open_connection()
    for _ in range(3):
        connection.data_received(GET)
        pass_time(connection, listener, http1.IDLE_TIMEOUT_SECONDS - 1)
    assert not transport.is_closing()
    pass_time(connection, listener, 1.0)
    assert transport.is_closing()


async def test_a_body_that_stops_ends_the_connection_and_one_that_trickles_does_not() -> None:
    connection, transport, _, listener = open_connection()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n")
    for _ in range(5):
        await turn()
        pass_time(connection, listener, http1.BODY_TIMEOUT_SECONDS - 1)
        connection.data_received(b"x")
    assert not transport.is_closing()
    pass_time(connection, listener, http1.BODY_TIMEOUT_SECONDS)
    assert transport.is_aborted


async def test_time_in_which_the_node_did_not_read_is_not_the_viewers_fault() -> None:
    connection, transport, _, listener = open_connection()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 100_000)
    was_paused = transport.is_paused
    assert was_paused  # upstream has taken nothing yet
    pass_time(connection, listener, 10 * http1.BODY_TIMEOUT_SECONDS)
    await turn()  # now it takes everything
    was_resumed = not transport.is_paused
    assert was_resumed
    pass_time(connection, listener, http1.BODY_TIMEOUT_SECONDS - 1)
    assert not transport.is_closing()
    pass_time(connection, listener, 1.0)
    assert transport.is_aborted


async def test_a_viewer_that_takes_nothing_is_cut_off_and_one_that_takes_little_is_not() -> None:
    connection, transport, service, listener = open_connection(takes_everything=False)
    connection.data_received(WAIT)
    wire, head = service.waiting[0]
    wire.send(b"x" * 1_000_000)
    for _ in range(20):
        pass_time(connection, listener, http1.STALL_TIMEOUT_SECONDS - 1)
        transport.takes(10_000)
    assert not transport.is_closing()
    pass_time(connection, listener, 2 * http1.STALL_TIMEOUT_SECONDS)
    assert transport.is_aborted
    assert head.target == b"/wait"


async def test_a_last_answer_that_is_never_taken_does_not_keep_the_connection() -> None:
    connection, transport, _, listener = open_connection(takes_everything=False)
    connection.data_received(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert transport.is_closing() and not transport.is_lost
    pass_time(connection, listener, http1.STALL_TIMEOUT_SECONDS)
    assert transport.is_aborted


async def test_a_request_that_takes_long_upstream_is_no_fault_of_the_viewer() -> None:
    connection, transport, service, listener = open_connection()
    connection.data_received(WAIT)
    pass_time(connection, listener, 1_000.0)
    service.answer(*service.waiting[0], b"")
    assert statuses(transport.written) == [200] and not transport.is_closing()
