"""A response as a list of steps, and the bytes of its head."""

from dataclasses import replace

import pytest

from origin.delivery import (
    Close,
    EndChunks,
    PassGate,
    Pause,
    Reset,
    SendBody,
    SendHead,
    SendRaw,
    Step,
    body_pieces,
    is_prompt,
    script,
)
from origin.messages import PROMPT, Delivery, Framing, Generated, Request, Response
from origin.wire import encode_head, must_close
from tests.origin_builders import a_get, a_request

_BODY = Response(200, body=b"x" * 100)
_PIECE = 65_536


def steps_of(delivery: Delivery, response: Response = _BODY, is_last: bool = False) -> list[Step]:
    return script(a_get("/"), replace(response, delivery=delivery), is_last)


def test_small_whole_answers_are_prompt_and_no_others() -> None:
    assert is_prompt(_BODY)
    assert not is_prompt(replace(_BODY, delivery=Delivery(delay_seconds=1)))
    assert not is_prompt(replace(_BODY, framing=Framing.CHUNKED))
    assert not is_prompt(Response(200, body=Generated("a", 1)))
    assert not is_prompt(Response(200, body=b"x" * 70_000))


def test_whole() -> None:
    assert steps_of(PROMPT) == [SendHead(), SendBody(0, 100, _PIECE, 0.0)]
    assert steps_of(PROMPT, is_last=True)[-1] == Close()


def test_a_head_request_is_sent_no_body_but_waits_all_the_same() -> None:
    response = replace(_BODY, delivery=Delivery(delay_seconds=2.0))
    assert script(a_request("HEAD", "/"), response, False) == [Pause(2.0), SendHead()]


def test_chunks_have_an_end() -> None:
    assert steps_of(PROMPT, replace(_BODY, framing=Framing.CHUNKED)) == [
        SendHead(),
        SendBody(0, 100, _PIECE, 0.0),
        EndChunks(),
    ]


def test_truncation_closes_in_good_order_and_never_ends_the_chunks() -> None:
    chunked = replace(_BODY, framing=Framing.CHUNKED)
    expected = [SendHead(), SendBody(0, 30, _PIECE, 0.0), Close()]
    assert steps_of(Delivery(truncate_after_bytes=30)) == expected
    assert steps_of(Delivery(truncate_after_bytes=30), chunked) == expected


def test_truncation_behind_the_end_changes_nothing() -> None:
    assert steps_of(Delivery(truncate_after_bytes=100)) == steps_of(PROMPT)


def test_reset_in_the_body_and_before_it() -> None:
    assert steps_of(Delivery(reset_after_bytes=0)) == [SendHead(), Reset()]
    assert steps_of(Delivery(reset_after_bytes=40)) == [SendHead(), SendBody(0, 40, _PIECE, 0.0), Reset()]
    assert steps_of(Delivery(is_reset=True)) == [Reset()]


def test_dropping_and_garbage_come_after_the_delay() -> None:
    assert steps_of(Delivery(delay_seconds=1.0, is_dropped=True)) == [Pause(1.0), Close()]
    assert steps_of(Delivery(raw=b"?")) == [SendRaw(b"?"), Close()]


def test_gates() -> None:
    assert steps_of(Delivery(gate="g"))[:2] == [PassGate("g"), SendHead()]
    assert steps_of(Delivery(gate_body="g")) == [
        SendHead(),
        SendBody(0, 50, _PIECE, 0.0),
        PassGate("g"),
        SendBody(50, 100, _PIECE, 0.0),
    ]


def test_a_gate_in_an_empty_body_is_still_passed() -> None:
    assert steps_of(Delivery(gate_body="g"), Response(200)) == [SendHead(), PassGate("g")]


def test_waits_before_the_head_and_before_the_body() -> None:
    assert steps_of(Delivery(delay_seconds=1.0, first_byte_delay_seconds=2.0))[:3] == [
        Pause(1.0),
        SendHead(),
        Pause(2.0),
    ]


def test_pieces_have_the_wanted_size_and_the_wanted_bytes() -> None:
    response = Response(200, body=bytes(range(100)))
    parts = [bytes(part) for part in body_pieces(response, SendBody(10, 95, 30, 0.0))]
    assert list(map(len, parts)) == [30, 30, 25] and b"".join(parts) == bytes(range(10, 95))


def test_one_byte_is_corrupt_and_only_one() -> None:
    response = Response(200, body=bytes(100), delivery=Delivery(corrupt_at_byte=42))
    sent = b"".join(map(bytes, body_pieces(response, SendBody(0, 100, 10, 0.0))))
    assert [(position, byte) for position, byte in enumerate(sent) if byte] == [(42, 0xFF)]


@pytest.mark.parametrize(
    ("request_", "response", "is_closing"),
    [
        (a_get("/"), Response(200), False),
        (replace(a_get("/"), is_keep_alive=False), Response(200), True),
        (a_get("/"), Response(200, framing=Framing.CLOSE), True),
        (a_request("HEAD", "/"), Response(200, framing=Framing.CLOSE), False),
        (replace(a_get("/"), http_version="1.0"), Response(200, framing=Framing.CHUNKED), True),
    ],
)
def test_what_ends_a_connection(request_: Request, response: Response, is_closing: bool) -> None:
    assert must_close(request_, response) is is_closing


def test_a_head_says_how_the_body_is_framed() -> None:
    assert b"\r\nContent-Length: 100\r\n" in encode_head(a_get("/"), _BODY, "D", False)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in encode_head(
        a_get("/"), replace(_BODY, framing=Framing.CHUNKED), "D", False
    )
    assert b"Content-Length" not in encode_head(a_get("/"), Response(304), "D", False)


def test_http_1_0_is_told_that_the_connection_stays() -> None:
    request = replace(a_get("/"), http_version="1.0")
    assert b"\r\nConnection: keep-alive\r\n" in encode_head(request, _BODY, "D", False)
    assert b"\r\nConnection: close\r\n" in encode_head(request, _BODY, "D", True)


def test_the_date_is_the_responses_own_if_it_wants_that() -> None:
    assert b"Date:" not in encode_head(a_get("/"), replace(_BODY, has_own_date=True), "D", False)
