"""Cache nodes as real processes, and a small lab of them around a scripted control plane and a scripted origin."""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from proto.cdn.v1 import configuration_pb2
from tests import warm_start
from tests.builders import behavior_message, distribution_message, origin_message
from tests.peers.control_plane import ScriptedControlPlane
from tests.peers.origin import Script, ScriptedOrigin
from tests.peers.viewer import Answer, get
from tests.warm_start import WarmProcess

START_SECONDS = 20.0
DEADLINE_SECONDS = 10.0
_addresses = itertools.count(2)


def own_address() -> str:
    """A loopback address of this test run's own."""
    number = next(_addresses)
    return f"127.17.{os.getpid() % 200 + 1}.{number % 250 + 1}"


def free_address(host: str) -> str:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


async def until(condition: Callable[[], bool], what: str, timeout: float = DEADLINE_SECONDS) -> None:
    """Wait for something that no event tells."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not in {timeout:g} s: {what}") from None


@dataclass
class Node:
    """One `python -m edge_node`."""

    id: str
    role: str
    directory: Path
    control_plane: str
    region: str = "eu"
    pop: str = "FRA56-P1"
    cache_bytes: int = 64 * 1024 * 1024
    disk_bytes: int = 0
    eviction_policy: str = "s3fifo"
    ulimit: str = ""
    """What the shell's `ulimit` is told before the node starts, as `-n 400`."""
    trusted_proxies: str = ""
    http: str = ""
    admin: str = ""
    process: "subprocess.Popen[bytes] | WarmProcess | None" = None

    async def start(self) -> None:
        """Start, and wait until it listens; a second start keeps addresses and state."""
        if not self.http:
            host = own_address()
            self.http, self.admin = free_address(host), free_address(host)
        self.directory.mkdir(parents=True, exist_ok=True)
        flags = [
            *("--node-id", self.id, "--role", self.role, "--region", self.region, "--pop", self.pop),
            *("--listen", self.http, "--admin", self.admin, "--control-plane", self.control_plane),
            *("--state-dir", str(self.directory / "state"), "--cache-bytes", str(self.cache_bytes)),
            *("--access-log", str(self.directory / "access.log"), "--disk-bytes", str(self.disk_bytes)),
            *("--eviction-policy", self.eviction_policy),
        ]
        if self.trusted_proxies:
            flags += ["--trusted-proxies", self.trusted_proxies]
        with (self.directory / "log").open("ab") as log:
            self.process = (
                warm_start.start_cold("edge_node", flags, stderr=log, ulimit=self.ulimit)
                if self.ulimit
                else warm_start.start("edge_node", flags, stderr=log)
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._is_listening():
                    assert self.process.poll() is None, f"{self.id} ended at its start:\n{self.log()}"
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{self.id} does not listen:\n{self.log()}") from None

    async def _is_listening(self) -> bool:
        host, _, port = self.admin.rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        writer.close()
        return True

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and gone when it returns."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self, timeout: float = DEADLINE_SECONDS) -> int:
        process = self.process
        assert process is not None
        await until(lambda: process.poll() is not None, f"the end of {self.id}", timeout)
        return process.wait()

    async def stop(self) -> None:
        """End it in any state."""
        if self.is_running:
            await self.kill()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def access_log(self) -> list[list[str]]:
        """The fields of each record so far."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return [line.split("\t") for line in lines if not line.startswith("#")]

    async def logged(self, text: str, timeout: float = DEADLINE_SECONDS) -> list[str]:
        """The fields of the first record that holds the text, as soon as it is written."""

        def found() -> list[list[str]]:
            return [fields for fields in self.access_log() if any(text in field for field in fields)]

        await until(lambda: bool(found()), f"a record of {text} in the access log of {self.id}", timeout)
        return found()[0]

    def memory(self, name: str = "VmHWM") -> int:
        """Bytes, of /proc/PID/status."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    async def ask_admin(self, path: str, method: str = "GET", body: bytes | None = None) -> Answer:
        headers = () if body is None else (("Content-Type", "application/json"),)
        return await get(self.admin, "localhost", path, *headers, method=method, body=body)

    async def status(self) -> dict[str, Any]:
        document = json.loads((await self.ask_admin("/status")).body)
        assert isinstance(document, dict)
        return document

    async def metric(self, sample: str) -> float:
        """The value of one sample, `name{label="value"}`; 0 when it is not there yet."""
        lines = (await self.ask_admin("/metrics")).body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " ")), 0.0)


@dataclass
class Site:
    """A distribution of a test's own, with its paths at the origin."""

    id: str
    host: str
    lab: "EdgeLab"
    message: configuration_pb2.Distribution
    index: int = 0

    def script(self, path: str, script: Script) -> None:
        self.lab.origin.scripts[self.at_origin(path)] = script

    def at_origin(self, path: str) -> str:
        return f"/{self.id}{path}"

    def asked(self, path: str) -> list[Any]:
        return self.lab.origin.asked(self.at_origin(path))

    async def wait_asked(self, path: str, count: int = 1) -> list[Any]:
        return await self.lab.origin.wait_asked(self.at_origin(path), count)

    async def get(
        self,
        path: str,
        *headers: tuple[str, str],
        method: str = "GET",
        body: bytes | None = None,
        node: Node | None = None,
    ) -> Answer:
        """One request to the first edge, or to the given node."""
        return await get((node or self.lab.edge).http, self.host, path, *headers, method=method, body=body)


@dataclass
class EdgeLab:
    """`async with EdgeLab(directory) as lab:`; nodes are added by tests, all ended at the end."""

    directory: Path
    nodes: list[Node] = field(default_factory=list)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    control: ScriptedControlPlane = field(init=False)
    origin: ScriptedOrigin = field(init=False)

    async def __aenter__(self) -> "EdgeLab":
        address = own_address()
        self.control = await self._stack.enter_async_context(ScriptedControlPlane(address))
        self.origin = await self._stack.enter_async_context(ScriptedOrigin(address))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(node.stop() for node in self.nodes))
        await self._stack.aclose()

    @property
    def edge(self) -> Node:
        """The first edge."""
        return next(node for node in self.nodes if node.role == "edge")

    @property
    def regional(self) -> Node:
        return next(node for node in self.nodes if node.role == "regional")

    async def start(self, *specifications: str, **changes: Any) -> list[Node]:
        """Start nodes, `edge-1` or `regional-1@eu`; they know of each other when it returns."""
        started = []
        for specification in specifications:
            node_id, _, region = specification.partition("@")
            role = node_id.partition("-")[0]
            directory = self.directory / node_id
            node = Node(node_id, role, directory, self.control.address, region or "eu", **changes)
            started.append(node)
            self.nodes.append(node)
        await asyncio.gather(*(node.start() for node in started))
        await self.control.wait_acknowledged(self.control.index, *(node.id for node in started))
        await self.know_each_other()
        return started

    async def know_each_other(self) -> None:
        """Until every running edge has every running regional cache in its directory."""
        running = [node for node in self.nodes if node.is_running]
        regionals = {node.id for node in running if node.role == "regional"}
        for node in running:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not regionals <= set((await node.status())["regionals"]):
                    await asyncio.sleep(0.02)

    async def site(self, *behaviors: configuration_pb2.Behavior, **origin_changes: Any) -> Site:
        """Put a distribution and wait until all nodes have it."""
        site = self.make_site(*behaviors, **origin_changes)
        await self.put(site)
        return site

    def make_site(self, *behaviors: configuration_pb2.Behavior, **origin_changes: Any) -> Site:
        number = next(self._numbers)
        site_id, host = f"E{number}", f"d{number}.cdn.localhost"
        values: dict[str, Any] = {
            "host": self.origin.host,
            "port": self.origin.port,
            "path_prefix": f"/{site_id}",
        } | origin_changes
        origin = origin_message(**values)
        message = distribution_message(origin, *(behaviors or (behavior_message(),)), id=site_id, domain_name=host)
        return Site(site_id, host, self, message)

    async def put(self, site: Site) -> None:
        site.index = self.control.put(site.message)
        await self.acknowledged(site.index)

    async def invalidate(self, site: Site, *paths: str) -> int:
        """Invalidate, and wait until all nodes that are not held back have applied it."""
        index = self.control.invalidate(site.id, *paths)
        await self.acknowledged(index)
        return index

    async def acknowledged(self, index: int) -> None:
        ids = [node.id for node in self.nodes if node.is_running and not self.control.streams[node.id].is_holding_back]
        await self.control.wait_acknowledged(index, *ids)
