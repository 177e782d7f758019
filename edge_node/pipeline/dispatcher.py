"""What is done about a request that has passed the stages: look up, decide, and match the decision, once; and once more what a fill has come to for it.

    key -> entry, if it still holds -> decide -> hit:                      answer from the entry
                                             -> revalidate, complete, miss: follow a fill or lead one
                                             -> pass:                      a fill of its own, straight to the origin
                                             -> tunnel:                    a fill of its own, and after 101 bytes both ways

Decisions are made in `caching`, `policy` and `fill`; bytes are moved by `delivery`, `upstream` and the listener. What cannot be answered here goes back as a value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, assert_never

from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.lookup import (
    FetchMissingRange,
    Hit,
    Miss,
    Pass,
    Reason,
    Refuse,
    Result,
    Revalidate,
    ServeStaleAndRevalidate,
    Tunnel,
    decide,
)
from edge_node.caching.unsafe_methods import SAFE_METHODS
from edge_node.caching.vary import is_same_variant
from edge_node.delivery.cached_response import CachedResponder
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.streamed_response import ResponseDependencies, StreamedResponse, TakeOutcome
from edge_node.delivery.tunnel import Tunnel as OpenTunnel
from edge_node.delivery.tunnel import TunnelDependencies
from edge_node.fill.cache_fill import CacheFill
from edge_node.fill.coalescer import (
    LEADS_AND_FOLLOWS,
    NO_SHARING,
    RequestCoalescer,
    Sharing,
    may_share_fill,
    may_share_revalidation,
)
from edge_node.fill.endpoint_selector import EndpointSelector
from edge_node.fill.outcome import Answered, Failed, FillOutcome, FillRole, ServeEntry, Switched, Unshared
from edge_node.fill.range_fill import conditions_for_missing_range, conditions_to_revalidate
from edge_node.fill.stale_context import NOTHING_STORED, StaleContext
from edge_node.fill.upgrade_fill import UpgradeFill
from edge_node.http.request_head import is_websocket_handshake
from edge_node.model.http import RequestHead
from edge_node.pipeline.error_responses import ErrorResponses
from edge_node.pipeline.upstream_request_factory import UpstreamRequestFactory
from edge_node.policy.router import Route
from edge_node.policy.upstream_request import UpstreamRequest
from edge_node.storage.cache import Cache
from edge_node.storage.node_state import NodeState
from edge_node.upstream.fetch_sink import UpstreamFetcher

MAXIMUM_ATTEMPTS: Final = 2
"""A viewer whose joined fill failed tries once more, perhaps joining again; after that it gets the error."""


class Next(Enum):
    """Where a request goes from here, where it is not answered by a reply made here."""

    ANSWERED = auto()
    """It is answered, or somebody has it who will."""
    START_AGAIN = auto()
    """From the distribution on: as the request for an error page, or once more."""


Dispatched = Next | Refuse

_UNCONFIRMED: Final = Refuse(
    503, Reason.UNCONFIRMED, "What is stored here may be outdated, and nobody who could confirm it can be reached."
)


@dataclass(frozen=True, slots=True)
class DispatcherDependencies:
    """What a dispatcher works with."""

    cache: Cache
    state: NodeState
    coalescer: RequestCoalescer
    endpoints: EndpointSelector
    fetcher: UpstreamFetcher
    responder: CachedResponder
    responses: ResponseDependencies
    errors: ErrorResponses
    tunnels: TunnelDependencies
    monotonic: Callable[[], float]


class Dispatcher:
    """Decides and does."""

    def __init__(self, dependencies: DispatcherDependencies, take_outcome: TakeOutcome) -> None:
        self._cache = dependencies.cache
        self._state = dependencies.state
        self._coalescer = dependencies.coalescer
        self._endpoints = dependencies.endpoints
        self._fetcher = dependencies.fetcher
        self._responder = dependencies.responder
        self._responses = dependencies.responses
        self._errors = dependencies.errors
        self._request_factory = UpstreamRequestFactory(dependencies.cache.node)
        self._is_regional = dependencies.cache.node.is_regional
        self._tunnels = dependencies.tunnels
        self._monotonic = dependencies.monotonic
        self._take_outcome = take_outcome
        """How a request that waits for a fill comes back into the pipeline."""

    def dispatch(self, context: RequestContext, route: Route) -> Dispatched:
        """A request that may be looked up."""
        head = context.head
        if context.is_without_cache and not is_websocket_handshake(head):
            return self._pass(context, route, Reason.REGIONAL_BEHIND)
        key = route.key_for(head)
        entry, absence = self._cache.find(route, key, head)
        if route.is_strict:
            key = self._cache.key_to_share(key, head)
        context.must_confirm = self._must_confirm(context, route)
        decision = decide(head, route.behavior, entry, absence, self._cache.clock(), must_confirm=context.must_confirm)
        match decision:
            case Hit(entry=hit_entry, reason=reason):
                return self._hit(context, route, hit_entry, reason)
            case ServeStaleAndRevalidate(entry=stale):
                done = self._hit(context, route, stale, Reason.STALE_WHILE_REVALIDATE)
                self._refresh_in_background(context, route, key, stale)
                return done
            case Revalidate(entry=expired, reason=reason):
                return self._refresh(context, route, key, expired, reason)
            case FetchMissingRange(entry=partial):
                return self._complete(context, route, key, partial)
            case Miss(reason=reason, stale=stale_entry):
                stored = None if context.must_confirm else stale_entry or entry
                return self._miss(context, route, key, reason, stored)
            case Pass(reason=reason):
                return self._pass(context, route, reason)
            case Tunnel(reason=reason):
                return self._shake_hands(context, route, reason)
            case Refuse() as refusal:
                return refusal
            case _ as unreachable:
                assert_never(unreachable)

    def take_outcome(self, reader: StreamedResponse, outcome: FillOutcome) -> Dispatched:
        """A fill has come to something for one of those who wait for it."""
        context, route = reader.context, reader.route
        match outcome:
            case Answered():
                begun = reader.stream.head
                assert begun is not None
                if begun.status >= 400 and self._errors.becomes_page(
                    context, route, begun.status, Reason.UPSTREAM_STATUS
                ):
                    reader.leave(may_abandon=not reader.stream.is_stored)
                    return Next.START_AGAIN
                reader.begin()
                return Next.ANSWERED
            case Unshared(reason=reason):
                return self._fetch_alone(context, route, reason)
            case ServeEntry(entry=entry, result=result, reason=reason):
                return self._serve_entry(reader, entry, result, reason)
            case Switched(head=head, upstream_end=upstream_end):
                context.result = Result.MISS
                OpenTunnel(context, reader.switched_head(head), upstream_end, self._tunnels).open()
                return Next.ANSWERED
            case Failed(failure=failure):
                context.attempts += 1
                if reader.role is FillRole.FOLLOWER and context.attempts <= MAXIMUM_ATTEMPTS:
                    return Next.START_AGAIN
                if reader.role is FillRole.LEADER:
                    self._errors.remember(context, route, failure)
                return _UNCONFIRMED if context.reason is Reason.UNCONFIRMED else self._errors.reply_to(failure)
            case _ as unreachable:
                assert_never(unreachable)

    def _must_confirm(self, context: RequestContext, route: Route) -> bool:
        """A regional cache that an edge asks to confirm something does so only while it holds a lease itself."""
        is_strict = route.distribution.is_strictly_invalidated or (
            self._is_regional and b"x-edge-confirm" in context.head.fields
        )
        return self._state.fence.must_confirm(self._monotonic(), is_strict=is_strict)

    # -- answers from the cache

    def _hit(self, context: RequestContext, route: Route, entry: Entry, reason: Reason) -> Dispatched:
        return self._answer(context, route, entry, Result.HIT, reason)

    def _answer(
        self, context: RequestContext, route: Route, entry: Entry, result: Result, reason: Reason
    ) -> Dispatched:
        context.result, context.reason = result, reason
        if self._errors.entry_becomes_page(context, route, entry, reason):
            return Next.START_AGAIN
        self._responder.answer(context, entry)
        return Next.ANSWERED

    def _serve_entry(self, reader: StreamedResponse, entry: Entry, result: Result, reason: Reason) -> Dispatched:
        """From an entry that was confirmed or is served instead of an error; those who only joined stay hits."""
        context = reader.context
        if reader.role is FillRole.FOLLOWER:
            result, reason = context.result, context.reason
        elif reason is Reason.REVALIDATED and context.reason is Reason.REQUEST_DIRECTIVE:
            reason = Reason.REVALIDATED_ON_REQUEST
        return self._answer(context, reader.route, entry, result, reason)

    # -- fills

    def _refresh(
        self, context: RequestContext, route: Route, key: CacheKey, expired: Entry, reason: Reason
    ) -> Dispatched:
        """Ask whether the entry still holds; everybody who comes meanwhile waits for the same answer."""
        context.result, context.reason = Result.MISS, reason
        if context.head.method == b"HEAD":  # a changed object would come without its body: nothing to store or share
            updates = expired if route.is_strict else None
            stored = StaleContext(stale_if_error=expired, updates=updates)
            return self._lead(context, self._request_factory.as_viewer(context, route), None, stored, NO_SHARING)
        failure = self._errors.recall(context, key)
        if failure is not None:
            return failure
        sharing = self._follow(context, route, key, may_share_revalidation(expired, reason))
        if sharing is None:
            return Next.ANSWERED
        upstream_request = self._request_factory.under_conditions(context, route, conditions_to_revalidate(expired))
        return self._lead(context, upstream_request, key, StaleContext(expired, revalidates=expired), sharing)

    def _refresh_in_background(self, context: RequestContext, route: Route, key: CacheKey, stale: Entry) -> None:
        """RFC 5861 section 3; at most one at a time for a key."""
        if self._coalescer.is_under_way(key):
            return
        conditions = () if not route.may_validate else conditions_to_revalidate(stale)
        upstream_request = self._request_factory.under_conditions(
            context, route, conditions, head=context.head.as_get()
        )
        stored = StaleContext(stale_if_error=stale, revalidates=stale if conditions else None)
        fill = CacheFill(self._cache, upstream_request, key, self._coalescer, stored, is_joinable=True)
        self._begin(fill, None, is_cacheable=True)

    def _complete(self, context: RequestContext, route: Route, key: CacheKey, partial: Entry) -> Dispatched:
        """Fetch what is missing, or everything if nothing can tell whether the missing part belongs to what is stored."""
        conditions = conditions_for_missing_range(partial)
        failure = self._errors.recall(context, key)
        if failure is not None:
            return failure
        if conditions is None:
            return self._miss(context, route, key, Reason.INCOMPLETE, None)
        context.result, context.reason = Result.MISS, Reason.INCOMPLETE
        sharing = self._follow(context, route, key, LEADS_AND_FOLLOWS)
        if sharing is None:
            return Next.ANSWERED
        upstream_request = self._request_factory.under_conditions(context, route, conditions)
        return self._lead(context, upstream_request, key, StaleContext(completes=partial), sharing)

    def _miss(
        self, context: RequestContext, route: Route, key: CacheKey, reason: Reason, stale: Entry | None
    ) -> Dispatched:
        """Fetch; share the fetch where that is allowed (reference 2.10)."""
        head = context.head
        context.result, context.reason = Result.MISS, reason
        failure = self._errors.recall(context, key)
        if failure is not None:
            return failure
        may_share = may_share_fill(head, route, is_hit_for_miss=self._coalescer.is_hit_for_miss(key))
        sharing = self._follow(context, route, key, may_share)
        if sharing is None:
            return Next.ANSWERED
        updates = stale if route.is_strict and head.method == b"HEAD" else None
        # A range is answered whole with 200 by some origins; then it is stored.
        stored_key = key if head.method != b"HEAD" else None
        stored = NOTHING_STORED if stale is None else StaleContext(stale_if_error=stale, updates=updates)
        return self._lead(context, self._request_factory.as_viewer(context, route), stored_key, stored, sharing)

    def _fetch_alone(self, context: RequestContext, route: Route, reason: Reason) -> Dispatched:
        """Once more, for this viewer only: what it waited for was not for it."""
        context.attempts += 1
        context.result, context.reason = Result.MISS, reason
        key = route.key_for(context.head)
        found, _ = self._cache.find(route, key, context.head)
        stale = None if context.must_confirm else found
        upstream_request = self._request_factory.as_viewer(context, route)
        return self._lead(context, upstream_request, key, StaleContext(stale_if_error=stale), NO_SHARING)

    def _pass(self, context: RequestContext, route: Route, reason: Reason) -> Dispatched:
        """Straight to the origin: not looked up, not stored, not shared. What a write has changed is gone here (RFC 9111 section 4.4)."""
        context.result, context.reason = Result.PASS, reason
        is_write = route.is_strict and context.head.method not in SAFE_METHODS
        upstream_request = self._request_factory.as_viewer(context, route)
        invalidate = self._invalidate if is_write else None
        fill = CacheFill(self._cache, upstream_request, None, self._coalescer, invalidate=invalidate)
        return self._attach(context, fill, is_cacheable=False)

    def _shake_hands(self, context: RequestContext, route: Route, reason: Reason) -> Dispatched:
        """Edge, regional cache, origin, as a miss goes; what comes is neither stored nor shared, nor is a failure remembered for others."""
        context.result, context.reason = Result.PASS, reason
        upstream_request = self._request_factory.as_upgrade(context, route)
        return self._attach(
            context, UpgradeFill(self._cache, upstream_request, None, self._coalescer), is_cacheable=True
        )

    def _follow(self, context: RequestContext, route: Route, key: CacheKey, sharing: Sharing) -> Sharing | None:
        """Wait for a fill that is under way, if there is one to wait for; else how this request may share its own.

        The first is a miss, the others are hits (reference 2.10). Beside a fill for another variant it does not share.
        """
        if (
            context.must_confirm
        ):  # a fill that is under way may have begun before the invalidation that this node has missed
            return NO_SHARING
        fill = self._coalescer.find(key) if sharing.may_follow else None
        if fill is None:
            return sharing
        if not is_same_variant(context.head.fields, fill.varying):
            return NO_SHARING
        context.result, context.reason = Result.HIT, Reason.COLLAPSED
        self._coalescer.follow(fill, self._reader(context, route, FillRole.FOLLOWER, fill))
        return None

    def _lead(
        self,
        context: RequestContext,
        upstream_request: UpstreamRequest,
        key: CacheKey | None,
        stored: StaleContext,
        sharing: Sharing,
    ) -> Dispatched:
        """Begin a fill for this request."""
        fill = CacheFill(self._cache, upstream_request, key, self._coalescer, stored, is_joinable=sharing.may_lead)
        return self._attach(context, fill, is_cacheable=True)

    def _attach(self, context: RequestContext, fill: CacheFill, *, is_cacheable: bool) -> Dispatched:
        fill.stream.attach(self._reader(context, fill.route, FillRole.LEADER, fill))
        self._begin(fill, context, is_cacheable=is_cacheable)
        return Next.ANSWERED

    def _reader(self, context: RequestContext, route: Route, role: FillRole, fill: CacheFill) -> StreamedResponse:
        return StreamedResponse(context, route, role, fill.stream, self._responses, self._take_outcome)

    def _begin(self, fill: CacheFill, context: RequestContext | None, *, is_cacheable: bool) -> None:
        """Ask upstream. Others may join only what somebody works for."""
        targets = self._endpoints.select(fill.upstream_request, fill.validated_index, is_cacheable=is_cacheable)
        self._coalescer.add(fill)
        body = None if context is None else context.body
        if body is not None:
            body.take_up()
        fill.begin(self._fetcher, targets, body)

    def _invalidate(self, head: RequestHead, distribution_id: str, targets: tuple[bytes, ...]) -> None:
        """RFC 9111 section 4.4: what a write has changed is gone here, stored or on its way."""
        router = self._state.router
        for target in targets:
            target_head = head.of(b"GET", target, head.memo)
            route = router.route_for_edge(target_head) if self._is_regional else router.route(target_head)
            if isinstance(route, Route) and route.distribution.id == distribution_id:
                self._cache.invalidate_targets([route.base_key])
                self._coalescer.invalidate_target(distribution_id, route.target)
