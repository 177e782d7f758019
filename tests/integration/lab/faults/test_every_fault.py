"""Every fault of the catalogue on a lab of processes."""

from collections.abc import Iterator

import pytest

from lab.cluster.processes import ProcessCluster
from tests import warm_start
from tests.faults.contract import FaultsContract
from tests.faults.scene import Scene
from tests.integration.lab_harness import SLOT_OF_A_MODULE, small_topology


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("lab") / "state"
    with ProcessCluster.up(small_topology(SLOT_OF_A_MODULE), folder, launch=warm_start.launch) as cluster:
        scene = Scene(cluster)
        yield scene
        scene.close()


class TestProcesses(FaultsContract):
    """The suite of every runner."""
