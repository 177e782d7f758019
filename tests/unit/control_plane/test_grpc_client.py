"""The client's end of a connection, frame by frame, beside a server that does what servers do and what they must not. Real servers, grpcio's among them, are in
tests/integration/control_plane/test_grpc_client.py."""

import asyncio
from typing import cast

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.grpc_client import CONNECTION_WINDOW, MOST_CALLS, GrpcClient, NoCallError
from control_plane.grpc_client_call import ClientCall
from control_plane.grpc_wire import message_head
from control_plane.http2_connection import MOST_IDLE_FRAMES
from control_plane.http2_frames import (
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    PREFACE,
    WINDOW_BYTES,
    ErrorCode,
    Frame,
    FrameReader,
    Kind,
    Setting,
    frame,
    go_away,
    reset,
    window_update,
)
from control_plane.http2_frames import (
    settings as settings_frame,
)
from tests.depth import examples

HEAD = [(":status", "200"), ("content-type", "application/grpc")]


class Transport:
    """A socket that is written to; what is written after the end is an error."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_open = True

    def write(self, data: bytes) -> None:
        assert self.is_open
        self.writes.append(data)

    def is_closing(self) -> bool:
        return not self.is_open

    def close(self) -> None:
        self.is_open = False

    abort = close

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def get_write_buffer_size(self) -> int:
        return 0


class Asked:
    """Who has made a call; notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def answered(self, message: bytes) -> None:
        self.heard.append(message)

    def may_send(self) -> None:
        self.heard.append("may send")

    def ended(self, reason: str) -> None:
        self.heard.append(f"ended: {reason}")


class Talk:
    """The server's side."""

    def __init__(self) -> None:
        self.client = GrpcClient("/test.Service/Talk", "http", "control-plane")
        self.transport = Transport()
        self.client.connection_made(cast(asyncio.Transport, self.transport))
        self.encoder = Encoder()
        self._reader = FrameReader()
        self._is_begun = False

    async def say(self, *frames: bytes) -> list[Frame]:
        """What is answered until the turn of the loop is over."""
        self.client.data_received(b"".join(frames))
        return await self.heard()

    async def heard(self) -> list[Frame]:
        await asyncio.sleep(0)
        said = b"".join(self.transport.writes)
        self.transport.writes.clear()
        if not self._is_begun and said:
            assert said.startswith(PREFACE)
            said, self._is_begun = said[len(PREFACE) :], True
        return list(self._reader.feed(said))

    async def call(self) -> tuple[ClientCall, Asked]:
        asked = Asked()
        call = self.client.call(asked)
        await self.heard()
        return call, asked

    def head(self, stream: int = 1) -> bytes:
        return frame(Kind.HEADERS, END_HEADERS, stream, self.encoder.encode(HEAD))

    def trailers(self, stream: int = 1, status: str = "0", reason: str = "") -> bytes:
        block = self.encoder.encode([("grpc-status", status), ("grpc-message", reason)])
        return frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream, block)

    def is_over(self) -> None:
        """The socket is gone."""
        self.client.connection_lost(None)


@pytest.fixture
async def talk() -> Talk:
    talk = Talk()
    await talk.say(settings_frame({Setting.MAX_CONCURRENT_STREAMS: 100}))
    return talk


def message(data: bytes, stream: int = 1) -> bytes:
    whole = message_head(len(data)) + data
    pieces = [whole[at : at + FRAME_BYTES] for at in range(0, len(whole), FRAME_BYTES)]
    return b"".join(frame(Kind.DATA, 0, stream, piece) for piece in pieces)


def body(frames: list[Frame], stream: int = 1) -> bytes:
    return b"".join(each.payload for each in frames if each.kind == Kind.DATA and each.stream == stream)


def given_back(frames: list[Frame], stream: int) -> int:
    updates = [each for each in frames if each.kind == Kind.WINDOW_UPDATE and each.stream == stream]
    return sum(int.from_bytes(each.payload, "big") for each in updates)


def errors(frames: list[Frame]) -> list[int]:
    return [int.from_bytes(each.payload[4:8], "big") for each in frames if each.kind == Kind.GOAWAY]


async def test_no_call_begins_before_the_servers_settings() -> None:
    talk = Talk()
    with pytest.raises(NoCallError):
        talk.client.call(Asked())
    opening = await talk.heard()
    assert opening[0].kind == Kind.SETTINGS and given_back(opening, 0) == CONNECTION_WINDOW - WINDOW_BYTES
    assert not talk.client.ready.done()
    (acknowledged,) = await talk.say(settings_frame({}))
    assert acknowledged.kind == Kind.SETTINGS and acknowledged.flags == 1 and talk.client.ready.done()


async def test_what_is_said_in_one_turn_is_one_write(talk: Talk) -> None:
    calls = [talk.client.call(Asked()) for _ in range(50)]
    for call in calls:
        call.send(b"hello")
    await asyncio.sleep(0)
    assert len(talk.transport.writes) == 1
    frames = await talk.heard()
    assert [each.stream for each in frames if each.kind == Kind.HEADERS] == list(range(1, 100, 2))
    assert all(body(frames, stream) == message_head(5) + b"hello" for stream in range(1, 100, 2))


async def test_answers_are_understood_however_they_are_split(talk: Talk) -> None:
    _, asked = await talk.call()
    block = talk.encoder.encode(HEAD)
    said = frame(Kind.HEADERS, 0, 1, block[:3]) + frame(Kind.CONTINUATION, END_HEADERS, 1, block[3:])
    said += message(b"one") + frame(Kind.DATA, 0, 1, b"\0\0\0") + frame(Kind.DATA, 0, 1, b"\0\x01x") + message(b"")
    said += talk.trailers(reason="gone: %C3%A4")
    for at in range(len(said)):
        await talk.say(said[at : at + 1])
    assert asked.heard == [b"one", b"x", b"", "ended: gone: ä"]


async def test_an_answer_with_another_status_of_http_ends_the_call(talk: Talk) -> None:
    _, asked = await talk.call()
    frames = await talk.say(frame(Kind.HEADERS, END_HEADERS, 1, talk.encoder.encode([(":status", "502")])))
    assert "502" in str(asked.heard) and [each.kind for each in frames] == [Kind.RST_STREAM]


async def test_a_window_of_nothing_holds_everything_back_until_it_grows(talk: Talk) -> None:
    await talk.say(settings_frame({Setting.INITIAL_WINDOW_SIZE: 0}))
    call, asked = await talk.call()
    assert not call.is_writable
    call.send(b"x" * 20)
    call.half_close()
    assert await talk.heard() == []
    assert body(await talk.say(window_update(1, 10))) == message_head(20) + b"x" * 5
    rest = await talk.say(settings_frame({Setting.INITIAL_WINDOW_SIZE: 1_000}))
    assert body(rest) == b"x" * 15 and rest[-1].flags & END_STREAM and asked.heard == []


async def test_settings_that_shrink_windows_with_data_in_flight_make_them_negative(talk: Talk) -> None:
    call, asked = await talk.call()
    call.send(b"x" * 1_000)
    await talk.heard()
    await talk.say(settings_frame({Setting.INITIAL_WINDOW_SIZE: 100}))
    call.send(b"y")
    assert await talk.heard() == [] and not call.is_writable
    assert body(await talk.say(window_update(1, 905))) == b"", "still nothing is left"
    assert body(await talk.say(window_update(1, 6))) == message_head(1) + b"y"
    await talk.say(window_update(1, 1))
    assert asked.heard == ["may send"]


async def test_the_window_of_the_connection_is_for_all_calls_together(talk: Talk) -> None:
    (one, _), (two, waits) = await talk.call(), await talk.call()
    one.send(bytes(WINDOW_BYTES - 5))
    assert len(body(await talk.heard())) == WINDOW_BYTES and not two.is_writable
    two.send(b"later")
    assert await talk.heard() == []
    assert body(await talk.say(window_update(0, 100)), stream=3) == message_head(5) + b"later"
    assert waits.heard == ["may send"]


async def test_windows_of_what_was_read_are_given_back_and_those_of_a_call_that_is_held_are_not(talk: Talk) -> None:
    (held, slow), (_, quick) = await talk.call(), await talk.call()
    held.hold()
    frames = await talk.say(talk.head(1), talk.head(3), message(bytes(30_000), 1), message(bytes(30_000), 3))
    assert given_back(frames, 1) == 0 and given_back(frames, 3) > 30_000 - FRAME_BYTES
    assert len(slow.heard) == len(quick.heard) == 1
    held.release()
    assert given_back(await talk.heard(), 1) == 30_005


async def test_the_window_of_the_connection_is_given_back_whatever_is_held(talk: Talk) -> None:
    calls = [await talk.call() for _ in range(80)]
    for call, _ in calls:
        call.hold()
    frames: list[Frame] = []
    for number in range(80):
        frames += await talk.say(message(bytes(WINDOW_BYTES - 5), 2 * number + 1))
    assert given_back(frames, 0) >= CONNECTION_WINDOW // 4


async def test_a_server_that_sends_more_than_it_may_is_cut_off(talk: Talk) -> None:
    call, asked = await talk.call()
    call.hold()
    frames = await talk.say(message(bytes(WINDOW_BYTES - 5)))
    assert errors(frames) == []
    frames = await talk.say(frame(Kind.DATA, 0, 1, b"x"))
    assert errors(frames) == [ErrorCode.FLOW_CONTROL_ERROR] and not talk.transport.is_open
    assert str(asked.heard[-1]).startswith("ended: ")


async def test_a_farewell_ends_the_calls_that_were_not_begun_with_and_no_other(talk: Talk) -> None:
    (_, first), (_, second) = await talk.call(), await talk.call()
    await talk.say(talk.head(1), go_away(1, ErrorCode.NO_ERROR, "going"), message(b"still"))
    assert first.heard == [b"still"] and second.heard == ["ended: going"]
    with pytest.raises(NoCallError):
        talk.client.call(Asked())
    assert talk.client.is_over and talk.transport.is_open
    await talk.say(talk.trailers(1))
    talk.is_over()
    assert first.heard == [b"still", "ended: the leader closed the stream"] and talk.client.closed.result() == "going"


async def test_a_reset_ends_its_call_and_what_comes_after_it_is_nothing(talk: Talk) -> None:
    (_, first), (_, second) = await talk.call(), await talk.call()
    assert await talk.say(talk.head(1), reset(1, ErrorCode.CANCEL), message(b"late"), talk.trailers(1)) == []
    await talk.say(talk.head(3), message(b"fine", 3))
    assert first.heard == ["ended: the leader is gone"] and second.heard == [b"fine"]


async def test_who_cancels_hears_no_more_and_the_server_is_told_once(talk: Talk) -> None:
    call, asked = await talk.call()
    call.cancel()
    call.cancel()
    (told,) = await talk.heard()
    assert told.kind == Kind.RST_STREAM and told.payload[-1] == ErrorCode.CANCEL
    call.send(b"late as well")
    assert await talk.say(talk.head(), message(b"late"), talk.trailers()) == []
    talk.is_over()
    assert asked.heard == []


async def test_no_more_calls_are_made_than_the_server_takes(talk: Talk) -> None:
    await talk.say(settings_frame({Setting.MAX_CONCURRENT_STREAMS: 2}))
    (one, _), _ = await talk.call(), await talk.call()
    with pytest.raises(NoCallError):
        talk.client.call(Asked())
    one.cancel()
    assert talk.client.call(Asked())


async def test_all_calls_end_with_the_reason_when_the_connection_does(talk: Talk) -> None:
    (_, one), (_, two) = await talk.call(), await talk.call()
    talk.client.end(ErrorCode.NO_ERROR, "another one leads")
    assert one.heard == two.heard == ["ended: another one leads"]
    assert errors(await talk.heard()) == [0] and not talk.transport.is_open
    talk.is_over()
    assert talk.client.closed.result() == "another one leads" and len(one.heard) == 1


async def test_thousands_of_calls_may_end_at_once(talk: Talk) -> None:
    await talk.say(settings_frame({Setting.MAX_CONCURRENT_STREAMS: 1_000_000}))
    count = MOST_IDLE_FRAMES // 2 + 10
    calls = [Asked() for _ in range(count)]
    for asked in calls:
        talk.client.call(asked)
    with pytest.raises(NoCallError):
        [talk.client.call(Asked()) for _ in range(MOST_CALLS)]
    ends = [talk.trailers(2 * number + 1) + reset(2 * number + 1, ErrorCode.NO_ERROR) for number in range(count)]
    await talk.say(*ends)
    assert talk.transport.is_open and {str(asked.heard) for asked in calls} == {
        "['ended: the leader closed the stream']"
    }


async def test_nothing_is_written_while_the_system_takes_nothing(talk: Talk) -> None:
    call, asked = await talk.call()
    talk.client.pause_writing()
    call.send(b"waits")
    assert body(await talk.heard()) == b""
    talk.client.resume_writing()
    assert body(await talk.heard()) == message_head(5) + b"waits" and asked.heard == ["may send"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frame(Kind.HEADERS, END_HEADERS, 2, b"\x88"), 1),
        (frame(Kind.HEADERS, END_HEADERS, 3, b"\x88"), 1),
        (frame(Kind.DATA, 0, 3, b""), 1),
        (frame(Kind.DATA, 0, 0, b""), 1),
        (frame(Kind.PUSH_PROMISE, 0, 1, bytes(4)), 1),
        (frame(Kind.HEADERS, 0, 1, b"\x88") + frame(Kind.PING, 0, 0, bytes(8)), 1),
        (frame(Kind.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), 9),
        (frame(Kind.GOAWAY, 0, 0, b"cut"), 6),
        (frame(Kind.RST_STREAM, 0, 1, b"cut"), 6),
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", 6),
        (window_update(1, 2**31 - 1), 3),
        (settings_frame({Setting.INITIAL_WINDOW_SIZE: 2**31}), 3),
        (frame(Kind.PING, 1, 0, bytes(8)) * (MOST_IDLE_FRAMES + 1), 11),
    ],
)
async def test_what_breaks_a_rule_ends_the_connection_and_its_calls(talk: Talk, said: bytes, code: int) -> None:
    _, asked = await talk.call()
    assert errors(await talk.say(said)) == [code] and not talk.transport.is_open
    assert len(asked.heard) == 1 and str(asked.heard[0]).startswith("ended: ")


@pytest.mark.parametrize("head", [b"\x01" + message_head(1)[1:], message_head(2**31)])
async def test_an_answer_that_cannot_be_read_ends_its_call_and_no_other(talk: Talk, head: bytes) -> None:
    (_, first), (_, second) = await talk.call(), await talk.call()
    (told,) = await talk.say(talk.head(1), frame(Kind.DATA, 0, 1, head))
    assert told.kind == Kind.RST_STREAM and len(first.heard) == 1
    await talk.say(talk.head(3), message(b"fine", 3))
    assert second.heard == [b"fine"]


FRAMES = st.builds(
    frame,
    st.sampled_from(Kind),
    st.integers(0, 255),
    st.sampled_from((0, 1, 2, 3, 5, 2**31 - 1)),
    st.binary(max_size=40),
)


@settings(max_examples=examples(100))
@given(st.lists(st.one_of(FRAMES, st.binary(max_size=30)), max_size=20), st.integers(1, 50))
def test_whatever_a_server_says_every_call_ends_once_and_nothing_is_raised(said: list[bytes], piece: int) -> None:
    async def converse() -> None:
        talk = Talk()
        await talk.say(settings_frame({}))
        calls = [await talk.call() for _ in range(2)]
        for call, _ in calls:
            call.send(b"hello")
        whole = b"".join(said)
        for at in range(0, len(whole), piece):
            if talk.transport.is_open:
                talk.client.data_received(whole[at : at + piece])
        talk.is_over()
        for _, asked in calls:
            assert [str(each).startswith("ended: ") for each in asked.heard].count(True) == 1
            assert str(asked.heard[-1]).startswith("ended: ")

    asyncio.run(converse())
