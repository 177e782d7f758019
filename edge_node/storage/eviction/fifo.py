"""First in, first out: hits change nothing. The baseline that every other policy must beat."""

from collections.abc import Iterable
from typing import ClassVar, Generic

from edge_node.storage.eviction.protocol import Node
from edge_node.storage.eviction.queue import Queue


class Fifo(Generic[Node]):
    """The oldest leaves first."""

    __slots__ = ("_queue", "admit", "remove", "replace")

    touch_only_counts: ClassVar[bool] = True  # counted or not, nobody reads it

    def __init__(self, capacity_bytes: int) -> None:  # noqa: ARG002 - every policy is made alike; one queue needs no share of the capacity
        self._queue: Queue[Node] = Queue(1)
        self.admit = self._queue.push
        self.remove = self._queue.unlink
        self.replace = self._queue.replace

    def touch(self, node: Node) -> None:
        """Nothing: age counts from arrival."""

    def evict(self) -> Node | None:
        """The oldest."""
        victim = self._queue.oldest
        if victim is not None:
            self._queue.unlink(victim)
        return victim

    def nodes(self) -> Iterable[Node]:
        """All, the older first."""
        return self._queue
