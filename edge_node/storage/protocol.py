"""What a store promises. An unfinished write is no entry; whoever opened a writer commits or aborts it."""

from dataclasses import dataclass
from typing import Protocol

from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey


@dataclass(slots=True)
class StoreStatistics:
    """Totals and levels for the metrics."""

    capacity_bytes: int
    used_bytes: int = 0
    entries: int = 0
    evictions: int = 0


class Writer(Protocol):
    """Room for one body that is still arriving."""

    def reserve(self, length: int) -> bool:
        """Ask for room for `length` more bytes; False: the body does not fit, and the writer is aborted."""

    def commit(self, entry: Entry) -> None:
        """The body is whole: from now on `lookup` finds the entry."""

    def abort(self) -> None:
        """Give the room back. Allowed at any time, also twice."""


class Store(Protocol):
    """A bounded collection of entries."""

    statistics: StoreStatistics

    def lookup(self, key: CacheKey) -> Entry | None:
        """The entry for a key; counts as a use."""

    def peek(self, key: CacheKey) -> Entry | None:
        """The same without counting as a use."""

    def open_writer(self, expected_length: int | None) -> Writer | None:
        """Begin a body of `expected_length` bytes (None: unknown); None when it is too large to be admitted."""

    def remove(self, key: CacheKey) -> None:
        """Forget the entry, if there is one."""

    def clear(self) -> None:
        """Forget all entries."""
