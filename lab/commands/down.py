"""`cdnlab down`: ends every process of the lab, removes its state, and says what it did. Doing it again does no harm."""

from pathlib import Path

from lab.cluster.compose import ComposeLab
from lab.cluster.processes import ProcessLab
from lab.cluster.state_file import StateDir
from lab.commands.up import describe_stop
from lab.errors import LabError
from lab.interrupts import uninterrupted


def run(*, state_dir: Path) -> int:
    state = StateDir(state_dir)
    record = state.read()
    if record is None:
        print(_nothing_here(state))
        return 0
    was_running = bool(record.running)
    with uninterrupted():
        stopped = ProcessLab(state).stop()
    print(
        describe_stop(stopped)
        if was_running
        else f"nothing was running; removed what an earlier lab left in {state.path}"
    )
    return 0


def _nothing_here(state: StateDir) -> str:
    try:
        compose = ComposeLab.find()
    except LabError:
        compose = None
    if compose is None:
        return f"no lab is running (nothing in {state.path})"
    compose.close()
    return f"no processes are running, but containers are (project {compose.project}): docker compose --project-name {compose.project} down"
