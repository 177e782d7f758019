"""A real control plane process, and boto3 for it."""

import contextlib
import json
import resource
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests import warm_start
from tests.integration.sync_harness import HOST, free_port
from tests.warm_start import WarmProcess


class ControlPlaneProcess:
    """`python -m control_plane` on fixed ports, so that it can be killed and started again."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.api_port, self.grpc_port, self.admin_port = free_port(), free_port(), free_port()
        self._flags = flags
        self._folder = folder
        self._process: WarmProcess | None = None

    def launch(self) -> WarmProcess:
        """Start it and do not wait."""
        ports = {"--api": self.api_port, "--grpc": self.grpc_port, "--admin": self.admin_port}
        addresses = [part for flag, port in ports.items() for part in (flag, f"{HOST}:{port}")]
        flags = [*addresses, "--state-dir", str(self._folder), "--zone", "cdn.localhost", *self._flags]
        with (self._folder / "log").open("ab") as log:
            self._process = warm_start.start("control_plane", flags, stderr=log)
        return self._process

    def start(self) -> None:
        """Start it and wait until it is ready."""
        process = self.launch()
        deadline = time.monotonic() + 15
        while not self.is_ready():
            assert process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def fill_disk(self) -> None:
        """No file may be written beyond half of what its write-ahead log has now, so that every commit fails as on a full disk.

        Not beyond all of it: a commit that is under way has begun to write, and where it fails, a smaller one has room.
        """
        self._limit_files((self._folder / "control-plane.sqlite3-wal").stat().st_size // 2)

    def free_disk(self) -> None:
        """There is room again."""
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size_bytes: int) -> None:
        assert self._process is not None
        for process_id in (self._process.pid, *self.children()):
            resource.prlimit(process_id, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    def children(self) -> list[int]:
        """The process of its management API, while there is one."""
        assert self._process is not None
        parent = str(self._process.pid)
        stats = {path.parent.name: path for path in Path("/proc").glob("[0-9]*/stat")}
        return [int(number) for number, path in stats.items() if _parent_of(path) == parent]

    def signal(self, number: signal.Signals) -> None:
        """To the process that speaks with the nodes; its management API is another one."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def log(self) -> str:
        """What it has said."""
        return (self._folder / "log").read_text(encoding="utf-8")

    def get(self, path: str) -> Any:
        """A page of the admin port; JSON as an object."""
        with urllib.request.urlopen(f"http://{HOST}:{self.admin_port}{path}", timeout=5) as answer:
            text = answer.read().decode()
            return json.loads(text) if answer.headers["content-type"] == "application/json" else text

    def client(self, secret_access_key: str = "cdnlab-secret") -> Any:
        """boto3 for its API, without retries."""
        return boto3.client(
            "cloudfront",
            endpoint_url=f"http://{HOST}:{self.api_port}",
            region_name="us-east-1",
            aws_access_key_id="cdnlab",
            aws_secret_access_key=secret_access_key,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
        )

    def create_distribution(self, reference: str = "sync-test") -> str:
        """The smallest that the API accepts; its id."""
        origin = {
            "Id": "origin",
            "DomainName": "127.0.0.1",
            "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"},
        }
        configuration = {
            "CallerReference": reference,
            "Comment": "",
            "Enabled": True,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "origin",
                "ViewerProtocolPolicy": "allow-all",
                "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
            },
        }
        identifier: str = self.client().create_distribution(DistributionConfig=configuration)["Distribution"]["Id"]
        return identifier

    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            return bool(self.get("/readyz"))
        except (OSError, urllib.error.HTTPError):
            return False

    def _end(self, number: int) -> int:
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(10)


@contextlib.contextmanager
def control_plane_process(folder: Path, *flags: str) -> Iterator[ControlPlaneProcess]:
    """Started; gone at the end."""
    plane = ControlPlaneProcess(folder, *flags)
    try:
        plane.start()
        yield plane
    finally:
        plane.kill()


def _parent_of(stat: Path) -> str:
    """Field 4 of proc(5) `stat`; empty when the process is gone."""
    try:
        return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
    except OSError:
        return ""
