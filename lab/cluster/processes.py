"""A lab of plain processes on loopback: starts them all at once, knows when one has died, and leaves nothing behind.

The processes outlive whoever started them; `lab.json` in the state folder is how they are found again. What "ready" means is
readiness.py's; which addresses and flags, topology/layout.py's.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import lab
from lab.cluster.log_tail import follow, last_lines
from lab.cluster.process_identity import end_all, identify, wait_until_gone
from lab.cluster.readiness import wait_until_ready
from lab.cluster.sockets import check_addresses_are_free
from lab.cluster.state_file import LabRecord, NodeRecord, StateDir, make_record, write_routing_table, write_secrets
from lab.cluster.status import LEASED_ROLES, LabStatus, NodeStatus, observe, observe_itself
from lab.errors import LabError, UsageError
from lab.topology.layout import Layout, routing_table
from lab.topology.model import Topology

# A node that drains is given this long; what is left of a `down` of 2 s is for those that have to be killed.
STOP_SECONDS = 1.5
START_SECONDS = 30.0
RETURN_SECONDS = 20.0
LAST_LINES = 12
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "SYSTEMROOT", "CDNLAB_EDGE_CODE")
# gRPC's own library writes lines about ordinary ends of streams among the node's log lines.
_SET = {"GRPC_VERBOSITY": "ERROR"}

Say = Callable[[str], None]


class Child(Protocol):
    """The part of `subprocess.Popen` that a lab needs of a process that it has started."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...


Launch = Callable[[Sequence[str], IO[bytes]], Child]
"""Starts a command that goes on when whoever started it has ended; what it prints goes to a file."""


def launch(command: Sequence[str], log: IO[bytes]) -> Child:
    """As a program of its own."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=importable_from(),
        env=environment(),
        start_new_session=True,
    )


def say_nothing(_text: str) -> None:
    """For those who do not want to hear of progress."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """What taking a lab down came to."""

    stopped: int
    killed: int
    seconds: float


class ProcessLab:
    """A running lab of processes. For scenarios and tests:

        topology = read_topology(shipped_topology("default"), loopback="127.15.0.0/16")
        with ProcessLab.up(topology, state_dir) as lab:     # every node is live when this returns
            status = lab.status()                           # LabStatus; .to_json() is `cdnlab status --json`
            lab.kill_node("edge-iad89-p1-1")                # SIGKILL by default; SIGSTOP, SIGCONT, SIGTERM as well
            lab.start_node("edge-iad89-p1-1")               # the same node again, as it was first started
            lab.wait_until_live("edge-iad89-p1-1")          # leased and caught up
        # everything has ended and the state folder is gone, also when something raised

    `ProcessLab.attach(state_dir)` is the lab that another command brought up; it is not taken down on exit unless `stop` is called.
    """

    def __init__(self, state: StateDir, launch: Launch = launch) -> None:
        self.state = state
        self._launch = launch
        self._children: dict[str, Child] = {}

    @classmethod
    def up(cls, topology: Topology, state_dir: Path, say: Say = say_nothing, launch: Launch = launch) -> Self:
        """Starts every node and returns when all are live. LabError, and nothing left running, when that fails."""
        state = StateDir(state_dir)
        layout = Layout(topology, state.path)
        nodes = layout.nodes()
        claim(state, make_record(layout, nodes, sys.executable), lambda: check_addresses_are_free(nodes))
        started = cls(state, launch)
        try:
            write_routing_table(layout.routing_table_path, routing_table(topology))
            write_secrets(layout, nodes)
            for node in nodes:
                started.start_node(node.id)
            say(f"{len(nodes)} processes started")
            wait_until_ready(started.status, started.check_nobody_has_died, START_SECONDS)
        except BaseException:
            started.end_processes()
            raise
        return started

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
        record = self.state.read()
        if record is None:
            raise LabError(f"no lab is running here ({self.state.path} has none): start one with `cdnlab up`")
        return record

    def status(self) -> LabStatus:
        """Every node as it is now."""
        return self.status_of(self.record)

    def status_of(self, record: LabRecord) -> LabStatus:
        """The same for a record that has been read already; the lab may be gone since."""
        self._reap()
        return observe([node.observed() for node in record.nodes], record.zone, record.endpoint)

    def node(self, node_id: str) -> NodeRecord:
        """UsageError for an unknown id."""
        record = self.record
        node = record.node(node_id)
        if node is None:
            raise UsageError(f"no node {node_id!r}: there are {', '.join(each.id for each in record.nodes)}")
        return node

    def kill_node(self, node_id: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal; after SIGKILL waits until the process is gone. LabError when the node is not running."""
        node = self.node(node_id)
        if node.process is None or not node.process.send(number):
            raise LabError(f"{node_id} is not running")
        if number is signal.SIGKILL:
            wait_until_gone([node.process], STOP_SECONDS, self._reap)

    def stop_node(self, node_id: str) -> None:
        """Has a node end in order, and waits until its process is gone. Does nothing when it is not running."""
        process = self.node(node_id).process
        if process is not None:
            end_all([process], STOP_SECONDS, self._reap)

    def start_node(self, node_id: str) -> None:
        """Starts a node that is not running, with the flags and the state folder it had; returns at once."""
        node = self.node(node_id)
        if node.is_running:
            raise LabError(f"{node_id} is running already")
        with self.state.open_log(node_id) as log:
            child = self._launch(node.command, log)
        self._children[node_id] = child
        self.state.write(self.record.with_process(node_id, identify(child.pid)))

    def log_lines(self, node_id: str, count: int, *, is_followed: bool) -> Iterator[str]:
        """The last `count` lines of a node's log and, if wanted, what follows until it ends."""
        path = self.state.log_of(self.node(node_id).id)
        yield from last_lines(path, count)
        if is_followed:
            yield from follow(path, lambda: not self.node(node_id).is_running)

    def wait_until_live(self, node_id: str, timeout_seconds: float = RETURN_SECONDS) -> NodeStatus:
        """The node's status once it has its lease; LabError when it has not in time, or has died.

        The node is asked as well as the control plane, which may still count the lease of the process before it.
        """
        wanted = self.node(node_id).id

        def status_of_one() -> LabStatus:
            whole = self.status()
            nodes = tuple(
                observe_itself(each.node) if each.state == "live" and each.node.role in LEASED_ROLES else each
                for each in whole.nodes
                if each.node.id == wanted
            )
            return LabStatus(whole.zone, whole.endpoint, nodes, whole.distributions)

        status = wait_until_ready(status_of_one, lambda: self._check_is_alive(self.node(wanted)), timeout_seconds)
        return status.nodes[0]

    def check_nobody_has_died(self) -> None:
        """LabError with the exit status and the last words of a node that has."""
        for node in self.record.nodes:
            self._check_is_alive(node)

    def stop(self) -> Stopped:
        """Ends everything and removes the state folder. Does nothing when that has been done."""
        stopped = self.end_processes()
        self.state.remove()
        return stopped

    def end_processes(self) -> Stopped:
        """Ends everything; logs stay where they are."""
        began = time.monotonic()
        record = self.state.read()
        running = [node.process for node in record.running if node.process] if record else []
        killed = end_all(running, STOP_SECONDS, self._reap)
        self._reap()
        return Stopped(len(running), killed, time.monotonic() - began)

    def close(self) -> None:
        """Ends the observation, not the lab."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

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
        raise LabError(f"{node.id} {_describe_end(child)}\n{lines}\nwhole log: {path}")


def claim(state: StateDir, record: LabRecord, check: Callable[[], None]) -> None:
    """Makes the state folder this lab's, unless one runs there; what a dead one left (a reboot, kill -9) is removed."""
    state.check_is_ours()
    before = state.read()
    if before is not None and before.running:
        count = f"{len(before.running)} of {len(before.nodes)} processes"
        raise LabError(
            f"a lab is running already: {before.topology} ({count}) in {state.path}; see `cdnlab status`, `cdnlab down`"
        )
    check()
    state.remove()
    try:
        state.claim(record)
    except FileExistsError as error:
        raise LabError(f"another command is starting a lab in {state.path} right now") from error
    except OSError as error:
        raise LabError(f"{state.path} cannot be used: {error.strerror}; give another folder with --state") from error


def _describe_end(child: Child | None) -> str:
    if child is None or child.returncode is None:
        return "has ended"
    if child.returncode < 0:
        return f"was killed by {signal.Signals(-child.returncode).name}"
    return f"ended with status {child.returncode}"


def environment() -> dict[str, str]:
    """Of a program of the lab."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _SET


def importable_from() -> Path:
    """Where the programs can be imported from; `python -m` looks in the current folder first."""
    return Path(lab.__file__).resolve().parent.parent
