"""Fuzz target: connections to an origin that are used again. Whatever an origin says behind an answer is not the answer to the next question, nor to the one before.

An input is what the origin answers for the targets /0, /1 and so on, with `NEXT` between them. They are asked for one after the other.
"""

import random

import pytest

from tests.builders import behavior_message
from tests.fuzz.edge_node.upstream.test_responses import final_of, judge_fields
from tests.fuzz.edge_node.upstream.test_resuming import NEXT, in_reads
from tests.fuzz.grammar import response, response_stream
from tests.fuzz.harness import TIMEOUT_SECONDS, fuzz
from tests.fuzz.origin_side import KeptOrigin, World
from tests.fuzz.strict_http import End, Response, read_requests, read_responses

OWN_ERRORS = (502, 503, 504)
BODIES = [b"of %d" % number for number in range(9)] + [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b""]


def answers_in_turn(rng: random.Random) -> bytes:
    """Most of them right, so that there is a connection to be used again; some with an answer to nobody behind them."""
    answers = []
    for _ in range(rng.randint(2, 5)):
        if rng.random() < 0.4:
            answers.append(response_stream(rng, BODIES))
            continue
        answers.append(b"".join(text for _, text in response(rng, BODIES)))
        if rng.random() < 0.3:
            more = b"".join(text for _, text in response(rng, BODIES))
            answers[-1] += rng.choice([b"\r\n", b"\n", b"H", b"x" * 30, more, more[: rng.randrange(len(more))]])
    return NEXT.join(answers)


async def check_reuse(data: bytes, rng: random.Random) -> None:
    answers = [one.replace(b"max-age=60", b"no-store") if rng.random() < 0.5 else one for one in data.split(NEXT)]
    origin = KeptOrigin({b"/%d" % number: in_reads(one, rng) for number, one in enumerate(answers)})
    world = World(origin, behavior_message())
    order = [rng.randrange(len(answers)) for _ in range(len(answers) + 2)]
    for number in order:
        method = rng.choice([b"GET", b"GET", b"GET", b"HEAD"])
        seen, is_whole = await _ask(world, origin, method, b"/%d" % number)
        _judge(seen, method, answers[number], is_whole=is_whole)
    for transport in origin.transports:
        requests, end = read_requests(bytes(transport.written))
        assert requests and end is End.CLEAN
    await world.close()


async def _ask(world: World, origin: KeptOrigin, method: bytes, target: bytes) -> tuple[Response, bool]:
    """A viewer of its own; an origin that leaves it waiting hangs up."""
    connection, transport = world.listener.connect()
    connection.data_received(
        b"%b %b HTTP/1.1\r\nHost: d1.cdn.localhost\r\nConnection: close\r\n\r\n" % (method, target)
    )
    for _ in range(12):
        await world.settles()
        if transport.is_closing():
            break
        origin.hangs_up()
    assert transport.is_closing(), "no answer, and no end"
    answers, end = read_responses(bytes(transport.written), [method], is_closed=not transport.is_aborted)
    assert len(answers) == 1 and (end is End.CLEAN or (transport.is_aborted and end is End.INCOMPLETE))
    return answers[0], not transport.is_aborted


def _judge(seen: Response, method: bytes, answer: bytes, *, is_whole: bool) -> None:
    """It is what the origin says for this target, to GET or to HEAD, since a stored answer to GET is good for HEAD, too."""
    if seen.status in OWN_ERRORS:
        return
    meanings = [final_of(answer, asked, is_closed=True)[0] for asked in {b"GET", method}]
    same = [said for said in meanings if said is not None and said.status == seen.status]
    assert same, f"the answer to something else: {seen}"
    for said in same:
        judge_fields(seen, said, is_compressed=False, is_strict=False)
    bodies = [said.body for said in same if said.is_whole or not is_whole]
    assert method == b"HEAD" or any(body == seen.body if is_whole else body.startswith(seen.body) for body in bodies)
    assert method == b"GET" or not seen.body


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_what_is_left_over_answers_nobody() -> None:
    assert fuzz("reuse", 400, answers_in_turn, check_reuse) >= 400


def right_answers(rng: random.Random) -> bytes:
    return NEXT.join(
        b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%b" % (len(b), b)
        for b in rng.sample(BODIES, 3)
    )


async def check_that_it_is_reused(data: bytes, rng: random.Random) -> None:
    """Otherwise nothing is tested above."""
    answers = data.split(NEXT)
    origin = KeptOrigin({b"/%d" % number: in_reads(one, rng) for number, one in enumerate(answers)})
    world = World(origin, behavior_message())
    for number in range(len(answers)):
        method = rng.choice([b"GET", b"HEAD"])
        origin.answers[b"/%d" % number] = (
            [answers[number].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"] if method == b"HEAD" else [answers[number]]
        )
        seen, is_whole = await _ask(world, origin, method, b"/%d" % number)
        assert seen.status == 200 and is_whole
    assert len(origin.transports) == 1 and origin.reused == len(answers) - 1
    await world.close()


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_connections_are_used_again() -> None:
    assert fuzz("right answers", 50, right_answers, check_that_it_is_reused) >= 50
