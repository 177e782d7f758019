"""A real router process and a control plane that says what the test tells it to, for tests on sockets."""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import dns.asyncquery
import dns.message
import grpc
import grpc.aio

from proto.cdn.v1 import sync_pb2, sync_pb2_grpc
from tests import warm_start
from tests.router_builders import addresses_in, query_with_subnet
from tests.warm_start import WarmProcess

ROOT = Path(__file__).parent.parent
DEADLINE_SECONDS = 15.0
_Context = grpc.aio.ServicerContext[sync_pb2.NodeMessage, sync_pb2.ControlMessage]
_Heard = Literal["hello", "acknowledgement", "rejection", "heartbeat", "leaving"]

NOBODY = "127.13.254.254:9"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds; fail when it does not within the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


class ScriptedControlPlane(sync_pb2_grpc.ControlPlaneServicer):
    """Speaks ControlPlane.Sync: greets each stream with the script, grants leases, and hears what the node says."""

    def __init__(self, *script: sync_pb2.ControlMessage) -> None:
        self.script = list(script)
        self.heard: list[sync_pb2.NodeMessage] = []
        self.address = ""
        self._server = grpc.aio.server()
        self._streams: set[asyncio.Queue[sync_pb2.ControlMessage]] = set()

    async def start(self, address: str) -> None:
        """Listen; port 0 takes a free one."""
        sync_pb2_grpc.add_ControlPlaneServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(address)
        self.address = f"{address.rpartition(':')[0]}:{port}"
        await self._server.start()

    async def stop(self) -> None:
        """Break every stream and be gone."""
        await self._server.stop(None)

    async def Sync(  # noqa: N802 -- the name in the contract
        self, request_iterator: AsyncIterator[sync_pb2.NodeMessage], context: _Context
    ) -> AsyncIterator[sync_pb2.ControlMessage]:
        stream: asyncio.Queue[sync_pb2.ControlMessage] = asyncio.Queue()
        for message in self.script:
            stream.put_nowait(message)
        self._streams.add(stream)
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(request_iterator, stream))
                while not (listening.done() and stream.empty()):
                    with contextlib.suppress(TimeoutError):
                        yield await asyncio.wait_for(stream.get(), 0.05)
        finally:
            self._streams.discard(stream)

    async def _listen(
        self, messages: AsyncIterator[sync_pb2.NodeMessage], stream: asyncio.Queue[sync_pb2.ControlMessage]
    ) -> None:
        async for message in messages:
            self.heard.append(message)
            if message.HasField("heartbeat"):
                lease = sync_pb2.Lease(
                    sequence=message.heartbeat.sequence, is_granted=True, duration_milliseconds=5000, head_index=9
                )
                stream.put_nowait(sync_pb2.ControlMessage(lease=lease))

    def say(self, **kind: Any) -> None:
        """Tell every connected node, and those that connect later."""
        message = sync_pb2.ControlMessage(**kind)
        self.script.append(message)
        for stream in self._streams:
            stream.put_nowait(message)

    def has_heard(self, kind: _Heard, matches: Callable[[sync_pb2.NodeMessage], bool] = lambda _: True) -> bool:
        return any(message.HasField(kind) and matches(message) for message in self.heard)

    def has_acknowledgement_of(self, index: int) -> bool:
        return self.has_heard("acknowledgement", lambda message: message.acknowledgement.index == index)


@contextlib.asynccontextmanager
async def control_plane(
    *script: sync_pb2.ControlMessage, address: str = "127.13.1.1:0"
) -> AsyncIterator[ScriptedControlPlane]:
    plane = ScriptedControlPlane(*script)
    await plane.start(address)
    try:
        yield plane
    finally:
        await plane.stop()


class RouterProcess:
    """`python -m dns_router`, its addresses, and how it ended."""

    def __init__(self, process: "subprocess.Popen[bytes] | WarmProcess", log: Path) -> None:
        self.process = process
        self._log = log
        self.host, self.port, self.admin_host, self.admin_port = "", 0, "", 0

    def log(self) -> str:
        return self._log.read_text()

    async def wait_listening(self) -> None:
        async def is_listening() -> bool:
            assert self.process.poll() is None, self.log()
            found = re.search(r"listening on \[?([^\]\s]+)\]?:(\d+), admin on \[?([^\]\s]+)\]?:(\d+)", self.log())
            if found:
                self.host, self.admin_host = found[1], found[3]
                self.port, self.admin_port = int(found[2]), int(found[4])
            return found is not None

        await eventually(is_listening)

    async def udp(self, message: dns.message.Message) -> dns.message.Message:
        return await dns.asyncquery.udp(message, self.host, port=self.port, timeout=5)

    async def tcp(self, message: dns.message.Message) -> dns.message.Message:
        return await dns.asyncquery.tcp(message, self.host, port=self.port, timeout=5)

    async def addresses(self, name: str, subnet: str) -> set[str]:
        return set(addresses_in(await self.udp(query_with_subnet(name, subnet))))

    async def http(self, request: bytes) -> tuple[int, str]:
        """Send raw bytes to the admin port; the status and the body."""
        reader, writer = await asyncio.open_connection(self.admin_host, self.admin_port)
        try:
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
            await writer.wait_closed()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]) if head else 0, body.decode()

    async def get(self, path: str) -> tuple[int, str]:
        return await self.http(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async def status(self) -> dict[str, object]:
        document = json.loads((await self.get("/status"))[1])
        assert isinstance(document, dict)
        return document

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)


def command(state_folder: Path, *, listen: str, control_plane_address: str, admin: str = "127.13.0.1:0") -> list[str]:
    return [sys.executable, "-m", "dns_router", *_flags(state_folder, listen, control_plane_address, admin)]


def _flags(state_folder: Path, listen: str, control_plane_address: str, admin: str = "127.13.0.1:0") -> list[str]:
    return [
        *("--node-id", "router-1", "--region", "us-east-1", "--listen", listen, "--admin", admin),
        *("--control-plane", control_plane_address, "--state-dir", str(state_folder)),
    ]


@contextlib.asynccontextmanager
async def router(
    folder: Path,
    *,
    listen: str = "127.13.0.1:0",
    control_plane_address: str = NOBODY,
    more: Sequence[str] = (),
    is_cold: bool = False,
) -> AsyncIterator[RouterProcess]:
    """A router that is listening, started warm unless the test is about the process itself; killed at the end unless the test ended it."""
    log = folder / "router.log"
    flags = [*_flags(folder / "state", listen, control_plane_address), *more]
    with log.open("wb") as output:
        start = warm_start.start_cold if is_cold else warm_start.start
        process: subprocess.Popen[bytes] | WarmProcess = start("dns_router", flags, stderr=output)
    started = RouterProcess(process, log)
    try:
        await started.wait_listening()
        yield started
    finally:
        if started.process.poll() is None:
            started.kill()
