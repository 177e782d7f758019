"""Errors that a node itself made of an unreachable or failing upstream, remembered for the error caching minimum TTL (reference 2.5): retry once per that time.

Errors that an origin sends are responses, and kept as such. Not for behaviors that follow the RFCs, where an error without a response is no response to store.
"""

from collections import OrderedDict
from dataclasses import dataclass

from edge_node.caching.invalidations import InvalidationLog
from edge_node.caching.key import CacheKey, distribution_of, target_of

MOST_REMEMBERED_FAILURES = 4_096


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one key, and until when that answers for it: plain values, since an exception holds the frames that it passed, and with them the viewers."""

    status: int
    detail: str
    until: float
    stamp: int
    """The log index that was applied then: an invalidation after it wants a new attempt."""


class Failures:
    """The failures of one node."""

    def __init__(self) -> None:
        self._failures: OrderedDict[CacheKey, Failure] = OrderedDict()

    def find(self, key: CacheKey, now: float, invalidations: InvalidationLog) -> Failure | None:
        """The failure that still answers for a key; an invalidation after it asks for another attempt."""
        failure = self._failures.get(key)
        if failure is None:
            return None
        if now >= failure.until or invalidations.is_invalidated(distribution_of(key), target_of(key), failure.stamp):
            del self._failures[key]
            return None
        return failure

    def note(self, key: CacheKey, failure: Failure) -> None:
        """Remember it; the oldest is forgotten beyond the bound."""
        self._failures[key] = failure
        self._failures.move_to_end(key)
        if len(self._failures) > MOST_REMEMBERED_FAILURES:
            self._failures.popitem(last=False)

    def clear(self) -> None:
        """Nothing of another log counts."""
        self._failures.clear()
