"""Every fault of the catalogue on a lab of containers."""

from collections.abc import Iterator

import pytest

from lab.cluster.compose import ComposeCluster
from tests.docker.compose_lab import PROJECT, ComposeLab
from tests.faults.contract import FaultsContract
from tests.faults.scene import Scene

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def scene(lab: ComposeLab) -> Iterator[Scene]:
    assert lab is not None
    with ComposeCluster.of(PROJECT) as cluster:
        scene = Scene(cluster)
        yield scene
        scene.close()


class TestContainers(FaultsContract):
    """The suite of every runner."""

    is_of_containers = True
