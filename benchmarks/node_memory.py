"""What an idle node of each kind keeps in memory: `python -m benchmarks.node_memory`. Goal: an edge at most 45 MiB resident.

Starts the default topology and reads /proc some seconds after every node is live and a distribution is deployed. Resident memory counts pages that processes share
once for each of them; the proportional share (PSS) divides them, so its sum is what the lab really takes.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.clients.http_client import split_address
from lab.clients.management_api import CACHING_OPTIMIZED, ManagementApi, OriginAddress, SiteConfig
from lab.cluster.processes import ProcessCluster
from lab.topology.layout import Role
from lab.topology.reader import read_topology, shipped_topology

LOOPBACK = "127.19.0.0/16"
GOAL_MEBIBYTES = 45.0
SETTLED_SECONDS = 4.0
"""Idle is what a node is after its start: an edge gives back two seconds later what only the start needed."""


@dataclass(frozen=True)
class Memory:
    """Of one process, in MiB."""

    role: Role
    resident: float
    proportional: float


def memory_of(role: Role, process_id: int) -> Memory:
    """From /proc/PID/smaps_rollup."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return Memory(role, kibibytes["Rss"] / 1024, kibibytes["Pss"] / 1024)


def measure(folder: Path) -> Iterator[Memory]:
    """Each node of a lab that waits for its first viewer."""
    with ProcessCluster.up(read_topology(shipped_topology("default"), LOOPBACK), folder / "lab") as lab:
        status = lab.status()
        origin = OriginAddress(*split_address(status.of_role(Role.ORIGIN)[0].node.http))
        with ManagementApi(status.api) as api:
            api.wait_deployed(api.create_distribution(SiteConfig("benchmark", origin, CACHING_OPTIMIZED)).id)
        time.sleep(SETTLED_SECONDS)
        for each in status.nodes:
            if each.node.pid is not None:
                yield memory_of(each.node.role, each.node.pid)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        found = list(measure(Path(folder)))
    print(f"{'idle, MiB':16}{'processes':>10}{'resident':>10}{'PSS':>10}   the largest of each kind")
    for role in Role:
        nodes = [memory for memory in found if memory.role is role]
        largest = max(nodes, key=lambda memory: memory.resident)
        print(f"{role.value:16}{len(nodes):10}{largest.resident:10.1f}{largest.proportional:10.1f}")
    print(f"{'the whole lab':16}{len(found):10}{'':10}{sum(memory.proportional for memory in found):10.1f}")
    edge = max(memory.resident for memory in found if memory.role is Role.EDGE)
    verdict = "reached" if edge <= GOAL_MEBIBYTES else "missed"
    print(f"goal: an edge at most {GOAL_MEBIBYTES:g} MiB resident: {verdict} ({edge:.1f} MiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
