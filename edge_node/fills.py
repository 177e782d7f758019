"""A fill: one fetch for one key, from the first byte asked for to the entry stored.

It is the sink of the upstream connection and feeds a transfer, whose readers are the viewers. Here is decided, once the head is there, whether the response
may be stored and shared, whether a 304 confirms what is stored, and whether something stale stands in for an error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entries import Arrival, make_entry, merge_fields, with_body
from edge_node.caching.entry import Entry
from edge_node.caching.freshness import (
    ERROR_CACHING_MINIMUM_TTL_SECONDS,
    Lifetime,
    LifetimeRule,
    StaleUse,
    initial_age,
    lifetime_of,
    stale_use_on_error,
)
from edge_node.caching.invalidations import InvalidationLog
from edge_node.errors import UpstreamError, UpstreamErrorKind
from edge_node.model import Header, ResponseHead
from edge_node.policy.answers import NodeFacts, content_length, make_head, x_cache
from edge_node.policy.routing import Plan
from edge_node.policy.viewer_fields import viewer_fields
from edge_node.storage.protocol import Store
from edge_node.transfers import Transfer
from edge_node.upstream.connection import UpstreamConnection, make_response_head
from edge_node.upstream.targets import Target, Tier

_RESULTS = {result.value: result for result in Result}


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where fills put what they bring, and what they need to know for it."""

    node: NodeFacts
    store: Store
    invalidations: InvalidationLog
    clock: Callable[[], float]
    """Seconds since the epoch."""


class Fill:
    """One fetch that feeds one transfer."""

    def __init__(
        self,
        shelf: Shelf,
        plan: Plan,
        transfer: Transfer,
        stale: Entry | None,
        *,
        is_refresh: bool,
        is_conditional: bool = False,
    ) -> None:
        self._shelf = shelf
        self._plan = plan
        self.transfer = transfer
        self._stale = stale
        self._is_refresh = is_refresh
        self._is_conditional = is_conditional
        """The viewer's conditions went upstream: an error may be their fault, and is not for others."""
        self._epoch = shelf.invalidations.epoch
        self._asked_at = shelf.clock()
        self._answered_at = self._asked_at
        self._lifetime = Lifetime(None, LifetimeRule.STATUS)
        self._tier = Tier.ORIGIN
        self._connection: UpstreamConnection | None = None

    # -- sink

    @property
    def has_started(self) -> bool:
        """The head has been passed on, or another answer was given: nothing is to be asked from the beginning again."""
        return self.transfer.head is not None or self.transfer.is_ended

    def connected(self, connection: UpstreamConnection | None, target: Target) -> None:
        """Flow control goes to this connection now."""
        self._connection = connection
        self._tier = target.tier
        self.transfer.connect_flow(connection)

    def resume_point(self) -> Sequence[Header] | None:
        """Ask for the rest by range, on condition that it is still the same object; only a strong ETag can tell."""
        head = self.transfer.head
        if head is None or self.transfer.is_ended or head.status != 200 or head.content_length is None:
            return None
        etag = head.fields.get(b"etag", b"")
        if not etag.startswith(b'"'):
            return None
        return ((b"range", b"bytes=%d-" % self.transfer.received_bytes), (b"if-range", etag))

    def head_arrived(self, head: ResponseHead) -> None:
        """The final head of this attempt."""
        if self.has_started:
            if not self.transfer.is_ended and not self._continues(head):
                self.transfer.fail(UpstreamError(UpstreamErrorKind.TRUNCATED, "the rest is not of the same object"))
            if self.transfer.is_ended:
                self._stop()
            return
        self._answered_at = self._shelf.clock()
        if self._stale is not None and self._is_refresh and head.status == 304:
            self._refreshed(self._stale, head)
        elif head.status >= 500 and self._serve_stale():
            self._stop()
        else:
            self._start(head)

    def body_arrived(self, data: bytes) -> None:
        """Pass it on, unless the answer has been given already."""
        if not self.transfer.is_ended:
            self.transfer.body_arrived(data)

    # -- ends

    def finish(self) -> None:
        """The response is whole: store it, if it is to be stored."""
        transfer = self.transfer
        if transfer.is_ended:
            return
        if transfer.writer is not None and transfer.head is not None and transfer.key is not None:
            self._commit(transfer.head)
        transfer.complete()

    def fail(self, error: UpstreamError) -> None:
        """Upstream is lost; before the head something stale may stand in."""
        if self.transfer.is_ended or (not self.has_started and self._serve_stale()):
            return
        self.transfer.fail(error)

    # -- inside

    def _start(self, head: ResponseHead) -> None:
        """A new response: store it while it passes, if it may be stored."""
        transfer = self.transfer
        transfer.upstream_result = self._said_by_regional(head)
        writer = None
        is_for_all = head.status == 200 or not self._is_conditional
        if transfer.key is not None and is_for_all and transfer.upstream_result is not Result.ERROR:
            self._lifetime = lifetime_of(head, self._plan.behavior.cache_policy, self._answered_at)
            if self._lifetime.is_storable:
                writer = self._shelf.store.open_writer(head.content_length)
        if writer is None or not self._lifetime.seconds:  # reference 2.10: no sharing of what may not be reused
            transfer.is_shared = False
            if transfer.readers:
                transfer.release_readers(transfer.readers[0], None)
        transfer.start(head, writer)

    def _said_by_regional(self, head: ResponseHead) -> Result | None:
        """The regional cache's own result; an origin that sends this field is not believed. An error status of the origin's own is a miss like any other."""
        said = head.fields.get(b"x-edge-result") if self._tier is Tier.REGIONAL else None
        word, _, reason = said.decode("latin-1").partition(";") if said else ("", "", "")
        return Result.MISS if reason == Reason.UPSTREAM_STATUS else _RESULTS.get(word)

    def _commit(self, head: ResponseHead) -> None:
        """Put the entry on the shelf, unless it was invalidated while it came, or something newer is there (DESIGN section 4, rules 1 and 3)."""
        transfer, shelf = self.transfer, self._shelf
        assert transfer.key is not None and transfer.writer is not None
        newer = shelf.store.peek(transfer.key)
        is_void = shelf.invalidations.is_invalidated(transfer.distribution_id, transfer.target, transfer.stamp)
        if self._epoch != shelf.invalidations.epoch or is_void or (newer is not None and newer.stamp > transfer.stamp):
            transfer.drop_writer()
            return
        fields = viewer_fields(head, self._plan.behavior.cache_policy)
        entry = make_entry(
            transfer.key, transfer.target, (head.status, head.reason), fields, self._lifetime, self._arrival(head)
        )
        with_body(entry, transfer.chunks, transfer.received_bytes)
        prepare_head(entry, shelf.node)
        transfer.writer.commit(entry)
        transfer.writer = None

    def _arrival(self, head: ResponseHead) -> Arrival:
        age = initial_age(head.fields, self._asked_at, self._answered_at)
        return Arrival(self.transfer.stamp, self._answered_at, age)

    def _refreshed(self, stale: Entry, update: ResponseHead) -> None:
        """304: the entry lives on with the new fields and a new lifetime (reference 2.4)."""
        policy = self._plan.behavior.cache_policy
        fields = merge_fields(stale.headers, viewer_fields(update, policy))
        merged = make_response_head(stale.status, stale.reason, fields)
        lifetime = lifetime_of(merged, policy, self._answered_at)
        entry = make_entry(
            stale.key, stale.target, (stale.status, stale.reason), fields, lifetime, self._arrival(update)
        )
        entry.chunks, entry.small_body, entry.length = stale.chunks, stale.small_body, stale.length
        prepare_head(entry, self._shelf.node)
        self._put(entry, stale)
        self.transfer.serve_entry(entry, Result.REFRESH_HIT, Reason.REVALIDATED)

    def _put(self, entry: Entry, replaced: Entry) -> None:
        """Store a confirmed entry, if what it confirms is still there and still holds (DESIGN section 4, rule 8)."""
        shelf = self._shelf
        is_void = shelf.invalidations.is_invalidated(entry.distribution_id, entry.target, entry.stamp)
        if shelf.store.peek(entry.key) is replaced and not is_void:
            writer = shelf.store.open_writer(entry.length)
            if writer is not None:
                writer.commit(entry)

    def _serve_stale(self) -> bool:
        """Answer an error with what is stored, if that is allowed (reference 2.3); then leave upstream alone for the error caching minimum TTL."""
        stale = self._stale
        now = self._shelf.clock()
        if stale is None or stale.status >= 400:
            return False
        invalidations = self._shelf.invalidations
        if self._epoch != invalidations.epoch or invalidations.is_invalidated(
            stale.distribution_id, stale.target, stale.stamp
        ):
            return False
        use = stale_use_on_error(dict(stale.headers), now - stale.fresh_until, self._plan.behavior.cache_policy)
        if use is not StaleUse.ALLOWED:
            return False
        stale.retry_at = now + ERROR_CACHING_MINIMUM_TTL_SECONDS
        self.transfer.serve_entry(stale, Result.HIT, Reason.STALE_ON_ERROR)
        return True

    def _continues(self, head: ResponseHead) -> bool:
        """Whether this is the rest of the object that broke off (RFC 9110 section 15.3.7.3: the same strong validator)."""
        started = self.transfer.head
        assert started is not None and started.content_length is not None
        received, whole = self.transfer.received_bytes, started.content_length
        is_rest = head.fields.get(b"content-range") == b"bytes %d-%d/%d" % (received, whole - 1, whole)
        is_same = head.fields.get(b"etag") == started.fields.get(b"etag")
        return head.status == 206 and is_same and is_rest and head.content_length == whole - received

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()


def prepare_head(entry: Entry, node: NodeFacts) -> None:
    """Make the head that a hit is sent with, once."""
    word = x_cache(Result.HIT, entry.status)
    outcome = (Result.HIT, Reason.FRESH, word)
    entry.head_hit = make_head(node, (entry.status, entry.reason), entry.headers, content_length(entry.length), outcome)
