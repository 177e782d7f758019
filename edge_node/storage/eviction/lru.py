"""Least recently used: a hit makes a node the newest, the oldest leaves."""

from collections.abc import Iterable
from typing import ClassVar, Generic

from edge_node.storage.eviction.protocol import Node
from edge_node.storage.eviction.queue import Queue


class Lru(Generic[Node]):
    """The one whose last use is longest ago leaves first."""

    __slots__ = ("_queue", "admit", "remove", "replace", "touch")

    touch_only_counts: ClassVar[bool] = False

    def __init__(self, capacity_bytes: int) -> None:  # noqa: ARG002 - every policy is made alike; one queue needs no share of the capacity
        self._queue: Queue[Node] = Queue(1)
        self.admit = self._queue.push
        self.touch = self._queue.renew
        self.remove = self._queue.unlink
        self.replace = self._queue.replace

    def evict(self) -> Node | None:
        """The least recently used."""
        victim = self._queue.oldest
        if victim is not None:
            self._queue.unlink(victim)
        return victim

    def nodes(self) -> Iterable[Node]:
        """All, the least recently used first."""
        return self._queue
