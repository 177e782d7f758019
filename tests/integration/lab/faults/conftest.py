"""One lab of processes for the tests here; each leaves it as it was."""

from collections.abc import Iterator

import pytest

from lab.cluster.processes import ProcessCluster
from lab.topology.reader import parse_topology
from tests import warm_start
from tests.faults.scene import Scene
from tests.integration.lab_harness import SLOT_OF_A_MODULE, small

WITH_A_DISK = "regional_caches: [{region: us-east-1, disk_mib: 8}]"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    text = small(SLOT_OF_A_MODULE, edge_stores="cache_mib: 1, disk_mib: 64").replace(
        "regional_caches: [{region: us-east-1}]", WITH_A_DISK
    )
    assert WITH_A_DISK in text
    topology, folder = parse_topology(text, "small.yaml"), tmp_path_factory.mktemp("lab") / "state"
    with ProcessCluster.up(topology, folder, launch=warm_start.launch) as running:
        yield running


@pytest.fixture(scope="module")
def scene(cluster: ProcessCluster) -> Iterator[Scene]:
    scene = Scene(cluster)
    yield scene
    scene.close()
