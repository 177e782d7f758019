"""Containers as a cluster: the suite that processes pass too, on the lab of `docker compose up`."""

from collections.abc import Iterator

import pytest

from lab.cluster.compose import ComposeCluster
from lab.cluster.interface import Cluster, Limits
from lab.errors import LabError
from tests.cluster_contract import EDGE, ClusterContract
from tests.docker.compose_lab import PROJECT, ComposeLab

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster(lab: ComposeLab) -> Iterator[ComposeCluster]:
    with ComposeCluster.of(PROJECT) as found:
        yield found


class TestContainers(ClusterContract):
    """Beside the suite, what only an engine can do."""

    @pytest.fixture(autouse=True)
    def keep_the_lab(self, lab: ComposeLab) -> None:
        self._lab = lab

    def memory_limit_mib(self, cluster: Cluster, node_id: str) -> int:
        return int(self._lab.container(node_id).attrs["HostConfig"]["Memory"]) >> 20

    def test_a_share_of_the_processors_can_be_given_and_taken_away(self, cluster: Cluster) -> None:
        cluster.set_limits(EDGE, Limits(cpus=0.5))
        host = self._lab.container(EDGE).attrs["HostConfig"]
        assert host["CpuQuota"] / host["CpuPeriod"] == 0.5
        cluster.set_limits(EDGE, Limits(cpus=0))
        assert self._lab.container(EDGE).attrs["HostConfig"]["CpuQuota"] <= 0

    def test_who_is_paused_cannot_be_paused_again_nor_unpaused_twice(self, cluster: Cluster) -> None:
        cluster.pause(EDGE)
        try:
            with pytest.raises(LabError, match="not running, or paused already"):
                cluster.pause(EDGE)
        finally:
            cluster.unpause(EDGE)
        with pytest.raises(LabError, match=f"{EDGE} is not paused"):
            cluster.unpause(EDGE)


def test_the_facts_are_those_of_the_default_topology(cluster: ComposeCluster) -> None:
    facts = cluster.facts
    assert (facts.topology, facts.viewer_port, facts.lease_seconds) == ("three-regions", 8080, 5.0)
    assert [each.region for each in facts.populations] == ["us-east-1", "eu-central-1", "ap-northeast-1"]
    assert facts.users == 30
