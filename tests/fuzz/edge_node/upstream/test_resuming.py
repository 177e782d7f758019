"""Fuzz target: a response that breaks off, and what an origin says when it is asked for the rest. A viewer gets one object, whole, or sees that it is not.

An input is up to three answers, one for each connection, with `NEXT` between them.
"""

import random
from itertools import pairwise

import pytest

from tests.fuzz.edge_node.upstream.test_responses import GET, behavior, final_of, judge_one_response
from tests.fuzz.grammar import Token, attacked, chunked, fields
from tests.fuzz.harness import TIMEOUT_SECONDS, cut, fuzz
from tests.fuzz.origin_side import Pieces, World
from tests.fuzz.strict_http import End, Response, read_requests, read_responses

NEXT = b"\n--next--\n"
OBJECTS = [b"the one and only object", b"another object, as long", b"something else"]
ETAG = b'"1"'
ETAGS = [ETAG] * 12 + [b'"2"', b'W/"1"', b"1", b""]


def head(status: bytes, pairs: list[tuple[bytes, bytes]], rng: random.Random) -> list[Token]:
    start: list[Token] = [
        ("text", b"HTTP/1.1 "),
        ("status", status),
        ("space", b" "),
        ("reason", b"OK"),
        ("eol", b"\r\n"),
    ]
    given = [(name, value) for name, value in pairs if value]
    rng.shuffle(given)
    return start + fields(given, rng)


def first_answer(body: bytes, sent: int, rng: random.Random) -> list[Token]:
    pairs = [(b"Cache-Control", b"max-age=60"), (b"ETag", rng.choice(ETAGS)), (b"Content-Length", b"%d" % len(body))]
    return [*head(b"200", pairs, rng), ("data", body[:sent])]


def rest_of(body: bytes, first: int, sent: int, rng: random.Random) -> list[Token]:
    """The right answer to a request for the rest, or nearly."""
    shift, more = rng.choice([(0, 0)] * 10 + [(1, 0), (-1, 0), (0, 1)])
    place = b"bytes %d-%d/%d" % (max(0, first + shift), len(body) - 1, len(body) + more)
    etag = rng.choice(ETAGS)
    if rng.random() < 0.1:
        pairs = [(b"Content-Range", place), (b"ETag", etag), (b"Transfer-Encoding", b"chunked")]
        return head(b"206", pairs, rng) + chunked(body[first:], rng)
    length = b"%d" % (len(body) - first)
    pairs = [(b"Content-Range", place), (b"ETag", etag), (b"Content-Length", length), (b"X-Thing", b"1")]
    return [*head(b"206", pairs, rng), ("data", body[first : first + sent])]


def other_answer(rng: random.Random) -> list[Token]:
    status = rng.choice([b"200", b"200", b"206", b"304", b"412", b"416", b"500", b"103"])
    body = b"" if status in (b"304", b"103") else rng.choice(OBJECTS)
    length = b"" if status in (b"304", b"103") else b"%d" % len(body)
    return [*head(status, [(b"ETag", ETAG), (b"Content-Length", length)], rng), ("data", body)]


def broken_answers(rng: random.Random) -> bytes:
    """An answer that breaks off, mostly; then its rest, mostly; perhaps in two parts."""
    body = rng.choice(OBJECTS)
    have = rng.randrange(len(body) + 1)
    answers = [first_answer(body, have, rng)]
    for _ in range(rng.choice([1, 1, 2])):
        if rng.random() < 0.25:
            answers.append(other_answer(rng))
            continue
        other = rng.choice([body] * 8 + OBJECTS)
        first = min(have, len(other) - 1)
        sent = len(other) - first if rng.random() < 0.6 else rng.randrange(len(other) - first + 1)
        answers.append(rest_of(other, first, sent, rng))
        have = first + sent
    is_attacked = rng.random() < 0.5
    return NEXT.join(attacked(t, rng) if is_attacked else b"".join(text for _, text in t) for t in answers)


def honest_bodies(scripts: list[tuple[bytes, bool]]) -> set[tuple[int, bytes]]:
    """Every whole response that these answers make, each in its turn the first or the rest of the one before."""
    said = [final_of(data, b"GET", is_closed=is_orderly)[0] for data, is_orderly in scripts]
    honest: set[tuple[int, bytes]] = set()
    for number, first in enumerate(said):
        if first is None:
            continue
        body, is_whole = first.body, first.is_whole
        for rest in said[number + 1 :]:
            if rest is None:  # no answer at all: the next one is asked for the same
                continue
            if is_whole or not is_rest_of(first, len(body), rest):
                break
            body, is_whole = body + rest.body, rest.is_whole
        if is_whole:
            honest.add((first.status, body))
            if first.status == 206 and first.values(b"content-range") == [
                b"bytes 0-%d/%d" % (len(body) - 1, len(body))
            ]:
                honest.add((200, body))  # RFC 9111 section 3.4: a part that is the whole
    return honest


def is_rest_of(first: Response, received: int, rest: Response) -> bool:
    """RFC 9110 sections 14.4 and 15.3.7: the same strong validator, and the very bytes that are missing."""
    lengths = first.values(b"content-length")
    if first.status != 200 or rest.status != 206 or not lengths:
        return False
    whole = int(lengths[0])
    etags = first.values(b"etag")
    return (
        len(etags) == 1
        and etags[0].startswith(b'"')
        and rest.values(b"etag") == etags
        and rest.values(b"content-range") == [b"bytes %d-%d/%d" % (received, whole - 1, whole)]
    )


def in_reads(data: bytes, rng: random.Random) -> list[bytes]:
    return rng.choice([[data], cut(data, rng), [bytes([byte]) for byte in data]]) if data else []


async def check_resuming(data: bytes, rng: random.Random) -> None:
    scripts = [(one, rng.random() < 0.7) for one in data.split(NEXT)]
    left: list[tuple[Pieces, bool]] = [(in_reads(one, rng), is_orderly) for one, is_orderly in scripts]
    world = World(left, behavior(is_strict=rng.random() < 0.5))
    await world.hears(GET)
    await world.settles()
    honest = honest_bodies(scripts)
    seen = judge_one_response(bytes(world.transport.written), b"GET", world)
    if not world.transport.is_aborted and seen.status not in (502, 503, 504):
        assert (seen.status, seen.body) in honest, f"nobody said this: {seen}, but {honest}"
    judge_questions(world)
    left.clear()
    answers, end = read_responses(await world.another_viewer(GET), [b"GET"], is_closed=True)
    assert end is End.CLEAN and len(answers) == 1
    if answers[0].status not in (502, 503, 504):
        assert (answers[0].status, answers[0].body) in honest, f"stored: {answers[0]}, but {honest}"
    await world.close()


def judge_questions(world: World) -> None:
    """What is asked for goes on where the last answer broke off, never before, and on condition that it is the same object."""
    asked = []
    for transport in world.origin.transports:
        requests, end = read_requests(bytes(transport.written))
        assert len(requests) == 1 and end is End.CLEAN
        asked.append((requests[0].values(b"range"), requests[0].values(b"if-range")))
    starts = []
    for ranges, conditions in asked:
        assert bool(ranges) == bool(conditions) and len(ranges) <= 1
        assert not conditions or conditions[0].startswith(b'"'), "a weak validator proves nothing"
        starts += [int(ranges[0].removeprefix(b"bytes=").removesuffix(b"-")) if ranges else -1]
    assert all(first <= second for first, second in pairwise(starts)), starts


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_what_broke_off_goes_on_with_the_same_object_or_not_at_all() -> None:
    assert fuzz("resuming", 600, broken_answers, check_resuming) >= 600


def rightly_resumed(rng: random.Random) -> bytes:
    """One object in three parts."""
    body = rng.choice(OBJECTS)
    have = rng.randrange(len(body))
    more = rng.randrange(len(body) - have)
    length, place = len(body), b"bytes %d-%d/%d"
    answers = [
        head(b"200", [(b"Cache-Control", b"max-age=60"), (b"ETag", ETAG), (b"Content-Length", b"%d" % length)], rng)
    ]
    answers[0].append(("data", body[:have]))
    for first, end in ((have, have + more), (have + more, length)):
        pairs = [
            (b"ETag", ETAG),
            (b"Content-Range", place % (first, length - 1, length)),
            (b"Content-Length", b"%d" % (length - first)),
        ]
        answers.append([*head(b"206", pairs, rng), ("data", body[first:end])])
    return NEXT.join(b"".join(text for _, text in tokens) for tokens in answers)


async def check_resumed(data: bytes, rng: random.Random) -> None:
    """What can go on does: a node that cuts every viewer off would be honest, too."""
    scripts = [(one, rng.random() < 0.7) for one in data.split(NEXT)]
    world = World(
        [(in_reads(one, rng), is_orderly) for one, is_orderly in scripts], behavior(is_strict=rng.random() < 0.5)
    )
    await world.hears(GET)
    await world.settles()
    seen = judge_one_response(bytes(world.transport.written), b"GET", world)
    assert not world.transport.is_aborted and (200, seen.body) in honest_bodies(scripts)
    again, _ = read_responses(await world.another_viewer(GET), [b"GET"], is_closed=True)
    assert (again[0].status, again[0].body) == (seen.status, seen.body), "it was not stored"
    await world.close()


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_what_can_go_on_does() -> None:
    assert fuzz("right rests", 200, rightly_resumed, check_resumed) >= 200
