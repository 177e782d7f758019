"""How many connections each port may have: a question of file descriptors. And who goes when there are too many (decision 22).

A process that has no descriptor left accepts nobody, and whoever holds connections without a word shuts out the nodes. So the soft limit of the process is raised as
far as may be (proto/descriptor_limit.py), each port has a part of it, and on the ports for HTTP those who have not said what they want make room for those who come.
Addresses are told apart where they differ; a whole lab on one machine comes from one.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

MOST_WEB_CONNECTIONS: Final = 512
"""Of the management API, and as many of the admin port: requests are answered one after another, and more clients would only wait."""
MOST_GRPC_CONNECTIONS: Final = 16_384
"""Twice as many as nodes may be registered: each has one, and one that is half-open after a cut."""
OWN_DESCRIPTORS: Final = 128
"""The database, its logs, the listeners, the event loops."""
LEAST_CONNECTIONS: Final = 16
"""Of each port, with however low a limit of descriptors."""
WEB_SHARE: Final = 8
"""Each port for HTTP gets one part of so many when descriptors are few."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The most connections that each port may have at once."""

    web: int
    """Of the management API, and of the admin port."""
    grpc: int


def wanted_descriptors() -> int:
    """With which each port has what it wants."""
    return OWN_DESCRIPTORS + 2 * MOST_WEB_CONNECTIONS + MOST_GRPC_CONNECTIONS


def limits_for(descriptors: int) -> ConnectionLimits:
    """What so many descriptors suffice for."""
    room = max(0, descriptors - OWN_DESCRIPTORS)
    web = min(MOST_WEB_CONNECTIONS, max(LEAST_CONNECTIONS, room // WEB_SHARE))
    return ConnectionLimits(web, min(MOST_GRPC_CONNECTIONS, max(LEAST_CONNECTIONS, room - 2 * web)))


class OpenConnection(Protocol):
    """A connection as far as its right to stay is concerned."""

    address: str
    """Whom it comes from, without the port."""
    has_been_served: bool
    """Whether a request of it was ever answered."""

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being done for it: its request is not whole, or answered."""

    def shed(self) -> None:
        """Close it at once."""


Connection = TypeVar("Connection", bound=OpenConnection)


class OpenConnections(Generic[Connection]):
    """Those of one port."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def all(self) -> list[Connection]:
        """Those that are open now."""
        return list(self._open)

    def add(self, connection: Connection) -> None:
        """One more; when there are too many, one that waits goes, and if none does, the new one."""
        if len(self._open) >= self._most:
            leaving = self._to_shed() or connection
            self._open.pop(leaving, None)
            leaving.shed()
            if leaving is connection:
                return
        self._open[connection] = None

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._open.pop(connection, None)

    def _to_shed(self) -> Connection | None:
        """The oldest of those who have never asked anything, from the address that has most of them; else of those who may ask again (RFC 9112 section 9.5)."""
        waiting = [connection for connection in self._open if connection.is_waiting]
        strangers = [connection for connection in waiting if not connection.has_been_served] or waiting
        numbers = Counter(connection.address for connection in strangers)
        return max(strangers, key=lambda connection: numbers[connection.address], default=None)
