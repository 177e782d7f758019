"""The memory store: entries under a byte budget, least recently used leave first.

The budget covers bodies that are still arriving as well as stored ones, with the overhead of each entry, so that it is a bound on memory and not a hope.
"""

from collections import OrderedDict

from edge_node.caching.entry import ENTRY_OVERHEAD_BYTES, Entry
from edge_node.caching.key import CacheKey
from edge_node.storage.protocol import StoreStatistics

LARGEST_SHARE_OF_BUDGET = 8
"""A body larger than an eighth of the budget is not admitted: it would push out everything else for one object."""


class MemoryWriter:
    """Room in a memory store for one body."""

    __slots__ = ("_is_open", "_reserved", "_store")

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self._reserved = 0
        self._is_open = True

    def reserve(self, length: int) -> bool:
        """Room for more bytes, or False and the end of this writer."""
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

    def __init__(self, capacity_bytes: int) -> None:
        self.statistics = StoreStatistics(capacity_bytes)
        self.largest_body_bytes = capacity_bytes // LARGEST_SHARE_OF_BUDGET
        self._entries: OrderedDict[CacheKey, Entry] = OrderedDict()
        self.peek = self._entries.get

    def lookup(self, key: CacheKey) -> Entry | None:
        """The entry for a key; moves it to the young end."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def open_writer(self, expected_length: int | None) -> MemoryWriter | None:
        """A writer, unless the body is known to be too large."""
        if expected_length is not None and expected_length + ENTRY_OVERHEAD_BYTES > self.largest_body_bytes:
            return None
        return MemoryWriter(self)

    def put(self, entry: Entry) -> None:
        """Insert or replace an entry, then evict down to the budget."""
        self.remove(entry.key)
        self._entries[entry.key] = entry
        self.statistics.used_bytes += entry.cost_bytes
        self.statistics.entries = len(self._entries)
        self.make_room()

    def remove(self, key: CacheKey) -> None:
        """Forget one entry."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.statistics.used_bytes -= entry.cost_bytes
            self.statistics.entries = len(self._entries)

    def clear(self) -> None:
        """Forget all entries; bodies that are still arriving keep their room."""
        for key in list(self._entries):
            self.remove(key)

    def make_room(self) -> None:
        """Evict the least recently used until the budget holds."""
        statistics = self.statistics
        while statistics.used_bytes > statistics.capacity_bytes and self._entries:
            _, entry = self._entries.popitem(last=False)
            statistics.used_bytes -= entry.cost_bytes
            statistics.evictions += 1
            statistics.entries = len(self._entries)
