"""What viewers get instead of a response that did not come or is an error: a configured page, or an answer made here (reference 2.5)."""

from collections.abc import Callable

from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.lookup import Reason, Refuse, Result
from edge_node.delivery.request_context import RequestContext
from edge_node.fill.storage_decision import error_minimum_ttl
from edge_node.model.errors import Fault, UpstreamFailure
from edge_node.policy.error_responses import page_for, page_request
from edge_node.policy.representation import choose_representation
from edge_node.policy.router import Route
from edge_node.storage.node_state import NodeState
from edge_node.upstream.negative_cache import NegativeCache, NegativeEntry


class ErrorResponses:
    """Of one node. Edges face viewers, so that they send pages and remember failures; a regional cache passes both on."""

    def __init__(self, state: NodeState, clock: Callable[[], float], *, is_regional: bool) -> None:
        self._state = state
        self._clock = clock
        """Seconds since the epoch."""
        self._is_regional = is_regional
        self._negative_cache = NegativeCache()

    # -- pages

    def becomes_page(self, context: RequestContext, route: Route | None, status: int, reason: Reason) -> bool:
        """Turn a request that has come to an error into the one for the page that is configured for it; False when there is none."""
        if route is None or self._is_regional or context.error_page_status:
            return False
        page = page_for(route, status, reason)
        if page is None or (context.body is not None and not context.body.is_complete):
            return False  # what the viewer still sends would be taken for its next request
        context.original_head = context.original_head or context.head
        context.head = page_request(context.head, page)
        context.error_page_status = page.response_status
        context.attempts = 1
        context.body = None
        return True

    def entry_becomes_page(self, context: RequestContext, route: Route, entry: Entry, reason: Reason) -> bool:
        """The same of an answer from the cache: the entry may be an error, or no range of it what was asked for."""
        status = entry.status
        if status == 200 and not context.head.is_plain and page_for(route, 416, reason) is not None:
            boundary = context.request_id.rstrip(b"=")
            status = choose_representation(context.head, entry, route.behavior.semantics, boundary).status
        return status >= 400 and self.becomes_page(context, route, status, reason)

    # -- failures of upstream

    def reply_to(self, failure: UpstreamFailure) -> Refuse:
        """The answer when nothing better is left."""
        return _reply(failure.status, failure.detail, Reason.UPSTREAM_FAILED)

    def recall(self, context: RequestContext, key: CacheKey) -> Refuse | None:
        """An upstream that failed a moment ago is left alone for the error caching minimum TTL; an invalidation asks for another attempt."""
        if context.attempts > 1:
            return None
        failure = self._negative_cache.find(key, self._clock(), self._state.invalidations)
        return None if failure is None else _reply(failure.status, failure.detail, Reason.FAILED_RECENTLY)

    def remember(self, context: RequestContext, route: Route, failure: UpstreamFailure) -> None:
        """A failure that this node met itself; those that an origin answers with are responses, and stored as such."""
        is_kept = context.result is Result.MISS and context.head.method == b"GET" and not route.is_strict
        seconds = error_minimum_ttl(route, failure.status)
        if is_kept and seconds > 0 and not self._is_regional and failure.fault is Fault.UPSTREAM:
            kept = NegativeEntry(failure.status, failure.detail, self._clock() + seconds, self._state.applied_index)
            self._negative_cache.note(route.key_for(context.head), kept)

    def clear(self) -> None:
        """Nothing of another log counts."""
        self._negative_cache.clear()


def _reply(status: int, detail: str, reason: Reason) -> Refuse:
    return Refuse(status, reason, f"The request could not be satisfied: {detail}.")
