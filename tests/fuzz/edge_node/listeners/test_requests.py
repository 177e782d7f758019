"""Fuzz target: a viewer's bytes. The node understands what RFC 9112 says they mean, or refuses them, however they are cut into reads."""

import random
import re

import h11
import pytest

from edge_node.policy.parse_cache import ParseCache
from tests.fuzz.grammar import Sections, fields, request, request_stream
from tests.fuzz.harness import TIMEOUT_SECONDS, cut, fuzz
from tests.fuzz.strict_http import End, read_requests
from tests.fuzz.viewer_side import judge, one_by_one, outcome_of, read_strictly, same

CANARY = b"GET /canary HTTP/1.1\r\nHost: h\r\n\r\n"
"""Follows every stream: whoever counts the bytes before it otherwise sees it elsewhere, or not at all."""


async def check_requests(data: bytes, rng: random.Random) -> None:
    stream = data + CANARY
    strict, end = read_strictly(stream)
    known = ParseCache()
    at_once = await outcome_of([stream], ParseCache())
    judge(at_once, strict, end)
    singly = one_by_one(stream, strict)
    for pieces in (singly, singly, cut(stream, rng), [stream], [bytes([byte]) for byte in stream]):
        cut_up = await outcome_of(pieces, known)
        judge(cut_up, strict, end)
        assert same(at_once, cut_up), "the reads change what is understood, or what is remembered does"


async def check_refusing_nothing(data: bytes, rng: random.Random) -> None:
    """What is right is not refused either: otherwise a node that refuses everything would pass."""
    del rng
    strict, end = read_strictly(data)
    assert end is End.CLEAN
    outcome = await outcome_of([data], ParseCache())
    judge(outcome, strict, end)
    assert outcome.refusal is None and len(outcome.requests) == len(strict)


def right_requests(rng: random.Random) -> bytes:
    sections = Sections()
    return b"".join(text for _ in range(rng.randint(1, 8)) for _, text in request(rng, sections))


def repeating_sections(rng: random.Random) -> bytes:
    """Many requests on one connection, from two header sections that differ in little, in all orders: what is remembered of one must not leak into another."""
    sections = Sections()
    one, other = sections.draw(rng), sections.draw(rng)
    bodies = [b"", b"hello", b"Content-Length: 9\r\n\r\n"]
    stream = b""
    for _ in range(rng.randint(4, 12)):
        pairs = list(rng.choice([one, one, other]))
        body = b""
        method = rng.choice([b"GET", b"GET", b"POST", b"HEAD"])
        if method == b"POST" or rng.random() < 0.2:
            body = rng.choice(bodies)
            pairs.append((b"Content-Length", b"%d" % len(body)))
        random_free = random.Random(0)  # the same white space for the same section
        section = b"".join(text for _, text in fields(pairs, random_free))
        target = rng.choice([b"/a", b"/a", b"/b", b"http://h/a", b"/a?q"])
        version = rng.choice([b"HTTP/1.1"] * 9 + [b"HTTP/1.0"])
        line = rng.choice([b"%b %b %b\r\n"] * 30 + [b"%b %b %b\n", b"%b  %b %b\r\n", b"%b %b %b \r\n"]) % (
            method,
            target,
            version,
        )
        stream += line + section + body
    return stream


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_what_the_node_understands_is_what_was_sent() -> None:
    assert fuzz("requests", 1_200, request_stream, check_requests) >= 1_200


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_header_sections_that_repeat_are_understood_each_time_anew() -> None:
    assert fuzz("sections", 500, repeating_sections, check_requests) >= 500


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_what_is_right_is_taken() -> None:
    assert fuzz("right requests", 500, right_requests, check_refusing_nothing) >= 500


# -- the strict reader itself, against another implementation


SPACE_BEFORE_EXTENSION = re.compile(rb"[0-9A-Fa-f][ \t]+;")
"""RFC 9112 section 7.1.1 has it parsed; h11 refuses it."""


async def check_the_reader(data: bytes, rng: random.Random) -> None:
    """Whatever the strict reader takes, h11 takes, and reads the same."""
    del rng
    requests, _ = read_requests(data)
    for one in [each for each in requests if each.is_whole and not SPACE_BEFORE_EXTENSION.search(each.raw)]:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(one.raw)
        event = connection.next_event()
        assert isinstance(event, h11.Request)
        assert event.method == one.method
        assert [(name, value.lower()) for name, value in event.headers] == [(n, v.lower()) for n, v in one.fields]
        body = b""
        try:
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
        except h11.RemoteProtocolError:
            assert not one.raw.endswith(b"\r\n0\r\n\r\n"), (
                "only framing fields in a trailer section, which do not count, are a reason"
            )
            continue
        assert isinstance(event, h11.EndOfMessage) and body == one.body
        assert connection.trailing_data[0] == b""


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_the_strict_reader_agrees_with_h11() -> None:
    assert fuzz("reader", 1_500, request_stream, check_the_reader) >= 1_500
