"""A request's way through the node: plan, look up, decide, do what was decided. The one `match` on the decision is in `_serve`.

    head -> plan (distribution, behavior, key) -> entry, if it still holds -> decide -> hit: answer at once
                                                                                      -> refresh, miss: join or begin a transfer
                                                                                      -> pass: a transfer of its own, straight to the origin

Decisions are made in `caching` and `policy`; bytes are moved by `transfers`, `upstream` and the listener. Here they meet.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, assert_never
from weakref import ref as weakref

from edge_node.access_log import LogRecord
from edge_node.caching.conditional import validators
from edge_node.caching.decisions import Hit, Miss, Pass, Reason, Refresh, Refuse, Result, decide
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.counters import Counters
from edge_node.errors import UpstreamError, ViewerError
from edge_node.exchange import BodyFromViewer, Exchange, Wire
from edge_node.fetches import Fetches
from edge_node.fills import Fill, Shelf
from edge_node.hits import HitAnswerer, RepeatedHit, ViewerWire
from edge_node.model import RequestHead
from edge_node.policy.forwarding import Hop
from edge_node.policy.routing import Plan
from edge_node.policy.upstream_requests import Question
from edge_node.recording import RequestRecorder
from edge_node.request_ids import RequestIds
from edge_node.serving_state import ServingState
from edge_node.transfers import Transfer
from edge_node.upstream.fetching import Fetcher

MAXIMUM_TRIES = 2
"""A viewer whose joined fetch failed tries once more, perhaps joining again; after that it gets the error."""
CATCH_UP_SECONDS = 1.0
"""How long a regional cache that is behind its edge waits for the log before it answers without its cache (DESIGN section 4, rule 4)."""

logger = logging.getLogger(__name__)


_NO_HEAD = RequestHead(b"-", b"-", b"", (), {}, 1, False, False, True)
"""What a malformed request is logged as."""


class ViewerConnection(Wire, ViewerWire, Protocol):
    """A viewer's connection, as the pipeline needs it."""

    last_hit_head: RequestHead | None
    again: RepeatedHit | None
    """What was decided for the head that this connection repeats; kept here, used by the pipeline alone."""

    def begin_exchange(self, exchange: Exchange) -> None:
        """From now on the connection tells the exchange when it can send and when the viewer leaves."""

    @property
    def is_open(self) -> bool:
        """The viewer is still there."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pipeline is made of."""

    shelf: Shelf
    state: ServingState
    fetcher: Fetcher
    recorder: RequestRecorder
    hits: HitAnswerer
    counters: Counters
    request_ids: RequestIds
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    monotonic: Callable[[], float]


@dataclass(slots=True)
class _Request:
    """One request on its way."""

    wire: ViewerConnection
    head: RequestHead
    body: BodyFromViewer | None
    request_id: bytes
    started_at: float
    tries: int = 1
    domain_name: bytes = b"-"
    """Of the distribution, once it is known."""


class Pipeline:
    """What a node does with requests."""

    def __init__(self, parts: Parts) -> None:
        self._shelf = parts.shelf
        self._store = parts.shelf.store
        self._clock = parts.shelf.clock
        self._node = parts.shelf.node
        self._state = parts.state
        self._recorder = parts.recorder
        self._hits = parts.hits
        self._next_request_id = parts.request_ids.next
        self._spawn = parts.spawn
        self._monotonic = parts.monotonic
        self._is_regional = parts.shelf.node.is_regional
        self._fetches = Fetches(parts.fetcher, parts.state, parts.counters, parts.spawn, is_regional=self._is_regional)

    def handle(self, wire: ViewerConnection, head: RequestHead, body: BodyFromViewer | None) -> None:
        """Take a request; the answer begins now or later."""
        again = wire.again
        if again is not None and again.head is head and self._answer_again(again):
            return
        request_id = head.fields.get(b"x-edge-request-id") if self._is_regional else None
        if request_id is not None and not request_id.rstrip(b"=").isalnum():
            request_id = None  # not one of ours: it goes into logs and response heads, so it is not believed
        request = _Request(wire, head, body, request_id or self._next_request_id(), self._monotonic())
        position = head.fields.get(b"x-edge-log-index") if self._is_regional else None
        if position is not None and self._state.is_behind(position):
            self._spawn(self._serve_when_caught_up(request, position))
        else:
            self._serve(request)

    def refuse_malformed(self, wire: ViewerConnection, error: ViewerError) -> None:
        """Answer something that is no request."""
        request = _Request(wire, _NO_HEAD, None, self._next_request_id(), self._monotonic())
        self._refuse(request, Refuse(error.status, Reason.BAD_REQUEST, error.detail))

    def void_everything(self) -> None:
        """Cached responses, stored or on their way, belong to another log (DESIGN section 4, rule 9)."""
        self._store.clear()
        self._fetches.void_everything()

    # -- deciding

    async def _serve_when_caught_up(self, request: _Request, position: bytes) -> None:
        """DESIGN section 4, rule 4: catch up with the edge first, or answer without the cache."""
        has_caught_up = await self._state.wait_until_not_behind(position, CATCH_UP_SECONDS)
        if request.wire.is_open:
            self._serve(request, without_cache=not has_caught_up)

    def _serve(self, request: _Request, *, without_cache: bool = False) -> None:
        plan = self._plan(request.head)
        if isinstance(plan, Refuse):
            if without_cache:  # the edge knows more than this node: cut off, it asks the next one
                request.wire.abort()
            else:
                self._refuse(request, plan)
            return
        request.domain_name = plan.distribution.domain_name
        key = plan.key_for(request.head)
        if without_cache:
            self._fetch_alone(request, plan, None, (Result.PASS, Reason.REGIONAL_BEHIND))
            return
        entry, absence = self._look_up(key)
        decision = decide(request.head, plan.behavior, entry, absence, self._clock())
        match decision:
            case Hit(entry=hit_entry, reason=reason):
                self._remember(request, key, hit_entry, reason)
                self._hits.answer(request, hit_entry, Result.HIT, reason)
            case Refresh(entry=expired):
                self._refresh(request, plan, key, expired)
            case Miss(reason=reason, stale=stale):
                self._miss(request, plan, key, reason, stale)
            case Pass(reason=reason):
                self._fetch_alone(request, plan, None, (Result.PASS, reason))
            case Refuse() as refusal:
                self._refuse(request, refusal)
            case _ as unreachable:
                assert_never(unreachable)

    def _remember(self, request: _Request, key: CacheKey, entry: Entry, reason: Reason) -> None:
        """The second time that a connection asks for a plain hit in the same words, remember what was decided."""
        wire, head = request.wire, request.head
        if wire.last_hit_head is not head:
            wire.last_hit_head = head
        elif reason is Reason.FRESH and head.is_plain and head.method == b"GET":
            state = self._state
            wire.again = RepeatedHit(
                wire, head, state.planner, state.applied_index, key, weakref(entry), request.domain_name
            )

    def _answer_again(self, again: RepeatedHit) -> bool:
        """Give the remembered answer if nothing that the decision depends on has changed."""
        state, now = self._state, self._clock()
        if again.planner is not state.planner or again.applied_index != state.invalidations.applied_index:
            return False
        entry = self._store.lookup(again.key)
        if entry is None or entry is not again.entry() or now >= entry.fresh_until:
            return False
        again.started_at = self._monotonic()
        again.request_id = self._next_request_id()
        self._hits.answer_again(again, entry, now)
        return True

    def _plan(self, head: RequestHead) -> Plan | Refuse:
        planner = self._state.planner
        if self._is_regional:
            distribution_id = head.fields.get(b"x-edge-distribution")
            if distribution_id is not None:
                return planner.plan_for_distribution(distribution_id.decode("latin-1"), head)
        return planner.plan(head)

    def _look_up(self, key: CacheKey) -> tuple[Entry | None, Reason]:
        """The entry, if no invalidation after its stamp matches it; then its stamp moves forward (DESIGN section 4, rule 2)."""
        entry = self._store.lookup(key)
        if entry is None:
            return None, Reason.NOT_STORED
        invalidations = self._state.invalidations
        if entry.stamp != invalidations.applied_index:
            if invalidations.is_invalidated(entry.distribution_id, entry.target, entry.stamp):
                self._store.remove(key)
                return None, Reason.INVALIDATED
            entry.stamp = invalidations.applied_index
        return entry, Reason.FRESH

    # -- doing

    def _refuse(self, request: _Request, refusal: Refuse) -> None:
        self._hits.refuse(request, refusal, keep_alive=request.body is None)

    def _refresh(self, request: _Request, plan: Plan, key: CacheKey, expired: Entry) -> None:
        """Ask whether the entry still holds; everybody who comes meanwhile waits for the same answer."""
        if request.head.method == b"HEAD":  # a changed object would come without its body: nothing to store or share
            self._fetch_alone(request, plan, None, (Result.MISS, Reason.EXPIRED), expired)
            return
        exchange = self._make_exchange(request, plan, (Result.MISS, Reason.EXPIRED))
        if not self._fetches.join(exchange, key):
            transfer = self._fetches.begin(key, plan)
            hop = self._hop(request)
            question = Question(
                request.head, plan, hop, validators(expired.etag, expired.last_modified), has_viewer_conditions=False
            )
            self._fetches.run(exchange, Fill(self._shelf, plan, transfer, expired, is_refresh=True), question)

    def _miss(self, request: _Request, plan: Plan, key: CacheKey, reason: Reason, stale: Entry | None) -> None:
        """Fetch; share the fetch where that is allowed (reference 2.10)."""
        head = request.head
        if head.method == b"HEAD" or b"range" in head.fields:
            # A HEAD brings no body and a range not the whole one: nothing to share. A range is answered whole with 200 by some origins; then it is stored.
            self._fetch_alone(request, plan, key if head.method == b"GET" else None, (Result.MISS, reason), stale)
            return
        is_shared = plan.behavior.cache_policy.cookies.is_empty
        may_join = is_shared and self._fetches.has_joinable(key)
        if not may_join and not (is_shared and head.is_plain):
            # Viewer conditionals go upstream with a miss (reference 2.4), so a 304 may come that helps nobody else.
            self._fetch_alone(request, plan, key, (Result.MISS, reason), stale)
            return
        exchange = self._make_exchange(request, plan, (Result.MISS, reason))
        if may_join and self._fetches.join(exchange, key):
            return
        fill = Fill(self._shelf, plan, self._fetches.begin(key, plan), stale, is_refresh=False)
        self._fetches.run(exchange, fill, Question(head, plan, self._hop(request)))

    def _fetch_alone(
        self,
        request: _Request,
        plan: Plan,
        key: CacheKey | None,
        outcome: tuple[Result, Reason],
        stale: Entry | None = None,
    ) -> None:
        """A fetch that nobody joins; with a key, what it brings may still be stored."""
        exchange = self._make_exchange(request, plan, outcome)
        transfer = Transfer(key, plan.distribution.id, plan.target, self._state.applied_index)
        body = request.body
        hop = self._hop(request)
        question = Question(
            request.head, plan, hop, body_length=body.length if body else None, has_body=body is not None
        )
        is_conditional = not request.head.is_plain
        fill = Fill(self._shelf, plan, transfer, stale, is_refresh=False, is_conditional=is_conditional)
        self._fetches.run(exchange, fill, question)

    def _make_exchange(self, request: _Request, plan: Plan, outcome: tuple[Result, Reason]) -> Exchange:
        exchange = Exchange(request.wire, request.head, plan, request.request_id, request.started_at)
        exchange.body = request.body
        exchange.tries = request.tries
        exchange.result, exchange.reason = outcome
        exchange.node, exchange.recorder, exchange.helper, exchange.monotonic = self._node, self, self, self._monotonic
        request.wire.begin_exchange(exchange)
        return exchange

    def _hop(self, request: _Request) -> Hop:
        viewer = b"" if self._is_regional else request.wire.peer[0].encode()
        return Hop(request.request_id, self._node.via, viewer)

    # -- what exchanges ask for

    def serve_entry(self, exchange: Exchange, entry: Entry, result: Result, reason: Reason) -> None:
        """Answer from an entry that was confirmed or stands in for an error; those who only joined stay hits."""
        if exchange.reason is not Reason.COLLAPSED:
            exchange.result, exchange.reason = result, reason
        exchange.is_ended = True
        self._hits.answer(self._request_of(exchange), entry, exchange.result, exchange.reason)

    def try_alone(self, exchange: Exchange, error: UpstreamError | None) -> None:
        """A transfer let a viewer go: it was not for sharing, or failed. Who began it gets the error; who joined gets another try."""
        request = self._request_of(exchange)
        request.tries += 1
        exchange.is_ended = True
        if error is None:
            key = exchange.plan.key_for(exchange.head)
            self._fetch_alone(request, exchange.plan, key, (Result.MISS, Reason.NOT_STORABLE))
        elif exchange.reason is Reason.COLLAPSED and exchange.tries < MAXIMUM_TRIES:
            self._serve(request)
        else:
            text = f"The request could not be satisfied: {error.detail}."
            self._refuse(request, Refuse(error.status, Reason.UPSTREAM_FAILED, text))

    def record(self, exchange: Exchange, status: int, body_length: int) -> None:
        """One log record for an exchange that ended."""
        ended_at = self._monotonic()
        first_byte = (exchange.first_byte_at or ended_at) - exchange.started_at
        content_type = exchange.response.fields.get(b"content-type", b"") if exchange.response else b""
        wire = self._wire_of(exchange)
        self._recorder.take(
            LogRecord(
                self._clock(),
                exchange.head,
                wire.peer,
                exchange.plan.distribution.domain_name,
                status,
                exchange.sent_bytes,
                wire.request_bytes,
                exchange.result,
                exchange.reason,
                exchange.request_id,
                ended_at - exchange.started_at,
                first_byte,
                content_type,
                body_length,
                -1,
                -1,
            )
        )

    def _request_of(self, exchange: Exchange) -> _Request:
        domain_name = exchange.plan.distribution.domain_name
        return _Request(
            self._wire_of(exchange),
            exchange.head,
            exchange.body,
            exchange.request_id,
            exchange.started_at,
            exchange.tries,
            domain_name,
        )

    @staticmethod
    def _wire_of(exchange: Exchange) -> ViewerConnection:
        return exchange.wire  # type: ignore[return-value]  # every exchange of this pipeline was made with a ViewerConnection
