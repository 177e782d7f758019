"""A fill: one fetch for one key, from the first byte asked for to the entry stored.

It is the sink of the upstream connection and feeds a transfer, whose readers are the viewers. Here is decided, once the head is there, whether the response
may be stored and shared, whether a 304 confirms what is stored, and whether something stale stands in for an error.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

from edge_node.caching.bodies import PartsBody
from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entries import Arrival, make_entry, make_entry_of_body, with_age
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey, varying_fields
from edge_node.caching.partial import combined_fields
from edge_node.caching.unsafe_methods import invalidated_targets
from edge_node.caching.updating import HeadEffect, effect_of_head, is_validated_by
from edge_node.completion import Completion, is_rest_of, is_whole_of, with_stored_parts
from edge_node.compressing import Compressor
from edge_node.confirming import confirm
from edge_node.errors import UpstreamError, UpstreamErrorKind
from edge_node.keeping import Keeping, error_minimum_ttl, keep
from edge_node.model import Header, RequestHead, ResponseHead
from edge_node.policy.answers import content_length, write_fields
from edge_node.policy.compression import coding_for, encoded_fields
from edge_node.policy.upstream_requests import Question
from edge_node.policy.viewer_fields import viewer_fields
from edge_node.reception import Asked, arrival_of, dated, receive, said_by_regional, traits_of
from edge_node.shelf import Shelf
from edge_node.storage.protocol import Writer
from edge_node.transfers import Transfer, TransferState
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.fetching import ResponseFlow
from edge_node.upstream.targets import Target


class Stored:
    """What is stored already for the request of a fill, and what it is good for."""

    __slots__ = ("completes", "confirms", "stand_in", "updates")

    def __init__(
        self,
        stand_in: Entry | None = None,
        confirms: Entry | None = None,
        completes: Entry | None = None,
        updates: Entry | None = None,
    ) -> None:
        self.stand_in: Final = stand_in
        """May answer instead of an error, if its terms allow."""
        self.confirms: Final = confirms
        """The conditions of the request name it: a 304 is about it."""
        self.completes: Final = completes
        """The request asks for what is missing of it."""
        self.updates: Final = updates
        """The answer to a HEAD may say something about it (RFC 9111 section 4.3.5)."""


NOTHING_STORED = Stored()


class Fill:
    """One fetch that feeds one transfer."""

    def __init__(
        self,
        shelf: Shelf,
        question: Question,
        transfer: Transfer,
        stored: Stored = NOTHING_STORED,
        since: tuple[int, float] | None = None,
    ) -> None:
        """`since` is the epoch of the log and the moment at which upstream was asked, if it was not now."""
        self._shelf = shelf
        self.question = question
        self.transfer = transfer
        self._plan = question.plan
        self._stored = stored
        self._epoch, asked_at = since or (shelf.invalidations.epoch, shelf.clock())
        self._asked = Asked(question.head, question.plan, transfer.stamp, asked_at)
        self._answered_at = asked_at
        self.invalidate: Callable[[RequestHead, str, tuple[bytes, ...]], None] | None = None
        """For a write, where the RFCs rule: makes targets invalid (RFC 9111 section 4.4)."""
        self._keeping: Keeping | None = None
        self._completion: Completion | None = None
        self._compressor: Compressor | None = None
        self._target: Target | None = None
        self._continues_seen = 0
        self._connection: ResponseFlow | None = None

    # -- sink

    @property
    def has_started(self) -> bool:
        """The head has been passed on, or another answer was given: nothing is to be asked from the beginning again."""
        return self.transfer.head is not None or self.transfer.is_ended

    @property
    def is_ended(self) -> bool:
        """An answer was given: whatever becomes of this response, it is no failure of upstream."""
        return self.transfer.is_ended

    def connected(self, connection: ResponseFlow | None, target: Target) -> None:
        """Flow control goes to this connection now."""
        self._connection = connection
        self._target = target
        self._continues_seen = 0
        self.transfer.connect_flow(connection)

    def resume_point(self) -> Sequence[Header] | None:
        """Ask for the rest by range, on condition that it is still the same object; only a strong ETag can tell."""
        head = self.transfer.head
        if head is None or self.transfer.is_ended or head.status != 200 or head.content_length is None:
            return None
        etag = head.fields.get(b"etag", b"")
        if not etag.startswith(b'"') or self._completion is not None:
            return None
        return ((b"range", b"bytes=%d-" % self.transfer.received_bytes), (b"if-range", etag))

    def interim_arrived(self, head: ResponseHead) -> None:
        """An interim response, for those who wait already (RFC 9110 section 15.2). CloudFront passes none on, and takes a second 100 for an error (reference 2.6)."""
        if head.status == 100:  # answers an Expect that this node did not send on: for nobody
            self._continues_seen += 1
            if self._continues_seen > 1 and not self._plan.is_strict and self._connection is not None:
                self._connection.give_up(UpstreamErrorKind.INVALID_RESPONSE, "a second 100 Continue")
        elif self._plan.is_strict and not self.has_started:
            for reader in tuple(self.transfer.readers):
                reader.interim_arrived(head)

    def head_arrived(self, head: ResponseHead) -> None:
        """The final head of this attempt."""
        if self.has_started:
            started, received_bytes = self.transfer.head, self.transfer.received_bytes
            if not self.transfer.is_ended and not (started and is_rest_of(started, received_bytes, head)):
                self._break_off("the rest is not of the same object")
            if self.transfer.is_ended:
                self.stop()
            return
        if self._fails_over(head):
            return
        self._answered_at = self._shelf.clock()
        confirms, completes, updates = self._stored.confirms, self._stored.completes, self._stored.updates
        if updates is not None:
            self._updated(updates, head)
        if confirms is not None and head.status == 304 and is_validated_by(dict(confirms.headers), head.fields):
            self._confirmed(confirms, head)
        elif confirms is not None and head.status == 304:  # about something else: RFC 9111 section 4.3.4
            self._let_go()
        elif head.status >= 500 and self._serve_stale(head.status):
            self.stop()
        elif completes is not None and head.status in (206, 416):
            if not self._complete(completes, head):
                self._let_go()  # an answer to this node's range, which no viewer has asked for
        else:
            self._start(head)

    def body_arrived(self, data: bytes) -> None:
        """Pass it on, unless it belongs to no head that was passed on: the answer has been given already, or this response sends the request elsewhere."""
        if self.transfer.state is not TransferState.STREAMING:
            return
        if self._completion is not None and not self._completion.takes(len(data)):
            self._break_off("more than the missing part came")
            return
        if self._compressor is not None:
            data = self._compressor.compress(data)
        if data:
            self.transfer.body_arrived(data)

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        """All of it at once."""
        self.head_arrived(head)
        if body:
            self.body_arrived(body)

    # -- ends

    def finish(self) -> None:
        """The response is whole: store it, if it is to be stored."""
        transfer = self.transfer
        if transfer.is_ended:
            return
        if self._compressor is not None:
            transfer.body_arrived(self._compressor.finish())
        part = self._keeping.part if self._keeping is not None else None
        if part is not None and not part.may_be_body(transfer.received_bytes):
            transfer.drop_writer()
        if self._completion is not None:
            if not self._completion.is_done:
                self._break_off("less than the missing part came")
                return
            for piece in self._completion.rest():
                transfer.body_arrived(bytes(piece))
        if transfer.writer is not None and self._keeping is not None:
            self._commit(self._keeping)
        transfer.complete()

    def fail(self, error: UpstreamError) -> None:
        """Upstream is lost; before the head something stale may stand in."""
        self.close()
        if self.transfer.is_ended or (not self.has_started and self._serve_stale(error.status)):
            return
        self.transfer.fail(error)

    def close(self) -> None:
        """Give back what an unfinished body needed."""
        if self._compressor is not None:
            self._compressor.close()

    def _fails_over(self, head: ResponseHead) -> bool:
        """Whether this answer sends the request to the other origin of the group (reference 1.5)."""
        target, connection = self._target, self._connection
        if target is None or connection is None or head.status not in (target.failover_statuses or ()):
            return False
        connection.give_up(UpstreamErrorKind.FAILOVER, f"status {head.status} of origin {target.peer_id!r}")
        return True

    # -- a new response

    def _start(self, head: ResponseHead) -> None:
        """Store it while it passes, if it may be stored."""
        transfer, request, stale = self.transfer, self.question.head, self._stored.stand_in
        if self.invalidate is not None:
            self.invalidate(request, transfer.distribution_id, invalidated_targets(request, head, b"http"))
        transfer.upstream_result = said_by_regional(head, self._target)
        # The viewer's conditions went upstream: an error may be their fault, and is not for others.
        is_for_all = head.status in (200, 206) or not self._has_viewer_conditions
        key = transfer.key if is_for_all and transfer.may_be_stored else None
        received = receive(self._asked, key, self._compress(dated(head, self._answered_at)), self._answered_at)
        keeping, writer = received.keeping, None
        if keeping is not None and received.is_storable:
            writer = self._shelf.store.open_writer(keeping.key, received.head.content_length)
            if keeping.part is not None and writer is not None and not writer.keeps_chunks:
                writer.abort()  # parts are put together in memory; one that has no room there is passed on
                writer = None
        elif keeping is not None and stale is not None and head.status == 200 and not self._plan.is_strict:
            self._shelf.remove(stale)  # replaced (reference 2.4), by what nobody else may have
        self._keeping = keeping
        if writer is None or keeping is None or not received.is_for_all:
            transfer.be_for_one()
        elif keeping.varying:
            transfer.varying = keeping.varying
            transfer.release([r for r in transfer.followers if not r.may_share(keeping.varying)], None)
        transfer.own_lines = write_fields(received.own_fields)
        transfer.start(received.head, received.fields, writer)

    @property
    def _has_viewer_conditions(self) -> bool:
        return self.question.has_viewer_conditions and not self.question.head.is_plain

    def _compress(self, head: ResponseHead) -> ResponseHead:
        """Code the body on its way, where the behavior and the viewer want that (reference 2.7); edges do it, for viewers."""
        coding = None
        if not self._shelf.node.is_regional:
            is_whole_asked = not self.question.has_viewer_conditions
            coding = coding_for(self.question.head, head, self._plan.behavior, is_whole_asked=is_whole_asked)
        if coding is None or head.content_length is None:
            return head
        if self.question.head.method == b"GET":
            self._compressor = self._shelf.compressors.open(coding, head.content_length)
            if self._compressor is None:  # best effort: too many are at work
                return head
        return make_response_head(head.status, head.reason, encoded_fields(head.headers, coding))

    def _commit(self, keeping: Keeping) -> None:
        transfer, shelf = self.transfer, self._shelf
        writer = transfer.writer
        assert writer is not None
        there = self._stored_now(keeping.key) if keeping.part is not None else None
        has_outgrown_memory = keeping.part is not None and not writer.keeps_chunks
        if has_outgrown_memory or is_whole_of(there, keeping.part, self._answered_at):
            transfer.drop_writer()
            return
        arrival, is_of_both = self._arrival(keeping.head), False
        traits = traits_of(shelf.traits, self._plan, keeping.head, keeping.terms)
        if keeping.part is not None:
            entry, is_of_both = self._partial_entry(keeping, there, writer)
        else:
            length, lines = transfer.received_bytes, transfer.field_lines + content_length(transfer.received_bytes)
            if writer.keeps_chunks:
                entry = make_entry(keeping.key, lines, transfer.chunks, length, traits, arrival)
            else:
                entry = with_age(Entry(keeping.key, lines + b"\r\n", None, traits, arrival.stamp), arrival)
        if not shelf.put(entry, self._epoch, None if is_of_both else self._asked.asked_at, writer.commit):
            transfer.drop_writer()
            return
        transfer.writer = None
        if self._plan.is_strict:
            shelf.index_variant(entry.key)
            replaced = self._stored.confirms or self._stored.stand_in
            if replaced is not None and replaced.key != entry.key and keeping.part is None:
                shelf.remove(replaced)  # the same request selected it, and would again

    def _stored_now(self, key: CacheKey) -> Entry | None:
        there = self._shelf.store.lookup(key)
        return None if there is None or self._shelf.is_void(there) else there

    def _partial_entry(self, keeping: Keeping, there: Entry | None, writer: Writer) -> tuple[Entry, bool]:
        """The part that came, with those that are there and belong to the same bytes (RFC 9111 section 3.4), if together they have room; True: with those."""
        part, said = keeping.part, (keeping.fields, self.transfer.chunks)
        assert part is not None
        parts, fields = with_stored_parts(there, part, said, self._answered_at)
        if not writer.admits(parts.stored_bytes):
            parts, fields = with_stored_parts(None, part, said, self._answered_at)
        is_of_both = parts.stored_bytes > self.transfer.received_bytes
        lines = write_fields(fields) + content_length(part.complete_length)
        traits = traits_of(self._shelf.traits, self._plan, keeping.head, keeping.terms)
        arrival = self._arrival(keeping.head)
        if parts.is_complete:
            chunks = [bytes(chunk) for chunk in parts.segments[0].chunks] if parts.segments else []
            return make_entry(keeping.key, lines, chunks, part.complete_length, traits, arrival), is_of_both
        return make_entry_of_body(keeping.key, lines, PartsBody(parts), traits, arrival), is_of_both

    def _arrival(self, head: ResponseHead) -> Arrival:
        return arrival_of(self._asked, head, self._answered_at)

    # -- what is stored, and what upstream says of it

    def _confirmed(self, stored: Entry, answer: ResponseHead) -> None:
        """304: the entry lives on with the new fields and a new lifetime (reference 2.4, RFC 9111 section 4.3.4)."""
        transfer = self.transfer
        entry = self._apply(stored, answer)
        varying = varying_fields(entry.key)
        is_shared = entry.terms.may_be_shared(self._arrival(answer).initial_age)
        transfer.release([r for r in transfer.followers if not (is_shared and r.may_share(varying))], None)
        transfer.serve_entry(entry, Result.REFRESH_HIT, Reason.REVALIDATED)

    def _updated(self, stored: Entry, answer: ResponseHead) -> None:
        """The answer to a HEAD: the stored response to GET is updated, or known to be outdated (RFC 9111 section 4.3.5)."""
        if answer.status != 200:
            return
        match effect_of_head(dict(stored.headers), stored.length, answer.fields):
            case HeadEffect.UPDATE:
                self._apply(stored, answer)
            case HeadEffect.STALE:
                self._shelf.remove(stored)
            case _ as unreachable:
                assert_never(unreachable)

    def _apply(self, stored: Entry, answer: ResponseHead) -> Entry:
        """The entry with the fields of an answer; those who ask later find it so, if they may."""
        confirmed = confirm(self.question, stored, answer, self._arrival(answer), self._shelf.traits)
        if confirmed.replaces:
            self._shelf.replace(confirmed.entry, stored, self._asked.asked_at)
        elif confirmed.is_outdated:
            self._shelf.remove(stored)
        return confirmed.entry

    def _complete(self, partial: Entry, head: ResponseHead) -> bool:
        """206 with what was missing: the stored parts and the new one make the whole (RFC 9111 section 3.4); False: it belongs to something else."""
        completion = Completion.of(partial, head)
        if completion is None or self.transfer.key is None:
            return False
        fields = combined_fields(partial.headers, viewer_fields(head, self._plan.behavior), self._answered_at)
        whole = make_response_head(200, b"OK", (*fields, (b"content-length", b"%d" % partial.length)))
        keeping = keep((self.question.head, self._plan, self.transfer.key), whole, fields, self._answered_at)
        self._completion = completion
        self._keeping = keeping
        may_be_stored = keeping.terms.is_storable and self.transfer.may_be_stored
        writer = self._shelf.store.open_writer(keeping.key, partial.length) if may_be_stored else None
        if writer is None or not keeping.terms.may_be_shared(self._arrival(head).initial_age):
            self.transfer.be_for_one()
        self.transfer.start(whole, fields, writer)
        for piece in completion.beginning():
            self.transfer.body_arrived(bytes(piece))
        return True

    def _serve_stale(self, status: int) -> bool:
        """Answer an error with what is stored, if that is allowed (reference 2.3); then leave upstream alone for the error caching minimum TTL.

        In the background nobody is answered: the copy stays for as long as its own window says.
        """
        stale = self._stored.stand_in
        shelf = self._shelf
        if stale is None or stale.status >= 400 or stale.is_partial:
            return False
        if self._epoch != shelf.invalidations.epoch or shelf.is_void(stale):
            return False
        now, transfer = shelf.clock(), self.transfer
        refusing = [reader for reader in transfer.readers if not reader.may_have_stale(stale, now - stale.age_base)]
        if transfer.readers and (transfer.leader in refusing or len(refusing) == len(transfer.readers)):
            return False
        shelf.leave_alone(stale, now + error_minimum_ttl(self._plan, status))
        transfer.release(refusing, None, Reason.EXPIRED)
        transfer.serve_entry(stale, Result.HIT, Reason.STALE_ON_ERROR)
        return True

    def _break_off(self, detail: str) -> None:
        """What comes does not belong behind what was passed on."""
        self.stop()
        self.transfer.fail(UpstreamError(UpstreamErrorKind.TRUNCATED, detail))

    def _let_go(self) -> None:
        self.stop()
        self.transfer.let_go()

    def stop(self) -> None:
        """Nothing more is wanted of the connection."""
        if self._connection is not None:
            self._connection.close()
