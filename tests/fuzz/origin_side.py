"""A whole node between a viewer's connection and an origin that says anything: every part is the real one but the two sockets."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_node.model.counters import Counters
from edge_node.model.errors import UpstreamError, UpstreamErrorKind
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.fetcher import Fetcher
from edge_node.upstream.pool import ConnectionPool
from proto.cdn.v1 import configuration_pb2
from tests.conversations.dialogue import Node
from tests.edge_wires import FakeListener, FakeTransport
from tests.fuzz.strict_http import read_request_head
from tests.turns import settle

Pieces = Sequence[bytes]


class HeardTransport(FakeTransport):
    """Tells the origin when the head of a request is complete."""

    def __init__(self, protocol: UpstreamConnection, heard: Callable[["HeardTransport", bytes], None]) -> None:
        super().__init__(protocol)
        self._heard = heard

    def write(self, data: Any) -> None:
        super().write(data)
        if data.endswith(b"\r\n\r\n"):
            self._heard(self, bytes(data))


class KeptOrigin:
    """An origin that keeps its connections open, behind the real pool: it says the same for a target, whenever and on whichever connection it is asked."""

    def __init__(self, answers: dict[bytes, Pieces]) -> None:
        pool = ConnectionPool(asyncio.get_running_loop())
        self.take_idle = pool.take_idle
        self.release = pool.release
        self.answers = answers
        self.transports: list[HeardTransport] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.reused = 0

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        connection = UpstreamConnection(asyncio.get_running_loop())
        self.transports.append(HeardTransport(connection, self._heard))
        return connection

    def _heard(self, transport: HeardTransport, request: bytes) -> None:
        assert not any(task.get_name() == str(id(transport)) for task in self.tasks), "asked while it was answering"
        self.reused += len(transport.written) > len(request)
        pieces = self.answers[read_request_head(request).target]
        task = asyncio.get_running_loop().create_task(self._say(transport, pieces), name=str(id(transport)))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _say(self, transport: HeardTransport, pieces: Pieces) -> None:
        for piece in pieces:
            await asyncio.sleep(0)
            if transport.is_closing():
                return
            transport.protocol.data_received(piece)

    def hangs_up(self) -> None:
        """Close every connection, in an orderly way."""
        for transport in self.transports:
            if not transport.is_lost:
                transport.close()

    async def finish(self) -> None:
        self.hangs_up()
        await settle()
        assert not self.tasks


@dataclass
class Origin:
    """In the place of the connection pool: each connection that is made is one of these scripts; after the last one, the port is closed."""

    scripts: list[tuple[Pieces, bool]]
    """What is said in answer to the first request of a connection, and whether the connection is then closed properly (or reset)."""
    transports: list[FakeTransport] = field(default_factory=list)
    connections: list[UpstreamConnection] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def take_idle(self, address: tuple[str, int]) -> UpstreamConnection | None:
        return None

    def release(self, address: tuple[str, int], connection: UpstreamConnection, keepalive_seconds: float) -> None:
        """Kept open: whatever else the origin says on it is nobody's answer."""

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        if not self.scripts:
            raise UpstreamError(UpstreamErrorKind.REFUSED, "the port is closed", is_request_untouched=True)
        pieces, is_orderly = self.scripts.pop(0)
        connection = UpstreamConnection(asyncio.get_running_loop())
        transport = FakeTransport(connection)
        self.connections.append(connection)
        self.transports.append(transport)
        task = asyncio.get_running_loop().create_task(self._say(connection, transport, pieces, is_orderly))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return connection

    async def _say(
        self, connection: UpstreamConnection, transport: FakeTransport, pieces: Pieces, is_orderly: bool
    ) -> None:
        for _ in range(100):
            if transport.written.endswith(b"\r\n\r\n") or b"\r\n\r\n" in transport.written or transport.is_lost:
                break
            await asyncio.sleep(0)
        for piece in pieces:
            for _ in range(100):
                if not transport.is_paused:
                    break
                await asyncio.sleep(0)
            if transport.is_closing():
                return
            connection.data_received(piece)
            await asyncio.sleep(0)
        if transport.is_closing():
            return
        if is_orderly:
            connection.eof_received()
            transport.close()
        else:
            transport.is_lost = True
            connection.connection_lost(ConnectionResetError())

    async def finish(self) -> None:
        for transport in self.transports:
            if not transport.is_lost:
                transport.abort()
        await settle()
        assert not self.tasks


class World:
    """One node, one viewer's connection, one origin."""

    def __init__(
        self,
        scripts: list[tuple[Pieces, bool]] | KeptOrigin,
        *behaviors: configuration_pb2.Behavior,
        **distribution: Any,
    ) -> None:
        self.origin = scripts if isinstance(scripts, KeptOrigin) else Origin(scripts)
        self.node = Node(*behaviors, upstream=Fetcher(self.origin, Counters(), lambda: 0.0), **distribution)
        self.listener = FakeListener(self.node.pipeline, self.node.fast_path)
        self.connection, self.transport = self.listener.connect()

    async def hears(self, data: bytes) -> None:
        """The viewer's bytes; read as far as the node reads, and the rest when it does again."""
        self.transport.feed(data)
        for _ in range(100):
            if not self.transport.unread_bytes:
                break
            await asyncio.sleep(0)

    async def settles(self) -> None:
        """Until nobody does anything any more."""
        quiet = 0
        before = (-1, -1)
        for _ in range(2_000):
            now = (len(self.transport.written), len(self.origin.tasks))
            quiet = quiet + 1 if now == before else 0
            before = now
            if quiet > 12 and not self.origin.tasks:
                break
            await asyncio.sleep(0)

    async def another_viewer(self, request: bytes) -> bytes:
        """What a second viewer gets on a connection of its own; no origin answers any more unless a script is left."""
        connection, transport = self.listener.connect()
        connection.data_received(request)
        await self.settles()
        written = bytes(transport.written)
        if not transport.is_lost:
            transport.abort()
        return written

    async def close(self) -> None:
        if not self.transport.is_lost:
            self.transport.abort()
        await self.origin.finish()
        for _ in range(20):
            if not self.node.tasks:
                break
            await asyncio.sleep(0)
        assert not self.node.tasks, "a fetch outlived its viewer"
        assert not self.listener.open
