"""Faults in a lab that somebody has brought up with `docker compose up`: commands from any folder find one agent, which ends with the containers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from lab.cluster.agent_record import AgentFolder, AgentRecord
from lab.cluster.compose_up import write_files
from lab.cluster.container_layout import ContainerLayout
from lab.topology.reader import parse_topology
from tests.docker.compose_lab import ROOT, StartedLab, wait_until
from tests.docker.test_runner import TOPOLOGY
from tests.integration.lab.left_behind import processes_of
from tests.integration.lab_harness import SMALL_NODES

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

PROJECT = "cdnlab-by-hand"
EDGE = "edge-iad89-p1-1"
SECONDS = 60


@dataclass(frozen=True)
class LabByHand:
    """No command of ours has seen it; `files` is where this user's programs keep their state."""

    engine: docker.DockerClient
    folder: Path
    files: Path

    def compose(self, *arguments: str) -> None:
        subprocess.run(
            ["docker", "compose", "--file", str(self.folder / "compose.yaml"), *arguments],
            check=True,
            capture_output=True,
            timeout=300,
        )

    def cdnlab(self, *arguments: str, folder: Path) -> str:
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "lab.cli", *arguments],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "COMPOSE_PROJECT_NAME": PROJECT,
                "XDG_STATE_HOME": str(self.files),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (folder / ".cdnlab").exists()
        return done.stdout

    @property
    def agent(self) -> AgentRecord:
        (home,) = (self.files / "cdnlab").iterdir()
        return AgentFolder(home).read()

    def runs(self, node_id: str) -> bool:
        labels = [f"com.docker.compose.project={PROJECT}", f"cdnlab.node={node_id}"]
        return bool(self.engine.containers.list(filters={"label": labels, "status": "running"}))


@pytest.fixture
def by_hand(started_lab: StartedLab, tmp_path: Path) -> Iterator[LabByHand]:
    """After the other lab, so that the images are built."""
    topology = parse_topology(TOPOLOGY.replace("127.7.0.0", "127.8.0.0"), "small.yaml")
    folder = tmp_path / "compose"
    write_files(folder, ContainerLayout(topology), PROJECT, "")
    lab = LabByHand(started_lab.lab.engine, folder, tmp_path / "files")
    try:
        lab.compose("up", "--no-build", "--detach", "--wait", *sorted(SMALL_NODES | {"wan"}))
        yield lab
    finally:
        lab.compose("--profile", "*", "down", "--volumes", "--timeout", "5")


def test_a_killed_node_comes_back_and_nothing_of_the_agent_outlives_the_lab(by_hand: LabByHand, tmp_path: Path) -> None:
    said = by_hand.cdnlab("kill", EDGE, "--for", "5s", folder=tmp_path / "here")
    assert said.startswith(f"kill: {EDGE}; heals in 5s")
    assert not by_hand.runs(EDGE)
    first = by_hand.agent
    shown = json.loads(by_hand.cdnlab("faults", "show", "--json", folder=tmp_path / "there"))
    assert [each["nodes"] for each in shown["faults"]] == [[EDGE]], "there is one agent, wherever one asks"
    assert by_hand.agent == first
    wait_until(lambda: by_hand.runs(EDGE), SECONDS, "it is started again")
    check_that_killed_keepers_are_no_harm(by_hand, tmp_path / "here")
    keepers = [by_hand.agent.agent, by_hand.agent.watchdog]
    by_hand.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
    wait_until(lambda: not any(each and each.is_alive for each in keepers), SECONDS, "they end with the lab")
    assert list((by_hand.files / "cdnlab").iterdir()) == [] and processes_of(by_hand.files) == []


def check_that_killed_keepers_are_no_harm(by_hand: LabByHand, folder: Path) -> None:
    by_hand.cdnlab("pause", EDGE, "--for", "2s", folder=folder)
    for each in (by_hand.agent.watchdog, by_hand.agent.agent):
        assert each is not None and each.send(signal.SIGKILL)
    wait_until(
        lambda: json.loads(by_hand.cdnlab("faults", "show", "--json", folder=folder))["faults"] == [],
        SECONDS,
        "the next command has brought an agent, which heals",
    )
    assert by_hand.runs(EDGE)


def test_down_ends_the_agent_with_the_containers(by_hand: LabByHand) -> None:
    """In the folder where somebody has run Compose."""
    beside = by_hand.folder
    by_hand.cdnlab("stop", EDGE, "--for", "10m", folder=beside)
    keepers = [by_hand.agent.agent, by_hand.agent.watchdog]
    assert "5 containers of project cdnlab-by-hand ended" in by_hand.cdnlab("down", folder=beside)
    assert not any(each and each.is_alive for each in keepers)
    assert list((by_hand.files / "cdnlab").iterdir()) == []
