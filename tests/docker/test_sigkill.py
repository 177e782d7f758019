"""SIGKILL at random moments of commands, agent and watchdog of a lab in containers: the next command has it in order, and nothing is left in the engine or here.

The same on processes, many more times: tests/integration/lab/sigkill_rounds.py.
"""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from lab.agent.client import connect
from lab.cluster.agent_record import AgentFolder
from lab.errors import LabError
from tests.depth import examples
from tests.docker.compose_lab import StartedLab, wait_until
from tests.docker.test_runner import CommandLine, remains
from tests.integration.lab.left_behind import processes_of

ROUNDS = examples(3)
EDGE = "edge-iad89-p1-1"
SECONDS = 60

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600 + 120 * ROUNDS)]


class Rounds:
    """On one small lab, in a folder of its own."""

    def __init__(self, cdnlab: CommandLine, engine: docker.DockerClient, rng: random.Random) -> None:
        self._cdnlab, self._engine, self._rng = cdnlab, engine, rng
        self._up = ("up", str(cdnlab.topology), "--runner", "docker", "--detach", "--no-demo")

    def play(self) -> None:
        """One of each: `up`, then what keeps faults, then `down`."""
        self._kill_command(*self._up, within=12.0)
        if self._rng.random() < 0.5:
            self._check_down()
        up = self._cdnlab.run(*self._up)
        assert up.status == 0 or "a lab is running already: small" in up.err, up.err
        self._kill_keepers()
        self._kill_command("down", within=3.0)
        if self._rng.random() < 0.5:
            up = self._cdnlab.run(*self._up)
            assert up.status == 0 or "a lab is running already: small" in up.err, up.err
        self._check_down()

    def _kill_command(self, *arguments: str, within: float) -> None:
        with self._cdnlab.start(*arguments) as command:
            time.sleep(self._rng.uniform(0.3, within))  # a moment that nothing else says
            command.kill()
            command.communicate(timeout=SECONDS)

    def _kill_keepers(self) -> None:
        """While a node is down: it comes back."""
        with self._cdnlab.start("kill", EDGE, "--for", "2s") as command:
            time.sleep(self._rng.uniform(0.5, 3.0))
            record = AgentFolder(self._cdnlab.state_dir).read()
            for each in self._rng.sample((record.agent, record.watchdog), self._rng.choice((1, 2))):
                if each is not None:
                    each.send(signal.SIGKILL)
            command.communicate(timeout=SECONDS)
        wait_until(self._is_healed, SECONDS, "no fault is left, and the node runs")

    def _is_healed(self) -> bool:
        try:
            faults = connect(self._cdnlab.state_dir).faults()
        except LabError:
            return False
        running = self._engine.containers.list(filters={"label": f"cdnlab.node={EDGE}"})
        return faults == [] and any("cdnlab-small-7" in str(each.name) for each in running)

    def _check_down(self) -> None:
        down = self._cdnlab.run("down")
        assert (down.status, down.err) == (0, ""), down
        assert processes_of(self._cdnlab.state_dir) == [] and not self._cdnlab.state_dir.exists()
        for _ in range(5):  # what a killed Compose had asked for would come now
            assert remains(self._engine) == []
            time.sleep(0.2)


@pytest.fixture
def cdnlab(started_lab: StartedLab, tmp_path: Path) -> Iterator[CommandLine]:
    """After the other lab, so that the images are built."""
    command = CommandLine(tmp_path)
    try:
        yield command
    finally:
        command.run("down")
        assert remains(started_lab.lab.engine) == []


def test_whatever_is_killed_nothing_is_left_behind(cdnlab: CommandLine, started_lab: StartedLab) -> None:
    rounds = Rounds(cdnlab, started_lab.lab.engine, random.Random(1130))
    for _ in range(ROUNDS):
        rounds.play()
