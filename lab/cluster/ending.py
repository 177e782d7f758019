"""How the processes of a lab end: those that are written down, and those that only their mark tells."""

import time
from collections.abc import Callable

from lab.cluster.agent_record import AgentFolder
from lab.cluster.interface import Cluster, Stopped
from lab.cluster.process_identity import ProcessIdentity, end_all
from lab.cluster.state_file import ContainersRecord, StateDir, UnreadableRecordError
from lab.cluster.sweep import marked_processes, of_lab, programs

# A node that drains is given this long by whoever stops it alone.
STOP_SECONDS = 1.5
# And this long by `down`, which is to be over within 1.5 s with its own start and the end of those that have to be killed.
DOWN_SECONDS = 0.9
_SWEEPS = 5


def end_processes(state: StateDir, reap: Callable[[], None]) -> Stopped:
    """Ends what is recorded here, and what carries this lab's mark although nobody has recorded it. Logs stay where they are.

    The agent and its watchdog end with the others, and are not counted: they are no nodes."""
    began = time.monotonic()
    token, recorded = recorded_processes(state)
    keepers = AgentFolder(state.path).running()
    marked = [each for each in of_lab(marked_processes(), state.path, token) if each.process not in keepers]
    strays = [each for each in programs(marked) if each not in recorded]
    killed = end_all([*keepers, *recorded, *strays], DOWN_SECONDS, reap)
    for _ in range(_SWEEPS):  # what they had started themselves, or somebody was just starting
        left = [each.process for each in of_lab(marked_processes(), state.path, token) if each.process.is_alive]
        if not left:
            break
        end_all(left, DOWN_SECONDS, reap)
    reap()
    return Stopped(len(recorded) + len(strays), killed, time.monotonic() - began)


def recorded_processes(state: StateDir) -> tuple[str, list[ProcessIdentity]]:
    """The token of the lab, and which of its processes that are written down run; also by a record of another version."""
    try:
        record = state.read_processes()
    except UnreadableRecordError:
        remains = state.read_remains()
        return remains.token, [each for each in remains.processes if each.is_alive]
    return (record.token, [node.process for node in record.running if node.process]) if record else ("", [])


def remove_home(home: StateDir, lab: Cluster) -> None:
    """The folder of an agent of a lab that no command has brought up (agent_home.py), when the lab is gone; a folder of a command is that command's to remove."""
    with home.locked():
        record = home.read()
        if isinstance(record, ContainersRecord) and record.is_agents_own and not lab.is_up:
            home.remove()
