"""One lab of processes for the tests here; each leaves it as it was."""

from collections.abc import Iterator

import pytest

from lab.cluster.processes import ProcessCluster
from lab.topology.reader import parse_topology
from tests import warm_start
from tests.faults.scene import TOPOLOGY, Scene
from tests.integration.lab_harness import SLOT_OF_A_MODULE, ports


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    text = f"name: faults\n{ports(SLOT_OF_A_MODULE)}{TOPOLOGY}"
    topology, folder = parse_topology(text, "faults.yaml"), tmp_path_factory.mktemp("lab") / "state"
    with ProcessCluster.up(topology, folder, launch=warm_start.launch) as running:
        yield running


@pytest.fixture(scope="module")
def scene(cluster: ProcessCluster) -> Iterator[Scene]:
    scene = Scene(cluster)
    yield scene
    scene.close()
