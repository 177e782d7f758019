"""The agent's port: uvicorn, that cuts off whoever does not say within seconds what he wants. What is answered is server.py's."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

REQUEST_SECONDS = 5.0
"""From the connection, or the first byte of a further request, to the end of the request. How long the answer takes is another matter."""
MOST_CONNECTIONS = 64


class Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


def serve(application: ASGIApp) -> Server:
    """Not begun yet."""
    config = uvicorn.Config(
        application,
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    return Server(config)


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
