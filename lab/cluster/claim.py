"""Who may have a state folder: one lab at a time. Before a new one begins, what a dead one left is ended and removed.

The record is written before anything is started, and under the folder's lock, so that two commands never both think that it is theirs.
"""

import time
from collections.abc import Callable
from pathlib import Path

from lab.cluster.agent_record import AgentFolder
from lab.cluster.compose import ComposeCluster
from lab.cluster.interface import Stopped
from lab.cluster.process_identity import end_all
from lab.cluster.state_file import ContainersRecord, LabRecord, Record, StateDir
from lab.cluster.sweep import marked_processes, of_lab, programs
from lab.errors import LabError

# A node that drains is given this long; what is left of a `down` of 2 s is for those that have to be killed.
STOP_SECONDS = 1.5
_SWEEPS = 5


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
            state.remove()
            state.make()
            state.write(record)
    except BaseException:
        if not was_there:
            _remove_if_empty(state.path)
        raise
    return ended


def refuse_if_used(state: StateDir) -> None:
    """LabError when a lab runs here, or is being started; it says which, and what to do. What an interrupted `up` or `down` has left runs, and is no lab."""
    before = state.read()
    if before is None:
        return
    if before.is_being_started:
        pid = before.starter.pid if before.starter else 0
        raise LabError(
            f"another command (process {pid}) is starting a lab in {state.path} right now: {_name(before)}; wait for it, or end it with `cdnlab down`"
        )
    if isinstance(before, LabRecord) and before.starter is None and before.running:
        count = f"{len(before.running)} of {len(before.nodes)} processes"
        raise LabError(
            f"a lab is running already: {_name(before)} ({count}) in {state.path}; see `cdnlab status`, `cdnlab down`"
        )
    if isinstance(before, ContainersRecord):
        _refuse_containers(state, before)


def _refuse_containers(state: StateDir, before: ContainersRecord) -> None:
    """What an interrupted command has left of containers is removed; and first of all Compose itself, which may go on without that command."""
    with ComposeCluster.of(before.project) as lab:
        if before.starter is None and lab.is_up:
            raise LabError(
                f"a lab is running already: {before.topology}, in containers (Compose project {before.project}), in {state.path}; see `cdnlab status`, `cdnlab down`"
            )
        end_processes(state, lambda: None)
        lab.take_down()


def _name(record: Record) -> str:
    return record.topology if isinstance(record, ContainersRecord) else record.facts.topology


def end_processes(state: StateDir, reap: Callable[[], None]) -> Stopped:
    """Ends what is recorded here, and what carries this lab's mark although nobody has recorded it. Logs stay where they are.

    The agent and its watchdog end with the others, and are not counted: they are no nodes."""
    began = time.monotonic()
    record = state.read_processes()
    token = record.token if record else ""
    recorded = [node.process for node in record.running if node.process] if record else []
    keepers = AgentFolder(state.path).running()
    marked = [each for each in of_lab(marked_processes(), state.path, token) if each.process not in keepers]
    strays = [each for each in programs(marked) if each not in recorded]
    killed = end_all([*keepers, *recorded, *strays], STOP_SECONDS, reap)
    for _ in range(_SWEEPS):  # what they had started themselves, or somebody was just starting
        left = [each.process for each in of_lab(marked_processes(), state.path, token) if each.process.is_alive]
        if not left:
            break
        end_all(left, STOP_SECONDS, reap)
    reap()
    return Stopped(len(recorded) + len(strays), killed, time.monotonic() - began)


def _remove_if_empty(path: Path) -> None:
    """A refused start leaves no folder that was not there."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
