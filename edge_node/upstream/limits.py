"""How many connections to one upstream work at once, and how many requests wait for one of them: what comes beyond that is refused here and not carried on.

Without a bound an upstream that slows down gets more and more requests, each of which makes it slower. Whoever waits is served in the order of coming, and for a bounded
time. Idle connections are no load and are bounded by the pool (`MAXIMUM_IDLE_PER_UPSTREAM`), so that sockets to one upstream are at most the sum of both.
"""

import asyncio
from collections import deque
from typing import Final

from edge_node.model.errors import UpstreamError, UpstreamErrorKind
from edge_node.upstream.endpoints import Tier

Address = tuple[str, int]

DEFAULT_ORIGIN_CONNECTIONS: Final = 256
"""What usual web servers work on at once (Apache's default is 256, too). At 50 ms a response it makes 5,000 a second, more than a node can pass on."""
REGIONAL_CONNECTIONS: Final = 1_024
"""A regional cache is a node like this one and takes 10,000; all of an edge's traffic may go to one of them, where each waits for its origin."""
MAXIMUM_WAITING: Final = 1_024
"""Four rounds of all connections to an origin: who comes later would wait longer than WAIT_SECONDS unless a round takes about a second or less."""
WAIT_SECONDS: Final = 5.0
"""As long as those wait who joined somebody else's fetch: long enough for a burst to pass, short enough for a viewer to try again."""
MOST_IDLE_UPSTREAMS = 1_024
"""Upstreams of which a (then empty) counter is kept."""


class UpstreamSlots:
    """The places at one upstream."""

    __slots__ = ("_capacity", "_in_use", "_most_waiting", "_waiting")

    def __init__(self, capacity: int, most_waiting: int) -> None:
        self._capacity = capacity
        self._most_waiting = most_waiting
        self._in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_unused(self) -> bool:
        """Nobody works there, nobody waits."""
        return self._in_use == 0

    @property
    def is_full(self) -> bool:
        """Whoever comes now has to wait."""
        return self._in_use >= self._capacity

    def take(self) -> None:
        """Take a free place."""
        self._in_use += 1

    async def wait(self, address: Address, seconds: float) -> None:
        """Wait for a place and take it; UpstreamError when too many wait already, or it takes too long."""
        if len(self._waiting) >= self._most_waiting:
            raise _overloaded(f"too many requests wait for {address[0]}:{address[1]}")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(seconds):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.release()  # it came just as the waiting ended
            elif place in self._waiting:  # else it was passed over, by a place that was released since
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                text = f"no connection to {address[0]}:{address[1]} was free in {seconds:g} s"
                raise _overloaded(text) from None
            raise

    def release(self) -> None:
        """Release a place: to who has waited longest, or to whoever comes."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._in_use -= 1


class UpstreamLimits:
    """The places at all upstreams of a node."""

    def __init__(
        self,
        origin_connections: int = DEFAULT_ORIGIN_CONNECTIONS,
        most_waiting: int = MAXIMUM_WAITING,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._origin_connections = origin_connections
        self._most_waiting = most_waiting
        self.wait_seconds = wait_seconds
        self._slots: dict[Address, UpstreamSlots] = {}

    def slots_of(self, address: Address, tier: Tier) -> UpstreamSlots:
        """Those at one address."""
        slots = self._slots.get(address)
        if slots is None:
            if len(self._slots) >= MOST_IDLE_UPSTREAMS:
                self._slots = {place: slots for place, slots in self._slots.items() if not slots.is_unused}
            capacity = self._origin_connections if tier is Tier.ORIGIN else REGIONAL_CONNECTIONS
            slots = self._slots[address] = UpstreamSlots(capacity, self._most_waiting)
        return slots


def _overloaded(detail: str) -> UpstreamError:
    return UpstreamError(UpstreamErrorKind.OVERLOADED, detail, is_request_untouched=True)
