"""One request on its way: what the stages look at, where it stands, and what will be said of it in the log."""

from typing import Final

from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.downstream import DownstreamStream
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.model.configuration import Semantics
from edge_node.model.http import RequestHead
from edge_node.policy.router import Route

NO_DOMAIN: Final = b"-"
"""In the log, before the distribution is known."""


class RequestContext:
    """Lives from the first stage to the record. Only the stages, the dispatcher and who answers write to it."""

    __slots__ = (
        "attempts", "body", "downstream", "error_page_status", "first_byte_at", "head", "index", "is_without_cache", "must_confirm", "next_stage", "original_head",
        "reason", "request_id", "result", "route", "started_at",
    )  # fmt: skip

    def __init__(
        self,
        downstream: DownstreamStream,
        head: RequestHead,
        body: RequestBodyStream | None,
        request_id: bytes,
        started_at: float,
    ) -> None:
        self.downstream = downstream
        self.head = head
        self.body = body
        self.request_id = request_id
        """Of the whole request, at every tier."""
        self.started_at = started_at
        """On the monotonic clock, as is first_byte_at."""
        self.first_byte_at = 0.0
        self.index = 0
        """Of the log, that was applied when it was decided last how to answer."""
        self.route: Route | None = None
        """None before it is known, and for what is no request."""
        self.next_stage = 0
        """Of the stages that its route has left for each request; a request that waits goes on here."""
        self.is_without_cache = False
        """This regional cache is behind the edge that asks, and could not catch up (DESIGN section 4, rule 4)."""
        self.must_confirm = False
        """This node may have missed an invalidation: what is stored is confirmed before it is served, and nothing is shared (DESIGN section 4, rule 10)."""
        self.attempts = 1
        """How often this request has been decided: once, and again when what it waited for failed."""
        self.result = Result.MISS
        self.reason = Reason.NOT_STORED
        self.error_page_status = 0
        """What the viewer is told instead of 200, when `head` is the request for an error page; else 0."""
        self.original_head: RequestHead | None = None
        """What the viewer asked, when `head` is the request for an error page."""

    @property
    def domain_name(self) -> bytes:
        """Of the distribution."""
        return NO_DOMAIN if self.route is None else self.route.distribution.domain_name

    @property
    def semantics(self) -> Semantics:
        """Of the behavior."""
        return Semantics.CLOUDFRONT if self.route is None else self.route.behavior.semantics
