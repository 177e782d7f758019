"""What stands on both sides of a fetch: who takes the response, the body of a request on its way, and who can be asked for a response."""

from collections.abc import Sequence
from typing import Protocol

from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure
from edge_node.model.http import Header, ResponseHead
from edge_node.model.tunnel import TunnelEnd
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.response_sink import ResponseSink


class RequestBody(Protocol):
    """The body of a request that is passed on."""

    length: int | None
    """None: unknown until its end, so it goes upstream in chunked coding."""

    async def next_chunk(self) -> bytes | None:
        """More of it; None at the end."""


class ResponseFlow(Protocol):
    """A connection, as the sink that it feeds sees it."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def give_up(self, kind: UpstreamErrorKind, detail: str) -> None:
        """Close it; the fetch fails with this."""

    def close(self) -> None:
        """Close it."""


class FetchSink(ResponseSink, Protocol):
    """Who takes the response and can say where it stands."""

    def connected(self, connection: ResponseFlow | None, target: Endpoint) -> None:
        """The connection that feeds the sink from now on, and to whom it goes; None when it has ended."""

    def resume_point(self) -> Sequence[Header] | None:
        """The fields that ask for the rest of a response that broke off; None when it cannot be continued."""

    @property
    def has_started(self) -> bool:
        """The head has been passed on."""

    @property
    def is_ended(self) -> bool:
        """The sink wants no more: an answer has been found elsewhere."""

    def fetch_ended(self, failure: UpstreamFailure | None) -> None:
        """Once: the response is whole, or no attempt is left and this is how the last one failed."""

    def fetch_abandoned(self) -> None:
        """Instead: the viewer left before its request was whole."""


class UpgradeSink(FetchSink, Protocol):
    """Who takes a response that may be 101."""

    def switched(self, head: ResponseHead, upstream_end: TunnelEnd) -> None:
        """In place of a response: upstream has switched protocols. The fetch ends when the tunnel does."""


class RunningFetch(Protocol):
    """A response that is being got."""

    def cancel(self) -> None:
        """Nobody wants it; the sink is told nothing more."""


class UpstreamFetcher(Protocol):
    """How responses are got; there is one way, and tests have theirs."""

    def is_down(self, peer_id: str) -> bool:
        """Whether a regional cache has failed of late and is left out for a while."""

    def fetch(
        self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink
    ) -> RunningFetch:
        """Bring the response to the sink. It begins at once where a connection is idle; a task is there only to connect, to wait for a place and to send a body."""

    def upgrade(self, targets: Sequence[Endpoint], sink: UpgradeSink) -> RunningFetch:
        """The same for a GET that asks for another protocol: sent once, on a connection of its own, and to another target only if nothing of it was sent."""
