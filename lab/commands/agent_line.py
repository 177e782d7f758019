"""What `cdnlab status` says of the lab's agent: whether it runs, and what it has broken. It is asked once and briefly; nobody starts it for this."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.agent.client import AgentClient, Document
from lab.cluster.agent_record import AgentFolder
from lab.cluster.state_file import StateDir
from lab.durations import format_duration
from lab.errors import LabError

LOOK_SECONDS = 1.0
SHOWN_FAULTS = 3


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """`state` is `running`, `silent` (runs, does not answer) or `not_running`; faults are known of one that runs."""

    state: str
    address: str = ""
    faults: tuple[Document, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"state": self.state, "address": self.address or None, "faults": list(self.faults)}


def look_at_agent(state_dir: Path) -> AgentStatus | None:
    """None where no lab of this folder could have one."""
    state = StateDir(state_dir)
    if state.read() is None:
        return None
    folder = AgentFolder(state.path)
    record = folder.read()
    if not record.is_alive or not record.address:
        return AgentStatus("silent" if folder.running() else "not_running")
    try:
        faults = AgentClient(record.address, folder.token()).faults(LOOK_SECONDS)
    except LabError:
        return AgentStatus("silent", record.address)
    return AgentStatus("running", record.address, tuple(faults))


def agent_line(agent: AgentStatus) -> str:
    """For people."""
    match agent.state:
        case "running":
            return f"running at {agent.address}; {_describe_all(agent.faults)}"
        case "silent":
            return "starting, or hanging: it does not answer; what it holds is in `cdnlab faults show`"
        case _:
            return "not running; the next command about faults starts it"


def _describe_all(faults: tuple[Document, ...]) -> str:
    if not faults:
        return "nothing is broken"
    more = f" and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    return f"{', '.join(map(_describe, faults[:SHOWN_FAULTS]))}{more}: `cdnlab faults show`"


def _describe(fault: Document) -> str:
    remaining = fault["remaining_seconds"]
    until = f" (heals in {format_duration(round(remaining))})" if fault["state"] == "injected" and remaining else ""
    trouble = " (does not heal)" if fault["trouble"] else ""
    return f"{fault['fault']} of {', '.join(fault['nodes'])}{trouble or until}"
