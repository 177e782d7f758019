"""S3-FIFO (Yang et al., SOSP 2023): a small queue that most objects only pass through, a main queue, and ghosts of who left the small one.

- A new object joins the small queue, or the main queue if its ghost is there.
- The oldest of the small queue leaves and becomes a ghost, or moves to the main queue if it was used at least twice.
- The oldest of the main queue leaves, or goes round again for each use, three at most.
- The main queue gives when it is over its 90 % of the bytes, else the small one.

Open in the paper, and decided as libCacheSim decides it (its present S3FIFO, not the older S3FIFOv0): two uses to move up; before the first eviction a
full small queue sends newcomers to the main queue, for else the small one would hold the whole cache at first; whoever moves to the main queue starts from no use.
Ours: ghosts are bounded by number, 90 % of the objects stored, and not by the bytes that their objects had. With objects of one size that is the
same; with tiny objects it keeps the ghosts a small part of the memory.
"""

from collections.abc import Iterable
from itertools import chain
from typing import ClassVar, Final, Generic

from edge_node.storage.eviction.ghost_queue import GhostQueue
from edge_node.storage.eviction.protocol import MOST_USES, Node
from edge_node.storage.eviction.queue import Queue

SMALL_SHARE: Final = 0.1
GHOST_SHARE: Final = 0.9
USES_TO_MOVE_UP: Final = 2

SMALL: Final = 1
MAIN: Final = 2


class S3Fifo(Generic[Node]):
    """One-hit wonders leave by the small queue before they disturb the rest."""

    __slots__ = (
        "_ghosts",
        "_has_evicted",
        "_main",
        "_main_capacity_bytes",
        "_small",
        "_small_capacity_bytes",
        "_stored",
    )

    touch_only_counts: ClassVar[bool] = True

    def __init__(self, capacity_bytes: int) -> None:
        self._small_capacity_bytes = int(capacity_bytes * SMALL_SHARE)
        self._main_capacity_bytes = capacity_bytes - self._small_capacity_bytes
        self._small: Queue[Node] = Queue(SMALL)
        self._main: Queue[Node] = Queue(MAIN)
        self._ghosts = GhostQueue()
        self._stored = 0
        self._has_evicted = False

    def admit(self, node: Node) -> None:
        """To the main queue if it left lately, or while there is still room for everybody; else to the small one."""
        self._stored += 1
        if self._ghosts.recall(node.key) or self._is_filling_main():
            self._main.push(node)
        else:
            self._small.push(node)

    def touch(self, node: Node) -> None:
        """Count the use; places change only at eviction."""
        if node.uses < MOST_USES:
            node.uses += 1

    def remove(self, node: Node) -> None:
        """Take a node out of its queue."""
        self._stored -= 1
        self._queue_of(node).unlink(node)

    def replace(self, old: Node, new: Node) -> None:
        """Put `new` in the place of `old`."""
        self._queue_of(old).replace(old, new)

    def evict(self) -> Node | None:
        """The oldest without enough uses, of the queue whose turn it is."""
        self._has_evicted = True
        self._ghosts.trim(int(self._stored * GHOST_SHARE))
        victim = None
        if self._main.cost_bytes <= self._main_capacity_bytes:
            victim = self._evict_from_small()
        if victim is None:  # also where the small queue is empty, or everybody in it moved up
            victim = self._evict_from_main()
        if victim is not None:
            self._stored -= 1
        return victim

    def nodes(self) -> Iterable[Node]:
        """Those of the small queue, then those of the main queue."""
        return chain(self._small, self._main)

    def _is_filling_main(self) -> bool:
        return not self._has_evicted and self._small.cost_bytes >= self._small_capacity_bytes

    def _queue_of(self, node: Node) -> Queue[Node]:
        return self._small if node.queue == SMALL else self._main

    def _evict_from_small(self) -> Node | None:
        """The first without two uses; the others before it move up. None: all moved up."""
        small = self._small
        while (node := small.oldest) is not None:
            small.unlink(node)
            if node.uses < USES_TO_MOVE_UP:
                self._ghosts.remember(node.key)
                return node
            node.uses = 0
            self._main.push(node)
        return None

    def _evict_from_main(self) -> Node | None:
        """The first without a use; the others before it pay one and go round."""
        main = self._main
        while (node := main.oldest) is not None:
            if not node.uses:
                main.unlink(node)
                return node
            node.uses -= 1
            main.renew(node)
        return None
