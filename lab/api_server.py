"""The port of an HTTP API of the lab: uvicorn, which cuts off whoever does not say within seconds what he wants, and takes so many at once. What is answered is the
application's affair."""

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
    """A connection that is cut when its request takes too long to come."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """See asyncio."""
        super().connection_made(transport)
        self._limit()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._limit()
        super().data_received(data)

    def on_message_complete(self) -> None:
        """See httptools."""
        self._unlimit()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._unlimit()
        super().connection_lost(exc)

    def _limit(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _unlimit(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
