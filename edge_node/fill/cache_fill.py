"""A cache fill: one fetch for one key, from the first byte asked for to the entry stored.

It is the sink of the upstream fetch and feeds a stream, whose readers are the viewers. Here is decided, once the head is there, whether the response may be stored and
shared, whether a 304 confirms what is stored, and whether something stale is served instead of an error. What that comes to for those who wait is told them as
one outcome each.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey, KeyedField, varying_fields
from edge_node.caching.lookup import Reason, Result
from edge_node.caching.partial import combined_fields
from edge_node.caching.revalidation import is_validated_by
from edge_node.caching.unsafe_methods import InvalidateTargets, invalidated_targets
from edge_node.fill.body_coding import begin_coding
from edge_node.fill.fill_storage import FillStorage
from edge_node.fill.outcome import FillRole, Unshared
from edge_node.fill.range_fill import RangeFill, is_rest_of
from edge_node.fill.response_classifier import (
    FetchContext,
    ResponseClassification,
    classify_response,
    head_with_date,
    parent_result,
    timing_of,
)
from edge_node.fill.response_stream import ResponseStream, StreamState
from edge_node.fill.stale_context import NOTHING_STORED, StaleContext
from edge_node.http.compressor import Compressor
from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure
from edge_node.model.http import Header, ResponseHead
from edge_node.policy.response_head import write_fields
from edge_node.policy.response_headers import viewer_fields
from edge_node.policy.upstream_request import UpstreamRequest
from edge_node.storage.cache import Cache
from edge_node.storage.protocol import Writer
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetch_sink import RequestBody, ResponseFlow, RunningFetch, UpstreamFetcher

logger = logging.getLogger(__name__)


class FillRegistry(Protocol):
    """Who knows which fills are under way, and starts their fetches."""

    def fill_began_answering(self, fill: "CacheFill") -> None:
        """Its head has come, and with it whether the response is for all."""

    def forget(self, fill: "CacheFill") -> None:
        """Nobody may join it any more."""

    def internal_error(self) -> None:
        """A mistake of this program cost one fetch."""


class CacheFill:
    """One fetch that feeds one stream."""

    def __init__(  # noqa: PLR0913 - one for each thing that it is about
        self,
        cache: Cache,
        upstream_request: UpstreamRequest,
        key: CacheKey | None,
        registry: FillRegistry,
        stored: StaleContext = NOTHING_STORED,
        is_joinable: bool = False,
        invalidate: InvalidateTargets | None = None,
    ) -> None:
        self._cache = cache
        self.upstream_request = upstream_request
        self.key = key
        """None: what comes is not stored."""
        self.route = upstream_request.route
        self.is_joinable = is_joinable
        """Others may join it, as long as nothing speaks against that."""
        self.stream = ResponseStream(self)
        self._registry = registry
        self._stored = stored
        self._invalidate = invalidate
        """For a write, where the RFCs rule."""
        self._answered_at = cache.clock()
        self._context = FetchContext(
            upstream_request.head, upstream_request.route, cache.invalidations.applied_index, self._answered_at
        )
        self.is_shared = True
        self.is_sharing_known = False
        """`is_shared`: until the head says that this response is for its leader alone (reference 2.10); then that is known."""
        self.may_be_stored = key is not None
        """Until something makes its target invalid while it comes (RFC 9111 section 4.4)."""
        about = stored.revalidates or stored.completes or stored.stale_if_error
        self.varying: tuple[KeyedField, ...] = ()
        if about is not None and upstream_request.route.is_strict:
            self.varying = varying_fields(about.key)
        """What the response's Vary makes of the request, once its head is there; before it, that of the stored response which it is about."""
        self._storage = FillStorage(cache, upstream_request, self._context, stored.revalidates or stored.stale_if_error)
        self._range_fill: RangeFill | None = None
        self._compressor: Compressor | None = None
        self._target: Endpoint | None = None
        self._continues_seen = 0
        self._connection: ResponseFlow | None = None
        self._fetch: RunningFetch | None = None
        """Until it has ended: each would keep the other."""
        self._has_ended = False

    @property
    def validated_index(self) -> int:
        """The log index that was applied when the fetch began (DESIGN section 4, rule 1)."""
        return self._context.stamp

    def begin(self, fetcher: UpstreamFetcher, targets: Sequence[Endpoint], body: RequestBody | None) -> None:
        """Ask upstream."""
        fetch = fetcher.fetch(targets, self.upstream_request.head.method, body, self)
        self._fetch = None if self._has_ended else fetch

    def invalidate(self) -> None:
        """What comes was made before something changed it: it is not stored."""
        self.may_be_stored = False
        self.stream.drop_writer()

    # -- sink of the fetch

    @property
    def has_started(self) -> bool:
        """The head has been passed on, or another answer was given: nothing is to be asked from the beginning again."""
        return self.stream.head is not None or self.stream.is_ended

    @property
    def is_ended(self) -> bool:
        """An answer was given: whatever becomes of this response, it is no failure of upstream."""
        return self.stream.is_ended

    def connected(self, connection: ResponseFlow | None, target: Endpoint) -> None:
        """Flow control goes to this connection now."""
        self._connection = connection
        self._target = target
        self._continues_seen = 0
        self.stream.connect_flow(connection)

    def resume_point(self) -> Sequence[Header] | None:
        """Ask for the rest by range, on condition that it is still the same object; only a strong ETag can tell."""
        head = self.stream.head
        if head is None or self.stream.is_ended or head.status != 200 or head.content_length is None:
            return None
        etag = head.fields.get(b"etag", b"")
        if not etag.startswith(b'"') or self.upstream_request.asks_for_part:
            return None
        return ((b"range", b"bytes=%d-" % self.stream.received_bytes), (b"if-range", etag))

    def interim_arrived(self, head: ResponseHead) -> None:
        """An interim response, for those who wait already (RFC 9110 section 15.2). CloudFront passes none on, and takes a second 100 for an error (reference 2.6)."""
        if head.status == 100:  # answers an Expect that this node did not send on: for nobody
            self._continues_seen += 1
            if self._continues_seen > 1 and not self.route.is_strict and self._connection is not None:
                self._connection.give_up(UpstreamErrorKind.INVALID_RESPONSE, "a second 100 Continue")
        elif self.route.is_strict and not self.has_started:
            for reader in tuple(self.stream.readers):
                reader.interim_arrived(head)

    def head_arrived(self, head: ResponseHead) -> None:
        """The final head of this attempt; its body follows."""
        self._take_head(head, None)

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        """The final head of this attempt, and all of its body."""
        if self._take_head(head, body) and body:
            self.body_arrived(body)

    def body_arrived(self, data: bytes) -> None:
        """Pass it on, unless it belongs to no head that was passed on: the answer has been given already, or this response sends the request elsewhere."""
        if self.stream.state is not StreamState.STREAMING:
            return
        if self._range_fill is not None and not self._range_fill.takes(len(data)):
            self._break_off("more than the missing part came")
            return
        if self._compressor is not None:
            data = self._compressor.compress(data)
        if data:
            self.stream.body_arrived(data)

    def fetch_ended(self, failure: UpstreamFailure | None) -> None:
        """The response is whole, or no attempt is left."""
        self._registry.forget(self)
        try:
            if failure is None:
                self._finish()
            else:
                self._fail(failure)
        except Exception:
            logger.exception("internal error while ending a fetch of %s", self.route.target)
            self.fail_internally()
        finally:
            self._close()

    def fetch_abandoned(self) -> None:
        """The viewer left before its request was whole."""
        self.stream.abandon()
        self._registry.forget(self)
        self._close()

    def fail_internally(self) -> None:
        """A mistake of this program: nobody may wait for what will not come."""
        self._registry.internal_error()
        self._registry.forget(self)
        if not self.stream.is_ended:
            self.stream.fail(UpstreamFailure(UpstreamErrorKind.INVALID_RESPONSE, "an internal error occurred"))

    # -- owner of the stream

    def stream_abandoned(self) -> None:
        """Nobody waits for the response."""
        fetch = self._fetch
        self.stream.abandon()
        self._registry.forget(self)
        self._close()
        if fetch is not None:
            fetch.cancel()

    # -- the head

    def _take_head(self, head: ResponseHead, whole: bytes | None) -> bool:
        """Decide what the response is. Whether its body is wanted; with `whole`, that body: it may have been taken already."""
        if self.has_started:
            return self._is_rest(head)
        if self._fails_over(head):
            return False
        self._answered_at = self._cache.clock()
        revalidates, completes, updates = self._stored.revalidates, self._stored.completes, self._stored.updates
        if updates is not None:
            self._storage.update_by_head(updates, head, self._answered_at)
        if revalidates is not None and head.status == 304:
            if is_validated_by(dict(revalidates.headers), head.fields):
                self._revalidated(revalidates, head)
            else:  # about something else: RFC 9111 section 4.3.4
                self._stop()
                self.stream.unshare()
            return False
        if head.status >= 500 and self._serve_stale(head.status):
            self._stop()
            return False
        if completes is not None and head.status in (206, 416):
            return self._complete(completes, head)
        return self._start(head, whole)

    def _is_rest(self, head: ResponseHead) -> bool:
        """An answer after the head was passed on can only be the rest of a body that broke off."""
        started, received_bytes = self.stream.head, self.stream.received_bytes
        if not self.stream.is_ended and not (started and is_rest_of(started, received_bytes, head)):
            self._break_off("the rest is not of the same object")
        if self.stream.is_ended:
            self._stop()
        return not self.stream.is_ended

    def _fails_over(self, head: ResponseHead) -> bool:
        """Whether this answer sends the request to the other origin of the group (reference 1.5)."""
        target, connection = self._target, self._connection
        if target is None or connection is None or head.status not in (target.failover_statuses or ()):
            return False
        connection.give_up(UpstreamErrorKind.FAILOVER, f"status {head.status} of origin {target.peer_id!r}")
        return True

    def _start(self, head: ResponseHead, whole: bytes | None) -> bool:
        """Store it while it passes, if it may be stored. Whether its body is still to come."""
        stream, request = self.stream, self.upstream_request.head
        if self._invalidate is not None:
            self._invalidate(request, self.route.distribution.id, invalidated_targets(request, head, b"http"))
        stream.upstream_result = parent_result(head, self._target)
        # The viewer's conditions went upstream: an error may be their fault, and is not for others.
        is_for_all = head.status in (200, 206) or not self._has_viewer_conditions
        key = self.key if is_for_all and self.may_be_stored else None
        dated = head_with_date(head, self._answered_at)
        wants_whole = not self.upstream_request.has_viewer_conditions and self._stored.completes is None
        head, self._compressor = begin_coding(self._cache, self.upstream_request, dated, wants_whole=wants_whole)
        received = classify_response(self._context, key, head, self._answered_at)
        writer = self._storage.open_writer(received, self._stored.stale_if_error)
        self._share(received, writer)
        if received.own_fields:
            stream.own_lines = write_fields(received.own_fields)
        stream.open(received.head, received.fields, writer)
        is_complete = whole is not None and self._compressor is None
        if is_complete and whole is not None:
            stream.add_whole(whole)
            self._storage.store(stream)
            stream.close_whole()
        self._registry.fill_began_answering(self)
        stream.announce()
        return not is_complete

    def _share(self, received: ResponseClassification, writer: Writer | None) -> None:
        """Who of those that joined may have this response; the others are told at once."""
        self.is_sharing_known = True
        storage_decision = received.storage_decision
        if writer is None or storage_decision is None or not received.is_for_all:
            self.is_shared = False
            self.stream.release_followers(Reason.NOT_STORABLE)
        elif storage_decision.varying:
            self.varying = storage_decision.varying
            others = [reader for reader in self.stream.followers if not reader.may_share(storage_decision.varying)]
            self.stream.release(others, Unshared(Reason.NOT_STORABLE))

    @property
    def _has_viewer_conditions(self) -> bool:
        return self.upstream_request.has_viewer_conditions and not self.upstream_request.head.is_plain

    # -- what is stored, and what upstream says of it

    def _revalidated(self, stored: Entry, answer: ResponseHead) -> None:
        """304: the entry lives on with the new fields and a new lifetime (reference 2.4, RFC 9111 section 4.3.4)."""
        entry = self._storage.apply(stored, answer, self._answered_at)
        varying = varying_fields(entry.key)
        is_shared = entry.cache_metadata.may_be_shared(timing_of(self._context, answer, self._answered_at).initial_age)
        self.is_shared, self.is_sharing_known = is_shared, True
        others = [r for r in self.stream.followers if not (is_shared and r.may_share(varying))]
        self.stream.release(others, Unshared(Reason.NOT_STORABLE))
        self.stream.serve_entry(entry, Result.REFRESH_HIT, Reason.REVALIDATED)

    def _complete(self, partial: Entry, head: ResponseHead) -> bool:
        """206 with what was missing: the stored parts and the new one make the whole (RFC 9111 section 3.4)."""
        range_fill = RangeFill.of(partial, head)
        if range_fill is None or self.key is None:
            self._stop()  # an answer to this node's range, which no viewer has asked for
            self.stream.unshare()
            return False
        fields = combined_fields(partial.headers, viewer_fields(head, self.route.behavior), self._answered_at)
        whole = make_response_head(200, b"OK", (*fields, (b"content-length", b"%d" % partial.length)))
        self._range_fill = range_fill
        timing = timing_of(self._context, head, self._answered_at)
        writer, may_be_shared = None, False
        if self.may_be_stored:
            writer, may_be_shared = self._storage.open_writer_of_whole(self.key, whole, fields, timing)
        self.is_shared, self.is_sharing_known = may_be_shared, True
        if not may_be_shared:
            self.stream.release_followers(Reason.NOT_STORABLE)
        self.stream.open(whole, fields, writer)
        self._registry.fill_began_answering(self)
        self.stream.announce()
        for piece in range_fill.beginning():
            self.stream.body_arrived(bytes(piece))
        return True

    def _serve_stale(self, status: int) -> bool:
        """Answer an error with what is stored, if that is allowed (reference 2.3); those of the followers that do not allow it ask by themselves.

        In the background nobody is answered: the copy stays for as long as its own window says.
        """
        stale, stream = self._stored.stale_if_error, self.stream
        if stale is None or not self._storage.may_answer_error(stale):
            return False
        age_seconds = self._cache.clock() - stale.age_base
        refusing = [reader for reader in stream.readers if not reader.may_have_stale(stale, age_seconds)]
        is_refused = any(reader.role is FillRole.LEADER for reader in refusing)
        if stream.readers and (is_refused or len(refusing) == len(stream.readers)):
            return False
        self._storage.back_off(stale, status)
        stream.release(refusing, Unshared(Reason.EXPIRED))
        stream.serve_entry(stale, Result.HIT, Reason.STALE_ON_ERROR)
        return True

    # -- ends

    def _finish(self) -> None:
        """The response is whole: store it, if it is to be stored."""
        stream = self.stream
        if stream.is_ended:
            return
        if self._compressor is not None:
            stream.body_arrived(self._compressor.finish())
        if self._range_fill is not None:
            if not self._range_fill.is_done:
                self._break_off("less than the missing part came")
                return
            for piece in self._range_fill.rest():
                stream.body_arrived(bytes(piece))
        self._storage.store(stream)
        stream.complete()

    def _fail(self, failure: UpstreamFailure) -> None:
        """Upstream is lost; before the head something stale may be served."""
        if self.stream.is_ended or (not self.has_started and self._serve_stale(failure.status)):
            return
        self.stream.fail(failure)

    def _break_off(self, detail: str) -> None:
        """What comes does not belong behind what was passed on."""
        self._stop()
        self.stream.fail(UpstreamFailure(UpstreamErrorKind.TRUNCATED, detail))

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _close(self) -> None:
        """Release what an unfinished body needed."""
        self._has_ended, self._fetch = True, None
        if self._compressor is not None:
            self._compressor.close()
