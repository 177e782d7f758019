"""What a store promises. An unfinished write is no entry; whoever opened a writer commits or aborts it."""

from collections.abc import Callable
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

    keeps_chunks: bool
    """The body is to be kept in the chunks in which it comes, and handed over with the entry; else the writer takes it away piece by piece."""

    def add(self, chunk: bytes) -> bool:
        """Take the next bytes; False: the body does not fit, and the writer is aborted."""

    def admits(self, length: int) -> bool:
        """Whether so many bytes of body may be committed together, when an entry has more than came through this writer."""

    def commit(self, entry: Entry) -> None:
        """The body is whole: from now on `lookup` finds the entry. Where the writer has the body, it gives it to the entry."""

    def abort(self) -> None:
        """Give the room back. Allowed at any time, also twice."""


class Store(Protocol):
    """A bounded collection of entries."""

    statistics: StoreStatistics

    def lookup(self, key: CacheKey) -> Entry | None:
        """The entry for a key; counts as a use."""

    def peek(self, key: CacheKey) -> Entry | None:
        """The entry for a key, if it is in memory, without counting as a use."""

    @property
    def touch(self) -> Callable[[Entry], object]:
        """Counts a use of an entry that `peek` gave."""

    @property
    def touch_only_counts(self) -> bool:
        """`touch` does no more than count up `uses` to its bound, which may be written in line."""

    def open_writer(self, key: CacheKey, expected_length: int | None) -> Writer | None:
        """Begin a body of `expected_length` bytes (None: unknown); None when it is too large to be admitted."""

    def remove(self, key: CacheKey) -> None:
        """Forget the entry, if there is one."""

    def clear(self) -> None:
        """Forget all entries."""
