"""Who left lately: a first-in-first-out memory of hashes of keys, for S3-FIFO.

A hash and not the key, because a key is a few hundred bytes and a ghost must cost a small part of what its object did: about 80 bytes
(an integer of 60 bits, its slot in the set, its place in the queue). The interpreter keeps the hash of a bytes object, so that taking it is free,
and salts it, so that no viewer can choose keys that collide. Two keys with one hash are harmless: one of them skips the small queue once.
"""

from collections import deque
from typing import Final

HASH_MASK: Final = (1 << 60) - 1
"""60 bits: the longest integer that CPython keeps in two digits, 16 bytes smaller than one with the full 64."""

FEWEST_STALE_TO_COMPACT: Final = 64


class GhostQueue:
    """Hashes in order of departure. Empty, and next to free, until something is evicted."""

    __slots__ = ("_live", "_order", "_stale")

    def __init__(self) -> None:
        self._live: set[int] = set()
        self._order: deque[int] = deque()
        self._stale: dict[int, int] = {}
        """How many places in the queue, the oldest of that hash, belong to ghosts that came back: cheaper than searching the queue for each."""

    def __len__(self) -> int:
        return len(self._live)

    def remember(self, key: bytes) -> None:
        """A key leaves the cache."""
        ghost = hash(key) & HASH_MASK
        if ghost not in self._live:
            self._live.add(ghost)
            self._order.append(ghost)

    def recall(self, key: bytes) -> bool:
        """A key comes to the cache: whether it left lately. It is no ghost from now on."""
        ghost = hash(key) & HASH_MASK
        if ghost not in self._live:
            return False
        self._live.remove(ghost)
        self._stale[ghost] = self._stale.get(ghost, 0) + 1
        if len(self._order) > 2 * len(self._live) + FEWEST_STALE_TO_COMPACT:
            self._compact()
        return True

    def trim(self, most: int) -> None:
        """Forget the oldest until no more than `most` are left."""
        live, order, stale = self._live, self._order, self._stale
        while len(live) > most:
            ghost = order.popleft()
            if ghost not in stale:
                live.remove(ghost)
            else:
                self._forget_stale(ghost)

    def _forget_stale(self, ghost: int) -> None:
        """The oldest place of this hash is gone."""
        count = self._stale[ghost]
        if count > 1:
            self._stale[ghost] = count - 1
        else:
            del self._stale[ghost]

    def _compact(self) -> None:
        """Drop the places that nobody is in: more than half of them, so that each ghost pays for a constant part."""
        order: deque[int] = deque()
        for ghost in self._order:
            if ghost in self._stale:
                self._forget_stale(ghost)
            else:
                order.append(ghost)
        self._order = order
