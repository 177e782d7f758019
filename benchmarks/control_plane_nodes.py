"""How one control plane bears many nodes: seconds until a configuration change is acknowledged by all, and its memory for each.

    .venv/bin/python -m benchmarks.control_plane_nodes [--nodes 500] [--changes 5]

Starts a real control plane process and connects real node sessions from this process; the change is a distribution created through the management API. With two cores,
one bears the control plane and the other all of the nodes, so nothing is pinned.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import uvloop

from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_session import NodeIdentity, NodeSession
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges

HOST = "127.11.0.9"
START_SECONDS = 15.0
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


@dataclass(frozen=True)
class ControlPlaneProcess:
    """Where it listens, and what it costs."""

    api: str
    grpc: str
    admin: str
    process_id: int

    def status(self) -> Any:
        """GET /status."""
        with urllib.request.urlopen(f"http://{self.admin}/status", timeout=10) as answer:
            return json.load(answer)

    def wait_until_deployed(self, identifier: str) -> None:
        """Wait, with a deadline, until every node has acknowledged the distribution."""
        deadline = time.monotonic() + CHANGE_SECONDS
        while not _is_deployed(self.status(), identifier):
            if time.monotonic() > deadline:
                raise SystemExit(f"not within {CHANGE_SECONDS:g} s: acknowledged by all")
            time.sleep(0.01)

    def resident_bytes(self) -> int:
        """Memory that is resident now."""
        pages = int(Path(f"/proc/{self.process_id}/statm").read_text(encoding="ascii").split()[1])
        return pages * 4096

    def create_distribution(self, number: int) -> str:
        """Make one configuration change; the distribution's id."""
        client = boto3.client(
            "cloudfront",
            endpoint_url=f"http://{self.api}",
            region_name="us-east-1",
            aws_access_key_id="cdnlab",
            aws_secret_access_key="cdnlab-secret",  # noqa: S106  the documented default
        )
        answer = client.create_distribution(DistributionConfig=distribution_configuration(number))
        identifier: str = answer["Distribution"]["Id"]
        return identifier


def distribution_configuration(number: int) -> dict[str, object]:
    """The smallest that the management API accepts."""
    return {
        "CallerReference": f"benchmark-{number}",
        "Comment": "",
        "Enabled": True,
        "Origins": {
            "Quantity": 1,
            "Items": [
                {
                    "Id": "origin",
                    "DomainName": "127.0.0.1",
                    "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"},
                }
            ],
        },
        "DefaultCacheBehavior": {
            "TargetOriginId": "origin",
            "ViewerProtocolPolicy": "allow-all",
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",  # Managed-CachingOptimized
        },
    }


@contextmanager
def control_plane() -> Iterator[ControlPlaneProcess]:
    """A process that is ready, and gone at the end."""
    api, grpc, admin = (f"{HOST}:{port}" for port in free_ports(3))
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--api", api, "--grpc", grpc, "--admin", admin, "--state-dir", folder, "--zone", "cdn.localhost"]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", "control_plane", *flags], stderr=output)
        try:
            wait_until_ready(process, admin, log)
            yield ControlPlaneProcess(api, grpc, admin, process.pid)
        finally:
            process.terminate()
            process.wait(10)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def wait_until_ready(process: subprocess.Popen[bytes], admin: str, log: Path) -> None:
    """Wait, with a deadline; what the process said when it does not come up."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{admin}/readyz", timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"the control plane did not start: {log.read_text(encoding='utf-8')}")


async def until(condition: Callable[[], bool], what: str) -> float:
    """Wait, with a deadline; the seconds that it took."""
    began_at = time.monotonic()
    while not condition():
        if time.monotonic() - began_at > CHANGE_SECONDS:
            raise SystemExit(f"not within {CHANGE_SECONDS:g} s: {what}")
        await asyncio.sleep(0.005)
    return time.monotonic() - began_at


async def measure(plane: ControlPlaneProcess, nodes_total: int, changes: int) -> None:
    """Connect, change, print."""
    empty_bytes = plane.resident_bytes()
    nodes = [BenchmarkNode() for _ in range(nodes_total)]
    sessions = [NodeSession(_identity(number), node, plane.grpc) for number, node in enumerate(nodes)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(session.run()) for session in sessions]
        seconds = await until(lambda: all(session.lease_state() == "held" for session in sessions), "all leases")
        print(f"{nodes_total} nodes connected and leased in {seconds:.2f} s")
        for number in range(changes):
            await _measure_change(plane, nodes, number)
        per_node_bytes = (plane.resident_bytes() - empty_bytes) / nodes_total
        print(f"control plane: {empty_bytes / 2**20:.0f} MiB empty, {per_node_bytes / 1024:.0f} KiB a node")
        for task in tasks:
            task.cancel()


async def _measure_change(plane: ControlPlaneProcess, nodes: list[BenchmarkNode], number: int) -> None:
    head_index = nodes[0].position().index + 1
    began_at = time.monotonic()
    identifier = await asyncio.to_thread(plane.create_distribution, number)
    answered_seconds = time.monotonic() - began_at
    await until(lambda: all(node.position().index >= head_index for node in nodes), "all nodes have applied the change")
    applied_seconds = time.monotonic() - began_at
    await asyncio.to_thread(plane.wait_until_deployed, identifier)
    acknowledged_seconds = time.monotonic() - began_at
    print(
        f"change {number + 1}: API answered after {answered_seconds:.3f} s, applied by all after "
        f"{applied_seconds:.3f} s, acknowledged by all after {acknowledged_seconds:.3f} s"
    )


def _is_deployed(status: Any, identifier: str) -> bool:
    return any(known["id"] == identifier and known["status"] == "Deployed" for known in status["distributions"])


def _identity(number: int) -> NodeIdentity:
    return NodeIdentity(f"edge-{number}", sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--changes", type=int, default=5)
    arguments = parser.parse_args()
    with control_plane() as plane:
        uvloop.run(measure(plane, arguments.nodes, arguments.changes))


if __name__ == "__main__":
    main()
