"""Every fault of the catalogue on a lab of processes."""

from collections.abc import Iterator

import pytest

from lab.cluster.processes import ProcessCluster
from lab.topology.reader import parse_topology
from tests import warm_start
from tests.faults.contract import FaultsContract
from tests.faults.scene import Scene
from tests.integration.lab_harness import SLOT_OF_A_MODULE, small


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("lab") / "state"
    topology = parse_topology(small(SLOT_OF_A_MODULE, edge_stores="cache_mib: 1, disk_mib: 64"), "small.yaml")
    with ProcessCluster.up(topology, folder, launch=warm_start.launch) as cluster:
        scene = Scene(cluster)
        yield scene
        scene.close()


class TestProcesses(FaultsContract):
    """The suite of every runner."""
