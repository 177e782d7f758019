"""Listening, draining and ending: the sockets, the sweep over connections, and the file of requests.

Everything started here ends before `serve` returns, also when starting fails half-way.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from origin.conditions import http_date
from origin.connection import HttpConnection, Service
from origin.errors import StartError
from origin.node import AdminService, OriginNode
from origin.request_log import RequestLog
from origin.request_reader import ByteBudget

MAX_CONNECTIONS = 10_000
MAX_UPLOADING_BYTES = 256 << 20
# The contract is 2 s from SIGTERM to the end; the rest is for the last lines of the log.
DRAIN_SECONDS = 1.5
_SWEEP_SECONDS = 1.0
_FLUSH_SECONDS = 0.5
_LOG_FILE_BYTES = 256 << 20
_BACKLOG = 1_024

_log = logging.getLogger("origin")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said."""

    node_id: str
    listen: tuple[str, int]
    admin: tuple[str, int]
    request_log: Path | None


class HttpListener:
    """One listening address, its connections and what they share."""

    def __init__(self, service: Service, tasks: asyncio.TaskGroup, wall_clock: Callable[[], float]) -> None:
        self.service = service
        self.tasks = tasks
        self.loop = asyncio.get_running_loop()
        self.uploads = ByteBudget(MAX_UPLOADING_BYTES)
        self.is_draining = False
        self.connections: set[HttpConnection] = set()
        self.on_change: Callable[[int], None] = lambda _count: None
        self._wall_clock = wall_clock
        self._date = (0, "")
        self._accepted = 0
        self._all_closed = asyncio.Event()

    def http_date(self) -> str:
        """The current Date, formatted once a second."""
        second = int(self._wall_clock())
        if second != self._date[0]:
            self._date = (second, http_date(second))
        return self._date[1]

    def opened(self, connection: HttpConnection) -> bool:
        """Whether there is room for one more."""
        is_room = len(self.connections) < MAX_CONNECTIONS
        self.connections.add(connection)
        self.on_change(len(self.connections))
        return is_room

    def closed(self, connection: HttpConnection) -> None:
        """One less."""
        self.connections.discard(connection)
        self.on_change(len(self.connections))
        if not self.connections:
            self._all_closed.set()

    @contextlib.asynccontextmanager
    async def listening(self, address: tuple[str, int]) -> AsyncIterator[tuple[str, int]]:
        """Listen while the context lasts; yields the address with its real port."""
        listening_socket = _bound_socket(address)
        server = await self.loop.create_server(self._connection, sock=listening_socket, backlog=_BACKLOG)
        try:
            yield listening_socket.getsockname()[:2]
        finally:
            server.close()
            await self._drain()
            await server.wait_closed()

    def sweep(self) -> None:
        """End connections on which nothing has moved for too long."""
        now = self.loop.time()
        for connection in tuple(self.connections):
            connection.check_deadline(now)

    def _connection(self) -> HttpConnection:
        self._accepted += 1
        return HttpConnection(self, self._accepted)

    async def _drain(self) -> None:
        """Let answers under way end, for a while; then cut them off."""
        self.is_draining = True
        for connection in tuple(self.connections):
            connection.begin_drain()
        if self.connections:
            self._all_closed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), DRAIN_SECONDS)
        for connection in tuple(self.connections):
            connection.abort()


def _bound_socket(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        family, kind, protocol, _, resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(resolved)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on {host}:{port}: {_reason(error)}") from error
    return bound


def _reason(error: OSError) -> str:
    is_lookup = isinstance(error, socket.gaierror) or error.errno is None
    return str(error.strerror or error).lower() if is_lookup else os.strerror(error.errno or 0).lower()


async def serve(options: Options, wall_clock: Callable[[], float]) -> None:
    """Run one origin until SIGTERM or SIGINT. StartError if it cannot start."""
    stop = _stop_signal()
    node = OriginNode(options.node_id, is_log_written=options.request_log is not None)
    with _log_file(options.request_log) as file:
        async with asyncio.TaskGroup() as tasks:
            background = []
            try:
                content, operators = HttpListener(node, tasks, wall_clock), HttpListener(AdminService(node), tasks, wall_clock)
                background.append(tasks.create_task(_sweep((content, operators))))
                if file is not None:
                    background.append(tasks.create_task(_keep_flushing(node.log, file)))
                await _listen(options, node, (content, operators), stop)
            finally:
                for task in background:
                    task.cancel()
        if file is not None:
            file.write_lines(list(node.log.take_lines()))
    _log.info("origin %s stopped", options.node_id)


async def _listen(
    options: Options, node: OriginNode, listeners: tuple[HttpListener, HttpListener], stop: asyncio.Event
) -> None:
    content, operators = listeners

    def count_connections(count: int) -> None:
        node.connections = count

    content.on_change = count_connections
    # The operators' port outlives the content port: a drain can be watched.
    async with operators.listening(options.admin) as admin_address:
        async with content.listening(options.listen) as address:
            node.is_listening = True
            _log.info("origin %s listening on %s:%d", options.node_id, *address)
            _log.info("origin %s admin on %s:%d", options.node_id, *admin_address)
            await stop.wait()
            node.is_listening = False
            _log.info("origin %s draining", options.node_id)


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _sweep(listeners: tuple[HttpListener, ...]) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        for listener in listeners:
            listener.sweep()


async def _keep_flushing(log: RequestLog, file: "LogFile") -> None:
    while True:
        await asyncio.sleep(_FLUSH_SECONDS)
        lines = log.take_lines()
        # In a thread, as a slow disk must not stop the answers.
        await asyncio.shield(asyncio.to_thread(file.write_lines, lines))


class LogFile:
    """The file of requests: appended to, and moved aside as NAME.1 when it is full, so that two files are the bound."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    def close(self) -> None:
        """No more lines."""
        self._file.close()

    def write_lines(self, lines: object) -> None:
        """Append; a disk that refuses is reported and the lines are lost."""
