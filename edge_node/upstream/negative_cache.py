"""Errors that a node itself made of an unreachable or failing upstream, remembered for the error caching minimum TTL (reference 2.5): retry once per that time.

Errors that an origin sends are responses, and kept as such. Not for behaviors that follow the RFCs, where an error without a response is no response to store.
"""

from collections import OrderedDict
from dataclasses import dataclass

from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.caching.key import CacheKey, distribution_of, target_of

MAXIMUM_NEGATIVE_ENTRIES = 4_096


@dataclass(frozen=True, slots=True)
class NegativeEntry:
    """What went wrong with one key, and until when that answers for it: plain values, since an exception holds the frames that it passed, and with them the viewers."""

    status: int
    detail: str
    until: float
    stamp: int
    """The log index that was applied then: an invalidation after it wants a new attempt."""


class NegativeCache:
    """The failures of one node."""

    def __init__(self) -> None:
        self._negative_cache: OrderedDict[CacheKey, NegativeEntry] = OrderedDict()

    def find(self, key: CacheKey, now: float, invalidations: InvalidationLog) -> NegativeEntry | None:
        """The failure that still answers for a key; an invalidation after it asks for another attempt."""
        failure = self._negative_cache.get(key)
        if failure is None:
            return None
        if now >= failure.until or invalidations.is_invalidated(distribution_of(key), target_of(key), failure.stamp):
            del self._negative_cache[key]
            return None
        return failure

    def note(self, key: CacheKey, failure: NegativeEntry) -> None:
        """Remember it; the oldest is forgotten beyond the bound."""
        self._negative_cache[key] = failure
        self._negative_cache.move_to_end(key)
        if len(self._negative_cache) > MAXIMUM_NEGATIVE_ENTRIES:
            self._negative_cache.popitem(last=False)

    def clear(self) -> None:
        """Nothing of another log counts."""
        self._negative_cache.clear()
