"""A lab of plain processes on loopback that is up: what runs of it, how each node is stopped and started, and how all of it ends.

The processes outlive whoever started them; `lab.json` in the state folder is how they are found again, and the mark that they carry (sweep.py)
for those that nobody came to write down. Bringing one up is processes.py's, and what only that needs is imported there: an agent stays small.
"""

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.cluster.disk_room import full_disk_line
from lab.cluster.ending import STOP_SECONDS, end_processes
from lab.cluster.interface import RETURN_SECONDS, Addresses, Executed, LabFacts, Limits, Stopped
from lab.cluster.launching import Child, Launch, environment, launch
from lab.cluster.log_tail import follow, last_lines
from lab.cluster.process_identity import end_all, identify, wait_until_gone
from lab.cluster.readiness import wait_until_node_is_live
from lab.cluster.state_file import LabRecord, NodeRecord, StateDir
from lab.cluster.status import LabStatus, NodeStatus, RunningNode, observe
from lab.cluster.sweep import Mark
from lab.errors import LabError, UsageError
from lab.topology.layout import HISTORY_FOLDER

EXEC_SECONDS = 30.0
LAST_LINES = 12
NOT_FOUND = 127


class RunningProcesses:
    """A lab of processes that somebody has brought up; `attach` finds it by its state folder. It is taken down where a `with` of it ends, or by `take_down`."""

    def __init__(self, state: StateDir, launch: Launch = launch) -> None:
        self.state = state
        self._launch = launch
        self._children: dict[str, Child] = {}

    @classmethod
    def attach(cls, state_dir: Path) -> Self:
        """The lab whose state is in `state_dir`; LabError when there is none."""
        found = cls(StateDir(state_dir))
        if not found.record.running:
            raise LabError(
                f"the lab in {found.state.path} is not running any more; `cdnlab down` removes what is left of it"
            )
        return found

    @property
    def record(self) -> LabRecord:
        """What was started here and with which addresses."""
        record = self.state.read_processes()
        if record is None:
            raise LabError(f"no lab is running here ({self.state.path} has none): start one with `cdnlab up`")
        return record

    @property
    def facts(self) -> LabFacts:
        return self.record.facts

    @property
    def is_up(self) -> bool:
        return self.state.read_processes() is not None

    @property
    def mark(self) -> Mapping[str, str]:
        return Mark(str(self.state.path), self.record.token).environment()

    def status(self) -> LabStatus:
        """Every node as it is now."""
        facts = self.facts
        return observe(self.nodes(), facts.zone, facts.endpoint)

    def nodes(self) -> tuple[RunningNode, ...]:
        self._reap()
        return tuple(node.observed() for node in self.record.nodes)

    def node(self, node_id: str) -> NodeRecord:
        """UsageError for an unknown id."""
        return _find(self.record, node_id)

    def addresses(self, node_id: str) -> Addresses:
        node = self.node(node_id)
        return Addresses(node.http, node.admin, node.dns)

    def kill(self, node_id: str) -> None:
        """SIGKILL, and waits until the process is gone. LabError when the node is not running."""
        self.signal(node_id, signal.SIGKILL)
        process = self.node(node_id).process
        if process is not None:
            wait_until_gone([process], STOP_SECONDS, self._reap)

    def pause(self, node_id: str) -> None:
        self.signal(node_id, signal.SIGSTOP)

    def unpause(self, node_id: str) -> None:
        self.signal(node_id, signal.SIGCONT)

    def signal(self, node_id: str, number: signal.Signals) -> None:
        node = self.node(node_id)
        if node.process is None or not node.process.send(number):
            raise LabError(f"{node_id} is not running")

    def stop(self, node_id: str) -> None:
        """Has a node end in order, and waits until its process is gone. Does nothing when it is not running."""
        process = self.node(node_id).process
        if process is not None:
            end_all([process], STOP_SECONDS, self._reap)

    def start(self, node_id: str) -> None:
        """Starts a node that is not running, with the flags and the state folder it had; returns at once."""
        with self.state.locked():
            record = self.record
            node = _find(record, node_id)
            if node.is_running:
                raise LabError(f"{node_id} is running already")
            marked = {**environment(), **self.mark}
            with self.state.open_log(node_id) as log:
                child = self._launch(node.command, log, marked)
            self._children[node_id] = child
            limit_memory(child.pid, node.memory_mib)
            self.state.write(record.with_process(node_id, identify(child.pid)))

    def restart(self, node_id: str) -> None:
        self.stop(node_id)
        self.start(node_id)

    def set_limits(self, node_id: str, limits: Limits) -> None:
        """Of memory: what a process asks for beyond it is refused to it. A share of the processors cannot be kept without containers."""
        if limits.cpus:
            raise LabError(
                "processes have no limit of processors; a lab in containers has: `cdnlab up --runner docker`"
            )
        if limits.memory_mib is None:
            return
        with self.state.locked():
            record = self.record
            node = _find(record, node_id)
            if node.process is not None and node.is_running:
                limit_memory(node.process.pid, limits.memory_mib)
            self.state.write(record.with_node(replace(node, memory_mib=limits.memory_mib)))

    def limits(self, node_id: str) -> Limits:
        return Limits(memory_mib=self.node(node_id).memory_mib)

    def exec(self, node_id: str, command: Sequence[str]) -> Executed:
        """In the node's folder, with the environment of the lab's programs."""
        if not self.node(node_id).is_running:
            raise LabError(f"{node_id} is not running")
        folder = self.state.log_of(node_id).parent
        try:
            done = subprocess.run(
                list(command),
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=EXEC_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{command[0]} beside {node_id} has not ended within {EXEC_SECONDS:g} s") from error
        except OSError as error:  # as a shell says it, and an engine
            return Executed(NOT_FOUND, f"{command[0]}: {error.strerror}\n")
        return Executed(done.returncode, done.stdout.decode("utf-8", "replace"))

    def logs(self, node_id: str, count: int, *, is_followed: bool = False) -> Iterator[str]:
        """The last `count` lines of a node's log and, if wanted, what follows until it ends."""
        path = self.state.log_of(self.node(node_id).id)
        yield from last_lines(path, count)
        if is_followed:
            yield from follow(path, lambda: not self.node(node_id).is_running)

    def fetch_history(self, node_id: str, folder: Path) -> None:
        source = self.state.log_of(self.node(node_id).id).parent / HISTORY_FOLDER
        try:
            for path in sorted(source.iterdir()) if source.is_dir() else ():
                if path.is_file():
                    shutil.copyfile(path, folder / path.name)
        except OSError as error:
            raise LabError(f"the history of {node_id} cannot be copied: {error}") from error

    def wait_until_live(self, node_id: str, timeout_seconds: float = RETURN_SECONDS) -> NodeStatus:
        """The node's status once it has its lease; LabError when it has not in time, or has died."""
        wanted = self.node(node_id).id
        return wait_until_node_is_live(
            self.status, wanted, lambda: self._check_is_alive(self.node(wanted)), timeout_seconds
        )

    def check_nobody_has_died(self) -> None:
        """LabError with the exit status and the last words of a node that has."""
        for node in self.record.nodes:
            self._check_is_alive(node)

    def take_down(self) -> Stopped:
        """Ends everything and removes the state folder. Does nothing when that has been done."""
        with self.state.locked():
            self.state.begin_to_end()
            stopped = end_processes(self.state, self._reap)
            self.state.remove()
        return stopped

    def abandon(self) -> Stopped:
        """Ends everything; logs stay where they are."""
        with self.state.locked():
            stopped = end_processes(self.state, self._reap)
            record = self.state.read_processes()
            if record is not None:
                self.state.write(replace(record, starter=None))
        return stopped

    def close(self) -> None:
        """Ends the observation, not the lab."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.take_down()

    def _reap(self) -> None:
        """Children that have ended are zombies until somebody asks for their exit status."""
        for child in self._children.values():
            child.poll()

    def _check_is_alive(self, node: NodeRecord) -> None:
        self._reap()
        if node.is_running:
            return
        child = self._children.get(node.id)
        path = self.state.log_of(node.id)
        lines = "\n".join(f"  | {line}" for line in last_lines(path, LAST_LINES)) or "  | (it said nothing)"
        raise LabError(f"{node.id} {_describe_end(child)}\n{lines}\nwhole log: {path}{full_disk_line(self.state.path)}")


def _find(record: LabRecord, node_id: str) -> NodeRecord:
    node = record.node(node_id)
    if node is None:
        raise UsageError(f"no node {node_id!r}: there are {', '.join(each.id for each in record.nodes)}")
    return node


def limit_memory(pid: int, memory_mib: int) -> None:
    """How much data a process may have (RLIMIT_DATA); the hard limit stays, so that it can be raised again. Linux only."""
    if sys.platform != "linux":
        if memory_mib:
            raise LabError("the memory of a process can be limited on Linux only; containers have limits everywhere")
        return
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        wanted = memory_mib << 20 if memory_mib else hard
        resource.prlimit(pid, resource.RLIMIT_DATA, (wanted, hard))
    except ProcessLookupError:
        return  # it has ended: whoever asks how it is hears of that
    except (OSError, ValueError) as error:
        raise LabError(f"the memory of process {pid} cannot be limited to {memory_mib} MiB: {error}") from error


def _describe_end(child: Child | None) -> str:
    if child is None or child.returncode is None:
        return "has ended"
    if child.returncode < 0:
        return f"was killed by {signal.Signals(-child.returncode).name}"
    return f"ended with status {child.returncode}"
