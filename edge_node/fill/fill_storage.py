"""What a fill does to the cache: it stores the response that it has brought, whole or as a part (RFC 9111 sections 3 and 3.4), and applies what upstream says of what is
stored already (sections 4.3.4 and 4.3.5)."""

from typing import assert_never

from edge_node.caching.entry import Entry
from edge_node.caching.entry_factory import ResponseTiming, make_entry, make_entry_of_body, with_age
from edge_node.caching.key import CacheKey
from edge_node.caching.revalidation import HeadEffect, effect_of_head
from edge_node.caching.stored_body import PartialStoredBody
from edge_node.fill.merge_not_modified import merge_not_modified
from edge_node.fill.range_fill import is_whole_of, with_stored_parts
from edge_node.fill.response_classifier import FetchContext, ResponseClassification, template_of, timing_of
from edge_node.fill.response_stream import ResponseStream
from edge_node.fill.storage_decision import StorageDecision, decide_storage, error_minimum_ttl
from edge_node.model.http import Headers, ResponseHead
from edge_node.policy.response_head import content_length, write_fields
from edge_node.policy.upstream_request import UpstreamRequest
from edge_node.storage.cache import Cache
from edge_node.storage.protocol import Writer


class FillStorage:
    """What one fill may put into the cache."""

    __slots__ = ("_cache", "_context", "_decided", "_epoch", "_replaces", "_upstream_request")

    def __init__(
        self, cache: Cache, upstream_request: UpstreamRequest, context: FetchContext, replaces: Entry | None
    ) -> None:
        self._cache = cache
        self._upstream_request = upstream_request
        self._context = context
        self._epoch = cache.invalidations.epoch
        """Of the log, when upstream was asked."""
        self._replaces = replaces
        """What the same request selected before."""
        self._decided: tuple[StorageDecision, ResponseTiming] | None = None
        """How the response is stored for which a writer was opened."""

    def open_writer(self, received: ResponseClassification, stale: Entry | None) -> Writer | None:
        """Room in the store, if the response is to be stored and there is room; `stale` is what it may take the place of."""
        storage_decision = received.storage_decision
        if storage_decision is None:
            return None
        if received.is_storable:
            writer = self._cache.store.open_writer(storage_decision.key, received.head.content_length)
            if storage_decision.part is not None and writer is not None and not writer.keeps_chunks:
                writer.abort()  # parts are put together in memory; one that has no room there is passed on
                return None
            self._decided = (storage_decision, received.timing)
            return writer
        if stale is not None and received.head.status == 200 and not self._context.route.is_strict:
            self._cache.remove(stale)  # replaced (reference 2.4), by what nobody else may have
        return None

    def open_writer_of_whole(
        self, key: CacheKey, head: ResponseHead, fields: Headers, timing: ResponseTiming
    ) -> tuple[Writer | None, bool]:
        """The same for the whole that a part completes, and whether those who joined may have it."""
        route = self._context.route
        storage_decision = decide_storage(self._context.head, route, key, head, fields, timing.response_time)
        if not storage_decision.cache_metadata.is_storable:
            return None, False
        writer = self._cache.store.open_writer(storage_decision.key, head.content_length)
        self._decided = (storage_decision, timing)
        return writer, writer is not None and storage_decision.cache_metadata.may_be_shared(timing.initial_age)

    def store(self, stream: ResponseStream) -> None:
        """The body of a stream is whole: store it, if the stream still has a writer, unless it was invalidated while it came, or something newer or better is there."""
        decided, writer = self._decided, stream.writer
        if decided is None or writer is None:
            return
        storage_decision, timing = decided
        part = storage_decision.part
        if part is not None and not part.may_be_body(stream.received_bytes):
            stream.drop_writer()
            return
        there = self._stored_now(storage_decision.key) if part is not None else None
        has_outgrown_memory = part is not None and not writer.keeps_chunks
        if has_outgrown_memory or is_whole_of(there, part, timing.response_time):
            stream.drop_writer()
            return
        entry, is_of_both = self._make_entry(stream, storage_decision, there, timing)
        if not self._cache.put(entry, self._epoch, None if is_of_both else self._context.requested_at, writer.commit):
            stream.drop_writer()
            return
        stream.stored()
        if self._context.route.is_strict:
            self._cache.index_variant(entry.key)
            replaced = self._replaces
            if replaced is not None and replaced.key != entry.key and part is None:
                self._cache.remove(replaced)  # the same request selected it, and would again

    def _make_entry(
        self, stream: ResponseStream, storage_decision: StorageDecision, there: Entry | None, timing: ResponseTiming
    ) -> tuple[Entry, bool]:
        """The entry; True: it has parts of what is there in it."""
        if storage_decision.part is not None:
            return self._make_partial_entry(stream, storage_decision, there, timing)
        template = template_of(
            self._cache.template, self._context.route, storage_decision.head, storage_decision.cache_metadata
        )
        lines = stream.field_lines + content_length(stream.received_bytes)
        if stream.keeps_chunks:
            return make_entry(
                storage_decision.key, lines, stream.chunks, stream.received_bytes, template, timing
            ), False
        return with_age(Entry(storage_decision.key, lines + b"\r\n", None, template, timing.stamp), timing), False

    def _make_partial_entry(
        self, stream: ResponseStream, storage_decision: StorageDecision, there: Entry | None, timing: ResponseTiming
    ) -> tuple[Entry, bool]:
        """The part that came, with those that are there and belong to the same bytes (RFC 9111 section 3.4), if together they have room."""
        part, writer = storage_decision.part, stream.writer
        assert part is not None and writer is not None
        parts, fields = with_stored_parts(there, part, storage_decision.fields, stream.chunks, timing.response_time)
        if not writer.admits(parts.stored_bytes):
            parts, fields = with_stored_parts(None, part, storage_decision.fields, stream.chunks, timing.response_time)
        is_of_both = parts.stored_bytes > stream.received_bytes
        template = template_of(
            self._cache.template, self._context.route, storage_decision.head, storage_decision.cache_metadata
        )
        lines = write_fields(fields) + content_length(part.complete_length)
        if parts.is_complete:
            chunks = [bytes(chunk) for chunk in parts.segments[0].chunks] if parts.segments else []
            return make_entry(storage_decision.key, lines, chunks, part.complete_length, template, timing), is_of_both
        return make_entry_of_body(storage_decision.key, lines, PartialStoredBody(parts), template, timing), is_of_both

    def _stored_now(self, key: CacheKey) -> Entry | None:
        there = self._cache.store.lookup(key)
        return None if there is None or self._cache.is_invalidated(there) else there

    # -- what is stored, and what upstream says of it

    def apply(self, stored: Entry, answer: ResponseHead, answered_at: float) -> Entry:
        """The entry with the fields of an answer; those who ask later find it so, if they may."""
        timing = timing_of(self._context, answer, answered_at)
        revalidated = merge_not_modified(self._upstream_request, stored, answer, timing, self._cache.template)
        if revalidated.replaces:
            self._cache.replace(revalidated.entry, stored, self._context.requested_at)
        elif revalidated.is_outdated:
            self._cache.remove(stored)
        return revalidated.entry

    def update_by_head(self, stored: Entry, answer: ResponseHead, answered_at: float) -> None:
        """The answer to a HEAD: the stored response to GET is updated, or known to be outdated (RFC 9111 section 4.3.5)."""
        if answer.status != 200:
            return
        match effect_of_head(dict(stored.headers), stored.length, answer.fields):
            case HeadEffect.UPDATE:
                self.apply(stored, answer, answered_at)
            case HeadEffect.STALE:
                self._cache.remove(stored)
            case _ as unreachable:
                assert_never(unreachable)

    def may_answer_error(self, stale: Entry) -> bool:
        """Whether a stored response still holds, and could be used in place of an error (stale-if-error, reference 2.3) by a request that allows it."""
        is_whole = stale.status < 400 and not stale.is_partial
        return is_whole and self._epoch == self._cache.invalidations.epoch and not self._cache.is_invalidated(stale)

    def back_off(self, stale: Entry, status: int) -> None:
        """Leave upstream alone for the error caching minimum TTL; a refresh in the background leaves the copy its own window."""
        self._cache.back_off(stale, self._cache.clock() + error_minimum_ttl(self._context.route, status))
