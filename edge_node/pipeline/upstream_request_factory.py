"""What a request becomes as a question to upstream: the viewer's own words, or those with conditions of this node."""

from edge_node.delivery.request_context import RequestContext
from edge_node.model import Header, RequestHead
from edge_node.policy.answers import NodeFacts
from edge_node.policy.forwarding import Hop
from edge_node.policy.routing import Plan
from edge_node.policy.upstream_requests import Question


class Asking:
    """Questions of one node."""

    def __init__(self, node: NodeFacts) -> None:
        self._via = node.via
        self._is_regional = node.is_regional

    def as_viewer(self, context: RequestContext, plan: Plan) -> Question:
        """The viewer's own words."""
        body = context.body
        if body is None:
            return Question(context.head, plan, self._hop(context))
        return Question(context.head, plan, self._hop(context), body_length=body.length, has_body=True)

    def under_conditions(
        self, context: RequestContext, plan: Plan, conditions: tuple[Header, ...], head: RequestHead | None = None
    ) -> Question:
        """The viewer's request with conditions of our own."""
        return Question(head or context.head, plan, self._hop(context), conditions, has_viewer_conditions=False)

    def _hop(self, context: RequestContext) -> Hop:
        viewer = b"" if self._is_regional else context.downstream.connection.address.encode()
        return Hop(context.request_id, self._via, viewer)
