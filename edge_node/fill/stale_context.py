"""What a fill may do with what is stored already."""

from typing import Final

from edge_node.caching.entry import Entry


class StaleContext:
    """What is stored already for the request of a fill, and what it is good for."""

    __slots__ = ("completes", "revalidates", "stale_if_error", "updates")

    def __init__(
        self,
        stale_if_error: Entry | None = None,
        revalidates: Entry | None = None,
        completes: Entry | None = None,
        updates: Entry | None = None,
    ) -> None:
        self.stale_if_error: Final = stale_if_error
        """May answer instead of an error, if its cache metadata allows it."""
        self.revalidates: Final = revalidates
        """The conditions of the request name it: a 304 is about it."""
        self.completes: Final = completes
        """The request asks for what is missing of it."""
        self.updates: Final = updates
        """The answer to a HEAD may say something about it (RFC 9111 section 4.3.5)."""


NOTHING_STORED: Final = StaleContext()
