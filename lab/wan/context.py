"""What all relays of the process share, and what they count."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from lab.wan.configuration import Bounds, ClientAddress, Proxy
from lab.wan.links import Chance
from lab.wan.network import Network
from lab.wan.tcp_half import Shared

logger = logging.getLogger(__name__)

COMPLAINT_SECONDS: Final = 5.0


@dataclass(slots=True)
class Counters:
    """Since the start, but for those that say what is."""

    connections: int = 0
    """Now."""
    connections_total: int = 0
    refused_unlinked_total: int = 0
    """Connections and datagrams from where no link leads."""
    refused_by_server_total: int = 0
    refused_full_total: int = 0
    """Connections beyond the bound."""
    flows: int = 0
    """Of UDP, now."""
    datagrams_total: int = 0
    datagrams_dropped_total: int = 0
    """By loss, cuts, full queues and bounds."""


class Complaints:
    """Lines in the log about what strangers do, at most one in a while: a flood of datagrams must not be one of lines."""

    def __init__(self) -> None:
        self._again_at = 0.0

    def tell(self, proxy: str, error: Exception, now: float) -> None:
        """Or not."""
        if now >= self._again_at:
            self._again_at = now + COMPLAINT_SECONDS
            logger.warning("%s: %s", proxy, error)


@dataclass(frozen=True, slots=True)
class Context:
    """See above."""

    network: Network
    shared: Shared
    chance: Chance
    bounds: Bounds
    tasks: asyncio.TaskGroup
    outgoing_address: str
    counters: Counters = field(default_factory=Counters)
    complaints: Complaints = field(default_factory=Complaints)

    def source_for(self, client: str, proxy: Proxy) -> str:
        """The address to connect from for a client's; empty: the system's choice."""
        if proxy.client_address is ClientAddress.BOUND:
            return client
        return self.network.outgoing_address(client, proxy) or self.outgoing_address
