"""What a request becomes as a question to upstream: the viewer's own words, or those with conditions of this node."""

from edge_node.caching.key import CacheKey
from edge_node.model import Header, RequestHead
from edge_node.policy.answers import NodeFacts
from edge_node.policy.forwarding import Hop
from edge_node.policy.routing import Plan
from edge_node.policy.upstream_requests import Question
from edge_node.requests import Request
from edge_node.transfers import Transfer


class Asking:
    """Questions of one node."""

    def __init__(self, node: NodeFacts) -> None:
        self._via = node.via
        self._is_regional = node.is_regional

    def as_viewer(self, request: Request, plan: Plan) -> Question:
        """The viewer's own words."""
        body = request.body
        if body is None:
            return Question(request.head, plan, self._hop(request))
        return Question(request.head, plan, self._hop(request), body_length=body.length, has_body=True)

    def under_conditions(
        self, request: Request, plan: Plan, conditions: tuple[Header, ...], head: RequestHead | None = None
    ) -> Question:
        """The viewer's request with conditions of our own."""
        return Question(head or request.head, plan, self._hop(request), conditions, has_viewer_conditions=False)

    def _hop(self, request: Request) -> Hop:
        viewer = b"" if self._is_regional else request.wire.peer[0].encode()
        return Hop(request.request_id, self._via, viewer)


def transfer_alone(key: CacheKey | None, plan: Plan, stamp: int) -> Transfer:
    """A transfer that nobody joins; with a key, what it brings may be stored."""
    return Transfer(key, plan.distribution.id, plan.target, stamp)
