"""Connections to one address, kept open between requests: at most so many idle ones, none longer than the upstream would keep it."""

import asyncio
import socket
from collections import deque
from typing import Final

from edge_node.model.errors import UpstreamError, UpstreamErrorKind
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.source_address import SourceAddress

MAXIMUM_IDLE_PER_UPSTREAM: Final = 256
"""More than an edge ever has in use at once with one upstream in a lab; each costs a socket and about 10 KiB."""

Address = tuple[str, int]


class ConnectionPool:
    """Idle connections by address; the youngest is used first, so that the others can grow old and go."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: SourceAddress | None = None) -> None:
        self._loop = loop
        self._source = source or SourceAddress()
        self._idle: dict[Address, deque[UpstreamConnection]] = {}

    def take_idle(self, address: Address) -> UpstreamConnection | None:
        """An open idle connection, if there is one that is not too old."""
        idle = self._idle.get(address)
        if not idle:
            return None
        now = self._loop.time()
        while idle:
            connection = idle.pop()
            if connection.is_open and now <= connection.idle_until:
                return connection
            connection.close()
        return None

    async def connect(self, address: Address, timeout_seconds: float) -> UpstreamConnection:
        """A new connection; one attempt."""
        connection = UpstreamConnection(self._loop)
        try:
            async with asyncio.timeout(timeout_seconds):
                transport, _ = await self._loop.create_connection(
                    lambda: connection, *address, local_addr=self._source.toward(address[0])
                )
        except TimeoutError:
            raise _untouched(
                UpstreamErrorKind.CONNECT_TIMEOUT, f"no connection to {_name(address)} in {timeout_seconds:g} s"
            ) from None
        except ConnectionRefusedError:
            raise _untouched(UpstreamErrorKind.REFUSED, f"{_name(address)} refused the connection") from None
        except (socket.gaierror, UnicodeError) as error:
            raise _untouched(UpstreamErrorKind.NAME, f"{address[0]}: {error}") from None
        except OSError as error:
            raise _untouched(UpstreamErrorKind.REFUSED, f"{_name(address)}: {error}") from None
        if not connection.is_open:
            transport.abort()
            raise _untouched(UpstreamErrorKind.RESET, f"{_name(address)} closed the connection at once")
        return connection

    def release(self, address: Address, connection: UpstreamConnection, keepalive_seconds: float) -> None:
        """Keep a connection whose exchange has ended well."""
        idle = self._idle.get(address)
        if idle is None:
            idle = self._idle[address] = deque()
        if not connection.is_open or len(idle) >= MAXIMUM_IDLE_PER_UPSTREAM or keepalive_seconds <= 0:
            connection.close()
            return
        connection.idle_until = self._loop.time() + keepalive_seconds
        idle.append(connection)

    def close_expired(self) -> None:
        """Close what has been idle for too long; called once a second."""
        for address, idle in list(self._idle.items()):
            now = self._loop.time()
            while idle and (idle[0].idle_until < now or not idle[0].is_open):
                idle.popleft().close()
            if not idle:
                del self._idle[address]

    def close(self) -> None:
        """Close every idle connection."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()


def _untouched(kind: UpstreamErrorKind, detail: str) -> UpstreamError:
    return UpstreamError(kind, detail, is_request_untouched=True)


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
