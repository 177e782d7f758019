"""A control plane process for benchmarks: on a core of its own, started again over the same state, its cost, and an API client that costs next to nothing."""

import http
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HOST: Final = "127.11.0.9"
START_SECONDS: Final = 20.0
TRIES: Final = 5
"""On a machine so busy that the control plane does not come to read a request in its time."""
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
TICKS: Final = os.sysconf("SC_CLK_TCK")
VERSION: Final = "/2020-05-31"
NAMESPACE: Final = "{http://cloudfront.amazonaws.com/doc/2020-05-31/}"


@dataclass
class ControlPlaneProcess:
    """Where it listens, what it costs, and how to end it and start it again."""

    folder: Path
    core: int | None = None
    """Which it is kept on; None: where the system likes."""
    tls_folder: Path | None = None
    more_flags: tuple[str, ...] = ()
    """Of its command line, for example of another database."""
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def api(self) -> str:
        """HOST:PORT of the management API."""
        return f"{HOST}:{self.ports[0]}"

    @property
    def grpc_port(self) -> int:
        """For nodes."""
        return self.ports[1]

    @property
    def admin(self) -> str:
        """HOST:PORT of the admin port."""
        return f"{HOST}:{self.ports[2]}"

    def start(self) -> None:
        """Start, and wait until it is ready."""
        flags = ["--api", self.api, "--grpc", f"{HOST}:{self.grpc_port}", "--admin", self.admin]
        flags += ["--state-dir", str(self.folder), "--zone", "cdn.localhost"]
        flags += [] if self.tls_folder is None else ["--tls-dir", str(self.tls_folder)]
        flags += self.more_flags
        log = self.folder.parent / f"{self.folder.name}.log"
        profile = os.environ.get("CDNLAB_BENCHMARK_PROFILE")
        how = ["-m", "control_plane"]
        if profile is not None:
            how = ["-m", "cProfile", "-o", f"{profile}-{self.folder.name}", *how]
        with log.open("ab") as output:
            self.process = subprocess.Popen([sys.executable, *how, *flags], stderr=output)
        if self.core is not None:
            os.sched_setaffinity(self.process.pid, {self.core})  # its threads come later and take after it
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"the control plane did not start: {log.read_text(encoding='utf-8')[-2000:]}")

    def stop(self, *, hard: bool = False) -> None:
        """End it: in order, or as kill -9 does."""
        if self.process is not None:
            if hard:
                self.process.kill()
            else:
                self.process.terminate()
            self.process.wait(30)
            self.process = None

    def processor_seconds(self) -> float:
        """In user and kernel mode, of all its threads, until now."""
        assert self.process is not None
        return processor_seconds(self.process.pid)

    def resident_bytes(self) -> int:
        """Memory that is resident now."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES

    def get_json(self, path: str) -> Any:
        """From the admin port."""
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=60) as answer:
            return json.load(answer)


def processor_seconds(process_id: int) -> float:
    """In user and kernel mode, of all threads, until now."""
    stat = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


@contextmanager
def real_edge(plane: ControlPlaneProcess, folder: Path) -> Iterator[int]:
    """One edge node as a lab has it, without viewers, once it holds a lease; its process id."""
    http_port, admin_port = free_ports(2)
    flags = ["--node-id", "real-edge", "--role", "edge", "--region", "us-east-1", "--pop", "P0000"]
    flags += ["--listen", f"{HOST}:{http_port}", "--admin", f"{HOST}:{admin_port}", "--state-dir", str(folder)]
    flags += ["--control-plane", f"{HOST}:{plane.grpc_port}"]
    process = subprocess.Popen([sys.executable, "-m", "edge_node", *flags], stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://{HOST}:{admin_port}/readyz", "the edge node")
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  ours
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"not within {START_SECONDS:g} s: {what} is ready")


@contextmanager
def running(plane: ControlPlaneProcess) -> Iterator[ControlPlaneProcess]:
    """Started, and gone at the end."""
    plane.start()
    try:
        yield plane
    finally:
        plane.stop()


class ApiClient:
    """Signed requests over one connection that is kept."""

    def __init__(self, plane: ControlPlaneProcess) -> None:
        self._host = plane.api
        self._connection = http.client.HTTPConnection(plane.api, timeout=60)
        self._signer = SigV4Auth(Credentials("cdnlab", "cdnlab-secret"), "cloudfront", "us-east-1")

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def create_distribution(self, number: int) -> str:
        """One configuration change; the distribution's id."""
        return _text(self._ask("POST", "/distribution", _distribution(number)), "Id")

    def is_deployed(self, distribution_id: str) -> bool:
        """Whether all live nodes have it."""
        return _text(self._ask("GET", f"/distribution/{distribution_id}"), "Status") == "Deployed"

    def invalidate(self, distribution_id: str, number: int) -> str:
        """One path; the invalidation's id."""
        body = (
            f'<InvalidationBatch xmlns="{NAMESPACE[1:-1]}"><Paths><Quantity>1</Quantity><Items><Path>/images/{number}.svg'
            f"</Path></Items></Paths><CallerReference>benchmark-{number}</CallerReference></InvalidationBatch>"
        )
        return _text(self._ask("POST", f"/distribution/{distribution_id}/invalidation", body), "Id")

    def is_completed(self, distribution_id: str, invalidation_id: str) -> bool:
        """Whether there is a receipt."""
        path = f"/distribution/{distribution_id}/invalidation/{invalidation_id}"
        return _text(self._ask("GET", path), "Status") == "Completed"

    def _ask(self, method: str, path: str, body: str = "") -> ET.Element:
        for _ in range(TRIES):
            try:
                status, content = self._ask_once(method, path, body)
            except (http.client.RemoteDisconnected, ConnectionResetError):
                self._connection.close()  # it was idle for too long; what is asked again has the same caller reference
                continue
            if status < 300:
                return ET.fromstring(content)  # noqa: S314  our own process
            if status != http.HTTPStatus.REQUEST_TIMEOUT:
                break
        else:
            raise SystemExit(f"{method} {path}: no answer, or 408, {TRIES} times")
        raise SystemExit(f"{method} {path}: {status} {content.decode(errors='replace')}")

    def _ask_once(self, method: str, path: str, body: str) -> tuple[int, bytes]:
        request = AWSRequest(method, f"http://{self._host}{VERSION}{path}", data=body.encode())
        self._signer.add_auth(request)
        self._connection.request(method, f"{VERSION}{path}", body.encode(), dict(request.headers.items()))
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{NAMESPACE}{name}") or ""


def _distribution(number: int) -> str:
    """The smallest that the management API accepts."""
    return (
        f'<DistributionConfig xmlns="{NAMESPACE[1:-1]}"><CallerReference>benchmark-{number}</CallerReference><Comment/>'
        "<Enabled>true</Enabled><Origins><Quantity>1</Quantity><Items><Origin><Id>origin</Id>"
        "<DomainName>127.0.0.1</DomainName><CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort>"
        "<OriginProtocolPolicy>http-only</OriginProtocolPolicy></CustomOriginConfig></Origin></Items></Origins>"
        "<DefaultCacheBehavior><TargetOriginId>origin</TargetOriginId><ViewerProtocolPolicy>allow-all"
        "</ViewerProtocolPolicy><CachePolicyId>658327ea-f89d-4fab-a63d-7e88639e58f6</CachePolicyId>"
        "</DefaultCacheBehavior></DistributionConfig>"
    )


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
