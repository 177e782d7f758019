"""The control API's port: uvicorn, with a time in which a request has to be there, and a number of clients. What is answered is the application's affair."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

REQUEST_SECONDS: Final = 10.0
"""From the connection, or the first byte of a further request, to its last one."""
IDLE_SECONDS: Final = 30
MOST_CLIENTS: Final = 128
BACKLOG: Final = 128


class ApiServer(uvicorn.Server):
    """Leaves signals to the process."""

    def __init__(self, application: ASGIApp) -> None:
        config = uvicorn.Config(
            application,
            http=TimedHttp,
            log_config=None,
            access_log=False,
            lifespan="off",
            limit_concurrency=MOST_CLIENTS,
            backlog=BACKLOG,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=IDLE_SECONDS,
            server_header=False,
            ws="none",
        )
        super().__init__(config)

    def leave(self) -> None:
        """Have `serve` end in order."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


class TimedHttp(HttpToolsProtocol):
    """A connection that is cut when its request does not come in time."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """See asyncio."""
        super().connection_made(transport)
        self._limit()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._unlimit()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """See httptools."""
        self._limit()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """See httptools."""
        self._unlimit()
        super().on_message_complete()

    def _limit(self) -> None:
        self._unlimit()
        self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _unlimit(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
