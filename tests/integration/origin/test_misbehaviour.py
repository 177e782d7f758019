"""Trouble on a real socket: what the client sees of each way to misbehave, and gates that order events."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from origin import misbehave
from tests.integration.origin_process import OriginProcess, read_to_end, read_until, wait_until


@pytest.fixture(scope="module")
def process() -> Iterator[OriginProcess]:
    with OriginProcess("127.14.1.2") as process:
        yield process


@pytest.fixture
def origin(process: OriginProcess) -> Iterator[OriginProcess]:
    """A clean origin: nothing remembered, nothing misbehaving."""
    process.admin("DELETE", "/requests")
    yield process
    process.admin("DELETE", "/behaviors")


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n".encode()


def body_of(conversation: bytes) -> bytes:
    return conversation.partition(b"\r\n\r\n")[2]


def misbehaving(origin: OriginProcess, **document: Any) -> str:
    behavior_id: str = origin.admin("POST", "/behaviors", {"path_prefix": "/echo/", **document})["id"]
    return behavior_id


def test_a_truncated_body_ends_early_and_in_good_order(origin: OriginProcess) -> None:
    conversation = origin.converse(get("/misbehave/truncate?length=1000&send=100"))
    assert b"Content-Length: 1000\r\n" in conversation and body_of(conversation) == misbehave.expected_bytes(0, 100)


def test_a_reset_before_the_head(origin: OriginProcess) -> None:
    with pytest.raises(ConnectionResetError):
        origin.converse(get("/misbehave/reset"))


def test_a_reset_in_the_body_comes_after_what_was_sent(origin: OriginProcess) -> None:
    received = bytearray()

    def read_all() -> None:
        with origin.connect() as client:
            client.sendall(get("/misbehave/reset?after=500000"))
            while True:
                received.extend(client.recv(65_536))

    with pytest.raises(ConnectionResetError):
        read_all()
    assert body_of(bytes(received)) == misbehave.expected_bytes(0, 500_000)


def test_dropping_and_garbage(origin: OriginProcess) -> None:
    assert origin.converse(get("/misbehave/drop")) == b""
    assert not origin.converse(get("/misbehave/garbage")).startswith(b"HTTP/")


def test_a_huge_header_arrives(origin: OriginProcess) -> None:
    assert b"X-Huge: " + b"h" * 100_000 + b"\r\n" in origin.converse(get("/misbehave/huge-header"))


def test_a_slow_body_takes_its_time_and_is_whole(origin: OriginProcess) -> None:
    started = time.monotonic()
    conversation = origin.converse(get("/misbehave/slow-body?bytes=1000&chunks=5&interval=0.05"))
    # A lower bound only: four waits of 50 ms, on timers that count milliseconds and may each ring one early.
    assert time.monotonic() - started >= 4 * (0.05 - 0.001)
    assert body_of(conversation) == misbehave.expected_bytes(0, 1_000)


def test_status_by_path_for_some_methods_and_times(origin: OriginProcess) -> None:
    misbehaving(origin, status=503, methods=["GET"], remaining=2)
    assert origin.ask("POST", "/echo/x").status == 200
    assert [origin.ask("GET", "/echo/x").status for _ in range(3)] == [503, 503, 200]
    assert origin.ask("GET", "/api/time").status == 200


def test_truncation_reset_and_dropping_by_path(origin: OriginProcess) -> None:
    misbehaving(origin, truncate_after_bytes=10, remaining=1)
    assert len(body_of(origin.converse(get("/echo/x?size=100")))) == 10
    misbehaving(origin, drop_connection=True, remaining=1)
    assert origin.converse(get("/echo/x")) == b""
    misbehaving(origin, reset_after_bytes=0, remaining=1)
    with pytest.raises(ConnectionResetError):
        origin.converse(get("/echo/x?size=100"))
    assert len(body_of(origin.converse(get("/echo/x?size=100")))) == 100


def test_delays_and_rates_by_path(origin: OriginProcess) -> None:
    misbehaving(origin, delay_seconds=0.1, first_byte_delay_seconds=0.1, body_bytes_per_second=10_000, remaining=1)
    with origin.connect() as client:
        started = time.monotonic()
        client.sendall(get("/echo/x?size=3000"))
        conversation = read_until(client, b"\r\n\r\n")
        assert time.monotonic() - started >= 0.1
        conversation += read_to_end(client)
        assert (
            time.monotonic() - started >= 0.4
        )  # 0.1 + 0.1, then two waits of 0.1 s between three pieces of 1,000 bytes
    assert len(body_of(conversation)) == 3_000


def test_wrong_headers_and_a_corrupt_byte_by_path(origin: OriginProcess) -> None:
    clean = origin.ask("GET", "/echo/x?size=100").body
    misbehaving(origin, headers={"Vary": "*", "X-Origin-Request-Number": None}, corrupt_at_byte=7)
    answer = origin.ask("GET", "/echo/x?size=100")
    assert answer.headers["Vary"] == "*" and answer.headers["X-Origin-Request-Number"] is None
    assert [position for position in range(100) if answer.body[position] != clean[position]] == [7]


def test_a_behavior_heals_when_its_lease_ends(origin: OriginProcess) -> None:
    misbehaving(origin, status=503, lease_seconds=0.2)
    wait_until(lambda: origin.ask("GET", "/echo/x").status == 200, "the lease to end")
    assert origin.admin("GET", "/behaviors") == {"behaviors": []}


def test_a_gate_in_the_body_lets_the_first_half_out_and_holds_the_rest(origin: OriginProcess) -> None:
    with origin.connect() as client:
        client.sendall(get("/misbehave/gated?id=half&bytes=1000"))
        received = bytearray()
        while len(body_of(bytes(received))) < 500:
            received += client.recv(65_536)
        wait_until(lambda: origin.admin("GET", "/gates/half")["waiting"] == 1, "the request to wait at the gate")
        assert body_of(bytes(received)) == misbehave.expected_bytes(0, 500)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.setblocking(True)
        origin.admin("POST", "/gates/half")
        received += read_to_end(client)
    assert body_of(bytes(received)) == misbehave.expected_bytes(0, 1_000)


def test_a_gate_before_the_head_holds_everything_and_counts_who_waits(origin: OriginProcess) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(origin.ask, "GET", "/echo/gated?gate=head") for _ in range(3)]
        try:
            wait_until(lambda: origin.admin("GET", "/gates/head")["waiting"] == 3, "three requests to wait at the gate")
            # They are counted although not answered: this is how a CDN's fetches are counted while they are under way.
            assert origin.admin("GET", "/count?path=/echo/gated") == {"count": 3}
        finally:
            origin.admin("POST", "/gates/head")
        assert [answer.result().status for answer in answers] == [200, 200, 200]


def test_a_client_that_goes_away_leaves_the_gate(origin: OriginProcess) -> None:
    with origin.connect() as client:
        client.sendall(get("/echo/x?gate=left"))
        wait_until(lambda: origin.admin("GET", "/gates/left")["waiting"] == 1, "the request to wait at the gate")
    wait_until(lambda: origin.admin("GET", "/gates/left")["waiting"] == 0, "the gate to be left")


def test_the_admin_port_tells_what_was_asked(origin: OriginProcess) -> None:
    origin.ask("GET", "/echo/told?a=1", X_Name="value")
    origin.ask("HEAD", "/echo/told?a=2")
    origin.converse(b"nonsense\r\n\r\n")
    told = origin.admin("GET", "/requests?path_prefix=/echo/told")
    assert told["counts"] == {"/echo/told": 2}
    assert [(item["method"], item["target"], item["status"]) for item in told["requests"]] == [
        ("GET", "/echo/told?a=1", 200),
        ("HEAD", "/echo/told?a=2", 200),
    ]
    assert ["X-Name", "value"] in told["requests"][0]["headers"]
    assert origin.admin("GET", "/requests")["requests"][-1]["status"] == 400


def test_metrics_and_health_on_the_admin_port(origin: OriginProcess) -> None:
    assert origin.admin("GET", "/healthz") == b"ok" and origin.admin("GET", "/readyz") == b"ok"
    origin.ask("GET", "/hls/vod/film/360p/0.ts")
    text = origin.admin("GET", "/metrics").decode()
    assert 'cdn_origin_requests_total{kind="hls",status="2xx"} 1.0' in text
    assert 'cdn_origin_response_bytes_total{kind="hls"} 599908.0' in text


def test_half_open_sockets_do_not_disturb(origin: OriginProcess) -> None:
    clients = [origin.connect() for _ in range(50)]
    try:
        for client in clients:
            client.sendall(b"GET /echo/x HTTP/1.1\r\nHo")
        assert origin.ask("GET", "/echo/x").status == 200
    finally:
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
