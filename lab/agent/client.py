"""Asks the agent of a lab, for commands and experiments. One that is gone is started again first."""

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.agent.starting import start_agent
from lab.clients.http_client import Reply, UnreachableError, ask
from lab.cluster.agent_home import make_home
from lab.cluster.agent_record import AgentFolder
from lab.cluster.compose import ComposeCluster
from lab.cluster.finding import find_lab
from lab.cluster.log_tail import last_lines
from lab.cluster.process_identity import wait_until_gone
from lab.cluster.state_file import StateDir
from lab.errors import LabError, UsageError

START_SECONDS = 20.0
HANG_SECONDS = 10.0
"""Longer than agent and watchdog let each other hang: whoever says nothing for so long has nobody who looks after it."""
_END_SECONDS = 2.0
ACTION_SECONDS = 120.0
"""An injection at many nodes stops one after the other."""
_LOOK_SECONDS, _POLL_SECONDS = 2.0, 0.05
_LAST_LINES = 5
_USAGE_STATUSES = (400, 404)

Document = dict[str, Any]


def connect(state_dir: Path) -> "AgentClient":
    """LabError when no lab runs here, or when its agent is gone and does not come back."""
    state = StateDir(state_dir)
    if not AgentFolder(state.path).running():
        state = _agents_folder(state)
        if not AgentFolder(state.path).running():
            start_agent(state)
    folder = AgentFolder(state.path)
    client = _when_it_answers(folder, HANG_SECONDS)
    if client is None and folder.running():
        if not _says_anything(folder):
            _replace(state, folder)
        client = _when_it_answers(folder, START_SECONDS)
    if client is None:
        lines = "\n".join(f"  | {line}" for line in last_lines(folder.log, _LAST_LINES)) or "  | (it said nothing)"
        raise LabError(
            f"the lab's agent, which holds its faults, cannot be reached and does not start\n{lines}\nwhole log: {folder.log}"
        )
    return client


def _agents_folder(state: StateDir) -> StateDir:
    """This one, unless the lab is one of containers that was not brought up from here."""
    lab = find_lab(state.path)
    try:
        return make_home(lab) if isinstance(lab, ComposeCluster) and state.read() is None else state
    finally:
        lab.close()


def _replace(state: StateDir, folder: AgentFolder) -> None:
    """Agent and watchdog say nothing: both were stopped, so that neither has seen it of the other. One that is just being started is in no record, and goes on."""
    record = folder.read()
    both = [each for each in (record.agent, record.watchdog) if each is not None and each.is_alive]
    for each in both:
        each.send(signal.SIGKILL)
    wait_until_gone(both, _END_SECONDS, lambda: None)
    start_agent(state)


def _says_anything(folder: AgentFolder) -> bool:
    """One that has too many clients is alive: whoever sends them could have it killed otherwise."""
    record = folder.read()
    return record.is_alive and bool(record.address) and AgentClient(record.address, "").says_anything()


def _when_it_answers(folder: AgentFolder, seconds: float) -> "AgentClient | None":
    """None when the time is over, or nobody is there who could."""
    deadline = time.monotonic() + seconds
    while True:
        record = folder.read()
        if record.is_alive and record.address:
            client = AgentClient(record.address, folder.token())
            if client.answers():
                return client
        if time.monotonic() >= deadline or not folder.running():
            return None
        time.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class AgentClient:
    """An agent that answers. Documents are those of docs/contracts.md."""

    address: str
    token: str

    def answers(self) -> bool:
        try:
            return self._ask("GET", "/status", None, _LOOK_SECONDS).status == 200
        except UnreachableError:
            return False

    def says_anything(self) -> bool:
        """Be it that it has no time, or does not know us."""
        try:
            return self._ask("GET", "/status", None, _LOOK_SECONDS).status > 0
        except UnreachableError:
            return False

    def faults(self, timeout_seconds: float = ACTION_SECONDS) -> list[Document]:
        return _faults(self._call("GET", "/faults", timeout_seconds=timeout_seconds))

    def inject(
        self, fault: str, target: str, lease_seconds: float | None, parameters: Mapping[str, object]
    ) -> Document:
        """The lease; UsageError for an order that makes no sense, LabError when it cannot be done."""
        order = {"fault": fault, "target": target, "lease_seconds": lease_seconds, "parameters": dict(parameters)}
        return self._call("POST", "/faults", order)

    def clear(self, lease_id: str) -> Document:
        return self._call("DELETE", f"/faults/{lease_id}")

    def clear_all(self) -> list[Document]:
        return _faults(self._call("DELETE", "/faults"))

    def start(self, node_id: str) -> list[Document]:
        """The leases that were ended at this node."""
        return _faults(self._call("POST", f"/nodes/{node_id}/start", {}))

    def move_clock(self, forward_seconds: float) -> Document:
        """The log has it when this returns; LabError when it cannot be moved."""
        return self._call("POST", "/clock", {"forward_seconds": forward_seconds})

    def _call(
        self, method: str, path: str, document: object = None, timeout_seconds: float = ACTION_SECONDS
    ) -> Document:
        try:
            reply = self._ask(method, path, document, timeout_seconds)
            answer: Document = json.loads(reply.body)
        except (UnreachableError, ValueError) as error:
            raise LabError(
                f"the agent has ended in the middle of it, and is started again; what it had begun is undone: see `cdnlab faults show` ({error})"
            ) from error
        if reply.status >= 400:
            kind = UsageError if reply.status in _USAGE_STATUSES else LabError
            raise kind(str(answer.get("error", f"the agent refuses with status {reply.status}")))
        return answer

    def _ask(self, method: str, path: str, document: object, timeout_seconds: float) -> Reply:
        headers = [("authorization", f"Bearer {self.token}"), ("content-type", "application/json")]
        body = None if document is None else json.dumps(document).encode()
        return ask(self.address, path, method=method, headers=headers, body=body, timeout_seconds=timeout_seconds)


def places_of(lease: Document) -> list[str]:
    """The nodes or links that a fault is at."""
    return [*lease["nodes"], *lease["links"]]


def _faults(answer: Document) -> list[Document]:
    faults: list[Document] = answer["faults"]
    return faults
