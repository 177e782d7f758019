"""Who is told of every request that goes upstream, where somebody wants to know (`observability/fill_history.py`)."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from edge_node.model.errors import UpstreamFailure
from edge_node.model.http import Header
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetch_sink import FetchSink
from edge_node.upstream.response_sink import ResponseSink


class Ending(Enum):
    """How an exchange ends that has not failed."""

    WHOLE = auto()
    GIVEN_UP = auto()
    """This node wanted no more of it."""


class ObservedExchange(ResponseSink, Protocol):
    """One request and what comes of its response: stands between the connection and the sink, and hands everything on."""

    def switched(self) -> None:
        """The response was 101."""

    def ended(self, how: Ending | UpstreamFailure) -> None:
        """Told once."""


class FetchObserver(Protocol):
    """Of one node."""

    @property
    def is_enabled(self) -> bool:
        """Whether anybody wants to know."""

    def began(self, target: Endpoint, extra: Sequence[Header], sink: FetchSink) -> ObservedExchange:
        """A request is about to be sent, with fields beside those of the target."""

    def could_not_begin(self, target: Endpoint, sink: FetchSink, failure: UpstreamFailure) -> None:
        """There was no connection to send it on."""
