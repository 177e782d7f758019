"""`cdnlab down`: ends everything of the lab, removes its state, and says what it did. Doing it again does no harm.

What belongs to the state folder is taken down: processes or containers. Where there is none, it is the lab that somebody started beside it with
`docker compose up`; a lab that belongs to another folder is only named.
"""

from pathlib import Path

from lab.cluster.agent_home import home_of, remove_home
from lab.cluster.claim import end_processes, projects_of
from lab.cluster.compose import ComposeCluster, Project, find_projects
from lab.cluster.finding import elsewhere
from lab.cluster.interface import Stopped
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import ContainersRecord, LabRecord, StateDir, UnreadableRecordError
from lab.commands.what_ended import describe_stop
from lab.errors import LabError
from lab.interrupts import uninterrupted


def run(*, state_dir: Path) -> int:
    state = StateDir(state_dir)
    try:
        record = state.read()
    except UnreadableRecordError:
        with uninterrupted():
            print(_take_down_of_another_version(state))
        return 0
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
    with ComposeCluster.of(record.project, state) as lab:
        end_processes(state, lambda: None)  # what worked for the lab beside it
        return lab.take_down()


def _take_down_of_another_version(state: StateDir) -> str:
    """Its record cannot be read, or only partly: what carries its mark or its labels is ended, and the record goes last."""
    with state.locked():
        ended = [end_processes(state, lambda: None)]
        named = [name] if (name := state.read_remains().project) else []
        for project in dict.fromkeys([*named, *(each.name for each in projects_of(state))]):
            with ComposeCluster.of(project) as lab:
                ended.append(lab.remove(with_volumes=True))
        state.remove()
    done = "; ".join(describe_stop(each) for each in ended if each.stopped) or "nothing of it was running"
    left = f"; {state.path} has files that this version does not know: they stay" if state.path.exists() else ""
    return f"a lab of another version: {done}{left}"


def _take_down_the_rest(state: StateDir) -> str:
    """No record: processes whose record somebody has removed, or containers that no command has recorded."""
    with state.locked():
        strays = end_processes(state, lambda: None)
        state.remove_unbegun()
    if strays.stopped:
        return describe_stop(strays)
    try:
        beside = [project for project in find_projects() if _is_beside(project, state)]
    except LabError as error:
        return f"no lab is running (nothing in {state.path}); {error}"
    if beside:
        return "\n".join(_take_down_project(project) for project in beside)
    return "\n".join([f"no lab is running (nothing in {state.path})", *elsewhere(state)])


def _is_beside(project: Project, state: StateDir) -> bool:
    """Whether somebody ran `docker compose up` in the folder where `.cdnlab` would be, or in its `deploy`."""
    here = state.path.parent
    return not project.folder and Path(project.working_folder) in (here, here / "deploy")


def _take_down_project(project: Project) -> str:
    """As `docker compose down` does: what the lab has stored stays, as nobody has recorded it as passing. Its agent ends, if it has one."""
    with ComposeCluster.of(project.name) as lab:
        home = home_of(lab)
        end_processes(home, lambda: None)
        stopped = lab.remove(with_volumes=False)
        remove_home(home, lab)
    volumes = f"its volumes stay: `docker compose --project-name {project.name} down --volumes` removes them"
    return f"{stopped.stopped} containers of project {project.name} ended in {stopped.seconds:.1f} s; {volumes}"
