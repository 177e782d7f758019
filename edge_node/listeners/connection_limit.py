"""How many viewers' connections a node can have: a question of file descriptors. And who goes when there are too many.

A node that has no descriptor left cannot accept, and its viewers wait without an answer. So the limit of the process is raised as far as it may be
(proto/descriptor_limit.py), and the number of viewers stays below it: each may need a connection of its own to upstream, and files, logs, the admin port and the
session with the control plane need some as well.
Beyond that number those that wait for nothing are closed, as a server may do at any time (RFC 9112 section 9.5), and only when there are none is a new one refused.
"""

import errno
import heapq
import logging
import os
from dataclasses import dataclass
from typing import Final

from edge_node.listeners.serving import OpenConnection

logger = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 10_000
"""Of viewers: what one process answers in good time. The look at all of them, once a second, takes a few milliseconds."""
OWN_DESCRIPTORS: Final = 256
"""128 idle files of the cache on disk (`storage/disk/files.py`), and as many for those that are being read, journals, logs, listeners, the admin port and the session."""
LEAST_CONNECTIONS: Final = 16
"""With so low a limit that fewer would remain, the reserve is given up: some answers are better than none."""
DESCRIPTORS_A_CONNECTION: Final = 2
"""The viewer's and, on a miss, one to upstream."""
SHED_SHARE: Final = 64
"""One of so many connections are closed at once, since looking for them takes a look at all."""
LOOK_AGAIN_SECONDS: Final = 0.1
"""After a look that found nobody: a flood of connections to a node whose viewers are all being answered must not cost a look at all of these for each."""
LOG_SECONDS: Final = 10.0
"""At most one line about it in this time."""


@dataclass(frozen=True, slots=True)
class ConnectionLimit:
    """The most connections of viewers, and why."""

    connections: int
    descriptors: int

    def __str__(self) -> str:
        return (
            f"at most {self.connections:,} viewers: {self.descriptors:,} file descriptors, of which {OWN_DESCRIPTORS} are for files, logs "
            "and ports and one for each viewer's fetch"
        )


def wanted_descriptors(most_connections: int = MOST_CONNECTIONS) -> int:
    """As many as a node needs, and no more: a limit without end hides leaks."""
    return OWN_DESCRIPTORS + DESCRIPTORS_A_CONNECTION * most_connections


def limit_for(descriptors: int) -> ConnectionLimit:
    """The number of connections that so many descriptors suffice for."""
    room = (descriptors - OWN_DESCRIPTORS) // DESCRIPTORS_A_CONNECTION
    return ConnectionLimit(min(MOST_CONNECTIONS, max(LEAST_CONNECTIONS, room)), descriptors)


def has_descriptors_left() -> bool:
    """Whether another file or socket could be opened.

    The loop does not say when an accept fails for want of one: uvloop takes the connection with a descriptor that it keeps for that, and closes it.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True


class Shedder:
    """Closes connections when there are too many."""

    def __init__(self) -> None:
        self.shed_connections = 0
        self._look_again_at = 0.0
        self._log_again_at: dict[str, float] = {}

    def shed(self, connections: set[OpenConnection], now: float) -> int:
        """Close some of those that wait for nothing, those whose time would be over next first, and take them out: how many."""
        if now < self._look_again_at:
            return 0
        ranked = [(rank, number, each) for number, each in enumerate(connections) if (rank := each.shed_rank(now)) is not None]  # fmt: skip
        chosen = heapq.nsmallest(max(1, len(connections) // SHED_SHARE), ranked)
        if not chosen:
            self._look_again_at = now + LOOK_AGAIN_SECONDS
        for _, _, connection in chosen:
            connections.discard(connection)
            connection.shed()
        self.shed_connections += len(chosen)
        return len(chosen)

    def tell(self, trouble: str, what_was_done: str, now: float) -> None:
        """Log a line, unless one about the same trouble was logged a moment ago."""
        if now >= self._log_again_at.get(trouble, 0.0):
            self._log_again_at[trouble] = now + LOG_SECONDS
            logger.warning("%s: %s", trouble, what_was_done)
