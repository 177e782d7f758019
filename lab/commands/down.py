"""`cdnlab down`: ends everything of the lab, removes its state, and says what it did. Doing it again does no harm.

What belongs to the state folder is taken down: processes or containers. Where there is none, it is the lab that somebody started with
`docker compose up`, if there is one; a lab that belongs to another folder is only named.
"""

from pathlib import Path

from lab.cluster.claim import end_processes
from lab.cluster.compose import ComposeCluster, Project, find_projects
from lab.cluster.finding import elsewhere
from lab.cluster.interface import Stopped
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import ContainersRecord, LabRecord, StateDir
from lab.commands.up import describe_stop
from lab.errors import LabError
from lab.interrupts import uninterrupted


def run(*, state_dir: Path) -> int:
    state = StateDir(state_dir)
    record = state.read()
    with uninterrupted():
        match record:
            case ContainersRecord():
                print(describe_stop(_take_down_containers(state, record)))
            case LabRecord():
                print(_take_down_processes(state, record))
            case None:
                print(_take_down_the_rest(state))
    return 0


def _take_down_processes(state: StateDir, record: LabRecord) -> str:
    was_running = bool(record.running)
    stopped = ProcessCluster(state).take_down()
    if was_running or stopped.stopped:
        return describe_stop(stopped)
    return f"nothing was running; removed what an earlier lab left in {state.path}"


def _take_down_containers(state: StateDir, record: ContainersRecord) -> Stopped:
    """The record goes last: an engine that fails can be asked again."""
    with state.locked(), ComposeCluster.of(record.project) as lab:
        end_processes(state, lambda: None)  # the agent
        stopped = lab.take_down()
        state.remove()
    return stopped


def _take_down_the_rest(state: StateDir) -> str:
    """No record: processes whose record somebody has removed, or containers that no command has recorded."""
    strays = end_processes(state, lambda: None)
    if strays.stopped:
        return describe_stop(strays)
    try:
        unrecorded = [project for project in find_projects() if not project.folder]
    except LabError as error:
        return "\n".join([f"no lab is running (nothing in {state.path}); {error}", *elsewhere(state)])
    if len(unrecorded) == 1:
        return _take_down_project(unrecorded[0])
    names = [
        f"containers of project {each.name}: docker compose --project-name {each.name} down" for each in unrecorded
    ]
    return "\n".join([f"no lab is running (nothing in {state.path})", *names, *elsewhere(state)])


def _take_down_project(project: Project) -> str:
    """As `docker compose down` does: what the lab has stored stays, as nobody has recorded it as passing."""
    with ComposeCluster.of(project.name) as lab:
        stopped = lab.remove(with_volumes=False)
    volumes = f"its volumes stay: `docker compose --project-name {project.name} down --volumes` removes them"
    return f"{stopped.stopped} containers of project {project.name} ended in {stopped.seconds:.1f} s; {volumes}"
