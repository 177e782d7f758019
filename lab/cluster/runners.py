"""How each of the ways to run a topology brings one up."""

from collections.abc import Callable
from pathlib import Path

from lab.cluster.compose_up import bring_up_containers
from lab.cluster.interface import Cluster, Say
from lab.cluster.processes import ProcessCluster
from lab.runner import Runner
from lab.topology.model import Topology

BringUp = Callable[[Topology, Path, Say], Cluster]
"""Returns when every node is live; LabError, and nothing left running, when that fails."""

BRING_UP: dict[Runner, BringUp] = {Runner.PROCESSES: ProcessCluster.up, Runner.DOCKER: bring_up_containers}
