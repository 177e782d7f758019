"""What stored responses of one kind share, made once for each kind (`caching/entry.py`)."""

from typing import Final

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.entry import EntryTemplate
from edge_node.caching.lookup import Reason, Result
from edge_node.policy.response_head import LocalNode, start_of_head, x_cache

MOST_REMEMBERED_KINDS: Final = 4_096
"""Beyond it entries of one kind no longer share what they have in common; an origin chooses how many kinds there are."""


class EntryTemplates:
    """The kinds of one node."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._kinds: dict[tuple[int, bytes, bytes, CacheMetadata, bool], EntryTemplate] = {}

    def of(
        self,
        status: int,
        reason: bytes,
        content_type: bytes,
        cache_metadata: CacheMetadata,
        *,
        is_strict: bool,
    ) -> EntryTemplate:
        """The template of a response."""
        kind = (status, reason, content_type, cache_metadata, is_strict)
        template = self._kinds.get(kind)
        if template is None:
            if len(self._kinds) >= MOST_REMEMBERED_KINDS:
                self._kinds.clear()
            x_cache_value = x_cache(Result.HIT, status)
            start = start_of_head(self._node, status, reason, Result.HIT, Reason.FRESH, x_cache_value)
            is_plain = status < 400 and not is_strict
            template = self._kinds[kind] = EntryTemplate(
                status, reason, content_type, cache_metadata, start, is_plain, is_strict
            )
        return template
