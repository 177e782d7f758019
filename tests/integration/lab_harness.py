"""Labs for tests of the lab itself: small topologies with ports of their own per test worker, and the real command line.

All on 127.15.0.0/16. Whatever a test leaves, `taken_down` ends it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import StateDir
from lab.topology.model import Topology
from lab.topology.reader import parse_topology, shipped_topology

ROOT = Path(__file__).resolve().parent.parent.parent
LOOPBACK = "127.15.0.0/16"
COMMAND_SECONDS = 60

# Labs that run at the same time must not meet: each test worker has a block of ports, and in it each slot has its own.
_WORKER_PORT = 15_000 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
SLOT_OF_ONE_TEST, SLOT_OF_A_MODULE = 0, 1


def ports(slot: int) -> str:
    """Those lines of a topology that say where it listens."""
    first = _WORKER_PORT + 20 * slot
    return (
        f"viewer_port: {first}\norigin_port: {first}\ndns_port: {first + 1}\nadmin_port: {first + 2}\n"
        f"control_plane: {{api: {first + 3}, grpc: {first + 4}, admin: {first + 5}}}\nwan_port: {first + 6}\nloopback: {LOOPBACK}\n"
    )


def api_address(slot: int) -> str:
    """Where the management API of a lab in that slot is."""
    return f"127.15.0.1:{_WORKER_PORT + 20 * slot + 3}"


def small(slot: int = SLOT_OF_ONE_TEST) -> str:
    """Six processes: the least in which a hit goes through both tiers. No distance: tests of links have labs of their own."""
    return f"""\
name: small
{ports(slot)}\
relays: false
lease_seconds: 2
regions: [{{name: us-east-1, airport: IAD}}]
pops: [{{name: IAD89-P1, region: us-east-1, edges: 2}}]
regional_caches: [{{region: us-east-1}}]
routers: [{{region: us-east-1}}]
origins: [{{name: origin-1, region: us-east-1}}]
populations: [{{region: us-east-1, client_subnet: 10.1.0.0/16, users: 2}}]
"""


SMALL_NODES = {"control-plane", "dns-1", "regional-us-east-1-1", "edge-iad89-p1-1", "edge-iad89-p1-2", "origin-1"}


def small_topology(slot: int = SLOT_OF_ONE_TEST) -> Topology:
    return parse_topology(small(slot), "small.yaml")


def default_topology_text() -> str:
    """The default topology on this worker's ports."""
    lines = shipped_topology("default").read_text().splitlines()
    own = ("viewer_port:", "loopback:", "control_plane:")
    return "\n".join([line for line in lines if not line.startswith(own)]) + "\n" + ports(SLOT_OF_ONE_TEST)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`cdnlab` in a folder of its own."""

    folder: Path

    @property
    def state_dir(self) -> Path:
        return self.folder / ".cdnlab"

    def run(self, *arguments: str) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "lab.cli", *arguments],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "lab.cli", *arguments],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def topology(self, text: str = "") -> str:
        """A file with this topology, or with the small one."""
        path = self.folder / "topology.yaml"
        path.write_text(text or small())
        return str(path)


def environment() -> dict[str, str]:
    """No Docker engine in reach: a Compose lab of somebody else must not be found."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": "tcp://127.15.0.9:1", "COLUMNS": "200"}


@contextmanager
def taken_down(command: CommandLine) -> Iterator[CommandLine]:
    """Ends what the command left running, however the test ended."""
    try:
        yield command
    finally:
        ProcessCluster(StateDir(command.state_dir)).take_down()
