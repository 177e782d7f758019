"""Bringing a lab up in containers, with a `docker compose` that fails and an engine that has other things in it."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cluster.compose_up import bring_up_containers
from lab.cluster.interface import say_nothing
from lab.cluster.process_identity import identify
from lab.cluster.state_file import ContainersRecord, StateDir
from lab.errors import LabError
from lab.topology.model import Topology
from lab.topology.reader import read_topology, shipped_topology
from tests.fake_engine import FakeContainer, FakeEngine, running_engine

PROJECT = "cdnlab-serve-21"
LABELS = {"com.docker.compose.project": PROJECT, "cdnlab.lab": "serve", "cdnlab.node": "edge-1", "cdnlab.role": "edge"}


@pytest.fixture
def topology() -> Topology:
    """On addresses that nobody else uses."""
    return read_topology(shipped_topology("serve"), "127.21.0.0/16")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with running_engine(fake) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        yield fake


def docker_command(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """In place of the real one."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_what_compose_said_is_in_the_message_and_what_it_has_created_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topology: Topology, engine: FakeEngine
) -> None:
    docker_command(tmp_path, monkeypatch, 'echo "$@"; case "$*" in *" up "*) echo no space left; exit 17;; esac')
    engine.containers["edge-1"] = FakeContainer("edge-1", LABELS)
    state = tmp_path / ".cdnlab"
    with pytest.raises(LabError) as caught:
        bring_up_containers(topology, state, say_nothing)
    message = str(caught.value)
    assert message.startswith("docker compose up failed with status 17\n") and "  | no space left\n" in message
    assert message.endswith(f"whole log: {state}/compose/compose.log")
    assert engine.containers == {}
    assert StateDir(state).read() == ContainersRecord("serve", PROJECT, None)


def test_a_start_that_failed_is_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topology: Topology, engine: FakeEngine
) -> None:
    docker_command(tmp_path, monkeypatch, "exit 1")
    for _ in range(2):
        with pytest.raises(LabError, match="docker compose build failed with status 1"):
            bring_up_containers(topology, tmp_path / ".cdnlab", say_nothing)


def test_a_compose_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topology: Topology, engine: FakeEngine
) -> None:
    docker_command(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    monkeypatch.setattr("lab.cluster.compose_up.BUILD_SECONDS", 0.3)
    with pytest.raises(LabError, match=r"docker compose build has not ended within 0\.3 s"):
        bring_up_containers(topology, tmp_path / ".cdnlab", say_nothing)
    assert not identify(int((tmp_path / "pid").read_text())).is_alive


@pytest.mark.parametrize(
    ("labels", "owner"),
    [({"cdnlab.lab": "small"}, "the lab small in containers"), ({}, "another network")],
)
def test_a_network_with_the_same_addresses_is_named_before_anything_is_created(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    topology: Topology,
    engine: FakeEngine,
    labels: dict[str, str],
    owner: str,
) -> None:
    docker_command(tmp_path, monkeypatch, "exit 1")
    engine.networks["theirs"], engine.subnets["theirs"] = labels, "10.98.4.0/24"
    with pytest.raises(LabError, match=rf"^{owner} has addresses of this lab \(theirs, 10\.98\.4\.0/24\)"):
        bring_up_containers(topology, tmp_path / ".cdnlab", say_nothing)
    assert not (tmp_path / ".cdnlab").exists()


def test_without_docker_it_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topology: Topology
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"^needs a Docker engine .* without one: --runner processes$"):
        bring_up_containers(topology, tmp_path / ".cdnlab", say_nothing)


def test_what_a_killed_start_has_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topology: Topology, engine: FakeEngine
) -> None:
    """The record was there before the container was, and whoever wrote it is dead."""
    docker_command(tmp_path, monkeypatch, "exit 1")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as starter:
        record = ContainersRecord("serve", PROJECT, identify(starter.pid))
        starter.send_signal(signal.SIGKILL)
    state = StateDir(tmp_path / ".cdnlab")
    state.make()
    state.write(record)
    engine.containers["edge-1"] = FakeContainer("edge-1", LABELS)
    with pytest.raises(LabError, match="docker compose build failed"):
        bring_up_containers(topology, state.path, say_nothing)
    assert engine.containers == {}


def test_a_lab_that_is_up_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topology: Topology, engine: FakeEngine
) -> None:
    docker_command(tmp_path, monkeypatch, "exit 1")
    state = StateDir(tmp_path / ".cdnlab")
    state.make()
    state.write(ContainersRecord("serve", PROJECT, None))
    engine.containers["edge-1"] = FakeContainer("edge-1", LABELS)
    with pytest.raises(
        LabError, match=r"a lab is running already: serve, in containers \(Compose project cdnlab-serve-21\)"
    ):
        bring_up_containers(topology, state.path, say_nothing)
    assert set(engine.containers) == {"edge-1"}
