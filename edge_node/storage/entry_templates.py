"""What stored responses of one kind share, made once for each kind (`caching/entry.py`)."""

from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entry import Traits
from edge_node.caching.terms import Terms
from edge_node.policy.answers import NodeFacts, start_of_head, x_cache

MOST_REMEMBERED_KINDS = 4_096
"""Beyond it entries of one kind no longer share what they have in common; an origin chooses how many kinds there are."""


class TraitsTable:
    """The kinds of one node."""

    def __init__(self, node: NodeFacts) -> None:
        self._node = node
        self._kinds: dict[tuple[int, bytes, bytes, Terms, bool], Traits] = {}

    def of(self, status_and_reason: tuple[int, bytes], content_type: bytes, terms: Terms, *, is_strict: bool) -> Traits:
        """The traits of a response."""
        status, reason = status_and_reason
        kind = (status, reason, content_type, terms, is_strict)
        traits = self._kinds.get(kind)
        if traits is None:
            if len(self._kinds) >= MOST_REMEMBERED_KINDS:
                self._kinds.clear()
            outcome = (Result.HIT, Reason.FRESH, x_cache(Result.HIT, status))
            start = start_of_head(self._node, status_and_reason, outcome)
            is_plain = status < 400 and not is_strict
            traits = self._kinds[kind] = Traits(status, reason, content_type, terms, start, is_plain, is_strict)
        return traits
