"""A relay between one node and the control plane's gRPC port, which a test cuts, mends, or lets through in one direction only.

It looks into what the node says, so it ends the TLS of both: toward the node with the control plane's key,
toward the control plane with the node's. A lab's keys lie in its state folder.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65_536


def _context(protocol: int, keys: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.load_cert_chain(keys / "certificate.pem", keys / "key.pem")
    context.load_verify_locations(keys / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])  # RFC 9113 section 3.2
    return context


class Relay:
    """`async with Relay(host, target, keys_of_the_control_plane, keys_of_the_node) as relay:`; `relay.address` is what the node connects to.

    While it is cut, connections are accepted and every byte is swallowed, as on a path that has gone dark: nobody is told.
    """

    def __init__(self, host: str, target: str, server_keys: Path, client_keys: Path) -> None:
        self._host = host
        self._as_server = _context(ssl.PROTOCOL_TLS_SERVER, server_keys)
        self._as_client = _context(ssl.PROTOCOL_TLS_CLIENT, client_keys)
        target_host, _, target_port = target.rpartition(":")
        self._target = (target_host, int(target_port))
        self._is_cut = False
        self._hold_after = b""
        self._let_go = asyncio.Event()
        self._let_go.set()
        self._connections: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._as_server)
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
        """New connections get through. With `hold_after`: as soon as the node has said these bytes, `hold`."""
        self._is_cut = False
        self._hold_after = hold_after
        self._drop_connections()

    def hold(self) -> None:
        """The node is heard, and hears nothing until `let_go`; nothing is lost meanwhile."""
        self._let_go.clear()

    def let_go(self) -> None:
        self._hold_after = b""
        self._let_go.set()

    @property
    def holds(self) -> bool:
        return not self._let_go.is_set()

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
        upstream_reader, upstream_writer = await asyncio.open_connection(
            *self._target, ssl=self._as_client, server_hostname="control-plane"
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream_writer, self._heard))
                group.create_task(self._pump(upstream_reader, writer, self._answered))
        except* OSError:
            pass
        finally:
            upstream_writer.transport.abort()

    async def _heard(self, data: bytes) -> None:
        """Before what the node says goes on."""
        if self._hold_after and self._hold_after in data:
            self.hold()

    async def _answered(self, _data: bytes) -> None:
        """Before what the control plane says goes on."""
        await self._let_go.wait()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, before: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """One direction, until its end."""
        while data := await reader.read(CHUNK_BYTES):
            await before(data)
            if self._is_cut:
                continue
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("the other direction ends with this one")
