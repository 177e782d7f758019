"""Which lab is meant: what the state folder says, else the containers that Compose runs."""

from pathlib import Path

from lab.cluster.compose import ComposeCluster
from lab.cluster.interface import Cluster
from lab.cluster.other_labs import OtherLab, find_other_labs
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import ContainersRecord, LabRecord, StateDir
from lab.errors import LabError


def find_lab(state_dir: Path) -> Cluster:
    """LabError when no lab runs; it names those that run elsewhere."""
    state = StateDir(state_dir)
    record = state.read()
    if isinstance(record, ContainersRecord):
        return _containers(state, record)
    if record is not None:
        return ProcessCluster.attach(state_dir)
    compose = ComposeCluster.find()
    if compose is not None:
        return compose
    raise LabError("\n".join([no_lab_here(state), *elsewhere(state)]))


def _containers(state: StateDir, record: ContainersRecord) -> ComposeCluster:
    """LabError when they are gone: somebody has removed them by hand."""
    lab = ComposeCluster.of(record.project, state)
    if not lab.is_up:
        lab.close()
        raise LabError(
            f"the lab in {state.path} has no containers any more (Compose project {record.project}); `cdnlab down` removes what is left of it"
        )
    return lab


def find_lab_if_any(state_dir: Path) -> Cluster | None:
    """The same for who brings one up otherwise: None when there is none, or only what is left of one."""
    record = StateDir(state_dir).read()
    if isinstance(record, LabRecord) and not record.running:
        return None
    return find_lab(state_dir) if record is not None else ComposeCluster.find()


def no_lab_here(state: StateDir) -> str:
    return f"no lab is running: neither processes (no {state.file}) nor containers; start one with `cdnlab up`"


def elsewhere(state: StateDir) -> list[str]:
    """A line for each lab that runs on this machine, but not here."""
    return [elsewhere_line(lab) for lab in find_other_labs(state.path)]


def elsewhere_line(lab: OtherLab) -> str:
    """Which lab it is, and how it ends."""
    return f"elsewhere: {lab}; `{lab.end_it}` ends it"


def find_lab_of_processes(state_dir: Path) -> ProcessCluster:
    """For what can be done to processes only. LabError when no lab runs, or one of containers."""
    lab = find_lab(state_dir)
    if isinstance(lab, ProcessCluster):
        return lab
    lab.close()
    raise LabError("the lab that runs is one of containers; this is for the processes of `cdnlab up`")
