"""Request coalescing: which fills are under way, who may join one, and for how long (reference 2.10).

Who may share is decided at three moments: whether a request may share at all (`may_share_fill`), whether a fill may still be joined (`RequestCoalescer.find`), and,
when its head is there, whether the response is for those who joined (`CacheFill`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge_node.caching.conditional import is_for_origin
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.lookup import Reason
from edge_node.caching.request_directives import NO_DIRECTIVES, request_directives_of
from edge_node.fill.cache_fill import CacheFill
from edge_node.fill.outcome import Unshared
from edge_node.fill.response_stream import StreamReader, StreamState
from edge_node.model.counters import Counters
from edge_node.model.http import RequestHead
from edge_node.policy.router import Route
from edge_node.storage.node_state import NodeState

COALESCE_TIMEOUT_SECONDS: Final = 5.0
"""How long those who joined wait for the head of somebody else's response before each asks alone: waiting must never take longer than not waiting would."""
FIRST_RELEASED: Final = 8
"""So many ask alone when the timeout ends, twice as many PACE_SECONDS later, and so on as a connection's window opens (RFC 5681 section 3.1): a slow upstream gets no
thousand requests at once for what it was asked for already. The head may still come for the others meanwhile; of a thousand the last is released after 3.5 s."""
PACE_SECONDS: Final = 0.5
HIT_FOR_MISS_SECONDS: Final = 10.0
"""After a response that could not be shared, requests for its key do not wait for each other for so long: they would only take turns."""
MAXIMUM_HIT_FOR_MISS_KEYS = 4_096

CallLater = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


def call_later(seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
    """On the running loop."""
    return asyncio.get_running_loop().call_later(seconds, callback)


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a request may do about other requests for its key."""

    may_follow: bool
    """Join a fill that is under way."""
    may_lead: bool
    """Begin one that others may join."""


NO_SHARING: Final = Sharing(may_follow=False, may_lead=False)
LEADS_AND_FOLLOWS: Final = Sharing(may_follow=True, may_lead=True)
_FOLLOWS_ONLY: Final = Sharing(may_follow=True, may_lead=False)


def may_share_fill(head: RequestHead, route: Route, *, is_hit_for_miss: bool) -> Sharing:
    """Whether a request that misses may share a fetch with others.

    A HEAD brings no body and a range not the whole one: nothing to share. Viewer conditionals go upstream with a miss (reference 2.4), so a 304 may come that
    helps nobody else: such a request follows, but does not lead.
    """
    if head.method == b"HEAD" or b"range" in head.fields or not route.may_collapse or is_hit_for_miss:
        return NO_SHARING
    if request_directives_of(head.fields, route.behavior.semantics) is not NO_DIRECTIVES:
        return NO_SHARING
    if route.is_strict and is_for_origin(head.fields):
        return NO_SHARING
    return LEADS_AND_FOLLOWS if head.is_plain else _FOLLOWS_ONLY


def may_share_revalidation(expired: Entry, reason: Reason) -> Sharing:
    """Whether the answer to a conditional request may be shared: not if each request has to be validated by itself."""
    cache_metadata = expired.cache_metadata
    is_shared = (
        reason is Reason.EXPIRED
        and (cache_metadata.lifetime_seconds or 0.0) > 0.0
        and not cache_metadata.is_always_validated
    )
    return LEADS_AND_FOLLOWS if is_shared else NO_SHARING


class RequestCoalescer:
    """The fills of one node."""

    def __init__(self, state: NodeState, counters: Counters, call_later: CallLater, clock: Callable[[], float]) -> None:
        self._state = state
        self._counters = counters
        self._call_later = call_later
        self._clock = clock
        self._joinable: dict[CacheKey, CacheFill] = {}
        """Those that others may join, by key."""
        self._under_way: set[CacheFill] = set()
        """Those that a write may make invalid (RFC 9111 section 4.4), whether others may join them or not."""
        self._timers: dict[CacheFill, asyncio.TimerHandle] = {}
        """Of those that have followers and no head yet."""
        self._hit_for_miss: OrderedDict[CacheKey, float] = OrderedDict()
        """Keys whose responses could not be shared, and until when that is believed."""

    # -- followers

    def find(self, key: CacheKey) -> CacheFill | None:
        """The fill that requests for this key may join, if it is about their variant: no matching invalidation came since it began (DESIGN section 4, rule 3)."""
        fill = self._joinable.get(key)
        if fill is None or not fill.is_shared or not fill.stream.is_joinable:
            return None
        if self._state.invalidations.is_invalidated(
            fill.route.distribution.id, fill.route.target, fill.validated_index
        ):
            return None
        return fill

    def follow(self, fill: CacheFill, reader: StreamReader) -> None:
        """Wait for a fill that `find` gave."""
        self._counters.collapsed_requests += 1
        if fill not in self._timers and fill.stream.state is StreamState.WAITING:
            self._timers[fill] = self._call_later(COALESCE_TIMEOUT_SECONDS, lambda: self._time_out(fill))
        fill.stream.attach(reader)

    def _time_out(self, fill: CacheFill, count: int = FIRST_RELEASED) -> None:
        """The head has not come: whoever joined asks alone, a few at a time; who began goes on waiting (the wait limit is not documented)."""
        if fill.stream.state is not StreamState.WAITING:
            return
        self._unjoin(fill)
        followers = fill.stream.followers
        if len(followers) > count:
            self._timers[fill] = self._call_later(PACE_SECONDS, lambda: self._time_out(fill, 2 * count))
        fill.stream.release(followers[:count], Unshared(Reason.COLLAPSE_TIMEOUT))
        if not fill.stream.readers and fill.stream.state is StreamState.WAITING:
            fill.stream_abandoned()  # who began has left, and all others have gone to ask for themselves (reference 2.9)

    # -- fills

    def add(self, fill: CacheFill) -> None:
        """A fill begins."""
        if fill.is_joinable and fill.key is not None:
            self._joinable[fill.key] = fill
        if fill.route.is_strict:
            self._under_way.add(fill)

    def is_under_way(self, key: CacheKey) -> bool:
        """Whether this key is being fetched for all who ask."""
        return key in self._joinable

    def is_hit_for_miss(self, key: CacheKey) -> bool:
        """Whether a response for this key could not be shared a moment ago."""
        until = self._hit_for_miss.get(key)
        if until is None:
            return False
        if not 0.0 < until - self._clock() <= HIT_FOR_MISS_SECONDS:  # later than that: the clock was set back meanwhile
            del self._hit_for_miss[key]
            return False
        return True

    def invalidate_everything(self) -> None:
        """What is under way belongs to another log: nobody joins it. That nothing of it is stored, the log's epoch says (`Cache.put`)."""
        self._joinable.clear()

    def invalidate_target(self, distribution_id: str, target: str) -> None:
        """Responses that are on their way were made before something changed the target: nobody joins them, nothing of them is stored."""
        for fill in tuple(self._under_way):
            if fill.route.distribution.id == distribution_id and fill.route.target == target:
                fill.invalidate()
                self._unjoin(fill)

    # -- registry of the fills

    def fill_began_answering(self, fill: CacheFill) -> None:
        """A response has begun, and could be shared or not. Fills that nobody could join say nothing of it."""
        self._stop_timer(fill)
        key = fill.key
        if key is not None and fill.is_joinable:
            self._hit_for_miss.pop(key, None)
            if not fill.is_shared:
                self._hit_for_miss[key] = self._clock() + HIT_FOR_MISS_SECONDS
                if len(self._hit_for_miss) > MAXIMUM_HIT_FOR_MISS_KEYS:
                    self._hit_for_miss.popitem(last=False)

    def forget(self, fill: CacheFill) -> None:
        """It is over, or no longer to be joined."""
        self._unjoin(fill)
        self._under_way.discard(fill)

    def internal_error(self) -> None:
        """A mistake of this program cost one fetch."""
        self._counters.internal_errors += 1

    def _unjoin(self, fill: CacheFill) -> None:
        self._stop_timer(fill)
        if fill.key is not None and self._joinable.get(fill.key) is fill:
            del self._joinable[fill.key]

    def _stop_timer(self, fill: CacheFill) -> None:
        timer = self._timers.pop(fill, None)
        if timer is not None:
            timer.cancel()
