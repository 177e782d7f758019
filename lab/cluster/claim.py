"""Who may have a state folder: one lab at a time. Before a new one begins, what a dead one left is ended and removed.

The record is written before anything is started, and under the folder's lock, so that two commands never both think that it is theirs.
"""

from collections.abc import Callable
from pathlib import Path

from lab.cluster.compose import ComposeCluster
from lab.cluster.ending import end_processes
from lab.cluster.state_file import ContainersRecord, LabRecord, Record, StateDir
from lab.errors import LabError


def claim(state: StateDir, record: Record, check: Callable[[], None]) -> int:
    """Makes the folder this lab's, unless one runs there. What a dead one left (a reboot, kill -9) is removed; how many processes of it had to be ended."""
    state.check_is_ours()
    was_there = state.path.exists()
    state.make()
    try:
        with state.locked():
            refuse_if_used(state)
            ended = end_processes(state, lambda: None).stopped
            check()
            state.clear()
            state.write(record)
    except BaseException:
        if not was_there:
            _remove_if_empty(state.path)
        raise
    return ended


def refuse_if_used(state: StateDir) -> None:
    """LabError when a lab runs here, or is being started; it says which, and what to do."""
    before = state.read()
    if before is None:
        return
    if before.is_being_started:
        pid = before.starter.pid if before.starter else 0
        raise LabError(
            f"another command (process {pid}) is starting a lab in {state.path} right now: {_name(before)}; wait for it, or end it with `cdnlab down`"
        )
    if isinstance(before, LabRecord) and before.running:
        count = f"{len(before.running)} of {len(before.nodes)} processes"
        raise LabError(
            f"a lab is running already: {_name(before)} ({count}) in {state.path}; see `cdnlab status`, `cdnlab down`"
        )
    if isinstance(before, ContainersRecord):
        _refuse_containers(state, before)


def _refuse_containers(state: StateDir, before: ContainersRecord) -> None:
    """What an interrupted start has left of containers is removed."""
    with ComposeCluster.of(before.project) as lab:
        if before.starter is None and lab.is_up:
            raise LabError(
                f"a lab is running already: {before.topology}, in containers (Compose project {before.project}), in {state.path}; see `cdnlab status`, `cdnlab down`"
            )
        lab.take_down()


def _name(record: Record) -> str:
    return record.topology if isinstance(record, ContainersRecord) else record.facts.topology


def _remove_if_empty(path: Path) -> None:
    """A refused start leaves no folder that was not there."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
