"""The port of an HTTP API of the lab: uvicorn, which cuts off whoever does not say within seconds what he wants, says too much, or does not take the answer, and
takes so many at once. What is answered is the application's affair."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

REQUEST_SECONDS: Final = 5.0
"""From the connection, or the first byte of a further request, to the end of the request: clients are on this machine. How long the answer takes is another matter."""

STALLED_SECONDS = 10.0
"""From when an answer fills the buffers of the connection until the client has read most of that: 48 KiB."""
MAXIMUM_HEAD_BYTES: Final = 32 << 10
"""Of a request, with its trailers; looked at with each piece that comes, which has at most 256 KiB."""


class ApiServer(uvicorn.Server):
    """Leaves signals to the process."""

    def __init__(self, application: ASGIApp, most_connections: int, idle_seconds: int) -> None:
        """Not begun yet. A connection may be idle for so long; above `most_connections` clients are answered 503."""
        config = uvicorn.Config(
            application,
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=most_connections,
            backlog=most_connections,
            timeout_keep_alive=idle_seconds,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)

    def leave(self) -> None:
        """Have `serve` end in order."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


class BoundedHttp(HttpToolsProtocol):
    """A connection that is cut when its request takes too long to come, has an endless head, or when nobody reads the answer."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._is_in_head = True
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """See asyncio."""
        super().connection_made(transport)
        self._limit()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._limit()
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
        if self._head_bytes > MAXIMUM_HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """See httptools."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools. Behind the content there are trailers, which are kept as well."""
        if not self._is_in_head:
            self._head_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._is_in_head = False
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        self._unstall()

    def on_message_complete(self) -> None:
        """See httptools."""
        self._unlimit()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._unlimit()
        self._unstall()
        super().connection_lost(exc)

    def _limit(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _unlimit(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
