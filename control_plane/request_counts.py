"""Counting requests of the management API, wherever the counters are: the API runs in a process of its own, and its metrics are those of the control plane."""

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPERATION_KEY: Final = "cdn.operation"
"""Where the management API notes in the ASGI scope which operation a request was."""

Count = Callable[[str, str], None]
"""Told the operation and the outcome of each request."""


def counting(application: ASGIApp, count: Count) -> ASGIApp:
    """The same application, its requests counted."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(scope.get(OPERATION_KEY, "unknown"), outcome_of(message["status"]))
            await send(message)

        await application(scope, receive, observed_send)

    return counted


def outcome_of(status: int) -> str:
    """As the metric names it."""
    return "ok" if status < 400 else "client_error" if status < 500 else "server_error"
