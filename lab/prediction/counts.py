"""What is counted of one node, and sums of it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(slots=True)
class CacheCounts:
    """Of a cache: what it was asked and how it answered, what it asked upstream. Bytes are those of bodies."""

    requests: int = 0
    hits: int = 0
    """Answered from what was stored, also while it was refreshed in the background."""
    refresh_hits: int = 0
    """Answered from what was stored, after upstream had confirmed it."""
    misses: int = 0
    passes: int = 0
    """Straight to the origin: not looked up, not stored."""
    sent_bytes: int = 0
    upstream_fetches: int = 0
    upstream_bytes: int = 0
    origin_fetches: int = 0
    """Those of the fetches that went to an origin, and not to another tier."""
    origin_bytes: int = 0
    not_modified: int = 0
    """Fetches that upstream answered with 304."""
    evictions: int = 0

    @property
    def hit_ratio(self) -> float | None:
        """(hits + refresh hits) / (hits + refresh hits + misses), as reports have it; None: nothing was looked up."""
        found = self.hits + self.refresh_hits
        return found / (found + self.misses) if found + self.misses else None


def summed(counts: Iterable[CacheCounts]) -> CacheCounts:
    """Of several nodes together."""
    total = CacheCounts()
    for each in counts:
        for field in fields(CacheCounts):
            setattr(total, field.name, getattr(total, field.name) + getattr(each, field.name))
    return total


@dataclass(slots=True)
class OriginCounts:
    """Of all origins together."""

    requests: int = 0
    not_modified: int = 0
    sent_bytes: int = 0
