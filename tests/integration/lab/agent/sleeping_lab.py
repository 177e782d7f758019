"""A lab of processes that sleep: what an agent does to processes can be seen on them, and they cost nothing to start."""

import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lab.agent.starting import start_agent
from lab.cluster.agent_record import AgentFolder
from lab.cluster.process_identity import ProcessIdentity, wait_until_gone
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import StateDir, make_record
from lab.cluster.sweep import marked_processes, of_lab
from lab.topology.layout import Layout
from tests.integration.lab_harness import small_topology

SECONDS = 20.0
EDGE, OTHER_EDGE = "edge-iad89-p1-1", "edge-iad89-p1-2"


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class SleepingLab:
    """Six nodes, and what can be seen of them without asking the agent."""

    cluster: ProcessCluster

    @classmethod
    def up(cls, folder: Path) -> "SleepingLab":
        state = StateDir(folder / ".cdnlab")
        layout = Layout(small_topology(), state.path)
        record = make_record(layout, layout.nodes(), sys.executable, secrets.token_hex(4))
        state.make()
        state.write(replace(record, nodes=tuple(replace(node, command=("sleep", "3600")) for node in record.nodes)))
        cluster = ProcessCluster(state)
        for node in record.nodes:
            cluster.start(node.id)
        return cls(cluster)

    @property
    def state(self) -> StateDir:
        return self.cluster.state

    @property
    def folder(self) -> AgentFolder:
        return AgentFolder(self.state.path)

    def start_agent(self) -> None:
        """Returns when it has a watchdog; unless there is one already."""
        if not self.agent.is_alive:
            start_agent(self.state)
        until(lambda: self.agent.is_alive and self.watchdog.is_alive, self.log())

    @property
    def agent(self) -> ProcessIdentity:
        return self.folder.read().agent or ProcessIdentity(0, "")

    @property
    def watchdog(self) -> ProcessIdentity:
        return self.folder.read().watchdog or ProcessIdentity(0, "")

    def log(self) -> str:
        return self.folder.log.read_text() if self.folder.log.exists() else "(no log)"

    def pid(self, node_id: str) -> int | None:
        return next(node.pid for node in self.cluster.nodes() if node.id == node_id)

    def works(self, node_id: str) -> bool:
        """Runs, and is not stopped by a signal."""
        pid = self.pid(node_id)
        return pid is not None and _letter(pid) not in ("T", "Z", "")

    @property
    def is_whole(self) -> bool:
        return all(self.works(node.id) for node in self.cluster.nodes())

    @property
    def leases_on_disk(self) -> list[str]:
        return sorted(path.name for path in self.folder.journal.iterdir())

    def end_agent(self) -> None:
        """In order, as when the lab is taken down."""
        both = [self.agent, self.watchdog]
        self.agent.send(signal.SIGTERM)
        assert wait_until_gone(both, SECONDS, lambda: None) == [], "agent and watchdog end together"

    def kill_agent(self) -> None:
        """Returns when another one is there."""
        before = self.agent
        before.send(signal.SIGKILL)
        until(lambda: self.agent != before and self.agent.is_alive, self.log())

    def carried(self) -> list[ProcessIdentity]:
        """Every process that has this lab's mark."""
        return [each.process for each in of_lab(marked_processes(), self.state.path, "") if each.process.is_alive]

    def take_down(self) -> None:
        self.cluster.take_down()


def _letter(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
