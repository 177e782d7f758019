"""What requests are for: an object at the origin, as caches know it. Pure."""

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule, not_stored
from edge_node.model.configuration import CachePolicy


class Content:
    """One cache key. What changes at the origin while requests go by is changed here."""

    __slots__ = (
        *("answered_bytes", "answered_version", "has_validator", "head_bytes", "is_passed_on", "key"),
        *("lifetime_seconds", "metadata", "policy", "size_bytes", "target", "version"),
    )

    def __init__(self, key: bytes, target: str, policy: CachePolicy) -> None:
        self.key = key
        self.target = target
        """Path and keyed query: what invalidation paths are compared with."""
        self.policy = policy
        self.is_passed_on = policy.is_caching_disabled
        """Never looked up."""
        self.lifetime_seconds: float | None = None
        """That the last request for it said."""
        self.metadata: CacheMetadata = not_stored(LifetimeRule.CACHING_DISABLED)
        """Of an answer of the origin's now."""
        self.size_bytes = 0
        """Of the body at the origin now."""
        self.version = 0
        """Of the object at the origin now: any number that differs from those before; 0 or more."""
        self.head_bytes = 0
        """Of the stored header section, with the empty line behind it."""
        self.has_validator = True
        """An ETag or Last-Modified, by which a stored response is confirmed with a 304."""
        self.answered_bytes = 0
        """Of the body of the representation that the last answer was about."""
        self.answered_version = 0
        """Which one that was: the answer is a 304 when whoever asked had this one."""
