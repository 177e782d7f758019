"""Fuzz target: from a viewer's bytes to the origin's.

Each request that goes on is one that a viewer sent, is one request to any reader, and says what the table of reference 2.11 says, nothing more or less.
"""

import random

import pytest

from tests.builders import behavior_message
from tests.fuzz.grammar import request_stream
from tests.fuzz.harness import TIMEOUT_SECONDS, cut, fuzz
from tests.fuzz.origin_side import World
from tests.fuzz.strict_http import End, Request, read_requests
from tests.fuzz.viewer_side import one_by_one, read_strictly

METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nCache-Control: %b\r\nContent-Length: 2\r\n\r\nok" % said
    for said in (b"no-store", b"max-age=60")
]

FORWARDED = {
    b"cache-control", b"content-length", b"content-md5", b"content-type", b"date", b"from", b"if-match", b"if-modified-since", b"if-none-match", b"if-range",
    b"if-unmodified-since", b"max-forwards", b"origin", b"pragma", b"range", b"request-range", b"transfer-encoding", b"via", b"warning", b"x-forwarded-for", b"cdn-loop",
}  # fmt: skip
"""Reference 2.11, last row of the table: from the viewer, whatever the policy says."""
ADDED = {b"host", b"user-agent", b"x-amz-cf-id", b"connection"}
"""Reference 2.11: with a value of the node's own."""


async def check_forwarding(data: bytes, rng: random.Random) -> None:
    strict, _ = read_strictly(data)
    world = World(
        [([answer], True) for answer in ANSWERS * 10], behavior_message(allowed_methods=METHODS), aliases=["h"]
    )
    for piece in rng.choice([[data], cut(data, rng), one_by_one(data, strict), [bytes([byte]) for byte in data]]):
        await world.hears(piece)
    await world.settles()
    at = 0
    for transport in world.origin.transports:
        forwarded = judge_one_request(bytes(transport.written))
        judge_fields(forwarded)
        place = next((n for n in range(at, len(strict)) if says_the_same(forwarded, strict[n])), None)
        assert place is not None, (
            f"nobody asked for {forwarded.method!r} {forwarded.target!r} in these words: {forwarded.fields}"
        )
        viewers, at = strict[place], place + 1
        assert viewers.body.startswith(forwarded.body)
        assert not forwarded.is_whole or (viewers.is_whole and viewers.body == forwarded.body)
    await world.close()


def judge_one_request(written: bytes) -> Request:
    """One request in what an origin heard, to its last byte; it may be cut off where the viewer's body was."""
    requests, end = read_requests(written)
    assert len(requests) == 1 and end in (End.CLEAN, End.INCOMPLETE), f"{len(requests)} requests, {end}: {written!r}"
    return requests[0]


def judge_fields(forwarded: Request) -> None:
    """Nothing outside the table, and of the node's own fields one each."""
    allowed = FORWARDED | ADDED | ({b"authorization"} if forwarded.method not in (b"GET", b"HEAD") else set())
    names = [name for name, _ in forwarded.fields]
    assert set(names) <= allowed, f"{set(names) - allowed} went to the origin"
    assert forwarded.values(b"host") == [b"192.0.2.1:8000"]
    assert forwarded.values(b"user-agent") == [b"Amazon CloudFront"]
    assert len(forwarded.values(b"x-forwarded-for")) == len(forwarded.values(b"via")) == 1
    assert forwarded.values(b"x-forwarded-for")[0].endswith(b"192.0.2.7")
    assert forwarded.values(b"cdn-loop")[-1].endswith(b"cdnlab"), "RFC 8586: this pass is counted"


def says_the_same(forwarded: Request, viewers: Request) -> bool:
    """In what the table takes from the viewer as it is; the requests of a viewer go on in their order, and some do not."""
    as_they_are = FORWARDED - {b"via", b"x-forwarded-for", b"cdn-loop", b"content-length", b"transfer-encoding"}
    is_same_line = (forwarded.method, forwarded.target) == (viewers.method, viewers.target)
    return is_same_line and all(forwarded.values(name) == viewers.values(name) for name in as_they_are)


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_what_reaches_an_origin_was_sent_and_may_reach_it() -> None:
    assert fuzz("forwarding", 800, request_stream, check_forwarding) >= 800
