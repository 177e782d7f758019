"""What a cache fill has come to for one of those who wait for it: a value, matched once (`pipeline/dispatcher.py`)."""

from enum import Enum, auto
from typing import Final

from edge_node.caching.entry import Entry
from edge_node.caching.lookup import Reason, Result
from edge_node.model.errors import UpstreamFailure
from edge_node.model.http import ResponseHead
from edge_node.model.tunnel import TunnelEnd


class FillRole(Enum):
    """Why somebody waits for a fill."""

    LEADER = auto()
    """The fill was begun for this request; what belongs to one viewer alone is this one's."""
    FOLLOWER = auto()
    """It joined a fill that was under way (request coalescing, reference 2.10)."""


class Answered:
    """The response has begun, and this request may have it."""

    __slots__ = ()


class Unshared:
    """The response is not for this request, or does not come in time: it has to be fetched for it alone."""

    __slots__ = ("reason",)

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class ServeEntry:
    """Answer from this entry: it was confirmed, or is served instead of an error."""

    __slots__ = ("entry", "reason", "result")

    def __init__(self, entry: Entry, result: Result, reason: Reason) -> None:
        self.entry = entry
        self.result = result
        self.reason = reason


class Failed:
    """No response came."""

    __slots__ = ("failure",)

    def __init__(self, failure: UpstreamFailure) -> None:
        self.failure = failure


class Switched:
    """Upstream speaks the protocol that the viewer asked for (RFC 9110 section 7.8): what is left is to join the two."""

    __slots__ = ("head", "upstream_end")

    def __init__(self, head: ResponseHead, upstream_end: TunnelEnd) -> None:
        self.head = head
        self.upstream_end = upstream_end


ANSWERED: Final = Answered()
FillOutcome = Answered | Unshared | ServeEntry | Switched | Failed
