"""The origin as a process: starting, failing to start, draining, its files."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.origin_process import (
    DEADLINE_SECONDS,
    PYTHON_ROOT,
    OriginProcess,
    read_to_end,
    read_until,
    wait_until,
)

_HOST = "127.14.1.3"


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "origin", *flags]
    return subprocess.run(
        command, cwd=PYTHON_ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_and_frees_its_ports(number: signal.Signals) -> None:
    with OriginProcess(_HOST) as origin:
        origin.process.send_signal(number)
        assert origin.process.wait(DEADLINE_SECONDS) == 0
        for port in (origin.port, origin.admin_port):
            with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
                probe.connect((origin.host, port))


def test_an_answer_under_way_is_finished_while_it_drains() -> None:
    with OriginProcess(_HOST) as origin, origin.connect() as client, origin.connect() as idle:
        idle.sendall(b"GET /echo/x HTTP/1.1\r\nHost: o\r\n\r\n")
        read_until(idle, b"}\n")
        client.sendall(b"GET /misbehave/gated?id=g&bytes=1000 HTTP/1.1\r\nHost: o\r\n\r\n")
        wait_until(lambda: origin.admin("GET", "/gates/g")["waiting"] == 1, "the request to wait at the gate")
        origin.process.terminate()
        assert read_to_end(idle) == b""  # an idle connection is closed at once
        origin.admin("POST", "/gates/g")
        assert len(read_to_end(client).partition(b"\r\n\r\n")[2]) == 1_000
        assert origin.process.wait(DEADLINE_SECONDS) == 0


def test_clients_that_hold_connections_shut_neither_the_content_nor_the_admin_port() -> None:
    """More than the usual limit of descriptors on the content port, more than its own limit on the admin port."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, hard))
        origin = held.enter_context(OriginProcess(_HOST))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))
        for port, number in ((origin.port, 1_100), (origin.admin_port, 100)):
            for _ in range(number):
                client = held.enter_context(socket.create_connection((origin.host, port), DEADLINE_SECONDS))
                client.sendall(b"GET /echo/x HTTP/1.1\r\nHost: o\r\nX-Half")
        assert origin.ask("GET", "/echo/x").status == 200
        assert origin.admin("GET", "/healthz") == b"ok"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Content_Type": "application/json"}, 201),
        ({"Content_Type": "text/plain"}, 415),
        ({}, 415),
        ({"Content_Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content_Type": "application/json", "Sec_Fetch_Site": "cross-site"}, 403),
        ({"Content_Type": "application/json", "Host": "evil.example"}, 403),
        ({"Content_Type": "application/json", "Host": "o1:9100"}, 201),
    ],
)
def test_faults_are_not_set_by_web_pages(fields: dict[str, str], status: int) -> None:
    with OriginProcess(_HOST) as origin:
        assert origin.ask_admin("POST", "/behaviors", b'{"path_prefix": "/", "status": 503}', **fields).status == status
        assert len(origin.admin("GET", "/behaviors")["behaviors"]) == (status == 201)


def test_draining_ends_within_two_seconds_whatever_hangs() -> None:
    with (
        OriginProcess(_HOST) as origin,
        origin.connect() as waiting,
        origin.connect(receive_buffer_bytes=4_096) as slow,
    ):
        waiting.sendall(b"GET /echo/x?gate=never HTTP/1.1\r\nHost: o\r\n\r\n")
        slow.sendall(b"GET /download/1GiB.bin HTTP/1.1\r\nHost: o\r\n\r\n")
        wait_until(lambda: origin.admin("GET", "/gates/never")["waiting"] == 1, "the request to wait at the gate")
        started = time.monotonic()
        origin.process.terminate()
        assert origin.process.wait(DEADLINE_SECONDS) == 0
        assert time.monotonic() - started < 2.0


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_a_taken_port_is_one_clear_line_and_status_1(flag: str) -> None:
    other = {"--listen": "--admin", "--admin": "--listen"}[flag]
    with socket.create_server((_HOST, 0)) as taken:
        address = f"{_HOST}:{taken.getsockname()[1]}"
        ended = run("--node-id", "o", flag, address, other, f"{_HOST}:0")
    assert ended.returncode == 1 and ended.stderr == f"cannot listen on {address}: address already in use\n"


def test_an_address_that_is_not_ours_is_one_clear_line_too() -> None:
    ended = run("--node-id", "o", "--listen", "192.0.2.1:80", "--admin", f"{_HOST}:0")
    assert (ended.returncode, ended.stderr) == (1, "cannot listen on 192.0.2.1:80: cannot assign requested address\n")


def test_a_request_log_that_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "log"
    ended = run("--node-id", "o", "--listen", f"{_HOST}:0", "--admin", f"{_HOST}:0", "--request-log", str(path))
    assert (ended.returncode, ended.stderr) == (1, f"cannot write the request log {path}: no such file or directory\n")


@pytest.mark.parametrize(
    "flags", [(), ("--node-id", "o", "--listen", "nowhere", "--admin", "127.0.0.1:0"), ("--what",)]
)
def test_bad_flags_are_status_2(flags: tuple[str, ...]) -> None:
    assert run(*flags).returncode == 2


def test_help_has_examples() -> None:
    ended = run("--help")
    assert ended.returncode == 0 and "curl http://127.0.0.1" in ended.stdout


def test_the_request_log_has_every_request_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    with OriginProcess(_HOST, "--request-log", str(path)) as origin:
        origin.ask("GET", "/echo/0")
        wait_until(lambda: path.read_text() != "", "the first line to be written")
        for number in range(1, 5):
            origin.ask("GET", f"/echo/{number}", X_Number=str(number))
        origin.process.terminate()
        assert origin.process.wait(DEADLINE_SECONDS) == 0
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["target"] for record in records] == [f"/echo/{number}" for number in range(5)]
    assert ["X-Number", "4"] in records[4]["headers"] and records[4]["status"] == 200


def test_an_idle_origin_is_small() -> None:
    with OriginProcess(_HOST) as origin:
        assert origin.ask("GET", "/").status == 200
        assert origin.resident_bytes() < 60 << 20
        assert len(os.listdir(f"/proc/{origin.process.pid}/task")) <= 2
