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

from lab.runners.processes import ProcessLab
from lab.runners.state_file import StateDir
from lab.topology import Topology
from lab.topology_file import parse_topology, shipped_topology

ROOT = Path(__file__).resolve().parent.parent.parent
LOOPBACK = "127.15.0.0/16"
COMMAND_SECONDS = 60

# Tests in parallel workers must not meet: each worker has its own block of ports.
_FIRST_PORT = 15_000 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = f"""\
viewer_port: {_FIRST_PORT}
origin_port: {_FIRST_PORT}
dns_port: {_FIRST_PORT + 1}
admin_port: {_FIRST_PORT + 2}
control_plane: {{api: {_FIRST_PORT + 3}, grpc: {_FIRST_PORT + 4}, admin: {_FIRST_PORT + 5}}}
loopback: {LOOPBACK}
"""
API = f"127.15.0.1:{_FIRST_PORT + 3}"

SMALL = f"""\
name: small
{PORTS}\
lease_seconds: 2
regions: [{{name: us-east-1, airport: IAD}}]
pops: [{{name: IAD89-P1, region: us-east-1, edges: 2}}]
regional_caches: [{{region: us-east-1}}]
routers: [{{region: us-east-1}}]
origins: [{{name: origin-1, region: us-east-1}}]
populations: [{{region: us-east-1, client_subnet: 10.1.0.0/16, users: 2}}]
"""
SMALL_NODES = {"control-plane", "dns-1", "regional-us-east-1-1", "edge-iad89-p1-1", "edge-iad89-p1-2", "origin-1"}


def small_topology() -> Topology:
    return parse_topology(SMALL, "small.yaml")


def default_topology_text() -> str:
    """The default topology on this worker's ports."""
    lines = shipped_topology("default").read_text().splitlines()
    own = ("viewer_port:", "loopback:", "control_plane:")
    return "\n".join([line for line in lines if not line.startswith(own)]) + "\n" + PORTS


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

    def topology(self, text: str = SMALL) -> str:
        path = self.folder / "topology.yaml"
        path.write_text(text)
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
        ProcessLab(StateDir(command.state_dir)).stop()
