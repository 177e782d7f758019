"""A fill whose response may be 101: the viewer's end and upstream's are joined then, and any other answer is one that is neither stored nor shared (reference 9)."""

from collections.abc import Sequence

from edge_node.fill.cache_fill import CacheFill
from edge_node.fill.outcome import Switched
from edge_node.model.http import ResponseHead
from edge_node.model.tunnel import TunnelEnd
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetch_sink import RequestBody, UpstreamFetcher


class UpgradeFill(CacheFill):
    """One handshake."""

    def begin(self, fetcher: UpstreamFetcher, targets: Sequence[Endpoint], body: RequestBody | None) -> None:
        """Ask upstream; a handshake has no body."""
        assert body is None
        self._fetch = fetcher.upgrade(targets, self)

    def switched(self, head: ResponseHead, upstream_end: TunnelEnd) -> None:
        """Upstream has switched protocols: there is no response, and whoever waits takes the connection."""
        self._registry.forget(self)
        if not self.stream.is_ended:
            self.stream.switch(Switched(head, upstream_end))
        if not upstream_end.is_open:  # nobody waits any more, or a mistake of this program cost the one who did
            upstream_end.reset()

    def _fails_over(self, head: ResponseHead) -> bool:
        """An answer is an answer: no other origin is asked when the handshake has been sent."""
        del head
        return False
