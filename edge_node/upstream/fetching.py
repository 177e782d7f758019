"""Try the targets in order until one gives the response: attempts, retries, and going on in the middle when an upstream dies.

What may be tried again: anything of which nothing was sent; a request without a body that failed before its response began, on the next attempt or target
(reference 1.4, 2.6, 3); and a response that broke off in the middle, from the byte where it broke, when its strong ETag proves that the rest is of the same object.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_node.counters import Counters
from edge_node.errors import UpstreamError, UpstreamErrorKind
from edge_node.model import Header
from edge_node.upstream.connection import Ended, ResponseSink, UpstreamConnection
from edge_node.upstream.targets import Target, Tier

DOWN_SECONDS = 2.0
"""For how long a regional cache that failed is left out: about as long as the control plane needs to notice."""
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
        """Whether a regional cache failed a moment ago."""

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


class Fetcher:
    """Gets responses, and remembers which regional caches failed."""

    def __init__(self, pool: Connections, counters: Counters, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._counters = counters
        self._clock = clock
        self._down_until: dict[str, float] = {}

    def is_down(self, peer_id: str) -> bool:
        """Whether a regional cache failed a moment ago."""
        return self._down_until.get(peer_id, 0.0) > self._clock()

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
                    if error.kind is UpstreamErrorKind.FAILOVER:
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
        """One attempt, on an idle connection if there is one; an idle one that was already closed does not count."""
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
        is_head = method == b"HEAD"
        self._begin(connection, target, (target.render(extra), is_head), sink, lambda error: _settle(end, error))
        completion = _bound_completion(connection, target)
        try:
            if body is not None:
                await _send_body(connection, body, end)
            await end
        except BaseException:
            end.cancel()  # whatever it was to say, nobody listens any more
            connection.give_up(UpstreamErrorKind.RESET, "nobody waits for the response")
            raise
        finally:
            if completion is not None:
                completion.cancel()

    def begin_on_idle(self, target: Target, sink: FetchSink, ended: Ended) -> bool:
        """See `UpstreamFetcher`."""
        connection = self._pool.take_idle(target.address)
        if connection is not None:
            self._begin(connection, target, (target.render(), False), sink, ended)
        return connection is not None

    def _begin(
        self,
        connection: UpstreamConnection,
        target: Target,
        request_and_is_head: tuple[bytes, bool],
        sink: FetchSink,
        ended: Ended,
    ) -> None:
        """Send the request, let the response flow, keep the connection if it ends well."""
        tier = target.tier.value
        counters, pool = self._counters, self._pool
        counters.upstream_fetches[tier] += 1
        received, sent = connection.received_bytes, connection.sent_bytes

        def attempt_ended(error: UpstreamError | None) -> None:
            counters.transferred[tier, "received"] += connection.received_bytes - received
            counters.transferred[tier, "sent"] += connection.sent_bytes - sent
            if error is None:
                pool.give_back(target.address, connection, target.keepalive)
            sink.connected(None, target)
            ended(error)

        request, is_head = request_and_is_head
        sink.connected(connection, target)
        connection.begin(request, sink, attempt_ended, is_head=is_head, read_timeout=target.read_timeout)

    def _note_failure(self, target: Target, error: UpstreamError) -> None:
        self._counters.upstream_errors[target.tier.value, error.kind.value] += 1
        if target.tier is Tier.REGIONAL:
            self._down_until[target.peer_id] = self._clock() + DOWN_SECONDS


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
    UpstreamErrorKind.READ_TIMEOUT: 504,
}
"""Reference 1.5: without a connection the criterion is 503, without a response in time 504; for what else goes wrong on the way it is 502."""


def _may_fail_over(target: Target, error: UpstreamError) -> bool:
    """Whether the next target may be asked after the last attempt at this one."""
    if target.failover_statuses is None or error.kind is UpstreamErrorKind.FAILOVER:
        return True
    return _STATUS_THAT_COUNTS.get(error.kind, 502) in target.failover_statuses


def _may_try_again(error: UpstreamError, method: bytes, body: RequestBody | None, sink: FetchSink) -> bool:
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
    """Pass the request's body on until it ends, or the upstream has answered already, or failed."""
    is_chunked = body.length is None
    while not end.done():
        await connection.drain()
        more = asyncio.ensure_future(body.next_chunk())
        try:
            await asyncio.wait((more, end), return_when=asyncio.FIRST_COMPLETED)
            if not more.done():
                return
            chunk = more.result()
        finally:
            more.cancel()
        if chunk is None:
            if is_chunked:
                connection.write(b"0\r\n\r\n")
            return
        connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
