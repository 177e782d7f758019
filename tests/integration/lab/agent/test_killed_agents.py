"""Leases heal whoever is killed: the agent at each moment of its work, its watchdog, both, and any of them at random."""

import fcntl
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lab.agent.client import connect
from lab.agent.keeper import Moment
from lab.cluster.claim import claim
from lab.cluster.launching import environment
from lab.cluster.sweep import Mark
from lab.errors import LabError
from proto.host_clock import host_nanoseconds
from tests.depth import examples
from tests.integration.lab.agent.sleeping_lab import EDGE, OTHER_EDGE, SleepingLab, until
from tests.integration.lab_harness import ROOT, CommandLine

ROUNDS = examples(15)
LONG = 600.0


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SleepingLab]:
    lab = SleepingLab.up(tmp_path_factory.mktemp("lab"))
    try:
        yield lab
    finally:
        lab.take_down()


@pytest.fixture
def lab(module_lab: SleepingLab) -> Iterator[SleepingLab]:
    """Whole before and after. Agents cost the most here: the next test goes on with the one that is there."""
    assert module_lab.is_whole
    yield module_lab
    if module_lab.agent.is_alive:
        connect(module_lab.state.path).clear_all()
    assert module_lab.leases_on_disk == []


def start_stopping(lab: SleepingLab, moment: Moment, marker: Path) -> "subprocess.Popen[bytes]":
    lab.end_agent()
    lab.folder.make()
    record = lab.cluster.record
    marked = {**environment(), **Mark(str(lab.state.path), record.token).environment()}
    command = (sys.executable, "-m", "tests.integration.lab.agent.stopping_agent", moment, str(marker))
    with lab.folder.log.open("ab") as log:
        process = subprocess.Popen(
            (*command, "--state", str(lab.state.path)),
            cwd=ROOT,
            env=marked,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until(lambda: lab.agent.is_alive, lab.log())
    return process


@pytest.mark.parametrize("moment", list(Moment))
def test_an_agent_that_is_killed_at_any_moment_leaves_nothing_broken(
    lab: SleepingLab, tmp_path: Path, moment: Moment
) -> None:
    before, marker = lab.pid(EDGE), tmp_path / "stopped"
    process = start_stopping(lab, moment, marker)
    client = connect(lab.state.path)
    with ThreadPoolExecutor(1) as background:
        if moment is Moment.UNDONE:
            lease = client.inject("kill", EDGE, LONG, {})
            asked = background.submit(lambda: client.clear(lease["id"]))
        else:
            asked = background.submit(lambda: client.inject("kill", EDGE, LONG, {}))
        until(marker.exists, lab.log())
        was_journaled, was_running = lab.leases_on_disk, lab.works(EDGE)
        lab.kill_agent()
        assert process.wait(20) == -signal.SIGKILL
        with pytest.raises(LabError, match="the agent has ended in the middle of it"):
            asked.result()
    assert bool(was_journaled) == (moment is not Moment.CHECKED), "on disk before it is done, and until it is undone"
    assert was_running == (moment is not Moment.INJECTED)
    until(lambda: connect(lab.state.path).faults() == [] and lab.is_whole, lab.log())
    assert (lab.pid(EDGE) == before) == (moment in (Moment.CHECKED, Moment.JOURNALED))


def test_a_lease_goes_on_under_the_next_agent_and_is_over_when_it_is_due(lab: SleepingLab) -> None:
    lab.start_agent()
    lease = connect(lab.state.path).inject("kill", f"{EDGE},{OTHER_EDGE}", 2.5, {})
    lab.kill_agent()
    again = connect(lab.state.path).faults()
    assert [each["id"] for each in again] == [lease["id"]]
    assert again[0]["due_monotonic_ns"] == lease["due_monotonic_ns"] and again[0]["nodes"] == [EDGE, OTHER_EDGE]
    assert not lab.works(EDGE) and not lab.works(OTHER_EDGE)
    until(lambda: lab.works(EDGE) and lab.works(OTHER_EDGE), lab.log())
    assert host_nanoseconds() >= lease["due_monotonic_ns"]


def test_what_is_due_while_nobody_is_there_is_undone_by_the_next_agent(lab: SleepingLab) -> None:
    """Both are killed: the next command brings them back."""
    lab.start_agent()
    lease = connect(lab.state.path).inject("pause", EDGE, 0.5, {})
    for each in (lab.watchdog, lab.agent):
        each.send(signal.SIGKILL)
    until(lambda: host_nanoseconds() > lease["due_monotonic_ns"], "time goes on")
    assert not lab.works(EDGE)
    until(lambda: connect(lab.state.path).faults() == [] and lab.works(EDGE), lab.log())


def test_a_watchdog_that_is_killed_has_a_successor_that_does_its_work(lab: SleepingLab) -> None:
    lab.start_agent()
    agent, first = lab.agent, lab.watchdog
    first.send(signal.SIGKILL)
    until(lambda: lab.watchdog != first and lab.watchdog.is_alive, lab.log())
    assert lab.agent == agent
    lab.kill_agent()
    assert connect(lab.state.path).faults() == []


def test_a_lab_has_one_agent(lab: SleepingLab) -> None:
    lab.start_agent()
    command = (sys.executable, "-m", "lab.agent", "--state", str(lab.state.path))
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (second.returncode, second.stdout) == (1, "agent: this lab has an agent already\n")
    assert connect(lab.state.path).answers()


def test_a_lab_whose_agent_cannot_be_started_again_says_so(lab: SleepingLab) -> None:
    lab.end_agent()
    with lab.folder.lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LabError) as caught:
            connect(lab.state.path)
    said, *log, where = str(caught.value).splitlines()
    assert said == "the lab's agent, which holds its faults, cannot be reached and does not start"
    assert log[-1] == "  | agent: this lab has an agent already" and where == f"whole log: {lab.folder.log}"
    assert connect(lab.state.path).faults() == []


def test_the_next_lab_in_the_folder_ends_what_a_crash_has_left_of_the_agent(tmp_path: Path) -> None:
    """All nodes were killed; the agent would start them again, and a new lab has no use for that."""
    lab = SleepingLab.up(tmp_path)
    try:
        lab.start_agent()
        connect(lab.state.path).inject("kill", "role:edge", LONG, {})
        for node in lab.cluster.nodes():
            if node.is_running:
                lab.cluster.kill(node.id)
        lab.watchdog.send(signal.SIGKILL)
        record = replace(lab.cluster.record, token="another", starter=None)
        assert claim(lab.state, record, lambda: None) == 0, "they are no nodes"
        assert lab.carried() == [] and not lab.folder.path.exists()
    finally:
        lab.take_down()


def test_a_file_in_the_journal_that_is_no_lease_is_put_aside_and_told(lab: SleepingLab) -> None:
    lab.end_agent()
    broken, unfinished = lab.folder.journal / "f-1.json", lab.folder.journal / "f-2.writing"
    broken.write_text('{"id": "f-1"')
    unfinished.write_text(json.dumps({"id": "f-2"}))
    lab.start_agent()
    assert connect(lab.state.path).faults() == []
    aside = broken.with_suffix(".unreadable")
    assert lab.leases_on_disk == [aside.name]
    aside.unlink()


def test_any_of_them_killed_at_random_moments_leaves_no_node_down_and_no_process_behind(tmp_path: Path) -> None:
    """Agent, watchdog, both, and now and then the command that has asked for a fault."""
    rng = random.Random(20261130)
    lab, commands = SleepingLab.up(tmp_path), CommandLine(tmp_path)
    moment = threading.Event()  # never set: waits for moments that nothing else says
    nodes = [node.id for node in lab.cluster.nodes()]
    try:
        lab.start_agent()
        with ThreadPoolExecutor(1) as background:
            for number in range(ROUNDS):
                fault, node = rng.choice(("kill", "stop", "pause", "restart")), rng.choice(nodes)
                lease = None if fault == "restart" else rng.uniform(0.1, 0.9)
                if number % 5:
                    asked = background.submit(inject, lab, fault, node, lease)
                    moment.wait(rng.uniform(0.0, 0.5))
                    kill_some(lab, rng)
                    asked.result()
                else:
                    command = commands.start(fault, node, *(["--for", f"{round(lease * 1000)}ms"] if lease else []))
                    moment.wait(rng.uniform(0.2, 0.8))
                    kill_some(lab, rng)
                    if rng.random() < 0.7:
                        command.kill()
                    _, said = command.communicate(timeout=60)
                    assert "Traceback" not in said, f"round {number}: {said}"
        until(lambda: connect(lab.state.path).faults() == [] and lab.is_whole, lab.log())
        assert lab.leases_on_disk == []
    finally:
        lab.take_down()
    assert lab.carried() == [] and not lab.state.path.exists()


def inject(lab: SleepingLab, fault: str, node: str, lease: float | None) -> None:
    try:
        connect(lab.state.path).inject(fault, node, lease, {})
    except LabError:
        return  # the agent was killed, or an earlier fault has the node


def kill_some(lab: SleepingLab, rng: random.Random) -> None:
    for victim in rng.sample((lab.agent, lab.watchdog), rng.choice((0, 1, 1, 1, 2))):
        victim.send(signal.SIGKILL)
