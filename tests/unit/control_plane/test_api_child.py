"""The process of the management API: how it is started, ended and waited for, whatever it does (`control_plane/api_child.py`)."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

from control_plane import api_child, server
from control_plane.api_child import ApiChild, StartedApi, fork_api

SOON_SECONDS = 5.0
ROOT = Path(__file__).parents[3]


def silent(connection: socket.socket) -> NoReturn:
    """Closes its end of the channel and goes on."""
    connection.close()
    while True:
        time.sleep(60)


@pytest.fixture
def may_fork() -> None:
    """Not where Python warns of threads that the fork will not have: test processes have some."""
    if sys.version_info >= (3, 12):
        pytest.skip("forks of processes with threads are warned of")


def test_one_that_closes_its_channel_and_stays_can_be_killed_by_whoever_waits_for_it(may_fork: None) -> None:
    started = fork_api(silent)
    waiting = threading.Thread(target=started.process.wait)
    waiting.start()
    assert started.connection.recv(1) == b""
    began_at = time.monotonic()
    started.process.kill()
    assert time.monotonic() - began_at < SOON_SECONDS
    waiting.join(SOON_SECONDS)
    assert started.process.wait() == -signal.SIGKILL
    started.end()


def test_an_exception_ends_it_and_is_nothing_of_the_control_planes(may_fork: None) -> None:
    def fail(_: socket.socket) -> NoReturn:
        raise ValueError("nothing works")

    started = fork_api(fail)
    assert started.process.wait() == 1
    started.end()


def test_it_is_reaped_where_whoever_started_the_control_plane_ignores_its_children() -> None:
    program = (
        "import os, sys; from control_plane.api_child import fork_api\n"
        "started = fork_api(lambda _: os._exit(3))\n"
        "assert started.process.wait() == 3; started.end(); sys.exit(7)"
    )
    command = ["sh", "-c", 'trap "" CHLD; exec "$@"', "sh", sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, timeout=30, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "")


async def test_one_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No descriptor is left, for a moment: that is no reason to leave thousands of nodes alone."""
    tries = iter((OSError(24, os.strerror(24)), OSError(24, os.strerror(24))))
    was_started = asyncio.Event()

    def start(_: object) -> StartedApi:
        error = next(tries, None)
        if error is not None:
            raise error
        was_started.set()
        return already_ended()

    monkeypatch.setattr(api_child, "_start_api", start)
    with socket.socket() as listener:
        child = ApiChild(listener, (), lambda _: None)
        async with asyncio.timeout(SOON_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(child.run())
            await was_started.wait()
            child.leave()
    said = [record.getMessage().partition("cannot be started: ")[2] for record in caplog.records]
    assert said[:2] == ["Too many open files; again in 0.1 s", "Too many open files; again in 0.2 s"]


class OneWhoForgets:
    """Roles of a follower that knew of a leader, then of none for a moment, and is told of nothing, for it is the same one."""

    leading = None
    leader_address: str | None = None

    async def change(self) -> None:
        await asyncio.Event().wait()


async def test_a_follower_starts_it_as_soon_as_somebody_leads_also_when_nobody_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roles = OneWhoForgets()
    was_started = asyncio.Event()

    def start(_: object) -> StartedApi:
        was_started.set()
        return already_ended()

    monkeypatch.setattr(api_child, "_start_api", start)
    with socket.socket() as listener:
        child = ApiChild(listener, (), lambda _: None)
        async with asyncio.timeout(SOON_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(server.run_api(child, roles))
            await asyncio.sleep(0)
            roles.leader_address = "10.0.0.9:1"
            await was_started.wait()
            child.leave()


class Ended:
    """A process that has."""

    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self) -> int:
        return 0


def already_ended() -> StartedApi:
    """Its end of the channel is closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return StartedApi(Ended(), ours)
