"""`cdnlab down`: ends everything of the lab, removes its state, and says what it did. Doing it again does no harm.

What belongs to the state folder is taken down: processes or containers. Where there is none, it is the lab that somebody started beside it with
`docker compose up`; a lab that belongs to another folder is only named.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cluster.agent_home import home_of
from lab.cluster.claim import projects_of
from lab.cluster.compose import ComposeCluster, Project, find_projects
from lab.cluster.ending import end_processes, remove_home
from lab.cluster.finding import elsewhere_line
from lab.cluster.interface import Stopped
from lab.cluster.other_labs import OtherLab, find_other_labs
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import ContainersRecord, LabRecord, StateDir, UnreadableRecordError
from lab.commands.what_ended import describe_stop
from lab.errors import LabError
from lab.interrupts import uninterrupted


@dataclass(frozen=True, slots=True)
class Ended:
    """What was done: of a lab, of what a dead one had left, or of containers that Compose runs; and the labs that run elsewhere."""

    lines: tuple[str, ...]
    stopped: Stopped | None = None
    others: tuple[OtherLab, ...] = ()

    def to_json(self) -> dict[str, object]:
        stopped = self.stopped or Stopped(0, 0, 0.0)
        return {
            "stopped": stopped.stopped,
            "killed": stopped.killed,
            "what": stopped.what,
            "seconds": round(stopped.seconds, 3),
            "elsewhere": [{"name": each.name, "where": each.where, "end_it": each.end_it} for each in self.others],
        }


def run(*, state_dir: Path, is_json: bool) -> int:
    state = StateDir(state_dir)
    with uninterrupted():
        ended = _take_down(state)
    print(json.dumps(ended.to_json(), indent=2) if is_json else "\n".join(ended.lines))
    return 0


def _take_down(state: StateDir) -> Ended:
    try:
        record = state.read()
    except UnreadableRecordError:
        return _take_down_of_another_version(state)
    match record:
        case ContainersRecord():
            return _told(_take_down_containers(state, record))
        case LabRecord():
            return _take_down_processes(state, record)
        case None:
            return _take_down_the_rest(state)


def _told(stopped: Stopped) -> Ended:
    return Ended((describe_stop(stopped),), stopped)


def _take_down_processes(state: StateDir, record: LabRecord) -> Ended:
    was_running = bool(record.running)
    stopped = ProcessCluster(state).take_down()
    if was_running or stopped.stopped:
        return _told(stopped)
    return Ended((f"nothing was running; removed what an earlier lab left in {state.path}",))


def _take_down_containers(state: StateDir, record: ContainersRecord) -> Stopped:
    """The record goes last: an engine that fails can be asked again."""
    with ComposeCluster.of(record.project, state) as lab:
        end_processes(state, lambda: None)  # what worked for the lab beside it
        return lab.take_down()


def _take_down_of_another_version(state: StateDir) -> Ended:
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
    return Ended((f"a lab of another version: {done}{left}",), _together(ended))


def _together(parts: Sequence[Stopped]) -> Stopped:
    """What was ended in several parts; called as the first of them that had any."""
    what = next((each.what for each in parts if each.stopped), "processes")
    numbers = (sum(each.stopped for each in parts), sum(each.killed for each in parts))
    return Stopped(*numbers, sum(each.seconds for each in parts), what)


def _take_down_the_rest(state: StateDir) -> Ended:
    """No record: processes whose record somebody has removed, or containers that no command has recorded."""
    with state.locked():
        strays = end_processes(state, lambda: None)
        state.remove_unbegun()
    if strays.stopped:
        return _told(strays)
    nothing = f"no lab is running (nothing in {state.path})"
    try:
        beside = [project for project in find_projects() if _is_beside(project, state)]
    except LabError as error:
        return Ended((f"{nothing}; {error}",))
    if beside:
        return _take_down_projects(beside)
    others = find_other_labs(state.path)
    return Ended((nothing, *map(elsewhere_line, others)), others=tuple(others))


def _is_beside(project: Project, state: StateDir) -> bool:
    """Whether somebody ran `docker compose up` in the folder where `.cdnlab` would be, or in its `deploy`."""
    here = state.path.parent
    return not project.folder and Path(project.working_folder) in (here, here / "deploy")


def _take_down_projects(projects: Sequence[Project]) -> Ended:
    lines, parts = [], []
    for project in projects:
        stopped = _take_down_project(project)
        parts.append(stopped)
        stays = f"its volumes stay: `docker compose --project-name {project.name} down --volumes` removes them"
        lines.append(
            f"{stopped.stopped} containers of project {project.name} ended in {stopped.seconds:.1f} s; {stays}"
        )
    return Ended(tuple(lines), _together(parts))


def _take_down_project(project: Project) -> Stopped:
    """As `docker compose down` does: what the lab has stored stays, as nobody has recorded it as passing. Its agent ends, if it has one."""
    with ComposeCluster.of(project.name) as lab:
        home = home_of(lab)
        end_processes(home, lambda: None)
        stopped = lab.remove(with_volumes=False)
        remove_home(home, lab)
        return stopped
