"""A stored response."""

from edge_node.caching.key import CacheKey
from edge_node.model import Headers

ENTRY_OVERHEAD_BYTES = 1024
"""What an entry without body and header text costs in memory, counted against the budget with its bytes (measured: benchmarks/entry_overhead.py)."""


class Entry:
    """One stored response and everything a hit needs, prepared when it was stored.

    Values are fixed except `stamp`, which only moves forward (DESIGN section 4, rule 2), and `retry_at`: until then a stale entry whose refresh failed is used as it is.
    Times are seconds since the epoch; `head` is the response head up to the fields that differ per response.
    """

    __slots__ = (
        "__weakref__",
        "age_base",
        "chunks",
        "content_type",
        "distribution_id",
        "etag",
        "fresh_until",
        "head_hit",
        "headers",
        "key",
        "last_modified",
        "length",
        "lifetime_seconds",
        "reason",
        "retry_at",
        "rule",
        "small_body",
        "stamp",
        "status",
        "target",
    )

    key: CacheKey
    distribution_id: str
    target: str
    """Path and keyed query: what invalidation paths are compared with."""
    stamp: int
    status: int
    reason: bytes
    headers: Headers
    chunks: tuple[bytes, ...]
    length: int
    small_body: bytes | None
    """The body in one piece, when it is small enough to be sent with the head in one write."""
    content_type: bytes
    etag: bytes | None
    last_modified: bytes | None
    age_base: float
    """Moment at which the response had age 0: now - age_base is its Age."""
    fresh_until: float
    lifetime_seconds: float
    rule: str
    retry_at: float
    head_hit: bytes

    @property
    def cost_bytes(self) -> int:
        """What it counts for in the store's budget."""
        return self.length + len(self.head_hit) * 2 + len(self.target) + ENTRY_OVERHEAD_BYTES
