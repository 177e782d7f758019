"""Try the targets in order until one gives the response: attempts, retries, and going on in the middle when an upstream dies.

What may be tried again: anything of which nothing was sent; a request without a body that failed before its response began, on the next attempt or target
(reference 1.4, 2.6, 3); and a response that broke off in the middle, from the byte where it broke, when its strong ETag proves that the rest is of the same object.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from edge_node.model.counters import Counters
from edge_node.model.errors import UpstreamError, UpstreamErrorKind, UpstreamFailure, ViewerLeftError
from edge_node.model.http import Header, ResponseHead
from edge_node.model.tunnel import TunnelEnd
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.connections import Connections, Spawn, bound_completion
from edge_node.upstream.endpoints import Endpoint, Tier
from edge_node.upstream.fetch_observer import Ending, FetchObserver, ObservedExchange
from edge_node.upstream.fetch_sink import FetchSink, RequestBody, UpgradeSink
from edge_node.upstream.health import PeerHealth
from edge_node.upstream.limits import UpstreamLimits, UpstreamSlots
from edge_node.upstream.retry_policy import REPEATABLE_METHODS, may_fail_over, may_try_again, was_of_idle_connection

logger = logging.getLogger(__name__)

MAXIMUM_REUSE_RETRIES: Final = 2
"""Idle connections that turn out to be closed cost a try each; after two a fresh connection is made without looking for another idle one."""

SHORTEST_COMPLETION_SECONDS: Final = 0.01
"""With less than this left no further attempt is made: timers may ring a little before the clock says so. The first one has so much at least; 0 would be no bound."""


class Fetcher:
    """Gets responses, within the limits of each upstream, and remembers which regional caches failed."""

    def __init__(
        self,
        pool: Connections,
        counters: Counters,
        clock: Callable[[], float],
        limits: UpstreamLimits | None = None,
        count_regionals: Callable[[], int] = lambda: 1,
        spawn: Spawn = asyncio.create_task,
    ) -> None:
        """`count_regionals`: how many there are to ask."""
        self.pool = pool
        self.counters = counters
        self.clock = clock
        self.limits = limits or UpstreamLimits()
        self.spawn = spawn
        self._count_regionals = count_regionals
        self._health = PeerHealth()
        self.observer: FetchObserver | None = None
        """Set by who wants to know of each request that is sent."""

    def is_down(self, peer_id: str) -> bool:
        """See `UpstreamFetcher`."""
        return not self._health.is_clean and self._health.is_ejected(peer_id, self.clock())

    def fetch(self, targets: Sequence[Endpoint], method: bytes, body: RequestBody | None, sink: FetchSink) -> "Fetch":
        """See `UpstreamFetcher`."""
        fetch = Fetch(self, targets, method, body, sink)
        fetch.start()
        return fetch

    def upgrade(self, targets: Sequence[Endpoint], sink: UpgradeSink) -> "Fetch":
        """See `UpstreamFetcher`."""
        fetch = Fetch(self, targets, b"GET", None, sink, sink)
        fetch.start()
        return fetch

    # -- what fetches tell

    def succeeded(self, connection: UpstreamConnection, target: Endpoint) -> None:
        """The connection may carry another exchange."""
        self.pool.release(target.address, connection, target.keepalive)
        self.answered(target)

    def answered(self, target: Endpoint) -> None:
        """It works."""
        if target.tier is Tier.REGIONAL and not self._health.is_clean:
            self._health.answered(target.peer_id, self.clock())

    def failed(self, target: Endpoint, failure: UpstreamFailure) -> None:
        """An attempt."""
        self.counters.upstream_errors[target.tier, failure.kind.value] += 1
        if target.tier is Tier.REGIONAL:
            is_ejected = self._health.failed(target.peer_id, failure.kind, self.clock(), self._count_regionals())
            self.counters.upstream_ejections += is_ejected

    def internal_error(self) -> UpstreamFailure:
        """A mistake of this program, which is being handled."""
        self.counters.internal_errors += 1
        logger.error("internal error during a fetch", exc_info=True)  # noqa: LOG014 - in a handler, always
        return UpstreamFailure(UpstreamErrorKind.INTERNAL, "an internal error occurred")


class Fetch:
    """One response, got by as many attempts as it takes and as are allowed. Steps follow each other by calls; only one of them is under way at a time."""

    __slots__ = (
        "_attempts_left", "_body", "_completion", "_connection", "_deadline", "_fetcher", "_is_over", "_method", "_observed", "_received_before",
        "_reuses_left", "_sending", "_sent_before", "_sink", "_slots", "_target", "_targets", "_task",
        "_upgrade_sink",
    )  # fmt: skip

    def __init__(
        self,
        fetcher: Fetcher,
        targets: Sequence[Endpoint],
        method: bytes,
        body: RequestBody | None,
        sink: FetchSink,
        upgrade_sink: UpgradeSink | None = None,
    ) -> None:
        """`upgrade_sink`: the sink again, where the response may be 101."""
        self._fetcher = fetcher
        self._upgrade_sink = upgrade_sink
        self._targets = iter(targets)
        self._method = method
        self._body = body
        self._sink = sink
        self._target: Endpoint | None = None
        self._attempts_left = 0
        """At the target."""
        self._reuses_left = 0
        """Idle connections that may still be tried in this attempt."""
        self._deadline = 0.0
        """Of all attempts at the target together, where it has a completion timeout."""
        self._connection: UpstreamConnection | None = None
        self._observed: ObservedExchange | None = None
        """What is under way on the connection, where somebody wants to know."""
        self._slots: UpstreamSlots | None = None
        """Where this fetch has a place."""
        self._task: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._completion: asyncio.TimerHandle | None = None
        self._received_before = self._sent_before = 0
        self._is_over = False

    def start(self) -> None:
        """Ask the first target."""
        nobody = UpstreamFailure(UpstreamErrorKind.REFUSED, "there is no upstream to ask", is_request_untouched=True)
        try:
            self._next_target(nobody)
        except Exception:
            self._break_down()

    def cancel(self) -> None:
        """Nobody wants it."""
        if not self._is_over:
            self._stop()

    # -- one step after the other

    def _next_target(self, failure: UpstreamFailure) -> None:
        """The next one, if there is one; else the failure of the last one stands."""
        target = next(self._targets, None)
        if target is None:
            self._end(failure)
            return
        self._target = target
        self._attempts_left = target.connection_attempts
        self._deadline = self._fetcher.clock() + target.completion_timeout
        self._next_attempt(target)

    def _next_attempt(self, target: Endpoint) -> None:
        """An idle connection first: one that turns out to be closed costs nothing but a try."""
        self._attempts_left -= 1
        is_repeatable = self._upgrade_sink is None and self._body is None and self._method in REPEATABLE_METHODS
        self._reuses_left = MAXIMUM_REUSE_RETRIES if is_repeatable else 0
        self._connect(target)

    def _connect(self, target: Endpoint) -> None:
        slots = self._fetcher.limits.slots_of(target.address, target.tier)
        if not slots.is_full:
            slots.take()
            self._slots = slots
            connection = self._take_idle(target)
            if connection is not None:
                self._exchange(connection, target)
                return
        self._task = self._fetcher.spawn(self._open(target, slots))

    def _take_idle(self, target: Endpoint) -> UpstreamConnection | None:
        connection = self._fetcher.pool.take_idle(target.address) if self._reuses_left else None
        if connection is not None:
            self._reuses_left -= 1
        return connection

    async def _open(self, target: Endpoint, slots: UpstreamSlots) -> None:
        """A place, where there was none, and a connection."""
        try:
            connection = await self._wait_for_connection(target, slots)
            self._task = None
            if self._is_over:  # cancelled, just as it was done
                connection.close()
                self._leave_slot()
            else:
                self._exchange(connection, target)
        except UpstreamError as error:
            self._task = None
            self._opening_failed(target, error.failure)
        except Exception:
            self._task = None
            self._break_down()

    async def _wait_for_connection(self, target: Endpoint, slots: UpstreamSlots) -> UpstreamConnection:
        fetcher = self._fetcher
        if self._slots is None:
            fetcher.counters.upstream_waits[target.tier] += 1
            seconds = fetcher.limits.wait_seconds
            await slots.wait(target.address, min(seconds, target.completion_timeout or seconds))
            self._slots = slots
        # One may have been released since: the response before it is told of before its connection is free.
        return self._take_idle(target) or await fetcher.pool.connect(target.address, target.connect_timeout)

    def _opening_failed(self, target: Endpoint, failure: UpstreamFailure) -> None:
        """There is no connection."""
        try:
            self._leave_slot()
            if not self._is_over:
                observer = self._fetcher.observer
                if observer is not None and observer.is_enabled:
                    observer.could_not_begin(target, self._sink, failure)
                self._attempt_failed(target, failure)
        except Exception:
            self._break_down()

    def _exchange(self, connection: UpstreamConnection, target: Endpoint) -> None:
        """Send the request and let the response flow."""
        fetcher, sink, body = self._fetcher, self._sink, self._body
        self._connection = connection
        self._received_before, self._sent_before = connection.received_bytes, connection.sent_bytes
        extra: Sequence[Header] = (sink.resume_point() or ()) if sink.has_started else ()
        fetcher.counters.upstream_fetches[target.tier] += 1
        sink.connected(connection, target)
        if target.completion_timeout:
            self._completion = bound_completion(connection, self._seconds_left())
        if self._upgrade_sink is not None:
            connection.on_switch = self._on_switch
        observer = fetcher.observer
        if observer is not None and observer.is_enabled:
            self._observed = observer.began(target, extra, sink)
        connection.begin(
            target.render(extra),
            self._observed or sink,
            self._on_exchange_end,
            is_head=self._method == b"HEAD",
            read_timeout=target.read_timeout,
            has_body=body is not None,
        )
        if body is not None and body.length == 0:
            connection.end_request()
        elif body is not None:
            self._sending = fetcher.spawn(self._send_body(connection, body))

    def _on_switch(self, head: ResponseHead, upstream_end: TunnelEnd) -> None:
        """The connection is a tunnel: no request is worked on any more, so that its place is free, and no time limit of a response holds."""
        assert self._upgrade_sink is not None and self._target is not None
        if self._completion is not None:
            self._completion.cancel()
            self._completion = None
        self._leave_slot()
        self._fetcher.answered(self._target)
        if self._observed is not None:
            self._observed.switched()
        self._upgrade_sink.switched(head, upstream_end)

    def _on_exchange_end(self, failure: UpstreamFailure | None) -> None:
        """Called by the connection, which must not suffer from what goes wrong here."""
        try:
            self._exchange_ended(failure)
        except Exception:
            self._break_down()

    def _exchange_ended(self, failure: UpstreamFailure | None) -> None:
        """The response is whole, or this connection will bring no more of it."""
        connection, target, fetcher = self._connection, self._target, self._fetcher
        if connection is None or target is None:
            return
        self._leave_connection()
        self._observed_end(Ending.GIVEN_UP if failure and (self._is_over or self._sink.is_ended) else failure)
        if failure is None:
            fetcher.succeeded(connection, target)
        elif failure.kind is UpstreamErrorKind.INTERNAL:
            fetcher.counters.internal_errors += 1
        self._sink.connected(None, target)
        if self._is_over:
            return
        if failure is None or self._sink.is_ended:  # it closed the connection itself
            self._end(None)
        elif was_of_idle_connection(failure):
            self._connect(target)
        else:
            self._attempt_failed(target, failure)

    def _attempt_failed(self, target: Endpoint, failure: UpstreamFailure) -> None:
        """Once more here, or at the next target, or not at all."""
        fetcher = self._fetcher
        fetcher.failed(target, failure)
        is_final_here = failure.kind in (UpstreamErrorKind.FAILOVER, UpstreamErrorKind.OVERLOADED)
        is_repeatable = failure.is_request_untouched or self._upgrade_sink is None
        if not is_final_here and not (is_repeatable and may_try_again(failure, self._method, self._body, self._sink)):
            self._end(failure)
            return
        has_time = not target.completion_timeout or self._deadline - fetcher.clock() >= SHORTEST_COMPLETION_SECONDS
        if self._attempts_left and not is_final_here and has_time:
            self._next_attempt(target)
        elif may_fail_over(target, failure):
            self._next_target(failure)
        else:
            self._end(failure)

    def _end(self, failure: UpstreamFailure | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._sink.fetch_ended(failure)

    def _break_down(self) -> None:
        """A mistake of this program, which is being handled: it costs this fetch, and nothing that others need is kept."""
        failure = self._fetcher.internal_error()
        self._is_over = True
        connection = self._connection
        self._leave_connection()
        self._observed_end(failure)
        if connection is not None:
            connection.close()
        self._sink.fetch_ended(failure)

    # -- inside

    def _seconds_left(self) -> float:
        """The response completion timeout bounds all attempts together (reference 1.4)."""
        return max(self._deadline - self._fetcher.clock(), SHORTEST_COMPLETION_SECONDS)

    def _stop(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
            self._task = None
        connection = self._connection
        if connection is not None:
            connection.give_up(UpstreamErrorKind.RESET, "nobody waits for the response")
            connection.close()
        self._leave_connection()
        self._observed_end(Ending.GIVEN_UP)

    def _observed_end(self, how: Ending | UpstreamFailure | None) -> None:
        """Of the exchange that is under way, if anybody wants to know. None: its response is whole."""
        observed, self._observed = self._observed, None
        if observed is not None:
            observed.ended(how or Ending.WHOLE)

    def _leave_connection(self) -> None:
        """What belongs to one exchange."""
        connection, self._connection = self._connection, None
        if self._completion is not None:
            self._completion.cancel()
            self._completion = None
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        self._leave_slot()
        if connection is not None and self._target is not None:
            counters, tier = self._fetcher.counters, self._target.tier
            counters.received_bytes[tier] += connection.received_bytes - self._received_before
            counters.sent_bytes[tier] += connection.sent_bytes - self._sent_before

    def _leave_slot(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()

    async def _send_body(self, connection: UpstreamConnection, body: RequestBody) -> None:
        """Pass the request's body on until it ends. It is cancelled when the upstream has answered or failed: an early answer is an answer (RFC 9112 section 9.5)."""
        try:
            missing_bytes = body.length
            while missing_bytes is None or missing_bytes > 0:
                await connection.drain()
                chunk = await body.next_chunk()
                if chunk is None:
                    break
                connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if missing_bytes is None else chunk)
                if missing_bytes is not None:
                    missing_bytes -= len(chunk)
            if body.length is None:
                connection.write(b"0\r\n\r\n")
            connection.end_request()
        except ViewerLeftError:
            self._sending = None
            if not self._is_over:
                self._stop()
                self._sink.fetch_abandoned()
        except Exception:
            self._sending = None
            if not self._is_over:
                self._break_down()
