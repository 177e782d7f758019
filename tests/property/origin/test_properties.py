"""What holds for every input of the origin's parsers, ranges and generated content."""

from contextlib import suppress
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from origin.behaviors import Behavior, parse_behavior
from origin.bucket import BucketStore
from origin.conditions import apply_conditions, parse_range
from origin.delivery import Close, EndChunks, Reset, SendBody, SendHead, body_pieces, script
from origin.errors import InvalidInputError
from origin.footage.reader import read_footage
from origin.messages import Delivery, Framing, Generated, Insertion, Response, sliced
from origin.patterns import pieces, read
from origin.request_reader import ByteBudget, Event, RequestArrived, RequestReader, RequestRefused
from origin.scenarios import Scenarios, kind_of
from origin.transport_stream import NULL_PACKET_HEADER, PACKET_BYTES
from tests.origin_builders import a_get, a_request, keep_everything

_SCENARIOS = Scenarios(BucketStore(1 << 20), read_footage())
_STREAMS = st.sampled_from(
    [
        b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"PUT /c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        b"GET /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /e HTTP/1.1\r\n",
        b"GET /f HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nGET /g HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /h HTTP/1.1\r\nBad Header\r\n\r\n",
        b"POST /i HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\nxx",
    ]
)


def read_all(parts: list[bytes]) -> list[Event]:
    reader = RequestReader(keep_everything, ByteBudget(1 << 20))
    return [event for part in parts for event in reader.feed(part)]


@given(_STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_where_the_reads_end_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    parts = [stream[start:end] for start, end in pairwise(places)]
    assert read_all(parts) == read_all([stream])


@given(_STREAMS)
def test_byte_by_byte_is_the_same_too(stream: bytes) -> None:
    assert read_all([bytes([byte]) for byte in stream]) == read_all([stream])


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n", b"0\r\n\r\n"]))
)
def test_any_bytes_are_requests_or_one_refusal_that_is_the_last(parts: list[bytes]) -> None:
    events = read_all(parts)
    assert not any(isinstance(event, RequestRefused) for event in events[:-1])
    for event in events:
        if isinstance(event, RequestArrived):
            assert event.request.fields.get("host") is not None or event.request.http_version == "1.0"


@given(st.text(alphabet="bytes=0123456789-, ", max_size=30), st.integers(0, 1_000))
@example("bytes=-0", 10)
@example("bytes=0-0", 0)
def test_a_range_is_ignored_or_within_reason(text: str, length: int) -> None:
    selected = parse_range(text, length)
    if selected is not None:
        start, end = selected
        assert 0 <= start <= end and (start == end or start >= length or end <= length)


@given(
    st.integers(0, 1 << 40),
    st.integers(0, 200_000),
    st.integers(0, 200_000),
    st.sampled_from((None, Insertion(b"", 9))),
)
def test_a_part_of_generated_content_is_that_part_of_the_whole(
    offset: int, first: int, second: int, insertion: Insertion | None
) -> None:
    whole = b"".join(pieces(Generated("s", first + second, offset, insertion)))
    assert whole[first:] == b"".join(pieces(Generated("s", second, offset + first, insertion)))
    assert len(whole) == first + second


@given(st.integers(0, 900), st.data())
def test_inserted_packets_come_all_in_order_evenly_and_in_any_part(count: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(max(count, 1), 1_000))
    packets = [b"\x47\x01\x00\x10" + number.to_bytes(4, "big") * 46 for number in range(count)]
    body = Generated("s", total * PACKET_BYTES, insertion=Insertion(b"".join(packets), total))
    whole = b"".join(pieces(body))
    found = [whole[start : start + PACKET_BYTES] for start in range(0, len(whole), PACKET_BYTES)]
    places = [place for place, packet in enumerate(found) if not packet.startswith(NULL_PACKET_HEADER)]
    assert [found[place] for place in places] == packets and len(found) == total
    assert not places or places[0] == 0
    assert all(after - before <= -(-total // count) for before, after in pairwise(places))
    start = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, len(whole) - start))
    part = sliced(body, start, length)
    assert isinstance(part, Generated) and b"".join(pieces(part)) == whole[start : start + length]


@given(st.binary(max_size=200) | st.builds(Generated, st.just("s"), st.integers(0, 200)), st.data())
def test_slicing_a_body_is_slicing_its_bytes(body: bytes | Generated, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(body)))
    length = data.draw(st.integers(0, len(body) - start))
    part = sliced(body, start, length)
    expected = (body if isinstance(body, bytes) else read("s", 0, body.length))[start : start + length]
    assert (b"".join(pieces(part)) if isinstance(part, Generated) else bytes(part)) == expected


_BYTES = st.none() | st.integers(0, 300)
_DELIVERIES = st.builds(
    Delivery,
    gate=st.sampled_from(["", "g"]),
    gate_body=st.sampled_from(["", "g"]),
    piece_bytes=st.integers(0, 50),
    truncate_after_bytes=_BYTES,
    reset_after_bytes=_BYTES,
)


@given(_DELIVERIES, st.binary(max_size=250), st.booleans(), st.sampled_from(Framing))
def test_every_script_sends_the_body_once_up_to_its_cut(
    plan: Delivery, content: bytes, is_last: bool, framing: Framing
) -> None:
    response = Response(200, body=content, delivery=plan, framing=framing)
    steps = script(a_get("/"), response, is_last)
    sent = b"".join(bytes(part) for step in steps if isinstance(step, SendBody) for part in body_pieces(response, step))
    cuts = [cut for cut in (plan.truncate_after_bytes, plan.reset_after_bytes) if cut is not None]
    assert sent == content[: min([len(content), *cuts])]
    assert steps.count(SendHead()) == 1
    is_cut = len(sent) < len(content) or isinstance(steps[-1], Reset)
    assert is_cut <= isinstance(steps[-1], Close | Reset)
    assert (EndChunks() in steps) == (framing is Framing.CHUNKED and not is_cut)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4)
)
def test_any_value_of_a_field_is_taken_or_refused_in_words(value: Any) -> None:
    for name in Behavior.__dataclass_fields__:
        with suppress(InvalidInputError):
            assert isinstance(parse_behavior({"path_prefix": "/x", "status": 500, name: value}), Behavior)


@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "CONNECT"]),
    st.sampled_from(["/", "/echo/", "/download/", "/hls/", "/api/", "/bucket/", "/misbehave/", "/images/", "*"]),
    st.text(alphabet="abz019./%?&=-_ü\n", max_size=25),
)
@example("GET", "/hls/", "live/a/720p/²³.ts")
@example("GET", "/echo/", "x?status=²")
@example("PUT", "/bucket/", "b/%ff%00")
@example("GET", "/bucket/", "b?list-type=2&prefix=%00")
def test_any_target_gets_an_answer(method: str, directory: str, rest: str) -> None:
    request = a_request(method, (directory + rest).encode().decode("latin-1"), body=b"x")
    response = apply_conditions(request, _SCENARIOS.respond(request, kind_of(request.path), 1_000_000.0, 1))
    assert 200 <= response.status <= 599
    for name, value in response.headers:
        f"{name}: {value}".encode("latin-1")
        assert "\n" not in value and "\r" not in value
