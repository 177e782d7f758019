"""How one control plane bears many nodes: seconds until a configuration change is acknowledged by all, and its memory for each.

    .venv/bin/python -m benchmarks.control_plane_nodes [--nodes 500] [--changes 5]

Starts a real control plane process and connects real node sessions from this process; the change is a distribution created through the management API. With two cores,
one bears the control plane and the other all of the nodes, so nothing is pinned.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.control_plane_process import HOST, ApiClient, ControlPlaneProcess, running
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_session import NodeIdentity, NodeSession
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges

CHANGE_SECONDS = 30.0


@dataclass
class BenchmarkNode:
    """Applies everything, in memory."""

    _position: LogPosition = field(default_factory=LogPosition)

    def position(self) -> LogPosition:
        """See node_session.Applier."""
        return self._position

    def rejected(self) -> RejectedChanges:
        """See node_session.Applier."""
        return NOTHING_REJECTED

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """See node_session.Applier."""
        self._position = LogPosition(snapshot.log_id, snapshot.index, snapshot.digest)

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """See node_session.Applier."""
        self._position = LogPosition(entry.log_id, entry.index, entry.digest)

    def lease_held(self, until: float) -> None:
        """Nothing is stored here."""

    def lease_lost(self) -> None:
        """Nothing is stored here."""

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """See node_session.Applier."""

    def checksum(self) -> bytes:
        """See node_session.Applier. It cannot tell."""
        return b""

    def load(self) -> tuple[int, int]:
        """See node_session.Applier."""
        return 0, 0


async def until(condition: Callable[[], bool], what: str) -> float:
    """Wait, with a deadline; the seconds that it took."""
    began_at = time.monotonic()
    while not condition():
        if time.monotonic() - began_at > CHANGE_SECONDS:
            raise SystemExit(f"not within {CHANGE_SECONDS:g} s: {what}")
        await asyncio.sleep(0.005)
    return time.monotonic() - began_at


async def measure(plane: ControlPlaneProcess, client: ApiClient, nodes_total: int, changes: int) -> None:
    """Connect, change, print."""
    empty_bytes = plane.resident_bytes()
    nodes = [BenchmarkNode() for _ in range(nodes_total)]
    sessions = [NodeSession(_identity(number), node, f"{HOST}:{plane.grpc_port}") for number, node in enumerate(nodes)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(session.run()) for session in sessions]
        seconds = await until(lambda: all(session.lease_state() == "held" for session in sessions), "all leases")
        print(f"{nodes_total} nodes connected and leased in {seconds:.2f} s")
        for number in range(changes):
            await _measure_change(client, nodes, number)
        per_node_bytes = (plane.resident_bytes() - empty_bytes) / nodes_total
        print(f"control plane: {empty_bytes / 2**20:.0f} MiB empty, {per_node_bytes / 1024:.0f} KiB a node")
        for task in tasks:
            task.cancel()


async def _measure_change(client: ApiClient, nodes: list[BenchmarkNode], number: int) -> None:
    head_index = nodes[0].position().index + 1
    began_at = time.monotonic()
    identifier = await asyncio.to_thread(client.create_distribution, number)
    answered_seconds = time.monotonic() - began_at
    await until(lambda: all(node.position().index >= head_index for node in nodes), "all nodes have applied the change")
    applied_seconds = time.monotonic() - began_at
    await asyncio.to_thread(_wait_until_deployed, client, identifier)
    acknowledged_seconds = time.monotonic() - began_at
    print(
        f"change {number + 1}: API answered after {answered_seconds:.3f} s, applied by all after "
        f"{applied_seconds:.3f} s, acknowledged by all after {acknowledged_seconds:.3f} s"
    )


def _wait_until_deployed(client: ApiClient, identifier: str) -> None:
    deadline = time.monotonic() + CHANGE_SECONDS
    while not client.is_deployed(identifier):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {CHANGE_SECONDS:g} s: acknowledged by all")
        time.sleep(0.01)


def _identity(number: int) -> NodeIdentity:
    return NodeIdentity(f"edge-{number}", sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--changes", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(ControlPlaneProcess(Path(folder) / "state")) as plane:
        client = ApiClient(plane)
        uvloop.run(measure(plane, client, arguments.nodes, arguments.changes))
        client.close()


if __name__ == "__main__":
    main()
