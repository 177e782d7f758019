"""How the processes of a lab end: those that are written down, and those that only their mark tells."""

import time
from collections.abc import Callable

from lab.cluster.agent_record import AgentFolder
from lab.cluster.interface import Stopped
from lab.cluster.process_identity import end_all
from lab.cluster.state_file import StateDir
from lab.cluster.sweep import marked_processes, of_lab, programs

# A node that drains is given this long; what is left of a `down` of 2 s is for those that have to be killed.
STOP_SECONDS = 1.5
_SWEEPS = 5


def end_processes(state: StateDir, reap: Callable[[], None]) -> Stopped:
    """Ends what is recorded here, and what carries this lab's mark although nobody has recorded it. Logs stay where they are.

    The agent and its watchdog end with the others, and are not counted: they are no nodes."""
    began = time.monotonic()
    record = state.read_processes()
    token = record.token if record else ""
    recorded = [node.process for node in record.running if node.process] if record else []
    keepers = AgentFolder(state.path).running()
    marked = [each for each in of_lab(marked_processes(), state.path, token) if each.process not in keepers]
    strays = [each for each in programs(marked) if each not in recorded]
    killed = end_all([*keepers, *recorded, *strays], STOP_SECONDS, reap)
    for _ in range(_SWEEPS):  # what they had started themselves, or somebody was just starting
        left = [each.process for each in of_lab(marked_processes(), state.path, token) if each.process.is_alive]
        if not left:
            break
        end_all(left, STOP_SECONDS, reap)
    reap()
    return Stopped(len(recorded) + len(strays), killed, time.monotonic() - began)
