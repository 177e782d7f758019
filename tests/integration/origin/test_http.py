"""HTTP/1.1 on the origin's real socket."""

import hashlib
import http.client
import json
import re
import socket
from collections.abc import Iterator

import pytest

from origin import downloads, echo
from tests.integration.origin_process import (
    DEADLINE_SECONDS,
    OriginProcess,
    read_exactly,
    read_to_end,
    read_until,
    wait_until,
)


@pytest.fixture(scope="module")
def origin() -> Iterator[OriginProcess]:
    with OriginProcess("127.14.1.1") as process:
        yield process


def statuses(conversation: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", conversation)]


def test_many_requests_on_one_connection(origin: OriginProcess) -> None:
    connection = http.client.HTTPConnection(origin.host, origin.port, timeout=DEADLINE_SECONDS)
    numbers = []
    for _ in range(5):
        connection.request("GET", "/echo/keep-alive")
        numbers.append(json.loads(connection.getresponse().read())["connection"])
    connection.close()
    assert len(set(numbers)) == 1
    assert json.loads(origin.ask("GET", "/echo/keep-alive").body)["connection"] != numbers[0]


def test_pipelined_answers_come_in_order_whatever_each_takes(origin: OriginProcess) -> None:
    targets = ["/misbehave/delay?seconds=0.05", "/echo/b", "/download/200KiB.bin", "/echo/c?chunked=1", "/echo/last"]
    requests = [f"GET {target} HTTP/1.1\r\nHost: o\r\n\r\n".encode() for target in targets[:-1]]
    requests.append(f"GET {targets[-1]} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n".encode())
    conversation = origin.converse(b"".join(requests))
    assert statuses(conversation) == [200] * 5
    places = [
        conversation.index(mark) for mark in (b"late\n", b'"/echo/b"', b"octet-stream", b'"/echo/c?', b'"/echo/last"')
    ]
    assert places == sorted(places)


def test_hundreds_of_pipelined_requests_are_all_answered(origin: OriginProcess) -> None:
    one = b"GET /echo/many HTTP/1.1\r\nHost: o\r\n\r\n"
    last = b"GET /echo/many HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n"
    assert statuses(origin.converse(one * 700 + last)) == [200] * 701


def test_a_head_has_the_length_and_no_body(origin: OriginProcess) -> None:
    conversation = origin.converse(
        b"HEAD /download/1GiB.bin HTTP/1.1\r\nHost: o\r\n\r\nGET /echo/x HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n"
    )
    head, _, rest = conversation.partition(b"\r\n\r\n")
    assert b"Content-Length: 1073741824" in head and rest.startswith(b"HTTP/1.1 200 OK")


def test_100_continue_is_sent_before_the_body_is(origin: OriginProcess) -> None:
    with origin.connect() as client:
        client.sendall(
            b"POST /echo/x HTTP/1.1\r\nHost: o\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert statuses(read_to_end(client)) == [200]


def test_an_upload_that_is_too_large_is_refused_instead_of_continued(origin: OriginProcess) -> None:
    conversation = origin.converse(
        b"PUT /bucket/b/k HTTP/1.1\r\nHost: o\r\nContent-Length: 67108865\r\nExpect: 100-continue\r\n\r\n"
    )
    assert statuses(conversation) == [413] and b"Connection: close" in conversation


def test_a_client_that_is_still_sending_can_read_the_refusal(origin: OriginProcess) -> None:
    with origin.connect() as client:
        client.sendall(b"POST /api/cart HTTP/1.1\r\nHost: o\r\nContent-Length: 1000000\r\n\r\n")
        client.sendall(b"a" * 500_000)
        assert statuses(read_until(client, b"\r\n\r\n")) == [413]


def test_bodies_of_both_kinds_arrive_whole(origin: OriginProcess) -> None:
    content = downloads.expected_bytes("upload", 0, 3_000_000)
    digest = hashlib.sha256(content).hexdigest()
    measured = json.loads(origin.ask("POST", "/echo/x", content).body)["body"]
    assert measured == {"length": 3_000_000, "sha256": digest}
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:5], content[5:]))
    head = b"POST /echo/x HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    conversation = origin.converse(head, chunks, b"0\r\n\r\n")
    assert json.loads(conversation.partition(b"\r\n\r\n")[2])["body"] == measured


def test_the_target_and_the_headers_are_told_exactly(origin: OriginProcess) -> None:
    conversation = origin.converse(
        b"GET /echo/a%2Fb//c/../?x=%20&y HTTP/1.1\r\nhOsT: o\r\nX-Two: 2\r\nx-one: 1\r\nConnection: close\r\n\r\n"
    )
    told = json.loads(conversation.partition(b"\r\n\r\n")[2])
    assert told["target"] == "/echo/a%2Fb//c/../?x=%20&y"
    assert told["headers"] == [["hOsT", "o"], ["X-Two", "2"], ["x-one", "1"], ["Connection", "close"]]


def test_framings(origin: OriginProcess) -> None:
    expected = echo.expected_bytes("/echo/f", 0, 100_000)
    assert origin.ask("GET", "/echo/f?size=100000").body == expected
    chunked = origin.ask("GET", "/echo/f?size=100000&chunked=1")
    assert chunked.headers["Transfer-Encoding"] == "chunked" and chunked.body == expected
    unmarked = origin.ask("GET", "/echo/f?size=100000&no-length=1")
    assert unmarked.headers["Content-Length"] is None and unmarked.body == expected
    old = origin.converse(b"GET /echo/f?size=100000&chunked=1 HTTP/1.0\r\n\r\n")
    assert b"Transfer-Encoding" not in old and old.endswith(b"\r\n\r\n" + expected)


def test_http_1_0_closes_unless_asked_to_stay(origin: OriginProcess) -> None:
    assert statuses(origin.converse(b"GET /echo/x HTTP/1.0\r\n\r\n")) == [200]
    both = origin.converse(b"GET /echo/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /echo/x HTTP/1.0\r\n\r\n")
    assert statuses(both) == [200, 200]


def test_ranges_of_a_download_fit_together(origin: OriginProcess) -> None:
    offset = (3 << 30) + 65_000
    part = origin.ask("GET", "/download/5GiB.bin", Range=f"bytes={offset}-{offset + 199_999}")
    assert part.status == 206 and part.headers["Content-Range"] == f"bytes {offset}-{offset + 199_999}/{5 << 30}"
    assert part.body == downloads.expected_bytes("5GiB.bin", offset, 200_000)
    again = origin.ask(
        "GET", "/download/5GiB.bin", Range="bytes=0-0", If_Range='"other"', If_None_Match=part.headers["ETag"]
    )
    assert again.status == 304


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: o\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /nothing HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n", 405),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: o\r\n\r\n", 405),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: o\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: o\r\nRange: bytes=99999999-\r\nConnection: close\r\n\r\n", 416),
        (b"GET / HTTP/1.1\r\nHost: o\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
    ],
)
def test_what_cannot_be_served_gets_its_status_and_a_close(origin: OriginProcess, request_: bytes, status: int) -> None:
    assert statuses(origin.converse(request_)) == [status]


def test_a_client_that_sends_no_more_still_gets_its_answers(origin: OriginProcess) -> None:
    with origin.connect() as client:
        client.sendall(
            b"GET /misbehave/delay?seconds=0.05 HTTP/1.1\r\nHost: o\r\n\r\nGET /echo/x HTTP/1.1\r\nHost: o\r\n\r\n"
        )
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(client)) == [200, 200]


def test_connections_that_end_anywhere_are_forgotten(origin: OriginProcess) -> None:
    beginnings = (
        b"",
        b"GET /",
        b"PUT /bucket/b/k HTTP/1.1\r\nHost: o\r\nContent-Length: 9\r\n\r\nabc",
        b"GET /download/1GiB.bin HTTP/1.1\r\nHost: o\r\n\r\n",
    )
    for beginning in beginnings:
        with origin.connect() as client:
            client.sendall(beginning)
    wait_until(lambda: origin.admin("GET", "/status")["open_connections"] == 0, "all connections to be forgotten")


def test_a_reader_that_stands_still_holds_nothing_up(origin: OriginProcess) -> None:
    with origin.connect(receive_buffer_bytes=4_096) as slow:
        slow.sendall(b"GET /download/1GiB.bin HTTP/1.1\r\nHost: o\r\n\r\n")
        start = read_exactly(slow, 2_000)
        assert origin.ask("GET", "/echo/x").status == 200
        assert start.startswith(b"HTTP/1.1 200 OK")


def test_twenty_slow_readers_of_a_gibibyte_cost_little_memory(origin: OriginProcess) -> None:
    """Each has read a different part and then stands still; the highest memory ever is what counts."""
    readers = [origin.connect(receive_buffer_bytes=65_536) for _ in range(20)]
    try:
        for client in readers:
            client.sendall(b"GET /download/1GiB.bin HTTP/1.1\r\nHost: o\r\n\r\n")
        for number, client in enumerate(readers):
            head = read_until(client, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            read_exactly(client, (number + 1) * 500_000)
        assert origin.ask("GET", "/echo/x").status == 200
        assert origin.resident_bytes("VmHWM") < 100 << 20
    finally:
        for client in readers:
            client.close()


def test_a_whole_large_download_is_what_it_must_be(origin: OriginProcess) -> None:
    connection = http.client.HTTPConnection(origin.host, origin.port, timeout=DEADLINE_SECONDS)
    connection.request("GET", "/download/64MiB.bin")
    response = connection.getresponse()
    digest = hashlib.sha256()
    while data := response.read(1 << 20):
        digest.update(data)
    connection.close()
    assert digest.hexdigest() == hashlib.sha256(downloads.expected_bytes("64MiB.bin", 0, 64 << 20)).hexdigest()
