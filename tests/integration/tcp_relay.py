"""A relay of bytes between a program and a server, which a test cuts: connections stay open, and whatever is said is swallowed, as on a path that has gone dark."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

CHUNK_BYTES = 65_536


class TcpRelay:
    """See `relaying`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._connections: set[asyncio.Task[None]] = set()
        self.is_cut = False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
            try:
                pumps = [asyncio.create_task(self._pump(reader, upstream_writer))]
                pumps.append(asyncio.create_task(self._pump(upstream_reader, writer)))
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                upstream_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if not self.is_cut:
                writer.write(data)
                await writer.drain()

    def close(self) -> None:
        """End all connections."""
        for task in list(self._connections):
            task.cancel()


@contextlib.asynccontextmanager
async def relaying(own_host: str, own_port: int, host: str, port: int) -> AsyncIterator[TcpRelay]:
    """Listens until the block ends."""
    relay = TcpRelay(host, port)
    server = await asyncio.start_server(relay.accept, own_host, own_port)
    try:
        yield relay
    finally:
        server.close()
        relay.close()
        await server.wait_closed()
