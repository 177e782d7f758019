"""The other ends of relays: a server that a test scripts, clients with an address, and relays between them."""

import asyncio
import contextlib
import functools
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop

from lab.wan.configuration import Bounds, ClientAddress, Configuration, Place, PlacedLink, Proxy, Transport
from lab.wan.links import Link, Path
from lab.wan.relays import Relays
from lab.wan.server import relaying

PATIENCE_SECONDS = 10.0
BOUNDS = Bounds()
_numbers = itertools.count()


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs on the loop that the relays' process has, not on pytest's."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(*arguments, **named))

    return run


def loopback(group: int) -> str:
    """An address of this test run's own, in one of a few networks of it."""
    return f"127.{180 + group}.{os.getpid() % 250}.{next(_numbers) % 250 + 1}"


HERE, NEAR, FAR = 0, 1, 2
"""Groups: the server's, and two of clients."""
PLACES = (
    *(Place(name, (f"127.{180 + group}.0.0/16",)) for group, name in enumerate(("here", "near", "far"))),
    Place("local", ("127.0.0.1/32",)),
)


class Server:
    """Hands its connections to the test."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.address = ""
        self.writers: list[asyncio.StreamWriter] = []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.connections.put_nowait((reader, writer))

    async def next(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.connections.get()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Server"]:
        host = loopback(HERE)
        server = await asyncio.start_server(self._accept, host, 0)
        self.address = f"{host}:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()


def link(place: str, forward: Path, backward: Path | None = None) -> PlacedLink:
    """From a place of clients to the server."""
    return PlacedLink(Link((place, "here"), forward, forward if backward is None else backward))


class Net:
    """Relays, the server behind them, and clients at places."""

    def __init__(self, relays: Relays, server: Server) -> None:
        self.relays = relays
        self.server = server
        self._clients: list[asyncio.StreamWriter] = []

    @property
    def listen(self) -> tuple[str, int]:
        host, _, port = self.relays.proxies["p"].proxy.listen.rpartition(":")
        return host, int(port)

    async def connect(self, group: int = NEAR) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self.connect_from(loopback(group))

    async def connect_from(self, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.listen, local_addr=(source, 0))
        self._clients.append(writer)
        return reader, writer

    async def close(self) -> None:
        """Everybody leaves, and nothing is left of them."""
        self.relays.close()
        for writer in (*self._clients, *self.server.writers):
            writer.transport.abort()
        await until(lambda: self.relays.counters.connections == 0, "the end of all connections")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def pair(self, group: int = NEAR) -> tuple["End", "End"]:
        """A client's end and the server's."""
        client = await self.connect(group)
        return End(*client), End(*await self.server.next())

    def change(self, place: str, forward: Path, backward: Path | None = None) -> None:
        changed = link(place, forward, backward).link
        self.relays.change_link(changed.name, changed)

    async def all_gone(self) -> None:
        await until(lambda: self.relays.counters.connections == 0, "the end of all connections")
        assert self.relays.context.shared.memory.used_bytes == 0


class End:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readexactly(count)

    async def read_all(self) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read()

    async def is_reset(self) -> bool:
        """Whether the next thing heard is a RST."""
        try:
            await self.read_all()
        except ConnectionResetError:
            return True
        return False

    def reset(self) -> None:
        socket_of = self.writer.get_extra_info("socket")
        socket_of.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def net(
    *links: PlacedLink,
    bounds: Bounds = BOUNDS,
    client_address: ClientAddress = ClientAddress.HIDDEN,
    transport: Transport = Transport.TCP,
    **changes: Any,
) -> AsyncIterator[Net]:
    async with Server().listening() as server:
        upstream, client_place = changes.pop("upstream", server.address), changes.pop("client_place", "")
        listen = f"{loopback(HERE)}:0"
        proxy = Proxy(
            "p", listen, upstream, changes.pop("place", "here"), transport, client_address, client_place=client_place
        )
        places = changes.pop("places", PLACES)
        configuration = Configuration(places, (proxy,), links, seed=1, bounds=bounds, **changes)
        async with relaying(configuration) as relays:
            made = Net(relays, server)
            try:
                yield made
            finally:
                await made.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that no event tells."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not in {PATIENCE_SECONDS:g} s: {what}") from None
