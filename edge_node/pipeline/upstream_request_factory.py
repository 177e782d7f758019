"""What a request becomes as a request to upstream: the viewer's own words, or those with conditions of this node."""

from edge_node.delivery.request_context import RequestContext
from edge_node.model.http import Header, RequestHead
from edge_node.policy.origin_request_headers import ForwardingContext
from edge_node.policy.response_head import LocalNode
from edge_node.policy.router import Route
from edge_node.policy.upstream_request import UpstreamRequest


class UpstreamRequestFactory:
    """Upstream requests of one node."""

    def __init__(self, node: LocalNode) -> None:
        self._via = node.via
        self._is_regional = node.is_regional

    def as_viewer(self, context: RequestContext, route: Route) -> UpstreamRequest:
        """The viewer's own words."""
        body = context.body
        if body is None:
            return UpstreamRequest(context.head, route, self._hop(context), must_confirm=context.must_confirm)
        return UpstreamRequest(
            context.head,
            route,
            self._hop(context),
            body_length=body.length,
            has_body=True,
            must_confirm=context.must_confirm,
        )

    def as_upgrade(self, context: RequestContext, route: Route) -> UpstreamRequest:
        """The same for a WebSocket's handshake."""
        return UpstreamRequest(context.head, route, self._hop(context), is_upgrade=True)

    def under_conditions(
        self, context: RequestContext, route: Route, conditions: tuple[Header, ...], head: RequestHead | None = None
    ) -> UpstreamRequest:
        """The viewer's request with conditions of our own."""
        return UpstreamRequest(
            head or context.head,
            route,
            self._hop(context),
            conditions,
            has_viewer_conditions=False,
            must_confirm=context.must_confirm,
        )

    def _hop(self, context: RequestContext) -> ForwardingContext:
        viewer = b"" if self._is_regional else context.downstream.connection.address.encode()
        return ForwardingContext(context.request_id, self._via, viewer)
