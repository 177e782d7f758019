"""One connection of a gRPC client, frame by frame. Whole conversations with gRPC's own clients are in tests/integration/control_plane."""

import asyncio
import time
from collections.abc import Iterator
from typing import cast

import pytest
from grpc_reflection.v1alpha import reflection, reflection_pb2
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.connection_limit import OpenConnections
from control_plane.grpc_calls import Call, ServeCall
from control_plane.grpc_connection import STREAMS_PASSED_ON, STREAMS_PER_CONNECTION, GrpcConnection, Peer
from control_plane.grpc_port import MakeConnection
from control_plane.grpc_services import reflection_routes
from control_plane.grpc_wire import LONGEST_MESSAGE, Status, message_head
from control_plane.http2_connection import MOST_IDLE_FRAMES, MOST_UNREAD_BYTES
from control_plane.http2_frames import (
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY,
    Frame,
    FrameReader,
    Kind,
    Setting,
    frame,
    window_update,
)
from control_plane.http2_frames import (
    settings as settings_frame,
)
from tests.depth import examples

METHOD = "/test.Service/Talk"


class Transport:
    """A socket that is written to, as asyncio's transports behave: what is written after the end is an error."""

    def __init__(self) -> None:
        self.sent = b""
        self.is_open = True
        self.most_unsent = 65_536
        self.certificate: dict[str, object] | None = None
        self.is_read = True

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read
        self.is_read = True

    def write(self, data: bytes) -> None:
        assert self.is_open
        self.sent += data

    def is_closing(self) -> bool:
        return not self.is_open

    def close(self) -> None:
        self.is_open = False

    abort = close

    def get_write_buffer_size(self) -> int:
        return len(self.sent)

    def set_write_buffer_limits(self, high: int) -> None:
        self.most_unsent = high

    def get_extra_info(self, name: str) -> object:
        return {"peername": ("192.0.2.1", 4711), "peercert": self.certificate}.get(name)


class Handler:
    """Notes what it is told."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.told: list[object] = []

    def message_received(self, data: bytes) -> None:
        self.told.append(data)

    def half_closed(self) -> None:
        self.told.append("half closed")

    def writable(self) -> None:
        self.told.append("writable")

    def broken(self) -> None:
        self.told.append("broken")


class Talk:
    """A client's side."""

    def __init__(
        self, *, passes_on: bool = False, make: MakeConnection = GrpcConnection, serve: ServeCall | None = None
    ) -> None:
        self.handlers: list[Handler] = []
        self._is_plane = passes_on
        self.open: OpenConnections[GrpcConnection] = OpenConnections(10)
        self.connection = make({METHOD: serve or self._serve}, self.open, self._passes_on)
        self.transport = Transport()
        self.connection.connection_made(cast(asyncio.Transport, self.transport))
        self._encoder = Encoder()
        self._reader = FrameReader()

    def _passes_on(self, _peer: Peer) -> bool:
        return self._is_plane

    def _serve(self, call: Call) -> Handler:
        self.handlers.append(Handler(call))
        return self.handlers[-1]

    def say(self, data: bytes) -> list[Frame]:
        """What is answered."""
        self.connection.data_received(data)
        return self.heard()

    def heard(self) -> list[Frame]:
        said, self.transport.sent = self.transport.sent, b""
        return list(self._reader.feed(said))

    def begin(self, stream: int = 1, method: str = METHOD) -> list[Frame]:
        fields = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "x")]
        fields += [("te", "trailers"), ("content-type", "application/grpc")]
        return self.say(frame(Kind.HEADERS, END_HEADERS, stream, self._encoder.encode(fields)))


@pytest.fixture
async def talk() -> Talk:
    talk = Talk()
    talk.say(PREFACE + settings_frame({}))
    talk.heard()
    return talk


def data(*messages: bytes, stream: int = 1, flags: int = 0) -> bytes:
    return frame(Kind.DATA, flags, stream, b"".join(message_head(len(each)) + each for each in messages))


def kinds(frames: list[Frame]) -> list[int]:
    return [each.kind for each in frames]


def body(frames: list[Frame]) -> bytes:
    return b"".join(each.payload for each in frames if each.kind == Kind.DATA)


def errors(frames: list[Frame]) -> list[int]:
    """Codes of the GOAWAY frames."""
    return [int.from_bytes(each.payload[4:8], "big") for each in frames if each.kind == Kind.GOAWAY]


async def test_messages_come_one_after_another_however_they_are_split(talk: Talk) -> None:
    talk.begin()
    said = data(b"one", b"", b"three") + frame(Kind.DATA, 0, 1, b"\x00\x00") + frame(Kind.DATA, 0, 1, b"\x00\x00\x01x")
    for number in range(len(said)):
        talk.say(said[number : number + 1])
    assert talk.handlers[0].told == [b"one", b"", b"three", b"x"]


async def test_an_answer_begins_with_a_head_and_ends_with_trailers_and_no_more_is_heard(talk: Talk) -> None:
    talk.begin()
    call = talk.handlers[0].call
    call.send(b"answer")
    head, answer = talk.heard()
    assert head.kind == Kind.HEADERS and not head.flags & END_STREAM and answer.payload == message_head(6) + b"answer"
    call.finish(Status.NOT_FOUND, "100 % gone: ä")
    trailers, reset = talk.heard()
    assert trailers.flags & END_STREAM and b"grpc-status\x015" in trailers.payload
    assert b"100 %25 gone: %C3%A4" in trailers.payload and reset.kind == Kind.RST_STREAM
    assert talk.say(data(b"late")) == [] and talk.handlers[0].told == []
    call.finish(Status.OK)
    assert talk.heard() == []


async def test_a_method_that_there_is_not_and_a_request_that_is_none_are_refused(talk: Talk) -> None:
    (refused,) = talk.begin(1, "/test.Service/Other")
    assert refused.flags & END_STREAM and b"grpc-status\x0212" in refused.payload
    block = Encoder().encode([(":method", "GET"), (":path", METHOD)])
    (refused,) = talk.say(frame(Kind.HEADERS, END_HEADERS, 3, block))
    assert b"POST" in refused.payload and talk.handlers == [] and talk.transport.is_open


async def test_a_large_message_waits_for_the_windows_and_goes_in_frames_that_the_client_takes(talk: Talk) -> None:
    talk.begin()
    call, handler = talk.handlers[0].call, talk.handlers[0]
    message = bytes(range(256)) * 400
    call.send(message)
    first = talk.heard()
    assert len(body(first)) == 65_535 and max(len(each.payload) for each in first) <= 16_384 and not call.is_writable
    assert body(talk.say(window_update(1, 1_000_000))) == b"", "the window of the connection is used up"
    rest = talk.say(window_update(0, 1_000_000))
    assert body(first) + body(rest) == message_head(len(message)) + message
    assert handler.told == ["writable"] and call.is_writable


async def test_a_client_that_changes_its_windows_changes_those_of_calls_that_run(talk: Talk) -> None:
    talk.begin()
    call = talk.handlers[0].call
    call.send(b"x" * 100)
    talk.heard()
    talk.say(settings_frame({Setting.INITIAL_WINDOW_SIZE: 50}))
    assert not call.is_writable
    call.send(b"y" * 10)
    assert body(talk.heard()) == b""
    assert body(talk.say(settings_frame({Setting.INITIAL_WINDOW_SIZE: 1_000}))) == message_head(10) + b"y" * 10


async def test_a_call_that_could_say_nothing_from_the_beginning_is_told_when_it_can(talk: Talk) -> None:
    talk.say(settings_frame({Setting.INITIAL_WINDOW_SIZE: 0}))
    talk.begin()
    assert not talk.handlers[0].call.is_writable
    talk.say(window_update(1, 1_000))
    assert talk.handlers[0].told == ["writable"]


async def test_a_message_in_crumbs_is_not_copied_for_each_and_too_many_of_them_end_the_connection(talk: Talk) -> None:
    talk.begin()
    message = bytes(LONGEST_MESSAGE)
    said = message_head(len(message)) + message
    for at in range(0, len(said) - 5_000, 16_384):
        talk.say(frame(Kind.DATA, 0, 1, said[at : min(at + 16_384, len(said) - 5_000)]))
    began_at = time.process_time()
    talk.say(b"".join(frame(Kind.DATA, 0, 1, b"\0") for _ in range(5_000)))
    assert time.process_time() - began_at < 0.25, "a copy of the whole for each takes twice as long at least"
    assert talk.handlers[0].told == [message]
    for _ in range(2):
        talk.say((frame(Kind.PING, 0, 0, bytes(8)) + frame(Kind.DATA, 0, 1)) * (MOST_IDLE_FRAMES // 3))
    assert not talk.transport.is_open, "data without a message pays for nothing"


async def test_reflection_keeps_no_answers_for_who_does_not_read_them(talk: Talk) -> None:
    talk.connection = GrpcConnection(reflection_routes((reflection.SERVICE_NAME,)), talk.open, lambda _: False)
    talk.connection.connection_made(cast(asyncio.Transport, talk.transport))
    talk.say(PREFACE + settings_frame({Setting.INITIAL_WINDOW_SIZE: 100}))
    talk.begin(1, f"/{reflection.SERVICE_NAME}/ServerReflectionInfo")
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=reflection.SERVICE_NAME)
    answered = talk.say(data(*[question.SerializeToString()] * 100))
    assert kinds(answered)[-2:] == [Kind.HEADERS, Kind.RST_STREAM] and b"grpc-status\x018" in answered[-2].payload


async def test_nothing_is_written_while_the_system_takes_nothing(talk: Talk) -> None:
    talk.begin()
    talk.connection.pause_writing()
    call = talk.handlers[0].call
    assert not call.is_writable
    call.send(b"waits")
    assert body(talk.heard()) == b""
    talk.connection.resume_writing()
    assert body(talk.heard()) == message_head(5) + b"waits" and talk.handlers[0].told == ["writable"]


async def test_windows_of_what_was_read_are_given_back(talk: Talk) -> None:
    talk.begin()
    updates = [each for _ in range(9) for each in talk.say(data(b"x" * 4_000))]
    assert {each.stream for each in updates if each.kind == Kind.WINDOW_UPDATE} == {0, 1}
    given = sum(int.from_bytes(each.payload, "big") for each in updates if not each.stream)
    assert given >= 9 * 4_005 - 16_384


async def test_a_message_that_is_too_long_or_compressed_ends_its_call_and_no_other(talk: Talk) -> None:
    for stream, head in ((1, message_head(LONGEST_MESSAGE + 1)), (3, b"\x01" + message_head(1)[1:])):
        talk.begin(stream)
        answered = talk.say(frame(Kind.DATA, 0, stream, head))
        assert kinds(answered)[-2:] == [Kind.HEADERS, Kind.RST_STREAM]
        assert talk.handlers[-1].told == ["broken"]
    talk.begin(5)
    talk.say(data(b"fine", stream=5))
    assert talk.handlers[-1].told == [b"fine"]


async def test_the_end_of_what_the_client_says_is_told_and_so_is_that_it_is_gone(talk: Talk) -> None:
    talk.begin(1)
    talk.begin(3)
    talk.begin(5)
    talk.say(data(b"last", flags=END_STREAM))
    talk.say(frame(Kind.RST_STREAM, 0, 3, bytes(4)))
    talk.connection.connection_lost(None)
    assert [handler.told for handler in talk.handlers] == [[b"last", "half closed", "broken"], ["broken"], ["broken"]]
    assert len(talk.open) == 0


async def test_more_calls_than_a_connection_may_have_are_refused_one_by_one(talk: Talk) -> None:
    for number in range(STREAMS_PER_CONNECTION):
        assert talk.begin(2 * number + 1) == []
    (refused,) = talk.begin(2 * STREAMS_PER_CONNECTION + 1)
    assert refused.kind == Kind.RST_STREAM and len(talk.handlers) == STREAMS_PER_CONNECTION


async def test_a_control_plane_may_have_a_call_for_each_node_and_more_may_wait_for_it() -> None:
    talk = Talk(passes_on=True)
    (told,) = talk.say(PREFACE + settings_frame({}))[:1]
    assert STREAMS_PASSED_ON.to_bytes(4, "big") in told.payload
    for number in range(STREAMS_PER_CONNECTION + 1):
        assert talk.transport.most_unsent == 65_536
        assert talk.begin(2 * number + 1) == []
    talk.connection.pause_writing()
    talk.transport.sent = bytes(talk.transport.most_unsent)
    for _ in range(2):
        talk.connection.data_received(frame(Kind.PING, 0, 0, bytes(8)))
    assert talk.transport.most_unsent > 1_000_000 and talk.transport.is_open
    talk.transport.sent += bytes(MOST_UNREAD_BYTES)
    talk.connection.data_received(frame(Kind.PING, 0, 0, bytes(8)))
    assert not talk.transport.is_open, "who does not read the answers to what it asks is not kept"


async def test_padding_and_priority_and_heads_in_pieces_are_understood(talk: Talk) -> None:
    block = Encoder().encode([(":method", "POST"), (":path", METHOD), ("content-type", "application/grpc+proto")])
    padded = bytes((3,)) + bytes(5) + block[:4] + bytes(3)
    talk.say(frame(Kind.HEADERS, PADDED | PRIORITY, 1, padded) + frame(Kind.CONTINUATION, 0, 1, block[4:9]))
    assert talk.handlers == []
    talk.say(frame(Kind.CONTINUATION, END_HEADERS, 1, block[9:]))
    message = message_head(1) + b"x"
    talk.say(frame(Kind.DATA, PADDED, 1, bytes((2,)) + message + bytes(2)))
    assert talk.handlers[0].told == [b"x"]


async def test_a_ping_is_answered_with_what_it_says(talk: Talk) -> None:
    (answer,) = talk.say(frame(Kind.PING, 0, 0, b"12345678"))
    assert (answer.kind, answer.flags, answer.payload) == (Kind.PING, 1, b"12345678")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frame(Kind.DATA, 0, 1, b""), 1),
        (frame(Kind.CONTINUATION, END_HEADERS, 1, b""), 1),
        (frame(Kind.HEADERS, 0, 1, b"\x82") + frame(Kind.PING, 0, 0, bytes(8)), 1),
        (frame(Kind.HEADERS, END_HEADERS, 2, b"\x82"), 1),
        (frame(Kind.PUSH_PROMISE, 0, 1, bytes(4)), 1),
        (frame(Kind.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), 9),
        (frame(Kind.HEADERS, END_HEADERS | PADDED, 1, b"\x09"), 1),
        (frame(Kind.PING, 0, 0, b"short"), 6),
        (frame(Kind.SETTINGS, 0, 0, b"short"), 6),
        (frame(Kind.WINDOW_UPDATE, 0, 0, b"xx"), 6),
        (window_update(0, 2**31 - 1), 3),
        (settings_frame({Setting.INITIAL_WINDOW_SIZE: 2**31}), 3),
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", 6),
        (frame(Kind.PING, 0, 0, bytes(8)) * (MOST_IDLE_FRAMES + 1), 11),
        (b"".join(frame(Kind.CONTINUATION if n else Kind.HEADERS, 0, 1, bytes(9_000)) for n in range(2)), 11),
    ],
)
async def test_what_breaks_a_rule_ends_the_connection_with_the_code_for_it(talk: Talk, said: bytes, code: int) -> None:
    answered = talk.say(said)
    assert errors(answered) == [code] and not talk.transport.is_open


async def test_who_does_not_speak_http2_is_told_so_at_once() -> None:
    talk = Talk()
    assert errors(talk.say(b"GET / HTTP/1.1\r\n")) == [1] and not talk.transport.is_open


async def test_a_connection_without_a_call_is_closed_and_one_with_a_call_is_not(talk: Talk) -> None:
    now = asyncio.get_running_loop().time()
    talk.connection.look(now + 1.0, 3.0)
    assert talk.transport.is_open
    talk.begin()
    talk.connection.look(now + 100.0, 3.0)
    assert talk.transport.is_open
    talk.say(frame(Kind.RST_STREAM, 0, 1, bytes(4)))
    talk.connection.look(asyncio.get_running_loop().time() + 4.0, 3.0)
    assert not talk.transport.is_open


async def test_who_is_known_makes_room_for_nobody_and_who_is_not_does(talk: Talk) -> None:
    talk.begin()
    assert talk.connection.is_waiting
    talk.handlers[0].call.admit()
    assert not talk.connection.is_waiting


async def test_the_names_in_the_certificate_are_the_peer(talk: Talk) -> None:
    talk.transport.certificate = {"subjectAltName": (("URI", "cdnlab://z/edge/e1"), ("DNS", "x"))}
    talk.begin()
    assert dict(talk.handlers[0].call.peer) == {"peer_uri": (b"cdnlab://z/edge/e1",)}


def pieces(said: bytes, cuts: list[int]) -> Iterator[bytes]:
    begin = 0
    for cut in sorted(cuts):
        yield said[begin : cut % (len(said) + 1)]
        begin = max(begin, cut % (len(said) + 1))
    yield said[begin:]


FRAMES = st.builds(
    frame,
    st.sampled_from(Kind),
    st.integers(0, 255),
    st.sampled_from((0, 1, 2, 3, 2**31 - 1)),
    st.binary(max_size=40),
)


@settings(max_examples=examples(150))
@given(st.lists(st.one_of(FRAMES, st.binary(max_size=30)), max_size=20), st.lists(st.integers(0, 2_000), max_size=5))
def test_whatever_is_said_the_connection_lives_or_ends_and_nothing_is_raised(
    said: list[bytes], cuts: list[int]
) -> None:
    async def converse() -> None:
        talk = Talk()
        for piece in pieces(PREFACE + settings_frame({}) + b"".join(said), cuts):
            if talk.transport.is_open:
                talk.connection.data_received(piece)
        talk.connection.connection_lost(None)

    asyncio.run(converse())
