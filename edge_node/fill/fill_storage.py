"""What a fill does to the cache: it stores the response that it has brought, whole or as a part (RFC 9111 sections 3 and 3.4), and applies what upstream says of what is
stored already (sections 4.3.4 and 4.3.5)."""

from typing import assert_never

from edge_node.caching.bodies import PartsBody
from edge_node.caching.entries import make_entry, make_entry_of_body, with_age
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.updating import HeadEffect, effect_of_head
from edge_node.completion import is_whole_of, with_stored_parts
from edge_node.confirming import confirm
from edge_node.fill.response_stream import ResponseStream
from edge_node.keeping import Keeping, error_minimum_ttl
from edge_node.model import ResponseHead
from edge_node.policy.answers import content_length, write_fields
from edge_node.policy.upstream_requests import Question
from edge_node.reception import Asked, Reception, arrival_of, traits_of
from edge_node.shelf import Shelf
from edge_node.storage.protocol import Writer


class FillStorage:
    """What one fill may put into the cache."""

    __slots__ = ("_asked", "_epoch", "_question", "_replaces", "_shelf")

    def __init__(self, shelf: Shelf, question: Question, asked: Asked, replaces: Entry | None) -> None:
        self._shelf = shelf
        self._question = question
        self._asked = asked
        self._epoch = shelf.invalidations.epoch
        """Of the log, when upstream was asked."""
        self._replaces = replaces
        """What the same request selected before."""

    def open_writer(self, received: Reception, stale: Entry | None) -> Writer | None:
        """Room in the store, if the response is to be stored and there is room; `stale` is what it may take the place of."""
        keeping = received.keeping
        if keeping is None:
            return None
        if received.is_storable:
            writer = self._shelf.store.open_writer(keeping.key, received.head.content_length)
            if keeping.part is not None and writer is not None and not writer.keeps_chunks:
                writer.abort()  # parts are put together in memory; one that has no room there is passed on
                return None
            return writer
        if stale is not None and received.head.status == 200 and not self._asked.plan.is_strict:
            self._shelf.remove(stale)  # replaced (reference 2.4), by what nobody else may have
        return None

    def store(self, stream: ResponseStream, keeping: Keeping | None, answered_at: float) -> None:
        """The body is whole: store it, if that was begun."""
        if keeping is not None and keeping.part is not None and not keeping.part.may_be_body(stream.received_bytes):
            stream.drop_writer()
        if stream.writer is not None and keeping is not None:
            self._commit(stream, keeping, answered_at)

    def _commit(self, stream: ResponseStream, keeping: Keeping, answered_at: float) -> None:
        """Store the whole body of a stream that has a writer, unless it was invalidated while it came, or something newer or better is there."""
        writer = stream.writer
        assert writer is not None
        part = keeping.part
        there = self._stored_now(keeping.key) if part is not None else None
        has_outgrown_memory = part is not None and not writer.keeps_chunks
        if has_outgrown_memory or is_whole_of(there, part, answered_at):
            stream.drop_writer()
            return
        entry, is_of_both = self._make_entry(stream, keeping, there, answered_at)
        if not self._shelf.put(entry, self._epoch, None if is_of_both else self._asked.asked_at, writer.commit):
            stream.drop_writer()
            return
        stream.stored()
        if self._asked.plan.is_strict:
            self._shelf.index_variant(entry.key)
            replaced = self._replaces
            if replaced is not None and replaced.key != entry.key and part is None:
                self._shelf.remove(replaced)  # the same request selected it, and would again

    def _make_entry(
        self, stream: ResponseStream, keeping: Keeping, there: Entry | None, answered_at: float
    ) -> tuple[Entry, bool]:
        """The entry; True: it has parts of what is there in it."""
        if keeping.part is not None:
            return self._make_partial_entry(stream, keeping, there, answered_at)
        traits = traits_of(self._shelf.traits, self._asked.plan, keeping.head, keeping.terms)
        arrival = arrival_of(self._asked, keeping.head, answered_at)
        lines = stream.field_lines + content_length(stream.received_bytes)
        if stream.keeps_chunks:
            return make_entry(keeping.key, lines, stream.chunks, stream.received_bytes, traits, arrival), False
        return with_age(Entry(keeping.key, lines + b"\r\n", None, traits, arrival.stamp), arrival), False

    def _make_partial_entry(
        self, stream: ResponseStream, keeping: Keeping, there: Entry | None, answered_at: float
    ) -> tuple[Entry, bool]:
        """The part that came, with those that are there and belong to the same bytes (RFC 9111 section 3.4), if together they have room."""
        part, writer, said = keeping.part, stream.writer, (keeping.fields, stream.chunks)
        assert part is not None and writer is not None
        parts, fields = with_stored_parts(there, part, said, answered_at)
        if not writer.admits(parts.stored_bytes):
            parts, fields = with_stored_parts(None, part, said, answered_at)
        is_of_both = parts.stored_bytes > stream.received_bytes
        traits = traits_of(self._shelf.traits, self._asked.plan, keeping.head, keeping.terms)
        arrival = arrival_of(self._asked, keeping.head, answered_at)
        lines = write_fields(fields) + content_length(part.complete_length)
        if parts.is_complete:
            chunks = [bytes(chunk) for chunk in parts.segments[0].chunks] if parts.segments else []
            return make_entry(keeping.key, lines, chunks, part.complete_length, traits, arrival), is_of_both
        return make_entry_of_body(keeping.key, lines, PartsBody(parts), traits, arrival), is_of_both

    def _stored_now(self, key: CacheKey) -> Entry | None:
        there = self._shelf.store.lookup(key)
        return None if there is None or self._shelf.is_void(there) else there

    # -- what is stored, and what upstream says of it

    def apply(self, stored: Entry, answer: ResponseHead, answered_at: float) -> Entry:
        """The entry with the fields of an answer; those who ask later find it so, if they may."""
        arrival = arrival_of(self._asked, answer, answered_at)
        confirmed = confirm(self._question, stored, answer, arrival, self._shelf.traits)
        if confirmed.replaces:
            self._shelf.replace(confirmed.entry, stored, self._asked.asked_at)
        elif confirmed.is_outdated:
            self._shelf.remove(stored)
        return confirmed.entry

    def update_by_head(self, stored: Entry, answer: ResponseHead, answered_at: float) -> None:
        """The answer to a HEAD: the stored response to GET is updated, or known to be outdated (RFC 9111 section 4.3.5)."""
        if answer.status != 200:
            return
        match effect_of_head(dict(stored.headers), stored.length, answer.fields):
            case HeadEffect.UPDATE:
                self.apply(stored, answer, answered_at)
            case HeadEffect.STALE:
                self._shelf.remove(stored)
            case _ as unreachable:
                assert_never(unreachable)

    def may_answer_error(self, stale: Entry) -> bool:
        """Whether a stored response still holds, and could be used in place of an error (stale-if-error, reference 2.3) by a request that allows it."""
        is_whole = stale.status < 400 and not stale.is_partial
        return is_whole and self._epoch == self._shelf.invalidations.epoch and not self._shelf.is_void(stale)

    def back_off(self, stale: Entry, status: int) -> None:
        """Leave upstream alone for the error caching minimum TTL; a refresh in the background leaves the copy its own window."""
        self._shelf.leave_alone(stale, self._shelf.clock() + error_minimum_ttl(self._asked.plan, status))
