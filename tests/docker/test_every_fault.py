"""Every fault of the catalogue on a lab of containers, with distance between its places, as a command brings it up."""

from collections.abc import Iterator

import pytest

from lab.cluster.runners import BRING_UP
from lab.interrupts import uninterrupted
from lab.runner import Runner
from lab.topology.reader import parse_topology
from tests.docker.compose_lab import StartedLab
from tests.faults.contract import FaultsContract
from tests.faults.scene import TOPOLOGY, Scene

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def scene(started_lab: StartedLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """After the other lab, so that the images are built."""
    assert started_lab is not None
    topology = parse_topology(f"name: faults\nloopback: 127.8.0.0/16\n{TOPOLOGY}", "faults.yaml")
    cluster = BRING_UP[Runner.DOCKER](topology, tmp_path_factory.mktemp("lab") / "state", print)
    try:
        scene = Scene(cluster)
        yield scene
        scene.close()
    finally:
        with uninterrupted():
            cluster.take_down()


class TestContainers(FaultsContract):
    """The suite of every runner."""

    is_of_containers = True
