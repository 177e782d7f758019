"""`python -m lab.agent.containers`: the agent of a lab of containers, in all else like that of processes."""

from lab.agent.command_line import run_agent
from lab.cluster.compose import ComposeCluster
from lab.cluster.interface import Cluster
from lab.cluster.state_file import ContainersRecord, StateDir
from lab.errors import LabError


def open_containers(state: StateDir) -> Cluster:
    """The lab whose record is in the folder. LabError when there is none."""
    record = state.read()
    if not isinstance(record, ContainersRecord):
        raise LabError(f"no lab of containers is in {state.path}")
    return ComposeCluster.of(record.project)


if __name__ == "__main__":
    run_agent("lab.agent.containers", open_containers)
