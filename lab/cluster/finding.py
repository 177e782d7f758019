"""Which lab is meant: the processes of the state folder, else the containers that Compose runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from lab.cluster.compose import ComposeLab
from lab.cluster.processes import ProcessLab
from lab.cluster.state_file import StateDir
from lab.cluster.status import LabStatus
from lab.errors import LabError


class RunningLab(Protocol):
    """A lab, whichever way it runs."""

    def status(self) -> LabStatus:
        """Every node as it is now."""

    def log_lines(self, node_id: str, count: int, *, is_followed: bool) -> Iterator[str]:
        """The last `count` lines of a node's log and, if wanted, what follows until it ends."""

    def close(self) -> None:
        """Ends the observation, not the lab."""


def find_lab(state_dir: Path) -> RunningLab:
    """LabError when no lab runs."""
    if StateDir(state_dir).read() is not None:
        return ProcessLab.attach(state_dir)
    compose = ComposeLab.find()
    if compose is not None:
        return compose
    raise LabError(
        f"no lab is running: neither processes (no {StateDir(state_dir).file}) nor containers; start one with `cdnlab up`"
    )


def find_lab_of_processes(state_dir: Path) -> ProcessLab:
    """For what can be done to processes only. LabError when no lab runs, or one of containers."""
    lab = find_lab(state_dir)
    if isinstance(lab, ProcessLab):
        return lab
    lab.close()
    raise LabError("the lab that runs is one of containers; this is for the processes of `cdnlab up`")
