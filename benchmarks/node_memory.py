"""What an idle lab keeps in memory: `python -m benchmarks.node_memory`. Goals: an edge at most 45 MiB resident; the twelve nodes at most 400 MiB of proportional shares.
What a lab has beside them (relays, agent, watchdog) is printed as well.

Starts the default topology as `cdnlab up` does, with its agent, and reads /proc some seconds after every node is live and a distribution is deployed. Every process
counts that carries the lab's mark, also those that nodes have started. Resident memory counts pages that processes share once for each of them; the proportional share
(PSS) divides them, so its sum is what the lab really takes. Another lab beside this one makes it smaller: the two share the pages of programs and libraries.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.agent.starting import start_agent
from lab.clients.http_client import split_address
from lab.clients.management_api import CACHING_OPTIMIZED, ManagementApi, OriginAddress, SiteConfig
from lab.cluster.agent_record import AgentFolder
from lab.cluster.processes import ProcessCluster
from lab.cluster.sweep import marked_processes, of_lab
from lab.topology.layout import Role
from lab.topology.reader import read_topology, shipped_topology

LOOPBACK = "127.19.0.0/16"
GOAL_EDGE_MEBIBYTES = 45.0
GOAL_NODES_MEBIBYTES = 400.0
BESIDE_NODES = (Role.WAN.value, "lab.agent", "lab.agent.watchdog")
SETTLED_SECONDS = 4.0
"""Idle is what a node is after its start: an edge gives back two seconds later what only the start needed."""
AGENT_SECONDS = 15.0
MANAGEMENT_API = "management API"
"""A process that the control plane starts."""


@dataclass(frozen=True)
class Memory:
    """Of one process, in MiB."""

    kind: str
    """Its role; of other processes the module that they run."""
    resident: float
    proportional: float


def memory_of(kind: str, process_id: int) -> Memory:
    """From /proc/PID/smaps_rollup."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return Memory(kind, kibibytes["Rss"] / 1024, kibibytes["Pss"] / 1024)


@contextmanager
def idle_lab(folder: Path) -> Iterator[ProcessCluster]:
    """One that waits for its first viewer."""
    with ProcessCluster.up(read_topology(shipped_topology("default"), LOOPBACK), folder / "lab") as lab:
        start_agent(lab.state)
        agent = AgentFolder(lab.state.path)
        deadline = time.monotonic() + AGENT_SECONDS
        while agent.read().watchdog is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no agent after {AGENT_SECONDS:g} s: {agent.log.read_text(encoding='utf-8')}")
            time.sleep(0.05)
        status = lab.status()
        origin = OriginAddress(*split_address(status.of_role(Role.ORIGIN)[0].node.http))
        with ManagementApi(status.api) as api:
            api.wait_deployed(api.create_distribution(SiteConfig("benchmark", origin, CACHING_OPTIMIZED)).id)
        time.sleep(SETTLED_SECONDS)
        yield lab


def measure(folder: Path) -> Iterator[Memory]:
    """Each process of an idle lab."""
    with idle_lab(folder) as lab:
        kinds = {each.node.pid: each.node.role.value for each in lab.status().nodes}
        for each in of_lab(marked_processes(), lab.state.path, lab.record.token):
            pid = each.process.pid
            started_by_control_plane = kinds.get(each.parent) == Role.CONTROL_PLANE.value
            kind = kinds.get(pid) or (MANAGEMENT_API if started_by_control_plane else module_of(pid))
            yield memory_of(kind, pid)


def module_of(process_id: int) -> str:
    """What stands behind the first `-m`."""
    words = Path(f"/proc/{process_id}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return words[words.index("-m") + 1] if "-m" in words else words[0]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        found = list(measure(Path(folder)))
    print(f"{'idle, MiB':20}{'processes':>10}{'resident':>10}{'PSS':>10}   the largest of each kind")
    for kind in dict.fromkeys([*(role.value for role in Role), *sorted(memory.kind for memory in found)]):
        processes = [memory for memory in found if memory.kind == kind]
        if processes:
            largest = max(processes, key=lambda memory: memory.resident)
            print(f"{kind:20}{len(processes):10}{largest.resident:10.1f}{largest.proportional:10.1f}")
    whole = sum(memory.proportional for memory in found)
    nodes = sum(memory.proportional for memory in found if memory.kind not in BESIDE_NODES)
    print(f"{'the twelve nodes':20}{'':10}{'':10}{nodes:10.1f}")
    print(f"{'the whole lab':20}{len(found):10}{'':10}{whole:10.1f}")
    edge = max(memory.resident for memory in found if memory.kind == Role.EDGE.value)
    for goal, figure, what in (
        (GOAL_EDGE_MEBIBYTES, edge, "an edge at most {:g} MiB resident"),
        (GOAL_NODES_MEBIBYTES, nodes, "the twelve nodes at most {:g} MiB PSS"),
    ):
        print(f"goal: {what.format(goal)}: {'reached' if figure <= goal else 'missed'} ({figure:.1f} MiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
