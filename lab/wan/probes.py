"""The two ends that the self-test measures a link with: each notes when something came, and for which link.

Both have one clock, so that delays are one-way.
"""

import asyncio
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final, cast

from lab.wan.running_link import Clock

DELAY: Final = 0
"""Echoed by the server."""
FLOOD: Final = 1
"""Noted only."""
_HEADER: Final = struct.Struct("!BII")
HEADER_BYTES: Final = _HEADER.size


@dataclass(frozen=True, slots=True)
class Arrival:
    """One datagram."""

    at: float
    number: int
    size: int


class Probe(asyncio.DatagramProtocol):
    """One end, of one link at the client's side or of all at the server's."""

    def __init__(self, clock: Clock, *, is_server: bool) -> None:
        self._clock = clock
        self._is_server = is_server
        self.transport: asyncio.DatagramTransport | None = None
        self.heard: defaultdict[tuple[int, int], list[Arrival]] = defaultdict(list)
        """By kind and link."""
        self.addresses: dict[int, Any] = {}
        """Where the datagrams of a link came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """See asyncio."""
        now = self._clock()
        if len(data) < HEADER_BYTES:
            return
        kind, link, number = _HEADER.unpack_from(data)
        self.heard[kind, link].append(Arrival(now, number, len(data)))
        self.addresses[link] = addr
        if self._is_server and kind == DELAY and self.transport is not None:
            self.transport.sendto(data, addr)

    def error_received(self, exc: Exception) -> None:
        """See asyncio; what is lost is counted by who waits for it."""

    def send(self, kind: int, link: int, number: int, size: int = HEADER_BYTES) -> None:
        """One datagram of a link; the server answers to where the link's last one came from."""
        if self.transport is not None:
            data = _HEADER.pack(kind, link, number).ljust(size, b"\0")
            self.transport.sendto(data, self.addresses[link] if self._is_server else None)


class Echo(asyncio.Protocol):
    """The server's side of a stream."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Back to where it came from."""
        if self._transport is not None:
            self._transport.write(data)
