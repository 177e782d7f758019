"""An origin that takes its time: one object of 1 MiB in equal pieces over some seconds, and how often it was asked for what."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.peers.servers import SLOW_ORIGIN

PIECES = 64
PIECE_BYTES = 16 * 1024
PIECE_SECONDS = 0.05
BODY = b"".join(hashlib.shake_256(b"%d" % number).digest(PIECE_BYTES) for number in range(PIECES))
DIGEST = hashlib.sha256(BODY).hexdigest()


@dataclass
class SlowOrigin:
    """What it was asked for, and when it had given everything away."""

    fetches: Counter[str] = field(default_factory=Counter)
    ended_at: dict[str, float] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one answer after the other."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.split(b" ", 2)[1].decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the cache has left
        finally:
            writer.close()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        self.fetches[target] += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: max-age=3600\r\n\r\n" % len(BODY))
        for number in range(PIECES):
            await asyncio.sleep(PIECE_SECONDS)
            writer.write(BODY[number * PIECE_BYTES : (number + 1) * PIECE_BYTES])
            await writer.drain()
        self.ended_at[target] = asyncio.get_running_loop().time()


@asynccontextmanager
async def slow_origin() -> AsyncIterator[SlowOrigin]:
    """Listening where all servers expect it."""
    origin = SlowOrigin()
    host, _, port = SLOW_ORIGIN.partition(":")
    server = await asyncio.start_server(origin.serve, host, int(port))
    try:
        yield origin
    finally:
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
