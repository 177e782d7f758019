"""An exception that nobody expects costs one request: planted once in every method on the way of a request, one after the other, over real sockets on both sides.

Which methods those are is found out by watching a run without a fault. After each fault the node must have counted it and must answer the next requests, for the same
object and for another; it has one connection to the origin only, so that a place that is not released is noticed, as is a fetch that is still taken for one under way.
"""

import asyncio
import inspect
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from edge_node import IS_COMPILED
from edge_node.delivery.cached_response import CachedResponder
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_recorder import RequestRecorder
from edge_node.delivery.streamed_response import StreamedResponse
from edge_node.delivery.tunnel import Tunnel, TunnelSide
from edge_node.fill.cache_fill import CacheFill
from edge_node.fill.coalescer import COALESCE_TIMEOUT_SECONDS, RequestCoalescer
from edge_node.fill.endpoint_selector import EndpointSelector
from edge_node.fill.fill_storage import FillStorage
from edge_node.fill.response_stream import ResponseStream
from edge_node.fill.upgrade_fill import UpgradeFill
from edge_node.listeners.fast_path import HitFastPath
from edge_node.listeners.http1 import ViewerConnection
from edge_node.listeners.http1_stream import Http1Stream
from edge_node.model.counters import Counters
from edge_node.pipeline.dispatcher import Dispatcher
from edge_node.pipeline.error_responses import ErrorResponses
from edge_node.pipeline.exception_barrier import ExceptionBarrier
from edge_node.pipeline.pipeline import Pipeline
from edge_node.pipeline.upstream_request_factory import UpstreamRequestFactory
from edge_node.policy.router import Router
from edge_node.storage.cache import Cache
from edge_node.storage.memory import MemoryStore
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetcher import Fetch, Fetcher
from edge_node.upstream.limits import UpstreamLimits, UpstreamSlots
from edge_node.upstream.negative_cache import NegativeCache
from edge_node.upstream.pool import ConnectionPool
from edge_node.upstream.tunnel_connection import TunnelConnection
from tests.builders import behavior_message, origin_message
from tests.conversations.dialogue import HOST, Node
from tests.edge_wires import FakeListener
from tests.fuzz.strict_http import read_request_head
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.skipif(IS_COMPILED, reason="methods of compiled classes cannot be replaced")

COLLABORATORS: tuple[type, ...] = (
    UpstreamRequestFactory, CachedResponder, CacheFill, ConnectionPool, Dispatcher, EndpointSelector, ErrorResponses, NegativeCache, Fetch, Fetcher,
    FillStorage, HitFastPath, Http1Stream, MemoryStore, Pipeline, Router, RequestBodyStream, RequestCoalescer, RequestContext, RequestRecorder, ResponseStream,
    Cache, StreamedResponse, Endpoint, UpstreamConnection, UpstreamLimits, UpstreamSlots, ViewerConnection, Tunnel, TunnelSide, TunnelConnection, UpgradeFill,
)  # fmt: skip
ALL_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
NOT_BROKEN = {
    (Pipeline, "handle"), (ViewerConnection, "__init__"), (ViewerConnection, "connection_made"), (ViewerConnection, "take"), (ViewerConnection, "_start"),
    (RequestBodyStream, "__init__"), (RequestBodyStream, "feed"), (RequestBodyStream, "end"),
    (UpstreamSlots, "release"), (Fetch, "_on_exchange_end"),
}  # fmt: skip
"""What calls these is the listener's, which answers 500 or closes by itself; a place that is not released is lost, but nothing in releasing it can fail; and the last
is the barrier between a connection and its fetch."""
DEADLINE_SECONDS = 10.0
Method = tuple[type, str]


class PlantedError(Exception):
    """Nothing in the node knows it."""


class GuardedNode(Node):
    """As `edge_node/node.py` puts one together: all tasks behind the barrier, and the loop's handler."""

    def __init__(self, counters: Counters, fetcher: Fetcher, port: int) -> None:
        self.barrier = ExceptionBarrier(counters)
        asyncio.get_running_loop().set_exception_handler(self.barrier.loop_failed)
        origin = origin_message("127.0.0.1", port, connection_attempts=1, read_timeout_milliseconds=1_000)
        behavior = behavior_message(allowed_methods=ALL_METHODS)
        super().__init__(behavior, upstream=fetcher, counters=counters, origins=[origin])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return super()._spawn(self.barrier.guard(work))


@dataclass
class World:
    """A node with a listening socket, and an origin."""

    node: GuardedNode
    address: str
    gate: asyncio.Event
    """The origin answers what begins with /gated when it is open."""
    asked: list[str]
    listener: FakeListener

    @property
    def host(self) -> str:
        return HOST.decode()

    @property
    def errors(self) -> int:
        return self.node.counters.internal_errors

    def passes(self, seconds: float) -> None:
        """Time; its timers are called by the loop, as always."""
        asyncio.get_running_loop().call_soon(self.node.passes, seconds)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Or until something has gone wrong."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition() and not self.errors:
                await asyncio.sleep(0)

    async def asks(self, target: str, method: str = "GET") -> None:
        """One request whose answer may be anything, or nothing."""
        async with Viewer(self.address) as viewer:
            await viewer.ask(self.host, target, method=method)
            await self.answered(viewer)

    async def answered(self, viewer: Viewer) -> None:
        reading = asyncio.ensure_future(viewer.read())
        try:
            await self.until(reading.done)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _serve(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An origin that keeps connections open."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = read_request_head(head).target.decode()
            world.asked.append(target)
            if b"content-length: 10" in head.lower():
                await reader.readexactly(10)
            if target.startswith("/gated"):
                await world.gate.wait()
            if target.startswith("/cut"):
                return
            if b"upgrade: websocket" in head.lower():
                await _echo(reader, writer)
                return
            seconds = 0 if target.startswith("/old") else 60
            fields = f'Cache-Control: max-age={seconds}\r\nETag: "1"\r\n'
            writer.write(f"HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhel".encode())
            if target.startswith("/pieces"):
                await asyncio.sleep(0)
            writer.write(b"lo")
    except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        writer.transport.abort()


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A tunnel's other end: gives back what it gets, and so much more than anybody takes at once."""
    writer.write(SWITCH + b"first")
    while data := await reader.read(65_536):
        writer.write(data * 300)
        await writer.drain()
    writer.write_eof()


@asynccontextmanager
async def make_world() -> AsyncIterator[World]:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = loop.create_task(_serve(world, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    origin = await asyncio.start_server(connected, "127.0.0.1", 0)
    counters, pool = Counters(), ConnectionPool(loop)
    node = GuardedNode(counters, Fetcher(pool, counters, loop.time, UpstreamLimits(1)), port_of(origin))
    listener = FakeListener(node.pipeline, node.fast_path)
    server = await loop.create_server(lambda: ViewerConnection(listener), "127.0.0.1", 0)
    world = World(node, f"127.0.0.1:{port_of(server)}", asyncio.Event(), [], listener)
    try:
        yield world
    finally:
        server.close()
        origin.close()
        pool.close()
        for connection in tuple(listener.open):
            connection.abort()
        for task in (*tasks, *node.tasks):
            task.cancel()
        await asyncio.gather(*tasks, *node.tasks, return_exceptions=True)
        for _ in range(5):
            await asyncio.sleep(0)  # what was aborted is closed in the next turns of the loop
        loop.set_exception_handler(None)


def port_of(server: asyncio.AbstractServer) -> int:
    assert isinstance(server, asyncio.Server)
    port: int = server.sockets[0].getsockname()[1]
    return port


# -- what requests are like


async def a_miss(world: World) -> None:
    await world.asks("/a")


async def a_miss_on_an_idle_connection(world: World) -> None:
    """A miss that begins without a task."""
    await world.asks("/first")
    await world.asks("/a")


async def a_miss_in_pieces(world: World) -> None:
    await world.asks("/first")
    await world.asks("/pieces")


async def a_hit(world: World) -> None:
    for _ in range(3):
        await world.asks("/a")


async def a_refresh(world: World) -> None:
    for _ in range(2):
        await world.asks("/old")


async def an_upload(world: World) -> None:
    async with Viewer(world.address) as viewer:
        head = f"POST /upload HTTP/1.1\r\nHost: {world.host}\r\nContent-Length: 10\r\n\r\n"
        await viewer.send(head.encode() + b"hello")
        await world.until(lambda: "/upload" in world.asked)
        await viewer.send(b"hello")
        await world.answered(viewer)


async def an_error_of_the_origin(world: World) -> None:
    await world.asks("/cut")


async def a_viewer_that_leaves(world: World) -> None:
    """With a reset: one that only says that it has said all may wait for its answer."""
    async with Viewer(world.address) as viewer:
        await viewer.ask(world.host, "/gated")
        await world.until(lambda: "/gated" in world.asked)
        connection: socket.socket = viewer.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        viewer.writer.transport.abort()
    await world.until(lambda: not world.listener.open)


async def followers_that_lose_patience(world: World) -> None:
    async with Viewer(world.address) as first, Viewer(world.address) as second, Viewer(world.address) as third:
        for number, viewer in enumerate((first, second, third)):
            await viewer.ask(world.host, "/gated")
            await world.until(lambda: "/gated" in world.asked)
            await world.until(lambda count=number: world.node.counters.collapsed_requests == count)  # type: ignore[misc]
        world.passes(COALESCE_TIMEOUT_SECONDS)
        await world.until(lambda: world.node.counters.upstream_waits["origin"] > 0)
        world.gate.set()
        for viewer in (first, second, third):
            await world.answered(viewer)


async def a_websocket(world: World) -> None:
    """Bytes behind both heads, a viewer that is behind, and an end in each direction."""
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n"
    async with Viewer(world.address, receive_buffer=4_096) as viewer:
        await viewer.send(f"GET /socket HTTP/1.1\r\nHost: {world.host}\r\n{fields}\r\n".encode() + b"x" * 40_000)
        viewer.writer.write_eof()
        reading = asyncio.ensure_future(viewer.reader.read())
        try:
            await world.until(reading.done)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    await world.until(lambda: not world.listener.open)


Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: tuple[Scenario, ...] = (
    a_miss, a_miss_on_an_idle_connection, a_miss_in_pieces, a_hit, a_refresh, an_upload, an_error_of_the_origin, a_viewer_that_leaves,
    followers_that_lose_patience, a_websocket,
)  # fmt: skip


def methods() -> list[Method]:
    return [
        (owner, name)
        for owner in COLLABORATORS
        for name, value in vars(owner).items()
        if inspect.isfunction(value) and (name == "__init__" or not name.startswith("__"))
        if (owner, name) not in NOT_BROKEN
    ]


async def called_by(scenario: Scenario) -> list[Method]:
    """The methods that a run without a fault calls."""
    called: dict[Method, None] = {}
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in methods():
            patch.setattr(owner, name, watched(getattr(owner, name), called, (owner, name)))
        async with make_world() as world:
            called.clear()  # what makes the node is not on the way
            await scenario(world)
            during = list(called)
            assert world.errors == 0
    return during


def watched(function: Callable[..., Any], called: dict[Method, None], method: Method) -> Callable[..., Any]:
    def watching(*arguments: Any, **named: Any) -> Any:
        called[method] = None
        return function(*arguments, **named)

    return watching


def broken_once(function: Callable[..., Any], switch: list[bool]) -> Callable[..., Any]:
    def breaking(*arguments: Any, **named: Any) -> Any:
        if switch:
            switch.clear()
            raise PlantedError
        return function(*arguments, **named)

    return breaking


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_an_exception_costs_one_request(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    found = await called_by(scenario)
    assert len(found) > 20, "the way of a request is longer than that"
    wrong = []
    for owner, name in found:
        problem = await plant(scenario, owner, name)
        if problem:
            wrong.append(f"{owner.__name__}.{name}: {problem}")
    assert not wrong, "\n".join(wrong)


async def plant(scenario: Scenario, owner: type, name: str) -> str:
    """What is wrong after an exception in this method; nothing, if all is well."""
    switch: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, broken_once(getattr(owner, name), switch))
        async with make_world() as world:
            switch.append(True)
            try:
                await scenario(world)
                await world.until(lambda: not switch)
            except TimeoutError:
                return "the request hung, and nothing was counted"
            except OSError:
                pass  # the viewer was cut in the middle of its request
            for _ in range(100):
                await asyncio.sleep(0)
            if not world.errors:
                return "not counted"
            world.gate.set()
            world.node.now += 60  # what failed is not remembered any more
            for target in ("/next", world.asked[-1] if world.asked else "/a"):
                if target == "/cut":
                    continue
                try:
                    async with asyncio.timeout(DEADLINE_SECONDS), Viewer(world.address) as viewer:
                        answer = await viewer.get(world.host, target)
                except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                    return f"the next request, for {target}: {error!r}"
                if (answer.status, answer.body) != (200, b"hello"):
                    return f"the next request, for {target}, got {answer.status}"
    return ""
