"""`lab.json`: what runs, so that another command can find it, and so that nothing is lost when the one who started it is killed.

Written anew as each process is started; replaced in one step, so that a reader never sees half of it.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from lab.cluster.folder_lock import folder_lock
from lab.cluster.foreign_record import Remains, read_remains
from lab.cluster.interface import LabFacts, PopulationRecord
from lab.cluster.process_identity import ProcessIdentity, identify
from lab.cluster.secret_files import write_secret
from lab.cluster.status import RunningNode
from lab.errors import LabError
from lab.topology.layout import Layout, NodeSpec, Role

FILE_NAME = "lab.json"
FORMAT_VERSION = 3
# Everything that a lab creates directly in its state folder; nothing else is ever removed from there.
OWN_FOLDERS = frozenset({"agent", "compose", "nodes", "tls"})
OWN_NAMES = OWN_FOLDERS | {FILE_NAME, "routing-table.json", "secret-access-key", "wan.yaml"}


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node of a lab of processes: its place and addresses, how to start it again, and the process that it is now."""

    id: str
    role: Role
    region: str
    pop: str
    http: str
    admin: str
    dns: str
    command: tuple[str, ...]
    process: ProcessIdentity | None = None
    memory_mib: int = 0
    """What it may have at most; 0 for no limit."""
    advertised: str = ""
    """Where viewers, tiers or resolvers find it."""

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_alive

    def observed(self) -> RunningNode:
        place = (self.region, self.pop, self.http, self.admin, self.dns)
        is_running = self.is_running
        pid = self.process.pid if self.process and is_running else None
        return RunningNode(self.id, self.role, *place, is_running, pid=pid, advertised=self.advertised)


@dataclass(frozen=True, slots=True)
class LabRecord:
    """Everything about a lab of processes that outlives the command that started it.

    It is there before the first process is: what is to run, and the token that all of it will carry (sweep.py).
    """

    facts: LabFacts
    nodes: tuple[NodeRecord, ...]
    token: str
    starter: ProcessIdentity | None
    """The command that is bringing it up, or taking it down; None while it is up."""

    def node(self, node_id: str) -> NodeRecord | None:
        return next((node for node in self.nodes if node.id == node_id), None)

    def with_node(self, changed: NodeRecord) -> "LabRecord":
        return replace(self, nodes=tuple(changed if node.id == changed.id else node for node in self.nodes))

    def with_process(self, node_id: str, process: ProcessIdentity | None) -> "LabRecord":
        nodes = (replace(node, process=process) if node.id == node_id else node for node in self.nodes)
        return replace(self, nodes=tuple(nodes))

    @property
    def running(self) -> list[NodeRecord]:
        return [node for node in self.nodes if node.is_running]

    @property
    def is_being_started(self) -> bool:
        return self.starter is not None and self.starter.is_alive


@dataclass(frozen=True, slots=True)
class ContainersRecord:
    """A lab in containers that a command has brought up from here: what it is called, and under which Compose project its containers are."""

    topology: str
    project: str
    starter: ProcessIdentity | None
    is_agents_own: bool = False
    """No command has brought it up: the folder is there for the agent alone, and goes with it (agent_home.py)."""

    @property
    def is_being_started(self) -> bool:
        return self.starter is not None and self.starter.is_alive


Record = LabRecord | ContainersRecord


class UnreadableRecordError(LabError):
    """It is of another version, or broken: nothing can be done with its lab but to end it."""


def make_record(
    layout: Layout, nodes: Iterable[NodeSpec], python: str, token: str = "", starter: ProcessIdentity | None = None
) -> LabRecord:
    """What will run."""
    topology = layout.topology
    populations = (
        PopulationRecord(
            region=each.region,
            client_subnet=each.client_subnet,
            users=each.users,
            source=layout.range.viewers(number) if topology.has_relays else "",
        )
        for number, each in enumerate(topology.populations, start=1)
    )
    facts = LabFacts(
        topology=topology.name,
        zone=topology.zone,
        endpoint=f"http://{layout.api}",
        shared_http=layout.shared_http,
        viewer_port=topology.ports.viewer,
        lease_seconds=topology.timing.lease_seconds,
        populations=tuple(populations),
        seed=topology.seed,
    )
    return LabRecord(facts, tuple(_node_record(spec, python) for spec in nodes), token, starter)


def _node_record(spec: NodeSpec, python: str) -> NodeRecord:
    command = (python, "-m", spec.module, *spec.flags)
    return NodeRecord(
        id=spec.id,
        role=spec.role,
        region=spec.region,
        pop=spec.pop,
        http=spec.http,
        admin=spec.admin,
        dns=spec.dns,
        command=command,
        advertised=spec.advertised.content,
    )


class StateDir:
    """The folder that a lab lives in."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def file(self) -> Path:
        return self.path / FILE_NAME

    def log_of(self, node_id: str) -> Path:
        return self.path / "nodes" / node_id / "log"

    def open_log(self, node_id: str) -> BinaryIO:
        """For a node to write to, after what it wrote before."""
        path = self.log_of(node_id)
        with self._usable():
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("ab")

    def check_is_ours(self) -> None:
        """LabError when the folder holds something that no lab has put there."""
        with self._usable():
            if not self.path.exists():
                return
            if not self.path.is_dir():
                raise LabError(f"{self.path} is not a folder; give another one with --state")
            names = sorted(entry.name for entry in self.path.iterdir())
            strangers = [name for name in names if name not in OWN_NAMES and not name.startswith(f"{FILE_NAME}.")]
        if strangers:
            raise LabError(
                f"{self.path} holds {strangers[0]!r}, which is not a lab's; give another folder with --state"
            )

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Nobody else changes the lab meanwhile. Whether the folder is there."""
        with ExitStack() as held:
            with self._usable():
                is_there = held.enter_context(folder_lock(self.path))
            yield is_there

    def make(self) -> None:
        """The folder, if it is not there."""
        with self._usable():
            self.path.mkdir(parents=True, exist_ok=True)

    def write(self, record: Record) -> None:
        """Takes the place of what was there in one step."""
        fresh = self._fresh()
        with self._usable():
            write_secret(fresh, to_json(record).encode())
            os.replace(fresh, self.file)

    def begin_to_end(self) -> None:
        """Whoever finds what is left when this command is killed knows that it is no lab any more."""
        record = self.read()
        if record is not None:
            self.write(replace(record, starter=identify(os.getpid())))

    def read_processes(self) -> LabRecord | None:
        """The record, if it is one of processes."""
        record = self.read()
        return record if isinstance(record, LabRecord) else None

    def read(self) -> Record | None:
        """None when no lab was started here; UnreadableRecordError when its record is of another version, or broken."""
        try:
            with self._usable():
                return from_json(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UnreadableRecordError(
                f"{self.file} cannot be read ({error}); `cdnlab down --state {self.path}` ends what runs of that lab, and removes it"
            ) from error

    def read_remains(self) -> Remains:
        """What can be known of a record that cannot be read; nothing when there is none."""
        try:
            with self._usable():
                return read_remains(self.file.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return Remains()

    def _fresh(self) -> Path:
        """Where this process writes before it takes the file's place; another command may be writing too."""
        return self.path / f"{FILE_NAME}.{os.getpid()}"

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """LabError when the system refuses. That a file is not there is for the caller to judge, as is one that is there already."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise LabError(f"{self.path} cannot be used: {error.strerror}; give another folder with --state") from error

    def remove(self) -> None:
        """Only what a lab creates, lab.json last; the folder itself when nothing else is in it."""
        self.empty()
        self._remove_if_empty()

    def remove_unbegun(self) -> None:
        """What a command leaves that was killed before it had written the record: no more, as without a record nothing says that the rest is a lab's."""
        if self.path.is_dir() and not self.file.exists():
            self._remove_unfinished()
            self._remove_if_empty()

    def _remove_unfinished(self) -> None:
        for unfinished in self.path.glob(f"{FILE_NAME}.*"):
            unfinished.unlink(missing_ok=True)

    def _remove_if_empty(self) -> None:
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def empty(self) -> None:
        """The same, but the folder stays, and with it the lock that somebody has on it."""
        for name in OWN_FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        self._remove_unfinished()
        for name in sorted(OWN_NAMES - OWN_FOLDERS - {FILE_NAME}):
            (self.path / name).unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)


def to_json(record: Record) -> str:
    return json.dumps({"version": FORMAT_VERSION, **asdict(record)}, indent=1) + "\n"


def from_json(text: str) -> Record:
    document = json.loads(text)
    if not isinstance(document, dict) or document.pop("version", None) != FORMAT_VERSION:
        raise ValueError("written by another version")
    starter = _identity(document.pop("starter"))
    if "project" in document:
        return ContainersRecord(**document, starter=starter)
    facts = document.pop("facts")
    populations = tuple(PopulationRecord(**each) for each in facts.pop("populations"))
    nodes = tuple(_node_from_json(each) for each in document.pop("nodes"))
    return LabRecord(LabFacts(**facts, populations=populations), nodes, starter=starter, **document)


def _node_from_json(document: dict[str, Any]) -> NodeRecord:
    process = _identity(document.pop("process"))
    command = tuple(document.pop("command"))
    role = Role(document.pop("role"))
    return NodeRecord(**document, role=role, command=command, process=process)


def _identity(document: dict[str, Any] | None) -> ProcessIdentity | None:
    return ProcessIdentity(**document) if document else None
