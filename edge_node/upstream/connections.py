"""Where connections to upstreams come from, as whoever fetches sees it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from edge_node.model.errors import UpstreamErrorKind
from edge_node.upstream.connection import UpstreamConnection


class Connections(Protocol):
    """There is one place: `pool.py`; tests have theirs."""

    def take_idle(self, address: tuple[str, int]) -> UpstreamConnection | None:
        """One that was released, if there is one that can still be used."""

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        """A fresh one; UpstreamError when it cannot be had."""

    def release(self, address: tuple[str, int], connection: UpstreamConnection, keepalive_seconds: float) -> None:
        """A connection that may be used again, for so many seconds."""


Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


def bound_completion(connection: UpstreamConnection, seconds: float) -> asyncio.TimerHandle:
    """The response completion timeout (reference 1.4)."""
    detail = f"the response was not complete in {seconds:g} s"
    return asyncio.get_running_loop().call_later(seconds, connection.give_up, UpstreamErrorKind.READ_TIMEOUT, detail)
