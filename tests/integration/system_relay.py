"""A TCP relay between one node and the control plane's gRPC port, which a test cuts, mends, or lets through in one direction only."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65_536


class Relay:
    """`async with Relay(host, target) as relay:`; `relay.address` is what the node connects to.

    While it is cut, connections are accepted and every byte is swallowed, as on a path that has gone dark: nobody is told.
    """

    def __init__(self, host: str, target: str) -> None:
        self._host = host
        target_host, _, target_port = target.rpartition(":")
        self._target = (target_host, int(target_port))
        self._is_cut = False
        self._hold_after = b""
        self._let_go = asyncio.Event()
        self._let_go.set()
        self._connections: set[asyncio.Task[None]] = set()
        self.address = ""
        self.holds = False
        """Whether the node has said what is waited for, and its answers are being held back."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        self.address = f"{self._host}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._drop_connections()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()

    def cut(self) -> None:
        self._is_cut = True

    def mend(self, *, hold_after: bytes = b"") -> None:
        """New connections get through. With `hold_after`: as soon as the node has said these bytes, it hears nothing more until `let_go`."""
        self._is_cut = False
        self._hold_after = hold_after
        if hold_after:
            self._let_go.clear()
        self._drop_connections()

    def let_go(self) -> None:
        self._hold_after = b""
        self.holds = False
        self._let_go.set()

    def _drop_connections(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either side has gone, or the relay drops it: both are what a relay is for
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        is_held = asyncio.Event()

        def listen(data: bytes) -> None:
            if self._hold_after and self._hold_after in data:
                is_held.set()
                self.holds = True

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream_writer, listen))
                group.create_task(self._pump(upstream_reader, writer, None, is_held))
        except* OSError:
            pass
        finally:
            upstream_writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        listen: Callable[[bytes], None] | None,
        is_held: asyncio.Event | None = None,
    ) -> None:
        """One direction, until its end."""
        while data := await reader.read(CHUNK_BYTES):
            if is_held is not None and is_held.is_set():
                await self._let_go.wait()
            if self._is_cut:
                continue
            if listen is not None:
                listen(data)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("the other direction ends with this one")
