"""What all relays of the process share, and what they count."""

import asyncio
from dataclasses import dataclass, field

from lab.wan.configuration import Bounds
from lab.wan.links import Chance
from lab.wan.network import Network
from lab.wan.tcp_half import Shared


@dataclass(slots=True)
class Counters:
    """Since the start, but for those that say what is."""

    connections: int = 0
    """Now."""
    connections_total: int = 0
    refused_unlinked_total: int = 0
    """Connections and datagrams from where no link leads."""
    refused_full_total: int = 0
    """Connections beyond the bound."""
    flows: int = 0
    """Of UDP, now."""
    datagrams_total: int = 0
    datagrams_dropped_total: int = 0
    """By loss, cuts, full queues and bounds."""


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
