"""SIEVE (Zhang et al., NSDI 2024): one queue in order of arrival, one bit a node, and a hand that walks from old to new.

The hand spares nodes used since it last passed, takes their bit and leaves them where they are; the first unused one is the victim.
What survives stays sorted by arrival, so that newcomers are sifted quickly and the popular keep still.
Each step of the hand takes back a bit that a hit had set: constant time, amortised.
"""

from collections.abc import Iterable
from typing import ClassVar, Generic

from edge_node.storage.eviction.protocol import MOST_USES, Node
from edge_node.storage.eviction.queue import Queue


class Sieve(Generic[Node]):
    """Unused since the hand last passed: leaves."""

    __slots__ = ("_hand", "_queue", "admit")

    touch_only_counts: ClassVar[bool] = True  # any count above 0 is the visited bit

    def __init__(self, capacity_bytes: int) -> None:  # noqa: ARG002 - every policy is made alike; one queue needs no share of the capacity
        self._queue: Queue[Node] = Queue(1)
        self._hand: Node | None = None  # None: the next walk begins at the oldest
        self.admit = self._queue.push

    def touch(self, node: Node) -> None:
        """Set the visited bit."""
        if node.uses < MOST_USES:
            node.uses += 1

    def remove(self, node: Node) -> None:
        """Take a node out; a hand that stood on it moves on."""
        if node is self._hand:
            self._hand = node.newer
        self._queue.unlink(node)

    def replace(self, old: Node, new: Node) -> None:
        """Put `new` in the place of `old`; a hand that stood there stays."""
        if old is self._hand:
            self._hand = new
        self._queue.replace(old, new)

    def evict(self) -> Node | None:
        """Walk to the first node without the bit."""
        queue = self._queue
        node = self._hand or queue.oldest
        while node is not None and node.uses:
            node.uses = 0
            node = node.newer or queue.oldest
        if node is not None:
            self._hand = node.newer
            queue.unlink(node)
        return node

    def nodes(self) -> Iterable[Node]:
        """All, the older first."""
        return self._queue
