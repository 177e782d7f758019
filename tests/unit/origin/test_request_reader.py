"""From bytes to requests, refusals and expectations; every limit."""

import pytest

from origin.messages import BodyRule
from origin.request_reader import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    ByteBudget,
    ContinueExpected,
    Event,
    RequestArrived,
    RequestReader,
    RequestRefused,
    path_and_query,
)
from tests.origin_builders import keep_everything


def a_reader(budget: ByteBudget | None = None) -> RequestReader:
    return RequestReader(keep_everything, budget or ByteBudget(1_000_000))


def read(*parts: bytes) -> list[Event]:
    reader = a_reader()
    return [event for part in parts for event in reader.feed(part)]


def the_refusal(*parts: bytes) -> int:
    events = read(*parts)
    assert isinstance(events[-1], RequestRefused), events
    return events[-1].status


def test_pipelined_requests_come_in_order() -> None:
    events = read(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b?c=d HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
    requests = [event.request for event in events if isinstance(event, RequestArrived)]
    assert [(item.method, item.target, item.path, item.query) for item in requests] == [
        ("GET", "/a", "/a", ""),
        ("POST", "/b?c=d", "/b", "c=d"),
    ]
    assert requests[1].body.content == b"hi" and requests[1].body.length == 2


def test_headers_keep_order_and_case_and_repeats() -> None:
    (event,) = read(b"GET /%7Ea//b HTTP/1.1\r\nHOST: h\r\nX-b: 1\r\nx-B: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
    assert isinstance(event, RequestArrived)
    assert event.request.target == "/%7Ea//b"
    assert event.request.headers == (("HOST", "h"), ("X-b", "1"), ("x-B", "2"), ("Cookie", "a=1"), ("Cookie", "b=2"))
    assert event.request.field_value("x-b") == "1, 2" and event.request.field_value("cookie") == "a=1; b=2"


def test_a_chunked_body_is_put_together_and_its_trailers_dropped() -> None:
    (event,) = read(
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
    )
    assert isinstance(event, RequestArrived)
    assert event.request.body.content == b"abcde" and event.request.field_value("x-t") is None


def test_a_body_that_is_not_kept_is_still_measured() -> None:
    reader = RequestReader(lambda _method, _path: BodyRule(), ByteBudget(0))
    (event,) = reader.feed(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
    assert isinstance(event, RequestArrived)
    assert (event.request.body.length, event.request.body.content) == (3, b"")
    assert event.request.body.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_expecting_clients_are_told_before_the_body_comes() -> None:
    reader = a_reader()
    head = b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert reader.feed(head) == [ContinueExpected()]
    (event,) = reader.feed(b"ok")
    assert isinstance(event, RequestArrived)


def test_http_1_0_and_close_end_the_connection_and_what_follows_is_ignored() -> None:
    for head in (b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"):
        events = read(head + b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n", b"more")
        assert len(events) == 1 and isinstance(events[0], RequestArrived) and not events[0].request.is_keep_alive


def test_an_upgrade_is_ignored_and_the_next_request_is_read() -> None:
    events = read(
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert [event.request.path for event in events if isinstance(event, RequestArrived)] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1_001, 413),
        (b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * MAX_HEADERS + b"\r\n", 431),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_refusals(raw: bytes, status: int) -> None:
    assert the_refusal(raw) == status


def test_a_header_that_never_ends_is_refused_before_it_is_whole() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    assert the_refusal(start, *[b"a" * 1_000] * (MAX_HEAD_BYTES // 1_000 + 1)) == 431


def test_many_pipelined_requests_in_one_read_are_no_long_head() -> None:
    one = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    events = read(one * 5_000 + one[:-2], one[-2:])
    assert len(events) == 5_001 and all(isinstance(event, RequestArrived) for event in events)


def test_nothing_is_read_after_a_refusal() -> None:
    reader = a_reader()
    assert len(reader.feed(b"nonsense\r\n\r\n")) == 1
    assert reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == []


def test_uploads_beyond_the_common_budget_are_refused_and_give_back_what_they_took() -> None:
    budget = ByteBudget(10)
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n"
    reader = a_reader(budget)
    reader.feed(head + b"12345678")
    assert not budget.take(3)
    (event,) = reader.feed(b"9abc")
    assert isinstance(event, RequestRefused) and event.status == 503
    assert budget.take(10)


def test_an_abandoned_upload_gives_back_what_it_took() -> None:
    budget = ByteBudget(10)
    reader = a_reader(budget)
    reader.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n12345678")
    reader.abandon()
    assert budget.take(10)


@pytest.mark.parametrize(
    ("target", "split"),
    [
        ("/a?b=c?d", ("/a", "b=c?d")),
        ("http://host:1/a?b", ("/a", "b")),
        ("HTTP://host", ("/", "")),
        ("http://host?b=/", ("/", "b=/")),
        ("/a#b", ("/a", "")),
        ("*", ("*", "")),
    ],
)
def test_path_and_query(target: str, split: tuple[str, str]) -> None:
    assert path_and_query(target) == split
