"""The ports for HTTP: uvicorn, with limits of time and number that it does not have by itself (decision 22). What is answered is the applications' affair.

A head has to be there within seconds, and a request has to be over within half a minute, its response read: else the connection is cut without an answer, since who
is that slow does not read one.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from control_plane.connection_limit import OpenConnections

HEAD_SECONDS: Final = 5.0
"""From the connection, or the first byte of a further request, to the end of the head."""
REQUEST_SECONDS: Final = 30.0
"""From the end of the head until the response is with the kernel. A body has less (`aws_api/application.py`)."""
IDLE_SECONDS: Final = 75
"""Between two requests on one connection."""


class WebConfig(uvicorn.Config):
    """How an application is served; and who is connected to it."""

    def __init__(self, application: ASGIApp, most_connections: int) -> None:
        super().__init__(
            application,
            http=BoundedHttp,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=IDLE_SECONDS,
            server_header=False,
            ws="none",
        )
        self.connections: OpenConnections[BoundedHttp] = OpenConnections(most_connections)


class WebServer(uvicorn.Server):
    """Leaves signals to the process."""

    def leave(self) -> None:
        """Have `serve` end in order."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


class BoundedHttp(HttpToolsProtocol):
    """A connection that is cut when it takes too long, or takes the place of somebody. See connection_limit.OpenConnection."""

    def __init__(
        self,
        config: WebConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = ""
        self.is_waiting = True
        self.has_been_served = False
        self._is_in_message = False
        self._all = config.connections
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """See asyncio."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._limit(HEAD_SECONDS)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._unlimit()
        self._all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._deadline is None:
            self._limit(HEAD_SECONDS)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """See httptools."""
        self._is_in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._limit(REQUEST_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        self.is_waiting = self._is_in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See uvicorn. Limited are still: the rest of a body that nobody waited for, a next head that has begun, and a client that does not read what was written
        to it before the end."""
        self.is_waiting = self.has_been_served = True
        if self._is_in_message:
            self._limit(HEAD_SECONDS)
        elif not self.transport.is_closing():
            self._unlimit()
        super().on_response_complete()

    def shed(self) -> None:
        """See connection_limit.OpenConnection."""
        self.transport.abort()

    def _limit(self, seconds: float) -> None:
        self._unlimit()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _unlimit(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
