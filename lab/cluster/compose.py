"""A lab in containers: the Compose project that deploy/compose.yaml, or one made from another topology, runs.

Containers, networks and volumes are the lab's own by their labels, and nothing else is ever touched. Bringing one up is compose_up.py's;
how a container is read as a node container_facts.py's; what the engine's refusals mean engine.py's.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

import docker
from docker.models.containers import Container

from lab.cluster.container_archive import copy_files
from lab.cluster.container_facts import (
    CPU_PERIOD_MICROSECONDS,
    DEFAULT_ZONE,
    FOLDER_LABEL,
    LAB_LABEL,
    NODE_LABEL,
    PROJECT_LABEL,
    WORKING_FOLDER_LABEL,
    ContainerFacts,
    lab_facts,
    place_in_order,
    read_facts,
    read_limits,
    to_node,
)
from lab.cluster.container_layout import history_of
from lab.cluster.engine import ACTION_SECONDS, connect, engine_errors, unless_in_conflict
from lab.cluster.interface import RETURN_SECONDS, Addresses, Executed, LabFacts, Limits, NotPausedError, Stopped
from lab.cluster.population_sources import usable_sources
from lab.cluster.readiness import wait_until_node_is_live
from lab.cluster.removal import remove_project
from lab.cluster.state_file import StateDir
from lab.cluster.status import LabStatus, NodeStatus, RunningNode, observe
from lab.cluster.sweep import Mark
from lab.errors import LabError, UsageError
from lab.topology.layout import Role

# Compose's own variable for "which project".
PROJECT_VARIABLE = "COMPOSE_PROJECT_NAME"
# The engine's timeout counts from one line of a log to the next, and a quiet node is not a dead engine.
FOLLOW_TIMEOUT_SECONDS = 24 * 3600
STOP_SECONDS = 2
LAST_LINES = 12
# The engine takes no "none" for a limit that is there; -1 is without one.
_UNLIMITED = -1


@dataclass(frozen=True, slots=True, order=True)
class Project:
    """A Compose project that is a lab: its topology's name, the state folder of the command that brought it up (empty: somebody ran Compose),
    and the folder of its Compose file."""

    name: str
    lab: str
    folder: str
    working_folder: str


def find_projects() -> list[Project]:
    """Every lab that there is in containers, also when they are stopped. LabError when an engine does not answer properly."""
    client = connect()
    if client is None:
        return []
    try:
        labels = [container.labels for container in _containers(client)]
    finally:
        client.close()
    return sorted({_project(each) for each in labels})


def _project(labels: Mapping[str, str]) -> Project:
    return Project(
        name=labels.get(PROJECT_LABEL, ""),
        lab=labels.get(LAB_LABEL, "lab"),
        folder=labels.get(FOLDER_LABEL, ""),
        working_folder=labels.get(WORKING_FOLDER_LABEL, ""),
    )


class ComposeCluster:
    """The containers of one Compose project."""

    def __init__(self, client: docker.DockerClient, project: str, state: StateDir | None = None) -> None:
        """`state`: the folder that it was brought up from, which goes with it."""
        self._client = client
        self._state = state
        self.project = project

    @classmethod
    def of(cls, project: str, state: StateDir | None = None) -> Self:
        """LabError when there is no engine."""
        client = connect(ACTION_SECONDS)
        if client is None:
            raise LabError(
                f"no Docker engine answers, and the lab is in its containers (project {project}): start the engine, then do this again"
            )
        return cls(client, project, state)

    @classmethod
    def find(cls) -> Self | None:
        """The lab that Compose runs, if any; LabError when several do, or when the engine does not answer properly."""
        projects = [project.name for project in find_projects()]
        wanted = os.environ.get(PROJECT_VARIABLE)
        if wanted in projects or len(projects) == 1:
            return cls.of(wanted if wanted in projects else projects[0])
        if projects:
            raise LabError(
                f"several labs run in containers ({', '.join(sorted(projects))}): choose with {PROJECT_VARIABLE}"
            )
        return None

    @property
    def facts(self) -> LabFacts:
        nodes = self._facts_of_nodes()
        planes = [each for each in nodes.values() if each.labels["cdnlab.role"] == Role.CONTROL_PLANE]
        if not planes:
            raise LabError(f"the lab in containers has no control plane (project {self.project})")
        edges = [each for each in nodes.values() if each.labels["cdnlab.role"] == Role.EDGE]
        edges.sort(key=lambda each: place_in_order(to_node(each)))
        first = next((each for each in edges if each.published_address("--listen")), None)
        facts = lab_facts(planes[0], first)
        return replace(facts, populations=usable_sources(facts.populations))

    @property
    def is_up(self) -> bool:
        """Asked often: the engine only lists, and describes none of them."""
        label = [NODE_LABEL, f"{PROJECT_LABEL}={self.project}"]
        with engine_errors("the lab's containers cannot be listed"):
            return bool(self._client.api.containers(all=True, filters={"label": label}))

    @property
    def mark(self) -> Mapping[str, str]:
        """None for a lab of `docker compose up`: it belongs to no folder from which it is taken down."""
        return Mark(folder, "").environment() if (folder := self.folder) else {}

    @property
    def folder(self) -> str:
        """State folder of the command that brought it up; empty when somebody ran Compose."""
        return max((each.labels.get(FOLDER_LABEL, "") for each in self._nodes().values()), default="")

    @property
    def engine_id(self) -> str:
        """Which engine it is: another one may have a project of the same name."""
        with engine_errors("the engine cannot be asked"):
            return str(self._client.info().get("ID", ""))

    def nodes(self) -> tuple[RunningNode, ...]:
        nodes = [to_node(facts) for facts in self._facts_of_nodes().values()]
        return tuple(sorted(nodes, key=place_in_order))

    def status(self) -> LabStatus:
        nodes = self.nodes()
        control_plane = next((node for node in nodes if node.role is Role.CONTROL_PLANE), None)
        return observe(nodes, DEFAULT_ZONE, f"http://{control_plane.http}" if control_plane else "")

    def addresses(self, node_id: str) -> Addresses:
        node = self._node(node_id)
        return Addresses(node.http, node.admin, node.dns)

    def start(self, node_id: str) -> None:
        container = self._container(node_id)
        if container.status == "running":  # the engine would say nothing of it
            raise LabError(f"{node_id} is running already")
        with engine_errors(f"{node_id} cannot be started"):
            container.start()

    def stop(self, node_id: str) -> None:
        with engine_errors(f"{node_id} cannot be stopped"):
            self._container(node_id).stop(timeout=STOP_SECONDS)

    def restart(self, node_id: str) -> None:
        with engine_errors(f"{node_id} cannot be restarted"):
            self._container(node_id).restart(timeout=STOP_SECONDS)

    def kill(self, node_id: str) -> None:
        self.signal(node_id, signal.SIGKILL)
        with engine_errors(f"{node_id} does not end"):
            self._container(node_id).wait(timeout=ACTION_SECONDS)

    def pause(self, node_id: str) -> None:
        container = self._container(node_id)
        with (
            engine_errors(f"{node_id} cannot be paused"),
            unless_in_conflict(f"{node_id} is not running, or paused already"),
        ):
            container.pause()

    def unpause(self, node_id: str) -> None:
        container = self._container(node_id)
        if container.status != "paused":  # the engine answers that with a fault of its own (500)
            raise NotPausedError(f"{node_id} is not paused")
        with engine_errors(f"{node_id} cannot be unpaused"):
            container.unpause()

    def signal(self, node_id: str, number: signal.Signals) -> None:
        container = self._container(node_id)
        with engine_errors(f"{node_id} cannot be signalled"), unless_in_conflict(f"{node_id} is not running"):
            container.kill(signal=number.name)

    def set_limits(self, node_id: str, limits: Limits) -> None:
        container = self._container(node_id)
        with engine_errors(f"{node_id} cannot be limited"):
            if limits.cpus is not None:
                quota = int(limits.cpus * CPU_PERIOD_MICROSECONDS) if limits.cpus else _UNLIMITED
                container.update(cpu_period=CPU_PERIOD_MICROSECONDS, cpu_quota=quota)
            if limits.memory_mib is not None:
                memory = limits.memory_mib << 20 if limits.memory_mib else _UNLIMITED
                container.update(mem_limit=memory, memswap_limit=memory)

    def limits(self, node_id: str) -> Limits:
        return read_limits(self._container(node_id).attrs)

    def logs(self, node_id: str, count: int, *, is_followed: bool = False) -> Iterator[str]:
        """The last `count` lines and, if wanted, what follows."""
        container = self._container(node_id)
        with engine_errors(f"the log of {node_id} cannot be read"):
            if not is_followed:
                yield from container.logs(tail=count).decode("utf-8", "replace").splitlines()
                return
            self._client.api.timeout = FOLLOW_TIMEOUT_SECONDS
            for line in container.logs(tail=count, stream=True, follow=True):
                yield line.decode("utf-8", "replace").rstrip("\n")

    def exec(self, node_id: str, command: Sequence[str]) -> Executed:
        """What it prints comes when it has ended, which the engine waits for as long as for anything else."""
        container = self._container(node_id)
        with engine_errors(f"{command[0]} cannot be run in {node_id}"), unless_in_conflict(f"{node_id} is not running"):
            status, output = container.exec_run(list(command))
        return Executed(int(status or 0), cast(bytes, output or b"").decode("utf-8", "replace"))

    def fetch_history(self, node_id: str, folder: Path) -> None:
        container = self._container(node_id)
        what = f"the history of {node_id} cannot be copied"
        try:
            with engine_errors(what):
                copy_files(container, history_of(node_id), folder)
        except OSError as error:
            raise LabError(f"{what}: {error}") from error

    def wait_until_live(self, node_id: str, timeout_seconds: float = RETURN_SECONDS) -> NodeStatus:
        return wait_until_node_is_live(self.status, node_id, lambda: self._check_is_running(node_id), timeout_seconds)

    def take_down(self) -> Stopped:
        """Containers, networks and volumes that carry the lab's label in this project; LabError names what somebody else still uses."""
        if self._state is None:
            return self.remove(with_volumes=True)
        with self._state.locked():
            self._state.begin_to_end()
            stopped = self.remove(with_volumes=True)
            self._state.remove()
        return stopped

    def remove(self, *, with_volumes: bool) -> Stopped:
        """Volumes have what the lab remembers."""
        return remove_project(self._client, self.project, with_volumes=with_volumes)

    def abandon(self) -> Stopped:
        """Logs of containers go with the containers: whoever needs them has to ask before."""
        return self.remove(with_volumes=True)

    def published(self) -> frozenset[str]:
        """Addresses of this machine that the lab's containers have."""
        nodes = self._facts_of_nodes()
        return frozenset(address for each in nodes.values() for address in each.published.values())

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _check_is_running(self, node_id: str) -> None:
        if self._node(node_id).is_running:
            return
        lines = "\n".join(f"  | {line}" for line in self.logs(node_id, LAST_LINES)) or "  | (it said nothing)"
        raise LabError(f"the container of {node_id} has ended\n{lines}\nwhole log: `cdnlab logs {node_id}`")

    def _node(self, node_id: str) -> RunningNode:
        container = self._container(node_id)
        return to_node(read_facts(container.short_id, container.attrs))

    def _container(self, node_id: str) -> Container:
        """UsageError for an unknown id."""
        nodes = self._nodes()
        if node_id not in nodes:
            raise UsageError(f"no node {node_id!r}: there are {', '.join(sorted(nodes)) or 'none'}")
        return nodes[node_id]

    def _facts_of_nodes(self) -> dict[str, ContainerFacts]:
        return {node_id: read_facts(each.short_id, each.attrs) for node_id, each in self._nodes().items()}

    def _nodes(self) -> dict[str, Container]:
        ours = [each for each in _containers(self._client) if each.labels.get(PROJECT_LABEL, "") == self.project]
        return {each.labels[NODE_LABEL]: each for each in ours}


def _containers(client: docker.DockerClient) -> list[Container]:
    with engine_errors("the lab's containers cannot be listed"):
        return client.containers.list(all=True, filters={"label": NODE_LABEL}, ignore_removed=True)
