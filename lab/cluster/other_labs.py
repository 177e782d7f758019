"""Which other labs run on this machine, so that "taken" and "not here" can say by whom and where.

Labs of processes are found by the mark that their processes carry (sweep.py), labs in containers by their labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.cluster.agent_record import AgentFolder
from lab.cluster.compose import ComposeCluster, find_projects
from lab.cluster.state_file import LabRecord, StateDir
from lab.cluster.sweep import marked_processes, programs
from lab.errors import LabError


@dataclass(frozen=True, slots=True)
class OtherLab:
    """One that runs: how it is told from others, the command that ends it, and what it listens on (host:port)."""

    name: str
    where: str
    end_it: str
    addresses: frozenset[str]

    def __str__(self) -> str:
        return f"the lab {self.name} {self.where}"


def find_other_labs(but: Path | None = None) -> list[OtherLab]:
    """Those of this user, without the one whose state is in `but`; those in containers last."""
    marked = marked_processes()
    folders = sorted({each.mark.folder for each in marked} - ({str(but)} if but else set()))
    labs = []
    for folder in folders:
        keepers = AgentFolder(Path(folder)).running()
        count = len(programs(each for each in marked if each.mark.folder == folder and each.process not in keepers))
        if count:  # else only the agent of a lab in containers
            labs.append(_of_processes(Path(folder), count))
    return [*labs, *_in_containers()]


def _of_processes(folder: Path, count: int) -> OtherLab:
    record = _read(folder)
    name = record.facts.topology if record else "(without a record)"
    # Every address is on the command line of the node that listens on it.
    words = {word for node in record.nodes for word in node.command if ":" in word} if record else set()
    return OtherLab(name, f"in {folder} ({count} processes)", _down(str(folder)), frozenset(words))


def _down(folder: str) -> str:
    return f"cdnlab down --state {folder}"


def _read(folder: Path) -> LabRecord | None:
    try:
        return StateDir(folder).read_processes()
    except LabError:  # of another version, or not readable
        return None


def _in_containers() -> Iterable[OtherLab]:
    """None when no engine answers."""
    try:
        for project in find_projects():
            with ComposeCluster.of(project.name) as cluster:
                addresses = cluster.published()
            where = f"in containers (Compose project {project.name})"
            by_compose = f"docker compose --project-name {project.name} down"
            yield OtherLab(project.lab, where, _down(project.folder) if project.folder else by_compose, addresses)
    except LabError:
        return
