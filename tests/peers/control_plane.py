"""A control plane whose every word a test decides: a real gRPC server that speaks `ControlPlane.Sync`.

It grants every lease at once and pushes what `put_*` and `invalidate` add to the log, unless told to hold entries back from a node.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType

import grpc
import grpc.aio
from google.protobuf.message import Message

from proto.cdn.v1 import configuration_pb2, sync_pb2, sync_pb2_grpc
from tests.builders import entry_message, snapshot_message

LEASE_MILLISECONDS = 5_000


@dataclass
class NodeStream:
    """What one node has said, and what waits to be told to it."""

    node: sync_pb2.Node
    outgoing: "asyncio.Queue[sync_pb2.ControlMessage | None]" = field(default_factory=lambda: asyncio.Queue(10_000))
    acknowledged_index: int = 0
    rejections: list[tuple[int, str]] = field(default_factory=list)
    held_back: list[sync_pb2.Entry] = field(default_factory=list)
    is_holding_back: bool = False


class ScriptedControlPlane(sync_pb2_grpc.ControlPlaneServicer):
    """`async with ScriptedControlPlane() as control:`; `control.address` is what nodes connect to."""

    def __init__(
        self, host: str = "127.0.0.1", log_id: str = "log-1", credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.host = host
        self.log_id = log_id
        self._credentials = credentials
        self.index = 1
        self.distributions: dict[str, configuration_pb2.Distribution] = {}
        self.routing_table = configuration_pb2.RoutingTable(zone="cdn.localhost")
        self.streams: dict[str, NodeStream] = {}
        self.address = ""
        self._server: grpc.aio.Server | None = None
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> "ScriptedControlPlane":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        sync_pb2_grpc.add_ControlPlaneServicer_to_server(self, self._server)
        bound = self._bind(self._server, f"{self.host}:{port}")
        self.address = f"{self.host}:{bound}"
        await self._server.start()

    def _bind(self, server: grpc.aio.Server, address: str) -> int:
        if self._credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, self._credentials)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def Sync(  # noqa: N802 - the name in the contract
        self, request_iterator: AsyncIterator[sync_pb2.NodeMessage], context: object
    ) -> AsyncIterator[sync_pb2.ControlMessage]:
        hello = (await anext(aiter(request_iterator))).hello
        stream = self.streams[hello.node.id] = NodeStream(hello.node)
        if hello.log_id == self.log_id and hello.applied_index == self.index:
            stream.acknowledged_index = hello.applied_index
        else:
            stream.outgoing.put_nowait(sync_pb2.ControlMessage(snapshot=self.snapshot()))
        stream.outgoing.put_nowait(self._directory())
        reader = asyncio.ensure_future(self._read(request_iterator, stream))
        await self._tell_directory()
        try:
            while (message := await stream.outgoing.get()) is not None:
                yield message
        finally:
            reader.cancel()

    async def _read(self, messages: AsyncIterator[sync_pb2.NodeMessage], stream: NodeStream) -> None:
        async for message in messages:
            match message.WhichOneof("kind"):
                case "acknowledgement":
                    stream.acknowledged_index = message.acknowledgement.index
                case "rejection":
                    stream.rejections.append((message.rejection.index, message.rejection.reason))
                case "heartbeat":
                    lease = sync_pb2.Lease(
                        sequence=message.heartbeat.sequence,
                        is_granted=True,
                        duration_milliseconds=LEASE_MILLISECONDS,
                        head_index=self.index,
                    )
                    stream.outgoing.put_nowait(sync_pb2.ControlMessage(lease=lease))
                case "leaving":
                    stream.outgoing.put_nowait(None)
            async with self._changed:
                self._changed.notify_all()
        stream.outgoing.put_nowait(None)

    def snapshot(self) -> sync_pb2.Snapshot:
        return snapshot_message(self.index, *self.distributions.values(), self.routing_table, log_id=self.log_id)

    def _directory(self) -> sync_pb2.ControlMessage:
        nodes = [stream.node for stream in self.streams.values()]
        return sync_pb2.ControlMessage(directory=sync_pb2.Directory(version=len(nodes), nodes=nodes))

    async def _tell_directory(self) -> None:
        for stream in self.streams.values():
            stream.outgoing.put_nowait(self._directory())

    # -- what tests say

    def append(self, *bodies: Message) -> int:
        """Add an entry that puts or invalidates these to the log, and push it."""
        self.index += 1
        entry = entry_message(self.index, *bodies, log_id=self.log_id)
        for stream in self.streams.values():
            if stream.is_holding_back:
                stream.held_back.append(entry)
            else:
                stream.outgoing.put_nowait(sync_pb2.ControlMessage(entry=entry))
        return self.index

    def put(self, distribution: configuration_pb2.Distribution) -> int:
        self.distributions[distribution.id] = distribution
        return self.append(distribution)

    def invalidate(self, distribution_id: str, *paths: str) -> int:
        invalidation = configuration_pb2.Invalidation(id=f"I{self.index}", distribution_id=distribution_id, paths=paths)
        return self.append(invalidation)

    def hold_back(self, node_id: str) -> None:
        """Keep entries from a node until `let_go`."""
        self.streams[node_id].is_holding_back = True

    def let_go(self, node_id: str) -> None:
        stream = self.streams[node_id]
        stream.is_holding_back = False
        for entry in stream.held_back:
            stream.outgoing.put_nowait(sync_pb2.ControlMessage(entry=entry))
        stream.held_back.clear()

    async def wait_acknowledged(self, index: int, *node_ids: str, timeout: float = 10.0) -> None:
        """Until these nodes have acknowledged the index."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(
                lambda: all(
                    node in self.streams and self.streams[node].acknowledged_index >= index for node in node_ids
                )
            )
