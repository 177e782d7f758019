"""A request's way through the node: plan, look up, decide, do what was decided. The one `match` on the decision is in `_serve`.

    head -> plan (distribution, behavior, key) -> entry, if it still holds -> decide -> hit: answer at once
                                                                                      -> refresh, complete, miss: join or begin a transfer
                                                                                      -> pass: a transfer of its own, straight to the origin

Decisions are made in `caching` and `policy`; bytes are moved by `transfers`, `upstream` and the listener. Here they meet.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_never

from edge_node.asking import Asking, transfer_alone
from edge_node.caching.conditional import is_for_origin
from edge_node.caching.decisions import (
    Complete,
    Hit,
    HitAndRefresh,
    Miss,
    Pass,
    Reason,
    Refresh,
    Refuse,
    Result,
    decide,
)
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.request_directives import NO_DEMANDS, demands_of
from edge_node.caching.unsafe_methods import SAFE_METHODS
from edge_node.completion import conditions_to_complete, conditions_to_confirm
from edge_node.counters import Counters
from edge_node.errors import Fault, UpstreamError, ViewerError
from edge_node.exception_barrier import ExceptionBarrier
from edge_node.exchange import BodyFromViewer, Exchange
from edge_node.exchange_records import record_of
from edge_node.failures import Failure, Failures
from edge_node.fetches import CallLater, Fetches, Scheduling, call_later
from edge_node.fills import NOTHING_STORED, Fill, Stored
from edge_node.hits import HitAnswerer
from edge_node.keeping import error_minimum_ttl
from edge_node.model import RequestHead
from edge_node.plain_fetches import PlainFetches, Tools
from edge_node.policy.contents import choose_content
from edge_node.policy.error_pages import page_for, page_request
from edge_node.policy.routing import Plan
from edge_node.policy.sections import Recollection
from edge_node.recording import RequestRecorder
from edge_node.request_ids import RequestIds
from edge_node.requests import MALFORMED, Request, ViewerConnection, request_of
from edge_node.serving_state import ServingState
from edge_node.shelf import Shelf
from edge_node.short_way import ShortWay
from edge_node.upstream.fetching import UpstreamFetcher

MAXIMUM_TRIES = 2
"""A viewer whose joined fetch failed tries once more, perhaps joining again; after that it gets the error."""
CATCH_UP_SECONDS = 1.0
"""How long a regional cache that is behind its edge waits for the log before it answers without its cache (DESIGN section 4, rule 4)."""

Outcome = tuple[Result, Reason]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pipeline is made of."""

    shelf: Shelf
    state: ServingState
    fetcher: UpstreamFetcher
    recorder: RequestRecorder
    hits: HitAnswerer
    counters: Counters
    request_ids: RequestIds
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    monotonic: Callable[[], float]
    call_later: CallLater = call_later


class Pipeline:
    """What a node does with requests."""

    def __init__(self, parts: Parts) -> None:
        self._shelf = parts.shelf
        self._clock = parts.shelf.clock
        self._node = parts.shelf.node
        self._state = parts.state
        self._recorder = parts.recorder
        self._hits = parts.hits
        self._next_request_id = parts.request_ids.next
        self._spawn = parts.spawn
        self._barrier = ExceptionBarrier(parts.counters)
        self._monotonic = parts.monotonic
        self._is_regional = parts.shelf.node.is_regional
        scheduling = Scheduling(parts.spawn, parts.call_later, parts.monotonic)
        self._fetches = Fetches(parts.fetcher, parts.state, parts.counters, scheduling, is_regional=self._is_regional)
        self._asking = Asking(self._node)
        tools = Tools(parts.shelf, parts.fetcher, self._fetches, parts.recorder, self._make_exchange, parts.monotonic)
        self._plain_fetches = PlainFetches(tools)
        self._failures = Failures()
        self._recollection = Recollection()
        clocks = (parts.shelf.clock, parts.monotonic)
        node_and_store = (parts.shelf.node, parts.shelf.store)
        self.answer_known = ShortWay(node_and_store, parts.state, parts.recorder, parts.request_ids, clocks).answer
        self.section_of = self._recollection.section_of
        self.head_of = self._recollection.head_of

    def learn(self, data: bytes, head: RequestHead, *, is_answered: bool = True) -> None:
        """Remember the parts of a viewer's request. Those of edges are never the same twice, and what is not stored may never be asked for again."""
        if not self._is_regional:
            self._recollection.learn(data, head, with_line=is_answered)
            if is_answered:
                self.learn_target(head)

    def learn_target(self, head: RequestHead) -> None:
        """Remember where a request leads that was answered from what is stored."""
        self._state.planner.remember(head)

    def handle(self, wire: ViewerConnection, head: RequestHead, body: BodyFromViewer | None) -> None:
        """Take a request; the answer begins now or later."""
        request_id = head.fields.get(b"x-edge-request-id") if self._is_regional else None
        if request_id is not None and not request_id.rstrip(b"=").isalnum():
            request_id = None  # not one of ours: it goes into logs and response heads, so it is not believed
        request = Request(wire, head, body, request_id or self._next_request_id(), self._monotonic())
        position = head.fields.get(b"x-edge-log-index") if self._is_regional else None
        try:
            if position is not None and self._state.is_behind(position):
                self._spawn(self._barrier.guard(self._serve_when_caught_up(request, position), wire))
            else:
                self._serve(request)
        except Exception:
            self._barrier.note("while taking a request", wire)

    def refuse_malformed(self, wire: ViewerConnection, error: ViewerError) -> None:
        """Answer something that is no request."""
        self._barrier.note_refusal(error)
        request = Request(wire, MALFORMED, None, self._next_request_id(), self._monotonic())
        self._refuse(request, None, Refuse(error.status, Reason.BAD_REQUEST, error.detail))

    def void_everything(self) -> None:
        """Cached responses, stored or on their way, belong to another log (DESIGN section 4, rule 9)."""
        self._shelf.clear()
        self._failures.clear()
        self._fetches.void_everything()

    # -- deciding

    async def _serve_when_caught_up(self, request: Request, position: bytes) -> None:
        """DESIGN section 4, rule 4: catch up with the edge first, or answer without the cache."""
        has_caught_up = await self._state.wait_until_not_behind(position, CATCH_UP_SECONDS)
        if request.wire.is_open:
            self._serve(request, without_cache=not has_caught_up)

    def _serve(self, request: Request, *, without_cache: bool = False) -> None:
        plan = self._plan(request.head)
        if isinstance(plan, Refuse):
            if without_cache:  # the edge knows more than this node: cut off, it asks the next one
                request.wire.abort()
            else:
                self._refuse(request, None, plan)
            return
        request.domain_name, request.semantics = plan.distribution.domain_name, plan.behavior.semantics
        key = plan.key_for(request.head)
        if without_cache:
            self._fetch_alone(request, plan, None, (Result.PASS, Reason.REGIONAL_BEHIND))
            return
        entry, absence = self._shelf.find(plan, key, request.head)
        if plan.is_strict:
            key = self._shelf.key_to_share(key, request.head)
        decision = decide(request.head, plan.behavior, entry, absence, self._clock())
        match decision:
            case Hit(entry=hit_entry, reason=reason):
                self._hit(request, plan, hit_entry, (Result.HIT, reason))
            case HitAndRefresh(entry=stale):
                self._hit(request, plan, stale, (Result.HIT, Reason.STALE_WHILE_REVALIDATE))
                self._refresh_in_background(request, plan, key, stale)
            case Refresh(entry=expired, reason=reason):
                self._refresh(request, plan, key, expired, reason)
            case Complete(entry=partial):
                self._complete(request, plan, key, partial)
            case Miss(reason=reason, stale=stale_entry):
                self._miss(request, plan, key, reason, stale_entry or entry)
            case Pass(reason=reason):
                self._fetch_alone(request, plan, None, (Result.PASS, reason))
            case Refuse() as refusal:
                self._refuse(request, plan, refusal)
            case _ as unreachable:
                assert_never(unreachable)

    def _plan(self, head: RequestHead) -> Plan | Refuse:
        planner = self._state.planner
        return planner.plan_for_edge(head) if self._is_regional else planner.plan(head)

    # -- doing

    def _hit(self, request: Request, plan: Plan, entry: Entry, outcome: Outcome) -> None:
        status = entry.status
        if status == 200 and not request.head.is_plain and page_for(plan, 416, outcome[1]) is not None:
            boundary = request.request_id.rstrip(b"=")
            status = choose_content(request.head, entry, plan.behavior.semantics, boundary).status
        if status >= 400 and self._answer_by_page(request, plan, status, outcome[1]):
            return
        self._hits.answer(request, entry, *outcome)

    def _refuse(self, request: Request, plan: Plan | None, refusal: Refuse) -> None:
        if plan is not None and self._answer_by_page(request, plan, refusal.status, refusal.reason):
            return
        self._hits.refuse(request, refusal, keep_alive=request.body is None)

    def _refresh(self, request: Request, plan: Plan, key: CacheKey, expired: Entry, reason: Reason) -> None:
        """Ask whether the entry still holds; everybody who comes meanwhile waits for the same answer."""
        if request.head.method == b"HEAD":  # a changed object would come without its body: nothing to store or share
            updates = expired if plan.is_strict else None
            self._fetch_alone(request, plan, None, (Result.MISS, reason), Stored(stand_in=expired, updates=updates))
            return
        if self._answer_by_failure(request, plan, key):
            return
        exchange = self._make_exchange(request, plan, (Result.MISS, reason))
        terms = expired.terms
        is_shared = reason is Reason.EXPIRED and (terms.lifetime_seconds or 0.0) > 0.0 and not terms.is_always_validated
        if is_shared and self._fetches.join(exchange, key):
            return
        transfer = (
            self._fetches.begin(key, plan, expired)
            if is_shared
            else transfer_alone(key, plan, self._state.applied_index)
        )
        question = self._asking.under_conditions(request, plan, conditions_to_confirm(expired))
        self._fetches.run(exchange, Fill(self._shelf, question, transfer, Stored(expired, confirms=expired)))

    def _refresh_in_background(self, request: Request, plan: Plan, key: CacheKey, stale: Entry) -> None:
        """RFC 5861 section 3; at most one at a time for a key."""
        if self._fetches.is_under_way(key):
            return
        conditions = () if not plan.may_validate else conditions_to_confirm(stale)
        question = self._asking.under_conditions(request, plan, conditions, head=request.head.as_get())
        stored = Stored(stand_in=stale, confirms=stale if conditions else None)
        self._fetches.run_in_background(Fill(self._shelf, question, self._fetches.begin(key, plan, stale), stored))

    def _complete(self, request: Request, plan: Plan, key: CacheKey, partial: Entry) -> None:
        """Fetch what is missing, or everything if nothing can tell whether the missing part belongs to what is stored."""
        conditions = conditions_to_complete(partial)
        if self._answer_by_failure(request, plan, key):
            return
        if conditions is None:
            self._miss(request, plan, key, Reason.INCOMPLETE, None)
            return
        exchange = self._make_exchange(request, plan, (Result.MISS, Reason.INCOMPLETE))
        if self._fetches.join(exchange, key):
            return
        fill = Fill(
            self._shelf,
            self._asking.under_conditions(request, plan, conditions),
            self._fetches.begin(key, plan, partial),
            Stored(completes=partial),
        )
        self._fetches.run(exchange, fill)

    def _miss(self, request: Request, plan: Plan, key: CacheKey, reason: Reason, stale: Entry | None) -> None:
        """Fetch; share the fetch where that is allowed (reference 2.10)."""
        head = request.head
        stored = Stored(stand_in=stale)
        outcome = (Result.MISS, reason)
        if self._answer_by_failure(request, plan, key):
            return
        if head.method == b"HEAD" or b"range" in head.fields:
            # A HEAD brings no body and a range not the whole one: nothing to share. A range is answered whole with 200 by some origins; then it is stored.
            is_update = stale is not None and plan.is_strict and head.method == b"HEAD"
            stored = Stored(stand_in=stale, updates=stale if is_update else None)
            self._fetch_alone(request, plan, key if head.method == b"GET" else None, outcome, stored)
            return
        is_shared = plan.may_collapse and demands_of(head.fields, plan.behavior.semantics) is NO_DEMANDS
        is_shared = is_shared and not (plan.is_strict and is_for_origin(head.fields))
        is_shared = is_shared and not self._fetches.is_loner(key)
        has_joinable = is_shared and self._fetches.has_joinable(key)
        # Viewer conditionals go upstream with a miss (reference 2.4), so a 304 may come that helps nobody else.
        may_begin = is_shared and head.is_plain and not has_joinable
        question = self._asking.as_viewer(request, plan)
        if may_begin and stale is None and self._plain_fetches.begin(request, question, key, reason):
            return
        exchange = self._make_exchange(request, plan, outcome)
        if has_joinable and self._fetches.join(exchange, key):
            return
        transfer = (
            self._fetches.begin(key, plan, stale) if may_begin else transfer_alone(key, plan, self._state.applied_index)
        )
        self._fetches.run(exchange, Fill(self._shelf, question, transfer, stored))

    def _fetch_alone(
        self,
        request: Request,
        plan: Plan,
        key: CacheKey | None,
        outcome: Outcome,
        stored: Stored = NOTHING_STORED,
    ) -> None:
        """A fetch that nobody joins; with a key, what it brings may still be stored."""
        exchange = self._make_exchange(request, plan, outcome)
        fill = Fill(
            self._shelf,
            self._asking.as_viewer(request, plan),
            transfer_alone(key, plan, self._state.applied_index),
            stored,
        )
        if plan.is_strict and request.head.method not in SAFE_METHODS:
            fill.invalidate = self._invalidate
        self._fetches.run(exchange, fill)

    def _invalidate(self, head: RequestHead, distribution_id: str, targets: tuple[bytes, ...]) -> None:
        """RFC 9111 section 4.4: what a write has changed is gone here, stored or on its way."""
        for target in targets:
            plan = self._plan(head.of(b"GET", target, head.memo))
            if isinstance(plan, Plan) and plan.distribution.id == distribution_id:
                self._shelf.invalidate_targets([plan.bare_key])
                self._fetches.void_target(distribution_id, plan.target)

    def _make_exchange(self, request: Request, plan: Plan, outcome: Outcome) -> Exchange:
        exchange = Exchange(request.wire, request.head, plan, request.request_id, request.started_at)
        exchange.body = request.body
        exchange.tries = request.tries
        exchange.result, exchange.reason = outcome
        exchange.page_status, exchange.asked_head = request.page_status, request.asked_head
        exchange.node, exchange.recorder, exchange.helper, exchange.monotonic = self._node, self, self, self._monotonic
        request.wire.begin_exchange(exchange)
        return exchange

    # -- errors

    def _answer_by_page(self, request: Request, plan: Plan, status: int, reason: Reason) -> bool:
        """Answer with the page that is configured for an error (reference 2.5); False when there is none. Edges face viewers, so they do it."""
        page = page_for(plan, status, reason) if not self._is_regional and not request.page_status else None
        if page is None or (request.body is not None and not request.body.is_complete):
            return False  # what the viewer still sends would be taken for its next request
        request.asked_head = request.asked_head or request.head
        request.head = page_request(request.head, page)
        request.page_status = page.response_status
        request.tries = 1
        request.body = None
        self._serve(request)
        return True

    def _answer_by_failure(self, request: Request, plan: Plan, key: CacheKey) -> bool:
        """An upstream that failed a moment ago is left alone for the error caching minimum TTL; an invalidation asks for another attempt."""
        failure = self._failures.find(key, self._clock(), self._state.invalidations) if request.tries == 1 else None
        if failure is None:
            return False
        text = f"The request could not be satisfied: {failure.error.detail}."
        self._refuse(request, plan, Refuse(failure.error.status, Reason.FAILED_RECENTLY, text))
        return True

    def _note_failure(self, exchange: Exchange, error: UpstreamError) -> None:
        plan = exchange.plan
        seconds = error_minimum_ttl(plan, error.status)
        is_kept = exchange.result is Result.MISS and exchange.head.method == b"GET" and not plan.is_strict
        if is_kept and seconds > 0 and not self._is_regional and error.fault is Fault.UPSTREAM:
            failure = Failure(error, self._clock() + seconds, self._state.applied_index)
            self._failures.note(plan.key_for(exchange.head), failure)

    # -- what exchanges ask for

    def serve_entry(self, exchange: Exchange, entry: Entry, result: Result, reason: Reason) -> None:
        """Answer from an entry that was confirmed or stands in for an error; those who only joined stay hits."""
        if reason is Reason.REVALIDATED and exchange.reason is Reason.REQUEST_DIRECTIVE:
            reason = Reason.REVALIDATED_ON_REQUEST
        if exchange.reason is not Reason.COLLAPSED:
            exchange.result, exchange.reason = result, reason
        exchange.is_ended = True
        self._hit(request_of(exchange), exchange.plan, entry, (exchange.result, exchange.reason))

    def try_alone(self, exchange: Exchange, error: UpstreamError | None) -> None:
        """A transfer let a viewer go: it was not for sharing, or failed. Who began it gets the error; who joined gets another try."""
        request = request_of(exchange)
        request.tries += 1
        exchange.is_ended = True
        if error is None:
            key = exchange.plan.key_for(exchange.head)
            stale, _ = self._shelf.find(exchange.plan, key, exchange.head)
            stored = Stored(stand_in=stale)
            self._fetch_alone(request, exchange.plan, key, (Result.MISS, exchange.reason), stored)
        elif exchange.reason is Reason.COLLAPSED and exchange.tries < MAXIMUM_TRIES:
            self._serve(request)
        else:
            self._note_failure(exchange, error)
            text = f"The request could not be satisfied: {error.detail}."
            self._refuse(request, exchange.plan, Refuse(error.status, Reason.UPSTREAM_FAILED, text))

    def replace_by_page(self, exchange: Exchange, status: int) -> bool:
        """Answer with the page for an error that upstream gave."""
        request = request_of(exchange)
        if self._is_regional or page_for(exchange.plan, status, Reason.UPSTREAM_STATUS) is None:
            return False
        exchange.transfer = None
        exchange.is_ended = self._answer_by_page(request, exchange.plan, status, Reason.UPSTREAM_STATUS)
        return exchange.is_ended

    def record(self, exchange: Exchange, status: int, body_length: int) -> None:
        """One log record for an exchange that ended."""
        self._recorder.take(record_of(exchange, status, body_length, self._clock(), self._monotonic()))
