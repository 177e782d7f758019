"""What `node_session.py` opens in place of a channel of grpc.aio."""

from collections.abc import Callable
from typing import Any, cast

import grpc.aio

from tests.simulation.virtual_calls import Connection, NodeEnd


class Channel:
    """See grpc.aio.Channel: one connection, and one call over it."""

    def __init__(self, connection: Connection, *, is_refused: bool) -> None:
        self._connection = connection
        self._is_refused = is_refused

    def as_real(self) -> grpc.aio.Channel:
        """For whoever takes it for one."""
        return cast(grpc.aio.Channel, self)

    async def __aenter__(self) -> "Channel":
        """See grpc.aio.Channel."""
        self._connection.open(is_refused=self._is_refused)
        return self

    async def __aexit__(self, *_: object) -> None:
        """See grpc.aio.Channel."""
        self._connection.node.cancel()

    async def channel_ready(self) -> None:
        """See grpc.aio.Channel."""
        await self._connection.node.connected()

    def stream_stream(self, _method: str, **_serializers: Any) -> Callable[[], NodeEnd]:
        """See grpc.aio.Channel."""
        return lambda: self._connection.node
