"""The benchmark's own WebSocket endpoint and viewers, judged by wsproto, an independent implementation of RFC 6455, and by the examples of the RFC."""

import asyncio
import socket

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Request

from benchmarks.peers.echo import (
    MESSAGE_BYTES,
    EchoEndpoint,
    EchoViewer,
    accept_of,
    answer_to,
    fields_of,
    masked,
    round_trips,
)
from benchmarks.peers.processes import BenchmarkError, UnsupportedError

OPENING = (
    b"GET /echo/socket HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
DEADLINE_SECONDS = 20


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


def test_the_answer_to_a_key_is_that_of_the_rfc() -> None:
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3


def test_masking_is_that_of_the_rfc_and_its_own_inverse() -> None:
    mask, data = bytes.fromhex("37fa213d"), bytes.fromhex("7f9f4d5158")  # RFC 6455 5.7
    assert masked(data, mask) == b"Hello"
    assert masked(b"Hello", mask) == data


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET ", b"POST "),
        (b" HTTP/1.1", b" HTTP/1.0"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"keep-alive, Upgrade", b"keep-alive"),
        (b"Version: 13", b"Version: 8"),
        (b"bXBsZSBub25j", b"bXBs"),
    ],
)
def test_an_opening_that_is_not_one_is_answered_with_426(old: bytes, new: bytes) -> None:
    assert answer_to(OPENING)[1]
    answer, is_open = answer_to(OPENING.replace(old, new))
    assert answer.startswith(b"HTTP/1.1 426 ") and not is_open


def test_a_field_that_comes_twice_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="second one"):
        fields_of(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nupgrade: websocket\r\n\r\n")


@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
def test_an_independent_client_gets_its_messages_back_however_they_are_split(piece_bytes: int) -> None:
    client, endpoint, wire = WSConnection(ConnectionType.CLIENT), EchoEndpoint(), Wire()
    endpoint.connection_made(wire)
    messages = [bytes([number]) * MESSAGE_BYTES for number in range(3)]

    def tell(data: bytes) -> None:
        for at in range(0, len(data), piece_bytes):
            endpoint.data_received(data[at : at + piece_bytes])

    tell(client.send(Request(host="localhost", target="/echo/socket")))
    client.receive_data(bytes(wire.written))
    assert [type(event) for event in client.events()] == [AcceptConnection]
    wire.written.clear()
    tell(b"".join(client.send(BytesMessage(message)) for message in messages))
    client.receive_data(bytes(wire.written))
    assert [bytes(event.data) for event in client.events() if isinstance(event, BytesMessage)] == messages
    assert not wire.is_closed


@pytest.mark.parametrize(
    "frame", [b"\x82\x20" + bytes(32), b"\x81\xa0" + bytes(36), b"\x02\xa0" + bytes(36), b"\x82\x85" + bytes(9)]
)
def test_a_frame_that_the_benchmark_does_not_send_ends_the_connection(frame: bytes) -> None:
    """Not masked, text, not final, of another length."""
    endpoint, wire = EchoEndpoint(), Wire()
    endpoint.connection_made(wire)
    endpoint.data_received(OPENING)
    wire.written.clear()
    endpoint.data_received(frame)
    assert wire.is_closed and bytes(wire.written) == b"\x88\x00"


async def test_an_independent_server_understands_the_viewer() -> None:
    server, viewer, wire = WSConnection(ConnectionType.SERVER), EchoViewer(), Wire()
    viewer.connection_made(wire)
    server.receive_data(bytes(wire.written))
    assert [type(event) for event in server.events()] == [Request]
    viewer.data_received(server.send(AcceptConnection()))
    await viewer.opened
    wire.written.clear()
    viewer.begin()
    for echoes in range(3):
        assert viewer.round_trips == echoes
        server.receive_data(bytes(wire.written))
        wire.written.clear()
        (message,) = [bytes(event.data) for event in server.events() if isinstance(event, BytesMessage)]
        assert len(message) == MESSAGE_BYTES
        viewer.data_received(server.send(BytesMessage(message)))


async def test_a_server_that_does_not_switch_protocols_is_not_supported() -> None:
    viewer = EchoViewer()
    viewer.connection_made(Wire())
    viewer.data_received(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(UnsupportedError, match="403"):
        await viewer.opened


async def test_an_echo_with_other_bytes_is_refused() -> None:
    server, viewer, wire = WSConnection(ConnectionType.SERVER), EchoViewer(), Wire()
    viewer.connection_made(wire)
    server.receive_data(bytes(wire.written))
    list(server.events())
    viewer.data_received(server.send(AcceptConnection()))
    viewer.begin()
    viewer.data_received(server.send(BytesMessage(bytes(MESSAGE_BYTES))))
    with pytest.raises(BenchmarkError, match="not the message"):
        await round_trips([viewer], DEADLINE_SECONDS)


async def test_round_trips_are_counted_over_real_sockets() -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    await loop.create_connection(EchoEndpoint, sock=far)
    _, viewer = await loop.create_connection(EchoViewer, sock=near)
    try:
        await viewer.opened
        counting = asyncio.ensure_future(round_trips([viewer], DEADLINE_SECONDS))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while viewer.round_trips < 100:
                await asyncio.sleep(0)
        viewer.failed.set_result(None)  # ends the counting
        assert await counting > 0
    finally:
        viewer.close()
