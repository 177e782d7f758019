"""Try the targets in order until one gives the response: attempts, retries, and going on in the middle when an upstream dies.

What may be tried again: anything of which nothing was sent; a request without a body that failed before its response began, on the next attempt or target
(reference 1.4, 2.6, 3); and a response that broke off in the middle, from the byte where it broke, when its strong ETag proves that the rest is of the same object.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_node.counters import Counters
from edge_node.errors import UpstreamError, UpstreamErrorKind
from edge_node.model import Header
from edge_node.upstream.connection import Ended, ResponseSink, UpstreamConnection
from edge_node.upstream.health import PeerHealth
from edge_node.upstream.limits import UpstreamLimits, UpstreamSlots
from edge_node.upstream.targets import Target, Tier

logger = logging.getLogger(__name__)

MAXIMUM_REUSE_RETRIES = 2
"""Idle connections that turn out to be closed cost a try each; after two a fresh connection is made without looking for another idle one."""

SHORTEST_COMPLETION_SECONDS = 0.01
"""With less than this left no further attempt is made: timers may ring a little before the clock says so. The first one has so much at least; 0 would be no bound."""

_REPEATABLE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Reference 2.6: the others are never sent twice."""


class RequestBody(Protocol):
    """The body of a request that is passed on."""

    length: int | None
    """None: unknown until its end, so it goes upstream in chunked coding."""

    async def next_chunk(self) -> bytes | None:
        """More of it; None at the end."""


class ResponseFlow(Protocol):
    """A connection, as the sink that it feeds sees it."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def feed(self, sink: ResponseSink) -> None:
        """The rest of the response goes to another sink."""

    def give_up(self, kind: UpstreamErrorKind, detail: str) -> None:
        """Close it; the fetch fails with this."""

    def close(self) -> None:
        """Close it."""


class FetchSink(ResponseSink, Protocol):
    """Who takes the response and can say where it stands."""

    def connected(self, connection: ResponseFlow | None, target: Target) -> None:
        """The connection that feeds the sink from now on, and to whom it goes; None when it has ended."""

    def resume_point(self) -> Sequence[Header] | None:
        """The fields that ask for the rest of a response that broke off; None when it cannot be continued."""

    @property
    def has_started(self) -> bool:
        """The head has been passed on."""

    @property
    def is_ended(self) -> bool:
        """The sink wants no more: an answer has been found elsewhere."""


class UpstreamFetcher(Protocol):
    """How responses are got; there is one way, and tests have theirs."""

    def is_down(self, peer_id: str) -> bool:
        """Whether a regional cache has failed of late and is left out for a while."""

    async def fetch(
        self,
        targets: Sequence[Target],
        method: bytes,
        body: RequestBody | None,
        sink: FetchSink,
        already: UpstreamError | None = None,
    ) -> None:
        """Bring the response to the sink, whole, or raise the last UpstreamError. `already` is how a first attempt on an idle connection has failed."""

    def begin_on_idle(self, target: Target, sink: FetchSink, ended: Ended) -> bool:
        """One attempt to GET on an idle connection, without waiting for anything; False when there is none. `ended` is told how it went."""


class Connections(Protocol):
    """Where connections to upstreams come from: `pool.py`."""

    def take_idle(self, address: tuple[str, int]) -> UpstreamConnection | None:
        """One that was given back, if there is one that can still be used."""

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        """A fresh one; UpstreamError when it cannot be had."""

    def give_back(self, address: tuple[str, int], connection: UpstreamConnection, keepalive_seconds: float) -> None:
        """A connection that may be used again, for so many seconds."""


class Attempt:
    """What goes out on a connection."""

    __slots__ = ("has_body", "is_head", "request")

    def __init__(self, request: bytes, *, is_head: bool = False, has_body: bool = False) -> None:
        self.request = request
        """Its head."""
        self.is_head = is_head
        self.has_body = has_body


class Fetcher:
    """Gets responses, within the limits of each upstream, and remembers which regional caches failed."""

    def __init__(
        self,
        pool: Connections,
        counters: Counters,
        clock: Callable[[], float],
        limits: UpstreamLimits | None = None,
        count_regionals: Callable[[], int] = lambda: 1,
    ) -> None:
        """`count_regionals`: how many there are to ask."""
        self._pool = pool
        self._counters = counters
        self._clock = clock
        self._limits = limits or UpstreamLimits()
        self._count_regionals = count_regionals
        self._health = PeerHealth()

    def is_down(self, peer_id: str) -> bool:
        """See `UpstreamFetcher`."""
        return not self._health.is_clean and self._health.is_ejected(peer_id, self._clock())

    async def fetch(
        self,
        targets: Sequence[Target],
        method: bytes,
        body: RequestBody | None,
        sink: FetchSink,
        already: UpstreamError | None = None,
    ) -> None:
        """See `UpstreamFetcher`."""
        first_error = None if already is None or _was_of_idle_connection(already) else already
        last_error = UpstreamError(UpstreamErrorKind.REFUSED, "there is no upstream to ask", is_request_untouched=True)
        for target in targets:
            deadline = self._clock() + target.completion_timeout
            for _ in range(target.connection_attempts):
                try:
                    if first_error is not None:
                        failed, first_error = first_error, None
                        raise failed
                    await self._attempt(self._with_time_left(target, deadline), method, body, sink)
                    return
                except UpstreamError as error:
                    if sink.is_ended:  # it closed the connection itself
                        return
                    last_error = error
                    self._note_failure(target, error)
                    if error.kind in (UpstreamErrorKind.FAILOVER, UpstreamErrorKind.OVERLOADED):
                        break
                    if not _may_try_again(error, method, body, sink):
                        raise
                    if target.completion_timeout and deadline - self._clock() < SHORTEST_COMPLETION_SECONDS:
                        break
            if not _may_fail_over(target, last_error):
                raise last_error
        raise last_error

    def _with_time_left(self, target: Target, deadline: float) -> Target:
        """The response completion timeout bounds all attempts together (reference 1.4)."""
        if not target.completion_timeout:
            return target
        return target.within(max(deadline - self._clock(), SHORTEST_COMPLETION_SECONDS))

    async def _attempt(self, target: Target, method: bytes, body: RequestBody | None, sink: FetchSink) -> None:
        """One attempt, when there is a place for it."""
        slots = self._limits.slots_of(target.address, target.tier)
        if slots.is_full:
            self._counters.upstream_waits[target.tier.value] += 1
            seconds = self._limits.wait_seconds
            await slots.wait(target.address, min(seconds, target.completion_timeout or seconds))
        else:
            slots.take()
        try:
            await self._attempt_at_once(target, method, body, sink)
        finally:
            slots.release()

    async def _attempt_at_once(self, target: Target, method: bytes, body: RequestBody | None, sink: FetchSink) -> None:
        """On an idle connection if there is one; an idle one that was already closed does not count."""
        extra: Sequence[Header] = (sink.resume_point() or ()) if sink.has_started else ()
        if body is None and method in _REPEATABLE_METHODS:  # an idle connection may turn out to be closed
            for _ in range(MAXIMUM_REUSE_RETRIES):
                connection = self._pool.take_idle(target.address)
                if connection is None:
                    break
                try:
                    return await self._exchange(connection, target, method, (extra, None), sink)
                except UpstreamError as error:
                    if not _was_of_idle_connection(error):
                        raise
        connection = await self._pool.connect(target.address, target.connect_timeout)
        return await self._exchange(connection, target, method, (extra, body), sink)

    async def _exchange(
        self,
        connection: UpstreamConnection,
        target: Target,
        method: bytes,
        extra_and_body: tuple[Sequence[Header], RequestBody | None],
        sink: FetchSink,
    ) -> None:
        """Send the request, let the response flow, keep or close the connection."""
        extra, body = extra_and_body
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        attempt = Attempt(target.render(extra), is_head=method == b"HEAD", has_body=body is not None)
        completion = None
        try:
            self._begin(connection, target, attempt, sink, lambda error: _settle(end, error))
            completion = _bound_completion(connection, target)
            if body is not None:
                await _send_body(connection, body, end)
            await end
        except BaseException:
            end.cancel()  # whatever it was to say, nobody listens any more
            connection.give_up(UpstreamErrorKind.RESET, "nobody waits for the response")
            connection.close()
            raise
        finally:
            if completion is not None:
                completion.cancel()

    def begin_on_idle(self, target: Target, sink: FetchSink, ended: Ended) -> bool:
        """See `UpstreamFetcher`."""
        slots = self._limits.slots_of(target.address, target.tier)
        connection = None if slots.is_full else self._pool.take_idle(target.address)
        if connection is None:
            return False
        try:
            self._begin(connection, target, Attempt(target.render()), sink, ended, slots)
        except Exception:
            connection.close()
            raise
        return True

    def _begin(
        self,
        connection: UpstreamConnection,
        target: Target,
        attempt: Attempt,
        sink: FetchSink,
        ended: Ended,
        slots: UpstreamSlots | None = None,
    ) -> None:
        """Send the request, let the response flow, keep the connection if it ends well. `slots`: where a place is taken for as long."""
        tier = target.tier.value
        self._counters.upstream_fetches[tier] += 1
        received, sent = connection.received_bytes, connection.sent_bytes

        def attempt_ended(error: UpstreamError | None) -> None:
            transferred = self._counters.transferred
            transferred[tier, "received"] += connection.received_bytes - received
            transferred[tier, "sent"] += connection.sent_bytes - sent
            if slots is not None:
                slots.release()
            if error is not None and error.kind is UpstreamErrorKind.INTERNAL:
                self._counters.internal_errors += 1
            try:
                if error is None:
                    self._attempt_succeeded(connection, target)
                sink.connected(None, target)
            except Exception:
                error = self._note_internal_error()
            try:
                ended(error)
            except Exception:
                self._note_internal_error()

        sink.connected(connection, target)
        if slots is not None:
            slots.take()
        connection.begin(
            attempt.request,
            sink,
            attempt_ended,
            is_head=attempt.is_head,
            read_timeout=target.read_timeout,
            has_body=attempt.has_body,
        )

    def _attempt_succeeded(self, connection: UpstreamConnection, target: Target) -> None:
        self._pool.give_back(target.address, connection, target.keepalive)
        if target.tier is Tier.REGIONAL and not self._health.is_clean:
            self._health.answered(target.peer_id, self._clock())

    def _note_internal_error(self) -> UpstreamError:
        """A mistake of this program, in a callback that nobody waits for."""
        self._counters.internal_errors += 1
        logger.error("internal error as an exchange ended", exc_info=True)  # noqa: LOG014 - in a handler, always
        return UpstreamError(UpstreamErrorKind.INTERNAL, "an internal error occurred")

    def _note_failure(self, target: Target, error: UpstreamError) -> None:
        self._counters.upstream_errors[target.tier.value, error.kind.value] += 1
        if target.tier is Tier.REGIONAL:
            peers = self._count_regionals()
            is_ejected = self._health.failed(target.peer_id, error.kind, self._clock(), peers)
            self._counters.upstream_ejections += is_ejected


def _bound_completion(connection: UpstreamConnection, target: Target) -> asyncio.TimerHandle | None:
    """The response completion timeout (reference 1.4)."""
    seconds = target.completion_timeout
    if not seconds:
        return None
    detail = f"the response was not complete in {seconds:g} s"
    return asyncio.get_running_loop().call_later(seconds, connection.give_up, UpstreamErrorKind.READ_TIMEOUT, detail)


_STATUS_THAT_COUNTS = {
    UpstreamErrorKind.REFUSED: 503,
    UpstreamErrorKind.CONNECT_TIMEOUT: 503,
    UpstreamErrorKind.NAME: 503,
    UpstreamErrorKind.OVERLOADED: 503,
    UpstreamErrorKind.READ_TIMEOUT: 504,
}
"""Reference 1.5: without a connection the criterion is 503, without a response in time 504; for what else goes wrong on the way it is 502."""


def _may_fail_over(target: Target, error: UpstreamError) -> bool:
    """Whether the next target may be asked after the last attempt at this one."""
    if target.failover_statuses is None or error.kind is UpstreamErrorKind.FAILOVER:
        return True
    return _STATUS_THAT_COUNTS.get(error.kind, 502) in target.failover_statuses


def _may_try_again(error: UpstreamError, method: bytes, body: RequestBody | None, sink: FetchSink) -> bool:
    if error.kind is UpstreamErrorKind.INTERNAL:
        return False  # it would fail here again
    if sink.has_started:
        return sink.resume_point() is not None
    return error.is_request_untouched or (body is None and method in _REPEATABLE_METHODS)


def _was_of_idle_connection(error: UpstreamError) -> bool:
    """The upstream had closed it, most likely, before the request came: that says nothing of a fresh one."""
    return error.is_on_reused_connection and error.kind is not UpstreamErrorKind.READ_TIMEOUT


def _settle(end: asyncio.Future[None], error: UpstreamError | None) -> None:
    if end.done():
        return
    if error is None:
        end.set_result(None)
    else:
        end.set_exception(error)


async def _send_body(connection: UpstreamConnection, body: RequestBody, end: asyncio.Future[None]) -> None:
    """Pass the request's body on until it ends, or the upstream has answered or failed: an early answer is an answer, and ends the sending (RFC 9112 section 9.5)."""
    missing_bytes = body.length
    while missing_bytes is None or missing_bytes > 0:
        await connection.drain()
        more = asyncio.ensure_future(body.next_chunk())
        try:
            await asyncio.wait((more, end), return_when=asyncio.FIRST_COMPLETED)
            if end.done():  # whatever has come as well: the connection may be another exchange's
                return
            chunk = more.result()
        finally:
            if not more.cancel() and not more.cancelled():
                more.exception()  # it is known, or of no interest
        if chunk is None:
            break
        connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if missing_bytes is None else chunk)
        if missing_bytes is not None:
            missing_bytes -= len(chunk)
    if body.length is None:
        connection.write(b"0\r\n\r\n")
    connection.end_request()
