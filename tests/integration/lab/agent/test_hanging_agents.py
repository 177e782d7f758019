"""Agents and watchdogs that hang (SIGSTOP) are noticed by each other, and by the next command where both do."""

import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lab.agent.client import connect
from lab.agent.program import MOST_CONNECTIONS
from lab.agent.watchdog import LOOK_SECONDS, SILENT_LOOKS
from lab.clients.http_client import split_address
from lab.errors import LabError
from tests.integration.lab.agent.sleeping_lab import EDGE, SleepingLab, until

NOTICED_SECONDS = SILENT_LOOKS * LOOK_SECONDS
LONG = 600.0


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SleepingLab]:
    lab = SleepingLab.up(tmp_path_factory.mktemp("lab"))
    try:
        yield lab
    finally:
        lab.take_down()
    assert lab.carried() == []


@pytest.fixture
def lab(module_lab: SleepingLab) -> Iterator[SleepingLab]:
    module_lab.start_agent()
    yield module_lab
    connect(module_lab.state.path).clear_all()
    assert module_lab.is_whole


def test_what_is_due_while_the_agent_hangs_heals_although_nobody_asks(lab: SleepingLab) -> None:
    hanging, began = lab.agent, time.monotonic()
    connect(lab.state.path).inject("pause", EDGE, 1.0, {})
    hanging.send(signal.SIGSTOP)
    until(lambda: lab.works(EDGE), lab.log())
    assert time.monotonic() - began >= NOTICED_SECONDS, "not before it had its time to speak"
    until(lambda: lab.agent != hanging and lab.agent.is_alive, lab.log())
    assert not hanging.is_alive and "has said nothing for 5 s, and is killed" in lab.log()


def test_a_watchdog_that_hangs_has_a_successor_that_does_its_work(lab: SleepingLab) -> None:
    agent, hanging = lab.agent, lab.watchdog
    hanging.send(signal.SIGSTOP)
    until(lambda: lab.watchdog != hanging and lab.watchdog.is_alive, lab.log())
    assert lab.agent == agent and not hanging.is_alive
    lab.kill_agent()
    assert connect(lab.state.path).faults() == []


def test_a_watchdog_that_has_started_the_agent_and_hangs_is_replaced_too(lab: SleepingLab) -> None:
    """It is the parent of the agent, not its child."""
    lab.kill_agent()
    until(lambda: connect(lab.state.path).answers(), lab.log())
    agent, hanging = lab.agent, lab.watchdog
    hanging.send(signal.SIGSTOP)
    until(lambda: lab.watchdog != hanging and lab.watchdog.is_alive, lab.log())
    assert lab.agent == agent


def test_both_are_replaced_by_the_next_command_and_nothing_is_forgotten(lab: SleepingLab) -> None:
    lease = connect(lab.state.path).inject("kill", EDGE, LONG, {})
    both = [lab.watchdog, lab.agent]
    for each in both:
        each.send(signal.SIGSTOP)
    assert [each["id"] for each in connect(lab.state.path).faults()] == [lease["id"]]
    until(lambda: not any(each.is_alive for each in both), lab.log())


def test_one_that_was_stopped_for_a_moment_goes_on(lab: SleepingLab) -> None:
    """Both, as when the machine sleeps: neither takes the other for dead."""
    both = [lab.watchdog, lab.agent]
    for each in both:
        each.send(signal.SIGSTOP)
    threading.Event().wait(NOTICED_SECONDS + 1.0)
    for each in both:
        each.send(signal.SIGCONT)
    client = connect(lab.state.path)
    began = time.monotonic()
    while time.monotonic() - began < 3 * LOOK_SECONDS:  # whoever is to be killed is, at the next look
        assert client.answers()
    assert [lab.watchdog, lab.agent] == both


def test_one_that_has_too_many_clients_is_not_taken_for_hanging(
    lab: SleepingLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody on this machine can be too many clients, and must not be able to have it killed."""
    both, over = [lab.watchdog, lab.agent], threading.Event()
    address = split_address(lab.folder.read().address)
    crowd = threading.Thread(target=crowd_in, args=(address, over))
    monkeypatch.setattr("lab.agent.client.HANG_SECONDS", 1.0)
    monkeypatch.setattr("lab.agent.client.START_SECONDS", 1.0)
    client = connect(lab.state.path)
    crowd.start()
    try:
        until(lambda: not client.answers(), "it has no room")
        with pytest.raises(LabError, match="cannot be reached"):
            connect(lab.state.path)
    finally:
        over.set()
        crowd.join()
    until(client.answers, lab.log())
    assert [lab.watchdog, lab.agent] == both


def crowd_in(address: tuple[str, int], over: threading.Event) -> None:
    """More connections than it takes, which are renewed before it cuts them off."""
    held: deque[socket.socket] = deque()
    while not over.wait(0.005):
        with suppress(OSError):
            held.append(socket.create_connection(address, 1.0))
        while len(held) > 2 * MOST_CONNECTIONS:
            held.popleft().close()
    for each in held:
        each.close()
