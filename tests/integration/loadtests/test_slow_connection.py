"""Slow clients against a scripted server: how long they hold it, and that a cut is told from what is none."""

import socket
import time
from collections.abc import Iterator

import pytest

from loadtests.connection import BrokenResponseError, NoResponseError, Request, Timeouts
from loadtests.slow_connection import SlowConnection, Slowness
from loadtests.trickle import Trickle, padding
from tests.integration.loadtests.test_viewer import (
    Action,
    ScriptedEdge,
    close_without_a_word,
    cut_short,
    ok,
    reset,
)

EDGE = "127.16.3.1"
PATIENCE = Timeouts(connect_seconds=1.0, read_seconds=0.3)


@pytest.fixture
def edges() -> Iterator[list[ScriptedEdge]]:
    started: list[ScriptedEdge] = []
    yield started
    for edge in started:
        edge.close()


def connected(edges: list[ScriptedEdge], action: Action, slowness: Slowness) -> SlowConnection:
    edges.append(ScriptedEdge(EDGE, 0, action))
    return SlowConnection(slowness, EDGE, edges[-1].port, PATIENCE)


def test_what_is_due_grows_with_time_until_the_end() -> None:
    trickle = Trickle(100.0, began_at=10.0, ends_at=20.0)
    assert [trickle.due(10.0, 0, 5_000), trickle.due(10.0, 1, 5_000), trickle.due(11.0, 1, 5_000)] == [1, 0, 100]
    assert trickle.due(11.0, 101, 5_000) == 0
    assert trickle.due(19.9, 0, 7) == 7
    assert trickle.due(20.0, 5_000, 4_000) == 4_000
    assert Trickle(0, 10.0, 20.0).due(10.0, 0, 5) == 5


def test_an_answer_is_read_slowly_for_so_long_and_then_to_its_end(edges: list[ScriptedEdge]) -> None:
    body = bytes(8_000_000)
    connection = connected(edges, ok(body), Slowness(0, 1_000, hold_seconds=0.5))
    began = time.monotonic()
    response = connection.exchange(Request("/x", keeps_body=False), "host")
    assert response.received_bytes == len(body)
    assert time.monotonic() - began >= 0.5
    assert not connection.is_open


def test_a_request_is_sent_slowly_and_whole(edges: list[ScriptedEdge]) -> None:
    connection = connected(edges, ok(), Slowness(500, 0, hold_seconds=30))
    request = Request("/x", headers=padding(300))
    began = time.monotonic()
    assert connection.exchange(request, "host").body == b"hello"
    seconds = (len(request.encode("host")) - 1) / 500
    assert time.monotonic() - began >= seconds > 0.5
    assert edges[0].requests == [(1, request.encode("host").decode().removesuffix("\r\n\r\n"))]


def cut_behind_a_full_buffer(connection: socket.socket) -> bool:
    """Much more than was sent is announced, and what was sent is more than a slow client has read by then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(30_000))
    return False


@pytest.mark.parametrize("action", [close_without_a_word, reset, cut_short, cut_behind_a_full_buffer])
def test_that_the_server_cut_it_is_said_and_no_reason_to_go_elsewhere(
    edges: list[ScriptedEdge], action: Action
) -> None:
    connection = connected(edges, action, Slowness(0, 1_000, hold_seconds=0.5))
    with pytest.raises(BrokenResponseError, match=r"cut by the server after \d+\.\d s"):
        connection.exchange(Request("/x"), "host")
    assert not connection.is_open


def test_a_server_that_answers_before_it_has_the_request_is_heard(edges: list[ScriptedEdge]) -> None:
    """As one that gives up on the head: 408, and the end."""
    with socket.create_server((EDGE, 0)) as server:
        connection = SlowConnection(Slowness(10, 0, hold_seconds=60), EDGE, server.getsockname()[1], PATIENCE)
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            assert connection.exchange(Request("/x", headers=padding(1_000)), "host").status == 408


def test_a_silent_server_has_not_cut_anything() -> None:
    with socket.create_server((EDGE, 0)) as server:
        connection = SlowConnection(Slowness(0, 1_000, 5), EDGE, server.getsockname()[1], PATIENCE)
        with pytest.raises(NoResponseError, match="timeout") as raised:
            connection.exchange(Request("/x"), "host")
        assert raised.value.is_silent


@pytest.mark.parametrize("head_bytes", [0, 1, 12, 999, 1_000, 1_001, 16_000])
def test_padding_is_of_short_headers(head_bytes: int) -> None:
    headers = padding(head_bytes)
    size = sum(len(f"{name}: {value}\r\n") for name, value in headers.items())
    assert head_bytes <= size <= head_bytes + 14
    assert all(len(value) < 1_000 for value in headers.values())
