"""W-TinyLFU (Einziger et al., ACM ToS 2017): a small LRU window in front of a segmented LRU that only the more popular may enter.

Who leaves the window (1 % of the bytes) goes on trial against whoever would leave the main part next: the one asked for less often leaves the cache.
The main part is 20 % probation, where its victims come from, and 80 % protected, where a second hit leads and whose overflow goes back to probation.

Open in the paper, and decided as libCacheSim decides it:

- The window is not held to its size; it gets what the main part leaves.
- A use counts when an object comes, when it was on trial or entered the main part, and at a hit in the main part; not at a hit in the window.
- Equal counts favour whom the main part has. Counts halve after 32 counted hits for each entry.
- Who enters the main part takes the first segment with room, else probation.
- Protected that overflows because of a hit pushes back to probation, and probation that overflows because of that gives at once: a hit can have a victim.
  With objects of one size it happens where the two segments, each rounded down, do not add up to the main part; with many sizes, where a large object comes back.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import ClassVar, Final, Generic

from edge_node.storage.eviction.frequency_sketch import FrequencySketch
from edge_node.storage.eviction.protocol import Node
from edge_node.storage.eviction.queue import Queue

WINDOW_SHARE: Final = 0.01
PROBATION_SHARE: Final = 0.2
PROTECTED_SHARE: Final = 0.8
HITS_PER_ENTRY_BEFORE_HALVING: Final = 32

WINDOW: Final = 1
PROBATION: Final = 2
PROTECTED: Final = 3


class WTinyLfu(Generic[Node]):
    """The less popular of two leaves."""

    __slots__ = (
        "_hits",
        "_key_hash",
        "_main_capacity_bytes",
        "_probation",
        "_probation_capacity_bytes",
        "_protected",
        "_protected_capacity_bytes",
        "_sketch",
        "_stored",
        "_window",
    )

    touch_only_counts: ClassVar[bool] = False

    def __init__(self, capacity_bytes: int, key_hash: Callable[[bytes], int] = hash) -> None:
        """`key_hash` gives 64 bits. The interpreter's own is kept in the key and salted, so that no viewer can inflate the count of another key."""
        self._main_capacity_bytes = capacity_bytes - int(capacity_bytes * WINDOW_SHARE)
        self._protected_capacity_bytes = int(self._main_capacity_bytes * PROTECTED_SHARE)
        self._probation_capacity_bytes = int(self._main_capacity_bytes * PROBATION_SHARE)
        self._window: Queue[Node] = Queue(WINDOW)
        self._probation: Queue[Node] = Queue(PROBATION)
        self._protected: Queue[Node] = Queue(PROTECTED)
        self._key_hash = key_hash
        self._sketch: FrequencySketch | None = (
            None  # only an eviction asks for counts, and only then is it known how many entries fit
        )
        self._hits = 0
        self._stored = 0

    def admit(self, node: Node) -> None:
        """Everybody begins in the window."""
        self._stored += 1
        self._window.push(node)
        sketch = self._sketch
        if sketch is not None:
            if self._stored > 2 * sketch.entries:
                sketch.double()
            sketch.add(self._key_hash(node.key))

    def touch(self, node: Node) -> Node | None:
        """To the young end of its segment, or from probation to protected; a hit in the main part counts."""
        if node.queue == WINDOW:
            self._window.renew(node)
            return None
        victim = None
        if node.queue == PROTECTED:
            self._protected.renew(node)
        else:
            victim = self._protect(node)
        self._count_main_hit(node)
        return victim

    def remove(self, node: Node) -> None:
        """Take a node out of its segment."""
        self._stored -= 1
        self._queue_of(node).unlink(node)

    def replace(self, old: Node, new: Node) -> None:
        """Put `new` in the place of `old`."""
        self._queue_of(old).replace(old, new)

    def evict(self) -> Node | None:
        """Who leaves the window enters the main part while that has room; then it is on trial."""
        sketch = self._sketch or self._begin_counting()
        while (candidate := self._window.oldest) is not None:
            if not self._fits_main(candidate):
                return self._try(candidate, sketch)
            self._enter_main(candidate, sketch)
        victim = self._main_victim()
        return None if victim is None else self._leave(victim)

    def nodes(self) -> Iterable[Node]:
        """Those of the window, of probation, of the protected segment."""
        return chain(self._window, self._probation, self._protected)

    def _begin_counting(self) -> FrequencySketch:
        """Until the first eviction nothing is in the main part, and everything has the one use of its arrival: nothing is lost by counting late.

        The first eviction pays for all arrivals at once, and for moving them to the main part: about 2 us an object, once in the life of a store.
        """
        sketch = self._sketch = FrequencySketch(self._stored - int(self._stored * WINDOW_SHARE))
        for node in self._window:
            sketch.add(self._key_hash(node.key))
        return sketch

    def _count_main_hit(self, node: Node) -> None:
        sketch = self._sketch
        assert sketch is not None  # whoever is in the main part came there by an eviction
        sketch.add(self._key_hash(node.key))
        self._hits += 1
        if self._hits >= HITS_PER_ENTRY_BEFORE_HALVING * sketch.entries:
            self._hits = 0
            sketch.halve()

    def _try(self, candidate: Node, sketch: FrequencySketch) -> Node:
        """Who of the two leaves. A winner enters at once if one victim makes room enough; else it waits for its next trial."""
        victim = self._main_victim()
        if victim is None or not self._is_more_popular(candidate, victim, sketch):
            sketch.add(self._key_hash(candidate.key))
            return self._leave(candidate)
        self._leave(victim)
        if self._fits_main(candidate):
            self._enter_main(candidate, sketch)
        return victim

    def _is_more_popular(self, candidate: Node, victim: Node, sketch: FrequencySketch) -> bool:
        return sketch.estimate(self._key_hash(candidate.key)) > sketch.estimate(self._key_hash(victim.key))

    def _main_victim(self) -> Node | None:
        return self._probation.oldest or self._protected.oldest

    def _fits_main(self, node: Node) -> bool:
        return self._probation.cost_bytes + self._protected.cost_bytes + node.cost_bytes <= self._main_capacity_bytes

    def _enter_main(self, node: Node, sketch: FrequencySketch) -> None:
        """From the window to the first segment with room, or to probation."""
        self._window.unlink(node)
        cost = node.cost_bytes
        fits_protected = self._protected.cost_bytes + cost <= self._protected_capacity_bytes
        if fits_protected and self._probation.cost_bytes + cost > self._probation_capacity_bytes:
            self._protected.push(node)
        else:
            self._probation.push(node)
        sketch.add(self._key_hash(node.key))

    def _protect(self, node: Node) -> Node | None:
        """From probation to protected. Its oldest go back until it keeps its bounds; who leaves probation for them, at most one a hit."""
        protected, probation = self._protected, self._probation
        probation.unlink(node)
        protected.push(node)
        has_demoted = False
        while protected.cost_bytes > self._protected_capacity_bytes and (demoted := protected.oldest) is not None:
            protected.unlink(demoted)
            probation.push(demoted)
            has_demoted = True
        victim = probation.oldest
        if victim is None or not has_demoted or probation.cost_bytes <= self._probation_capacity_bytes:
            return None
        return self._leave(victim)

    def _leave(self, node: Node) -> Node:
        self.remove(node)
        return node

    def _queue_of(self, node: Node) -> Queue[Node]:
        return (self._window, self._probation, self._protected)[node.queue - 1]
