"""What is written past the transport, and what must never be: bytes that wait stand in front, and those of an encrypted connection are the transport's to encrypt."""

import asyncio
import os
import socket as sockets
from collections.abc import Iterator
from typing import Any

import pytest

from edge_node.listeners.socket_writer import TAIL_BYTES, lend_at_once, write_at_once
from tests.edge_wires import FakeTransport

Pair = tuple[sockets.socket, sockets.socket]
LENGTH = 4 << 20
"""More than a socket takes at once."""


class SocketTransport(FakeTransport):
    """With a socket beneath it, and TLS between them if the test says so; what is written to it stays in it."""

    def __init__(self, socket: sockets.socket, *, is_encrypted: bool = False) -> None:
        super().__init__(asyncio.Protocol(), takes_everything=False)
        self._extra = {"socket": socket, "sslcontext": object() if is_encrypted else None}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)


class Lent:
    """A piece of a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def write_to(self, descriptor: int, first: int) -> int:
        return os.write(descriptor, memoryview(self._data)[first:])

    def copy(self, first: int, length: int) -> bytes:
        return self._data[first : first + length]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = sockets.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


def test_a_plain_socket_has_the_bytes_when_the_call_returns(pair: Pair) -> None:
    transport = SocketTransport(pair[0])
    write_at_once(transport)(memoryview(b"answer"))
    assert (pair[1].recv(100), bytes(transport.written)) == (b"answer", b"")
    lend = lend_at_once(transport)
    assert lend is not None and lend(Lent(b"a lent piece"), 2) == 12
    assert (pair[1].recv(100), bytes(transport.written)) == (b"lent piece", b"")


def test_on_an_encrypted_connection_nothing_goes_past_the_transport(pair: Pair) -> None:
    transport = SocketTransport(pair[0], is_encrypted=True)
    write_at_once(transport)(memoryview(b"secret"))
    assert transport.written == b"secret" and lend_at_once(transport) is None
    with pytest.raises(BlockingIOError):
        pair[1].recv(100)


def test_what_waits_already_is_not_overtaken(pair: Pair) -> None:
    transport = SocketTransport(pair[0])
    write, lend = write_at_once(transport), lend_at_once(transport)
    assert lend is not None
    transport.write(b"first ")
    write(b"second ")
    assert lend(Lent(b"x" * TAIL_BYTES + b"y"), 0) == TAIL_BYTES
    assert transport.written == b"first second " + b"x" * TAIL_BYTES
    with pytest.raises(BlockingIOError):
        pair[1].recv(100)


def test_what_a_full_socket_does_not_take_waits_in_the_transport(pair: Pair) -> None:
    transport = SocketTransport(pair[0])
    data = os.urandom(LENGTH)
    write_at_once(transport)(data)
    received = pair[1].recv(LENGTH)
    while len(received) + len(transport.written) < LENGTH:
        received += pair[1].recv(LENGTH)
    assert received + transport.written == data


def test_of_a_lent_piece_that_a_full_socket_does_not_take_a_tail_waits(pair: Pair) -> None:
    transport = SocketTransport(pair[0])
    data = os.urandom(LENGTH)
    lend = lend_at_once(transport)
    assert lend is not None
    taken = lend(Lent(data), 0)
    assert len(transport.written) == TAIL_BYTES < taken < LENGTH
    received = b""
    while len(received) < taken - TAIL_BYTES:
        received += pair[1].recv(LENGTH)
    assert received + transport.written == data[:taken]
