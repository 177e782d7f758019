"""Requests leave nothing to the garbage collector: it would look at all that is stored to find them, and what they hold would stay until then."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.fetcher import Fetcher
from edge_node.upstream.pool import ConnectionPool
from tests.conversations.dialogue import Node
from tests.edge_wires import FakeListener, FakeTransport, turn

CACHED = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello"
PRIVATE = CACHED.replace(b"max-age=60", b"private")
ERROR = CACHED.replace(b"200 OK", b"503 Busy")


OF_CONNECTIONS = {"UpstreamConnection", "ViewerConnection", "RequestParser", "Deadline", "Http1Stream"}
"""A connection and its parser know each other: they go when the connection has ended, and are much fewer than requests."""


class Upstream:
    """The real pool; the origin answers what it is told to, when the test says so."""

    def __init__(self) -> None:
        pool = ConnectionPool(asyncio.get_running_loop())
        self.take_idle, self.release = pool.take_idle, pool.release
        self.asked: list[FakeTransport] = []

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        connection, upstream = UpstreamConnection(asyncio.get_running_loop()), self

        class Transport(FakeTransport):
            def write(self, data: Any) -> None:
                super().write(data)
                upstream.asked.append(self)

        Transport(connection)
        return connection


class World:
    """A node, with one viewer's connection and its origin."""

    def __init__(self) -> None:
        self.upstream = Upstream()
        self.node = Node()
        self.node = Node(upstream=Fetcher(self.upstream, self.node.counters, lambda: 0.0))
        self.listener = FakeListener(self.node.pipeline, self.node.fast_path)
        self.viewers = [self.listener.connect()[1] for _ in range(2)]

    async def asks(self, target: str, viewer: int = 0) -> None:
        self.viewers[viewer].feed(f"GET {target} HTTP/1.1\r\nHost: d1.cdn.localhost\r\n\r\n".encode())
        await turn()

    async def answers(self, *pieces: bytes) -> None:
        transport = self.upstream.asked.pop()
        for piece in pieces:
            transport.feed(piece)
        await turn()


async def a_miss(world: World, number: int) -> None:
    await world.asks(f"/{number}")
    await world.answers(CACHED)


async def a_miss_in_pieces(world: World, number: int) -> None:
    await world.asks(f"/{number}")
    await world.answers(CACHED[:-3], CACHED[-3:])


async def a_follower(world: World, number: int) -> None:
    await world.asks(f"/{number}")
    await world.asks(f"/{number}", viewer=1)
    await world.answers(CACHED[:-3], CACHED[-3:])


async def a_private_response(world: World, number: int) -> None:
    await world.asks(f"/{number}")
    await world.answers(PRIVATE)


async def an_error(world: World, number: int) -> None:
    await world.asks(f"/{number}")
    await world.answers(ERROR)


async def a_lost_connection(world: World, number: int) -> None:
    await world.asks(f"/{number}")
    for _ in range(3):
        world.upstream.asked.pop().close()
        await turn()


async def a_viewer_that_leaves(world: World, number: int) -> None:
    await world.asks(f"/{number}")
    world.viewers[0].abort()
    await turn()
    world.viewers[0] = world.listener.connect()[1]


@pytest.mark.parametrize(
    "scenario",
    [a_miss, a_miss_in_pieces, a_follower, a_private_response, an_error, a_lost_connection, a_viewer_that_leaves],
    ids=lambda scenario: scenario.__name__,
)
async def test_a_request_leaves_nothing_to_the_garbage_collector(
    scenario: Callable[[World, int], Awaitable[None]],
) -> None:
    world = World()
    for number in range(3):
        await scenario(world, number)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in range(3, 8):
            await scenario(world, number)
        gc.collect()
        left = {type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith("edge_node")}
        assert not left - OF_CONNECTIONS
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
