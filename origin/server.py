"""Listening, draining and ending: the sockets, and the sweep over connections.

Everything started here ends before `serve` returns, also when starting fails half-way.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from origin.conditions import http_date
from origin.connection import HttpConnection, Service
from origin.errors import StartError
from origin.history_rows import TABLE, OriginRow
from origin.log_file import LogFile, keep_writing
from origin.node import AdminService, Clocks, OriginNode
from origin.request_reader import ByteBudget
from origin.tcp import BACKLOG, bound_socket, raise_descriptor_limit
from proto.admin_access import AdminAccess
from proto.history_recorder import HistoryRecorder

MAX_CONNECTIONS = 10_000
MAX_OPERATORS = 64
MAX_UPLOADING_BYTES = 256 << 20
# The contract is 2 s from SIGTERM to the end; the rest is for the last lines of the log.
DRAIN_SECONDS = 1.5
_SWEEP_SECONDS = 1.0

_log = logging.getLogger("origin")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said."""

    node_id: str
    listen: tuple[str, int]
    admin: tuple[str, int]
    request_log: Path | None
    history: Path | None = None
    """The folder of what is kept while a run asks for it; None: nothing can be asked for."""
    seed: int | None = None


class HttpListener:
    """One listening address, its connections and what they share."""

    def __init__(
        self, service: Service, tasks: asyncio.TaskGroup, wall_clock: Callable[[], float], most_connections: int
    ) -> None:
        self.service = service
        self.tasks = tasks
        self.loop = asyncio.get_running_loop()
        self.uploads = ByteBudget(MAX_UPLOADING_BYTES)
        self.is_draining = False
        self.connections: dict[HttpConnection, None] = {}
        self._most_connections = most_connections
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
        """Whether there is room for one more; if need be, in the place of the oldest that waits for no answer (RFC 9112 section 9.5)."""
        if len(self.connections) >= self._most_connections:
            waiting = next((other for other in self.connections if other.is_waiting), None)
            if waiting is None:
                return False
            del self.connections[waiting]
            waiting.abort()
        self.connections[connection] = None
        return True

    def closed(self, connection: HttpConnection) -> None:
        """One less."""
        self.connections.pop(connection, None)
        if not self.connections:
            self._all_closed.set()

    @contextlib.asynccontextmanager
    async def listening(self, listening_socket: socket.socket) -> AsyncIterator[tuple[str, int]]:
        """Serve while the context lasts; yields the address with its real port."""
        host, port = listening_socket.getsockname()[:2]
        server = await self.loop.create_server(self._connection, sock=listening_socket, backlog=BACKLOG)
        try:
            yield host, port
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
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self._all_closed.wait()
        for connection in tuple(self.connections):
            connection.abort()


async def serve(options: Options, clocks: Clocks) -> None:
    """Run one origin until SIGTERM or SIGINT. StartError if it cannot start."""
    stop, log_ended = _stop_signal(), asyncio.Event()
    with contextlib.ExitStack() as opened:
        recorder = opened.enter_context(contextlib.closing(_recorder(options))) if options.history else None
        node = OriginNode(options.node_id, clocks, options.request_log is not None, recorder, options.seed)
        content_socket = opened.enter_context(bound_socket(options.listen))
        admin_socket = opened.enter_context(bound_socket(options.admin))
        file = opened.enter_context(contextlib.closing(LogFile(options.request_log))) if options.request_log else None
        async with asyncio.TaskGroup() as tasks:
            content = HttpListener(node, tasks, node.wall, raise_descriptor_limit(MAX_CONNECTIONS))
            operators = HttpListener(AdminService(node, _access(options), recorder), tasks, node.wall, MAX_OPERATORS)
            endless = [tasks.create_task(_sweep((content, operators)))]
            if recorder is not None:
                recorder.resume()
                endless.append(tasks.create_task(recorder.run()))
            if file is not None:
                tasks.create_task(keep_writing(node.log, file, log_ended))
            try:
                # The operators' port outlives the content port: a drain can be watched.
                async with (
                    operators.listening(admin_socket) as admin_address,
                    content.listening(content_socket) as address,
                ):
                    await _run(node, content, (address, admin_address), stop)
            finally:
                for task in endless:
                    task.cancel()
                log_ended.set()
    _log.info("origin %s stopped", options.node_id)


async def _run(
    node: OriginNode, content: HttpListener, addresses: tuple[tuple[str, int], tuple[str, int]], stop: asyncio.Event
) -> None:
    node.content = content
    for word, (host, port) in zip(("listening", "admin"), addresses, strict=True):
        _log.info("origin %s %s on %s:%d", node.node_id, word, host, port)
    await stop.wait()
    node.content = None
    _log.info("origin %s draining %d connections", node.node_id, len(content.connections))


def _recorder(options: Options) -> HistoryRecorder:
    assert options.history is not None
    try:
        return HistoryRecorder(options.history, options.node_id, {TABLE: OriginRow._fields})
    except OSError as error:
        raise StartError(f"cannot keep a history in {options.history}: {str(error.strerror).lower()}") from error


def _access(options: Options) -> AdminAccess:
    return AdminAccess([options.node_id, socket.gethostname(), options.admin[0]])


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
