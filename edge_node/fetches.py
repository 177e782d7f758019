"""The fetches under way: who may join whom, whom to ask, and what becomes of a fetch that fails or that nobody waits for any more (reference 2.10, 3)."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey, varying_fields
from edge_node.caching.unsafe_methods import SAFE_METHODS
from edge_node.counters import Counters
from edge_node.errors import UpstreamError, UpstreamErrorKind
from edge_node.exception_barrier import ExceptionBarrier
from edge_node.exchange import BodyFromViewer, Exchange, ViewerLeftError
from edge_node.fills import Fill
from edge_node.model import Origin
from edge_node.policy.regional_choice import rank_regionals
from edge_node.policy.routing import Plan
from edge_node.policy.upstream_requests import LogPosition, Question, hash_input, to_origin, to_regional
from edge_node.serving_state import ServingState
from edge_node.transfers import Reader, Transfer, TransferState
from edge_node.upstream.fetching import ResponseFlow, UpstreamFetcher
from edge_node.upstream.targets import Target, origin_target, regional_target

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

PATIENCE_SECONDS = 5.0
"""How long those who joined wait for the head of somebody else's response before each asks alone: waiting must never take longer than not waiting would."""
FIRST_RELEASED = 8
"""So many ask alone when their patience ends, twice as many PACE_SECONDS later, and so on, as the window of a TCP connection opens (RFC 5681 section 3.1): an upstream
that is slow gets no thousand requests at once. For the others the head may still come meanwhile; of a thousand the last is let go after 3 s."""
PACE_SECONDS = 0.5
ALONE_SECONDS = 10.0
"""After a response that could not be shared, requests for its key do not wait for each other for so long: they would only take turns."""
MOST_REMEMBERED_LONERS = 4_096


CallLater = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


def call_later(seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
    """On the running loop."""
    return asyncio.get_running_loop().call_later(seconds, callback)


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What fetches need of tasks and time."""

    spawn: Spawn
    call_later: CallLater
    monotonic: Callable[[], float]


class Fetches:
    """The fetches of one node."""

    def __init__(
        self,
        fetcher: UpstreamFetcher,
        state: ServingState,
        counters: Counters,
        scheduling: Scheduling,
        *,
        is_regional: bool,
    ) -> None:
        self._fetcher = fetcher
        self._state = state
        self._counters = counters
        self._barrier = ExceptionBarrier(counters)
        self._spawn = scheduling.spawn
        self._call_later = scheduling.call_later
        self._monotonic = scheduling.monotonic
        self._is_regional = is_regional
        self._transfers: dict[CacheKey, Transfer] = {}
        """Those that others may join, by key."""
        self._begun: Transfer | None = None
        """The one that will be, as soon as it is fetched for."""
        self._plain: dict[CacheKey, Callable[[], None]] = {}
        """Plain fetches, by key, and what makes each one of those that others may join."""
        self._under_way: set[Transfer] = set()
        """Those that a write may make invalid (RFC 9111 section 4.4), whether others may join them or not."""
        self._loners: OrderedDict[CacheKey, float] = OrderedDict()
        """Keys whose responses cannot be shared, and until when that is believed."""

    def has_joinable(self, key: CacheKey) -> bool:
        """Whether somebody fetches this already, and no invalidation came after they started (DESIGN section 4, rule 3)."""
        become_joinable = self._plain.get(key)
        if become_joinable is not None:
            become_joinable()
        transfer = self._transfers.get(key)
        if transfer is None or not transfer.may_join:
            return False
        return not self._state.invalidations.is_invalidated(transfer.distribution_id, transfer.target, transfer.stamp)

    def is_loner(self, key: CacheKey) -> bool:
        """Whether a response for this key could not be shared a moment ago."""
        until = self._loners.get(key)
        if until is None:
            return False
        if self._monotonic() >= until:
            del self._loners[key]
            return False
        return True

    def _note_whether_shared(self, key: CacheKey, *, is_shared: bool) -> None:
        """A response for this key has begun, and could be shared or not."""
        self._loners.pop(key, None)
        if not is_shared:
            self._loners[key] = self._monotonic() + ALONE_SECONDS
            if len(self._loners) > MOST_REMEMBERED_LONERS:
                self._loners.popitem(last=False)

    def join(self, exchange: Exchange, key: CacheKey) -> bool:
        """Wait for a fetch that is already under way, if there is one to wait for."""
        if not self.has_joinable(key):
            return False
        transfer = self._transfers[key]
        if transfer.varying and not exchange.may_share(transfer.varying):
            return False
        self._counters.collapsed_requests += 1
        exchange.result, exchange.reason = Result.HIT, Reason.COLLAPSED  # first Miss, others Hit: reference 2.10
        exchange.transfer = transfer
        if transfer.patience is None and transfer.state is TransferState.WAITING:
            transfer.patience = self._call_later(PATIENCE_SECONDS, lambda: self._lose_patience(transfer))
        transfer.attach(exchange)
        return True

    def begin(
        self, key: CacheKey, plan: Plan, about: Entry | None = None, since: tuple[int, int] | None = None
    ) -> Transfer:
        """A transfer that others may join from now on; if it is about a stored variant, those for whom that is.

        `since`: epoch and index of the log, unless it begins now.
        """
        invalidations = self._state.invalidations
        epoch, stamp = since or (invalidations.epoch, invalidations.applied_index)
        transfer = Transfer(key, plan.distribution.id, plan.target, stamp)
        self._begun = transfer if epoch == invalidations.epoch else None
        transfer.on_start = lambda: self._note_whether_shared(key, is_shared=transfer.is_shared)
        if about is not None and plan.is_strict:
            transfer.varying = varying_fields(about.key)
        return transfer

    def run(self, exchange: Exchange, fill: Fill) -> None:
        """Start fetching for the exchange that began it."""
        exchange.transfer = fill.transfer
        fill.transfer.attach(exchange)
        self._start(fill, exchange.body, exchange)

    def run_in_background(self, fill: Fill) -> None:
        """Start fetching for the store alone."""
        self._start(fill, None, None)

    def is_under_way(self, key: CacheKey) -> bool:
        """Whether this key is being fetched."""
        return key in self._transfers or key in self._plain

    # -- plain fetches (`plain_fetches.py`)

    def first_target(self, question: Question, stamp: int) -> Target:
        """Whom to ask first for something cacheable."""
        origins = _origins_of(question)
        regionals = () if self._is_regional else self._regional_targets(question, stamp, origins)
        return regionals[0] if regionals else self._origin_target(question, origins[0])

    def add_plain(self, key: CacheKey, become_joinable: Callable[[], None]) -> None:
        """A plain fetch is under way."""
        self._plain[key] = become_joinable

    def remove_plain(self, key: CacheKey, become_joinable: Callable[[], None], *, is_shared: bool = False) -> None:
        """It is not any more: it has brought something for all, or has become another."""
        if self._plain.get(key) == become_joinable:
            del self._plain[key]
        if is_shared:
            self._note_whether_shared(key, is_shared=True)

    def adopt(self, exchange: Exchange, fill: Fill, connection: ResponseFlow | None) -> None:
        """A plain fetch becomes another, and its first attempt goes on."""
        transfer = fill.transfer
        exchange.transfer = transfer

        def abandon() -> None:
            transfer.state = TransferState.FAILED
            transfer.drop_writer()
            self._forget(transfer)
            if connection is not None:
                connection.give_up(UpstreamErrorKind.RESET, "nobody waits for the response")

        transfer.abandon = abandon
        transfer.attach(exchange)
        self._let_join(transfer)

    def go_on(self, fill: Fill, exchange: Exchange, first: tuple[Target, UpstreamError | None]) -> None:
        """The first attempt of an adopted fetch is over: well, or not, and then there may be others."""
        transfer, error = fill.transfer, first[1]
        transfer.abandon = None
        try:
            if error is not None and not transfer.is_ended:
                self._start(fill, None, exchange, (first[0], error))
                return
            self._forget(transfer)
            if error is None:
                fill.finish()
        except Exception:
            self._note_internal_error(transfer, exchange)
        fill.close()

    def void_everything(self) -> None:
        """What is under way belongs to another log: nobody joins it, nothing of it is stored."""
        for transfer in self._transfers.values():
            transfer.drop_writer()
        self._transfers.clear()
        self._plain.clear()  # what they bring is of another epoch

    def void_target(self, distribution_id: str, target: str) -> None:
        """Responses that are on their way were made before something changed the target: nobody joins them, nothing of them is stored."""
        for transfer in self._under_way:
            if transfer.distribution_id == distribution_id and transfer.target == target:
                transfer.may_be_stored = False
                transfer.drop_writer()
                self._forget(transfer)

    # -- inside

    def _start(
        self,
        fill: Fill,
        body: BodyFromViewer | None,
        exchange: Exchange | None,
        already: tuple[Target, UpstreamError] | None = None,
    ) -> None:
        """`already`: what came of a first attempt, and with whom."""
        transfer = fill.transfer
        is_cacheable = exchange is None or exchange.result is not Result.PASS
        error = None
        try:
            targets = self._targets(fill.question, transfer.stamp, is_cacheable=is_cacheable)
            if already is not None:
                first, error = already
                targets = [first, *(target for target in targets if target.peer_id != first.peer_id)]
            task = self._spawn(self._fill(fill, targets, (body, error), exchange))
        except Exception:
            self._forget(transfer)  # nobody may wait for it
            raise
        self._let_join(transfer)
        if fill.question.plan.is_strict:
            self._under_way.add(transfer)

        def abandon() -> None:
            transfer.state = TransferState.FAILED
            task.cancel()
            self._forget(transfer)
            self._under_way.discard(transfer)
            transfer.drop_writer()

        transfer.abandon = abandon

    def _let_join(self, transfer: Transfer) -> None:
        """Somebody works for it now: before, who joined might have waited for ever."""
        if transfer is self._begun and transfer.key is not None:
            self._begun = None
            self._transfers[transfer.key] = transfer

    async def _fill(
        self,
        fill: Fill,
        targets: Sequence[Target],
        body_and_error: tuple[BodyFromViewer | None, UpstreamError | None],
        exchange: Exchange | None,
    ) -> None:
        transfer = fill.transfer
        try:
            error = await self._fetch(fill, targets, body_and_error)
            self._forget(transfer)
            if error is None:
                fill.finish()
            else:
                fill.fail(error)
        except ViewerLeftError:
            transfer.drop_writer()
        except Exception:
            self._note_internal_error(transfer, exchange)
        finally:
            transfer.abandon = None  # it holds the transfer, which would then wait for the garbage collector
            self._forget(transfer)
            self._under_way.discard(transfer)
            fill.close()

    async def _fetch(
        self, fill: Fill, targets: Sequence[Target], body_and_error: tuple[BodyFromViewer | None, UpstreamError | None]
    ) -> UpstreamError | None:
        """What became of it, as a value: an error is kept for a while, and its frames with it would be."""
        body, already = body_and_error
        try:
            await self._fetcher.fetch(targets, fill.question.head.method, body, fill, already)
        except UpstreamError as error:
            return error.without_traceback()
        return None

    def _note_internal_error(self, transfer: Transfer, exchange: Exchange | None) -> None:
        """A mistake of this program: nobody may wait for what will not come."""
        wire = exchange.wire if exchange is not None else None
        self._barrier.note(f"while fetching {transfer.target}")
        try:
            self._forget(transfer)
            if not transfer.is_ended:
                transfer.fail(UpstreamError(UpstreamErrorKind.INTERNAL, "an internal error occurred"))
        except Exception:
            self._barrier.note("while telling those who waited", wire)
        if exchange is not None and not exchange.is_ended:
            exchange.wire.abort()

    def _lose_patience(self, transfer: Transfer, count: int = FIRST_RELEASED) -> None:
        """The head has not come: whoever joined asks alone, a few at a time; who began goes on waiting (reference 2.10: the wait limit is not documented)."""
        if transfer.state is not TransferState.WAITING or not transfer.readers:
            return
        self._forget(transfer)
        followers = transfer.readers[1:]
        if len(followers) > count:
            transfer.patience = self._call_later(PACE_SECONDS, lambda: self._lose_patience(transfer, 2 * count))
        for follower in followers[:count]:
            self._release(transfer, follower)

    def _release(self, transfer: Transfer, follower: Reader) -> None:
        try:
            transfer.release([follower], None, Reason.COLLAPSE_TIMEOUT)
        except Exception:  # the others are let go all the same
            self._barrier.note("while letting a follower go", follower.wire if isinstance(follower, Exchange) else None)

    def _forget(self, transfer: Transfer) -> None:
        if transfer.patience is not None:
            transfer.patience.cancel()
            transfer.patience = None
        if transfer.key is not None and self._transfers.get(transfer.key) is transfer:
            del self._transfers[transfer.key]

    def _targets(self, question: Question, stamp: int, *, is_cacheable: bool) -> list[Target]:
        """Cacheable requests go edge, regional, origin; the others straight to the origin (reference 3).

        Where the RFCs rule, a write passes the regional cache too, because it makes invalid what is stored there (RFC 9111 section 4.4).
        """
        plan, origins = question.plan, _origins_of(question)
        is_write = plan.is_strict and question.head.method not in SAFE_METHODS
        asks_regionals = (is_cacheable or is_write) and not self._is_regional
        regionals = self._regional_targets(question, stamp, origins) if asks_regionals else ()
        return [*regionals, *(self._origin_target(question, origin) for origin in origins)]

    def _regional_targets(self, question: Question, stamp: int, origins: Sequence[Origin]) -> Sequence[Target]:
        state = self._state
        regionals = state.regionals
        if not regionals:
            return ()
        spread_by = hash_input(question.plan)
        peers = rank_regionals(regionals, state.latency_milliseconds, spread_by, self._fetcher.is_down)
        request = to_regional(question, LogPosition(state.log_id, stamp)) if peers else b""
        return [regional_target(peer, origins, request) for peer in peers]

    @staticmethod
    def _origin_target(question: Question, origin: Origin) -> Target:
        behavior = question.plan.behavior
        group = behavior.origin_group if question.head.method in behavior.cached_methods else None
        statuses = group.failover_statuses if group is not None and origin is group.primary else None
        return origin_target(origin, to_origin(question, origin), statuses)


def _origins_of(question: Question) -> Sequence[Origin]:
    """Whom a request may be sent to at last, the first one first: only requests that may be answered from a cache fail over (reference 1.5)."""
    behavior = question.plan.behavior
    group = behavior.origin_group
    if group is None or question.head.method not in behavior.cached_methods:
        return (behavior.origin,)
    return (group.primary, group.secondary)
