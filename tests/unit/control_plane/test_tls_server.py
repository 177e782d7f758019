"""TLS under a connection, beside OpenSSL as the client over buffers in memory."""

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any, cast

import pytest

from control_plane.tls_server import PIECE_BYTES, TlsServer
from proto.mutual_tls import TlsIdentity
from tests.certificates import Certificates


class Socket:
    """What is below: keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""
        self.largest_write = 0
        self.is_open = True

    def write(self, data: bytes) -> None:
        assert self.is_open
        self.sent += data
        self.largest_write = max(self.largest_write, len(data))

    def is_closing(self) -> bool:
        return not self.is_open

    def close(self) -> None:
        self.is_open = False

    abort = close

    def get_write_buffer_size(self) -> int:
        return 7

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default


class Above(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append("lost")

    def pause_writing(self) -> None:
        self.told.append("paused")

    def resume_writing(self) -> None:
        self.told.append("resumed")


class Talk:
    """A client and the server, and all that passes between them, so many bytes at a time."""

    def __init__(self, lab: Certificates, client: ssl.SSLContext, piece: int = 100_000) -> None:
        self.piece = piece
        self.socket, self.above, self.over = Socket(), Above(), 0
        context = TlsIdentity.read(lab.control_plane()).for_listener()
        self.server = TlsServer(context, lambda: self.above, self._handshake_over)
        self.server.connection_made(cast(asyncio.Transport, self.socket))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing, server_hostname="control-plane")

    def _handshake_over(self, server: TlsServer) -> None:
        assert server is self.server
        self.over += 1

    def carry(self) -> None:
        said = self.outgoing.read()
        for at in range(0, len(said), self.piece):
            if self.socket.is_open:
                self.server.data_received(said[at : at + self.piece])
        heard, self.socket.sent = self.socket.sent, b""
        self.incoming.write(heard)

    def shake_hands(self) -> None:
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.carry()


def client_context(keys: Path | None, trusting: Path, protocol: str = "h2") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusting / "ca.pem")
    context.set_alpn_protocols([protocol])
    if keys is not None:
        context.load_cert_chain(keys / "certificate.pem", keys / "key.pem")
    return context


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize("piece", [1, 100, 100_000])
def test_what_is_said_arrives_both_ways_however_it_is_split(lab: Certificates, piece: int) -> None:
    keys = lab.node("edge-1")
    talk = Talk(lab, client_context(keys, keys), piece)
    talk.shake_hands()
    assert talk.over == 1 and talk.above.transport is talk.server
    talk.client.write(b"hello" * 1_000)
    talk.carry()
    assert b"".join(cast(list[bytes], talk.above.told)) == b"hello" * 1_000
    talk.server.write(b"answer" * 10_000)
    talk.carry()
    heard = b""
    while len(heard) < 60_000:
        heard += talk.client.read(100_000)
    assert heard == b"answer" * 10_000 and talk.socket.largest_write < PIECE_BYTES + 100


def test_the_names_of_the_certificate_are_known_above(lab: Certificates) -> None:
    keys = lab.node("edge-1")
    talk = Talk(lab, client_context(keys, keys))
    talk.shake_hands()
    names = talk.server.get_extra_info("peercert")["subjectAltName"]
    assert ("URI", "cdnlab://cdn.localhost/edge/edge-1") in names
    assert talk.server.get_extra_info("peername") == ("192.0.2.1", 4711)


@pytest.mark.parametrize("who", ["nobody", "a stranger", "another protocol", "no TLS"])
def test_who_may_not_connect_gets_no_further_than_the_handshake(lab: Certificates, tmp_path: Path, who: str) -> None:
    keys, strange = lab.node("edge-1"), Certificates(tmp_path).node("edge-1")
    chosen = {"nobody": None, "a stranger": strange}.get(who, keys)
    protocol = "http/1.1" if who == "another protocol" else "h2"
    talk = Talk(lab, client_context(chosen, keys, protocol))
    if who == "no TLS":
        talk.server.data_received(b"GET / HTTP/1.1\r\n\r\n")
    else:
        talk.shake_hands()
    assert not talk.socket.is_open and talk.above.transport is None
    talk.server.connection_lost(None)
    assert talk.over == 1 and talk.above.told == []


def test_the_end_is_said_and_what_comes_after_it_is_dropped(lab: Certificates) -> None:
    keys = lab.node("edge-1")
    talk = Talk(lab, client_context(keys, keys))
    talk.shake_hands()
    talk.server.close()
    talk.server.write(b"late")
    assert talk.server.is_closing()
    talk.carry()
    assert talk.client.read(10) == b""
    talk.server.connection_lost(None)
    assert talk.above.told == ["lost"]


def test_a_client_that_says_that_it_is_over_is_heard_to_its_end(lab: Certificates) -> None:
    keys = lab.node("edge-1")
    talk = Talk(lab, client_context(keys, keys))
    talk.shake_hands()
    talk.client.write(b"last")
    with contextlib.suppress(ssl.SSLError):
        talk.client.unwrap()
    talk.carry()
    assert talk.above.told == [b"last"] and not talk.socket.is_open


def test_a_record_that_is_changed_on_the_way_ends_the_connection(lab: Certificates) -> None:
    keys = lab.node("edge-1")
    talk = Talk(lab, client_context(keys, keys))
    talk.shake_hands()
    talk.client.write(b"hello")
    said = bytearray(talk.outgoing.read())
    said[-1] ^= 1
    talk.server.data_received(bytes(said))
    assert not talk.socket.is_open and talk.above.told == []


def test_the_other_side_is_told_when_the_system_takes_nothing(lab: Certificates) -> None:
    keys = lab.node("edge-1")
    talk = Talk(lab, client_context(keys, keys))
    talk.server.pause_writing()
    talk.shake_hands()
    talk.server.pause_writing()
    talk.server.resume_writing()
    assert talk.above.told == ["paused", "resumed"] and talk.server.get_write_buffer_size() == 7


def test_a_handshake_of_a_connection_that_was_gone_before_it_began_is_over_when_its_time_is(lab: Certificates) -> None:
    """Else its place among those that are under way would be lost for good."""
    over: list[TlsServer] = []
    server = TlsServer(TlsIdentity.read(lab.control_plane()).for_listener(), Above, over.append)
    server.abort()
    assert over == [server] and not server.has_shaken_hands
