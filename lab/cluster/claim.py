"""Who may have a state folder: one lab at a time. Before a new one begins, what a dead one left is ended and removed.

The record is written before anything is started, and under the folder's lock, so that two commands never both think that it is theirs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.cluster.compose import ComposeCluster, Project, find_projects
from lab.cluster.ending import end_processes, recorded_processes
from lab.cluster.state_file import ContainersRecord, LabRecord, Record, StateDir, UnreadableRecordError
from lab.cluster.sweep import marked_processes, of_lab
from lab.errors import LabError

_TRIES = 20


def claim(state: StateDir, record: Record, check: Callable[[], None]) -> int:
    """Makes the folder this lab's, unless one runs there. What a dead one left (a reboot, kill -9) is removed; how many processes of it had to be ended."""
    state.check_is_ours()
    was_there = state.path.exists()
    try:
        with _made_and_locked(state):
            refuse_if_used(state)
            ended = end_processes(state, lambda: None).stopped
            check()
            state.empty()
            state.write(record)
    except BaseException:
        if not was_there:
            _remove_if_empty(state.path)
        raise
    return ended


@contextmanager
def _made_and_locked(state: StateDir) -> Iterator[None]:
    """A `down` may take the folder away between the two: without a folder nothing is locked, and two commands would think that it is theirs."""
    for _ in range(_TRIES):
        state.make()
        with state.locked() as is_there:
            if is_there:
                yield
                return
    raise LabError(
        f"{state.path} is taken away again and again by other commands: wait for them, or give another folder with --state"
    )


def refuse_if_used(state: StateDir) -> None:
    """LabError when a lab runs here, or is being started; it says which, and what to do. What an interrupted `up` or `down` has left runs, and is no lab."""
    try:
        before = state.read()
    except UnreadableRecordError:
        if _runs_of_another_version(state):
            raise
        return
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


def _runs_of_another_version(state: StateDir) -> bool:
    token, recorded = recorded_processes(state)
    project = state.read_remains().project
    return bool(recorded or of_lab(marked_processes(), state.path, token) or project or projects_of(state))


def _refuse_containers(state: StateDir, before: ContainersRecord) -> None:
    """What an interrupted command has left of containers is removed; and first of all Compose itself, which may go on without that command."""
    with ComposeCluster.of(before.project) as lab:
        if before.starter is None and lab.is_up:
            raise LabError(
                f"a lab is running already: {before.topology}, in containers (Compose project {before.project}), in {state.path}; see `cdnlab status`, `cdnlab down`"
            )
        end_processes(state, lambda: None)
        lab.take_down()


def projects_of(state: StateDir) -> list[Project]:
    """What runs in containers and names this folder as its own. LabError when an engine does not answer properly."""
    return [project for project in find_projects() if project.folder == str(state.path)]


def _name(record: Record) -> str:
    return record.topology if isinstance(record, ContainersRecord) else record.facts.topology


def _remove_if_empty(path: Path) -> None:
    """A refused start leaves no folder that was not there."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
