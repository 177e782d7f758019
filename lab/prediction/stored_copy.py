"""A stored response without its bytes: what eviction and freshness need of it. Pure."""

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.entry import ENTRY_OVERHEAD_BYTES
from lab.prediction.content import Content


class StoredCopy:
    """One entry of one cache, in the shape that eviction policies link (`Evictable`)."""

    __slots__ = (
        *(
            "age_base",
            "cost_bytes",
            "key",
            "metadata",
            "newer",
            "older",
            "queue",
            "size_bytes",
            "stamp",
            "uses",
            "version",
        ),
    )

    def __init__(self, content: Content, age_base: float, stamp: int) -> None:
        """Of what the last answer about this content was."""
        size_bytes = content.answered_bytes
        self.key = content.key
        self.size_bytes = size_bytes
        self.version = content.answered_version
        self.cost_bytes = len(content.key) + content.head_bytes + size_bytes + ENTRY_OVERHEAD_BYTES
        """As `Entry.cost_bytes`."""
        self.age_base = age_base
        """Moment at which the response had age 0."""
        self.metadata: CacheMetadata = content.metadata
        self.stamp = stamp
        """How many invalidations had been applied when its fetch began (DESIGN section 4, rule 1)."""
        self.newer: StoredCopy | None = None
        self.older: StoredCopy | None = None
        self.uses = 0
        self.queue = 0
