"""The memory store: entries under a byte budget. Which leave first is the eviction policy's choice (`storage/eviction`).

The budget covers bodies that are still arriving as well as stored ones, with the overhead of each entry, so that it is a bound on memory and not a hope.
"""

from collections.abc import Callable
from typing import Final

from edge_node.caching.entry import ENTRY_OVERHEAD_BYTES, Entry
from edge_node.caching.key import CacheKey
from edge_node.storage.eviction.protocol import EvictionPolicy
from edge_node.storage.protocol import StoreStatistics

LARGEST_SHARE_OF_BUDGET: Final = 8
"""A body larger than an eighth of the budget is not admitted: it would push out everything else for one object."""


class MemoryWriter:
    """Room in a memory store for one body."""

    __slots__ = ("_is_open", "_reserved", "_store", "keeps_chunks")

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self._reserved = 0
        self._is_open = True
        self.keeps_chunks = True

    def add(self, chunk: bytes) -> bool:
        """Room for more bytes, or False and the end of this writer."""
        length = len(chunk)
        if not self._is_open:
            return False
        if self._reserved + length > self._store.largest_body_bytes:
            self.abort()
            return False
        self._reserved += length
        self._store.statistics.used_bytes += length
        self._store.make_room()
        if self._store.statistics.used_bytes > self._store.statistics.capacity_bytes:
            self.abort()  # the bodies that are arriving fill the budget by themselves
            return False
        return True

    def admits(self, length: int) -> bool:
        """By the same rule as one that comes at once."""
        return length + ENTRY_OVERHEAD_BYTES <= self._store.largest_body_bytes

    def commit(self, entry: Entry) -> None:
        """Replace the reservation by the entry."""
        if self._is_open:
            self.abort()
            self._store.put(entry)

    def abort(self) -> None:
        """Give the room back."""
        if self._is_open:
            self._is_open = False
            self._store.statistics.used_bytes -= self._reserved


class MemoryStore:
    """Entries in memory."""

    def __init__(self, capacity_bytes: int, make_policy: Callable[[int], EvictionPolicy[Entry]]) -> None:
        self.statistics = StoreStatistics(capacity_bytes)
        self.largest_body_bytes = capacity_bytes // LARGEST_SHARE_OF_BUDGET
        self._make_policy = make_policy
        self._policy = make_policy(capacity_bytes)
        self._entries: dict[CacheKey, Entry] = {}
        self.peek = self._entries.get
        self.touch: Callable[[Entry], object] = (
            self._policy.touch if self._policy.touch_only_counts else self._touch_and_evict
        )
        """Count a use: in most policies no more than that, and on the way of every hit."""
        self.touch_only_counts: bool = self._policy.touch_only_counts

    def lookup(self, key: CacheKey) -> Entry | None:
        """The entry for a key; counts as a use."""
        entry = self._entries.get(key)
        if entry is not None:
            self.touch(entry)
        return entry

    def _touch_and_evict(self, entry: Entry) -> None:
        """A use after which the policy may let another entry go."""
        evicted = self._policy.touch(entry)
        if evicted is not None:
            self._forget(evicted)

    def open_writer(self, key: CacheKey, expected_length: int | None) -> MemoryWriter | None:
        """A writer, unless the body is known to be too large."""
        del key  # any of them has room in memory
        if expected_length is not None and expected_length + ENTRY_OVERHEAD_BYTES > self.largest_body_bytes:
            return None
        return MemoryWriter(self)

    def put(self, entry: Entry) -> None:
        """Insert or replace an entry, and evict down to the budget."""
        statistics = self.statistics
        replaced = self._entries.get(entry.key)
        if replaced is not None:
            self._policy.replace(replaced, entry)
            statistics.used_bytes -= replaced.cost_bytes
        else:
            self.make_room(entry.cost_bytes)
            self._policy.admit(entry)
        self._entries[entry.key] = entry
        statistics.used_bytes += entry.cost_bytes
        statistics.entries = len(self._entries)
        self.make_room()

    def remove(self, key: CacheKey) -> None:
        """Forget one entry."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._policy.remove(entry)
            self.statistics.used_bytes -= entry.cost_bytes
            self.statistics.entries = len(self._entries)

    def clear(self) -> None:
        """Forget all entries; bodies that are still arriving keep their room."""
        for entry in self._entries.values():
            self.statistics.used_bytes -= entry.cost_bytes
            self._policy.remove(entry)
        self._entries.clear()
        self.statistics.entries = 0

    def make_room(self, wanted_bytes: int = 0) -> None:
        """Evict until there is room for so much more."""
        statistics = self.statistics
        while statistics.used_bytes + wanted_bytes > statistics.capacity_bytes:
            victim = self._policy.evict()
            if victim is None:
                return
            self._forget(victim)

    def _forget(self, victim: Entry) -> None:
        """The policy has let it go."""
        statistics = self.statistics
        del self._entries[victim.key]
        statistics.used_bytes -= victim.cost_bytes
        statistics.evictions += 1
        statistics.entries = len(self._entries)
