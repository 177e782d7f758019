"""What a connection to an upstream tells of an exchange, and whom."""

from collections.abc import Callable
from typing import Protocol

from edge_node.model.errors import UpstreamFailure
from edge_node.model.http import ResponseHead
from edge_node.model.tunnel import TunnelEnd


class ResponseSink(Protocol):
    """Who takes a response as it arrives."""

    def interim_arrived(self, head: ResponseHead) -> None:
        """The status and header section of an interim response (RFC 9110 section 15.2)."""

    def head_arrived(self, head: ResponseHead) -> None:
        """The final status and header section."""

    def body_arrived(self, data: bytes) -> None:
        """The next bytes of the body, transfer coding removed."""

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        """The final head and all of the body at once; a response comes like this or in the pieces above."""


OnComplete = Callable[[UpstreamFailure | None], None]
"""Told once when an exchange ends: with nothing when the response is whole, else with what went wrong."""

OnSwitch = Callable[[ResponseHead, TunnelEnd], None]
"""Told instead of a head when upstream has switched protocols; the exchange ends when the tunnel does."""
