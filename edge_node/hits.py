"""Answers from a stored response: whole, 304, 206 or 416 (RFC 9110 sections 13, 14 and 15), and answers made here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from weakref import ref as weakref

from edge_node.access_log import LineTemplate, LogRecord, make_template
from edge_node.caching.conditional import is_not_modified, may_send_range
from edge_node.caching.decisions import Reason, Refuse, Result
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.ranges import ByteRange, Unsatisfiable, parse_range
from edge_node.model import RequestHead
from edge_node.policy.answers import (
    NodeFacts,
    content_length,
    content_range,
    error_page,
    finish_head,
    head_end,
    make_head,
    not_modified_fields,
    x_cache,
)
from edge_node.recording import RequestRecorder

Chunks = tuple[bytes, ...]


class ViewerWire(Protocol):
    """The viewer's connection, as an immediate answer needs it."""

    peer: tuple[str, int]
    request_bytes: int

    def send(self, data: bytes) -> None:
        """Send bytes, later than everything before."""

    def send_many(self, chunks: "list[bytes] | Chunks") -> None:
        """Send pieces in order."""

    def end_exchange(self, *, keep_alive: bool) -> None:
        """The response has been handed over whole."""

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow."""


class Asked(Protocol):
    """A request and where its answer goes."""

    domain_name: bytes

    @property
    def wire(self) -> ViewerWire:
        """The viewer's connection."""

    @property
    def head(self) -> RequestHead:
        """What it asked."""

    @property
    def request_id(self) -> bytes:
        """Of the whole request, at every tier."""

    @property
    def started_at(self) -> float:
        """On the monotonic clock."""


@dataclass(slots=True)
class RepeatedHit:
    """A plain hit that was asked for twice in the same words on one connection. While planner, applied index and entry are the same and the entry is fresh, the
    decision is the same too, being a function of these alone; so it is remembered instead of worked out again. It is an `Asked` of its own."""

    wire: ViewerWire
    head: RequestHead
    planner: object
    applied_index: int
    key: CacheKey
    entry: "weakref[Entry]"
    """Weak: a connection that idles must not keep a body alive that the store has evicted."""
    domain_name: bytes
    template: LineTemplate | None = None
    request_id: bytes = b""
    started_at: float = 0.0


class _Body(NamedTuple):
    """Status, framing and bytes of an answer."""

    status: int
    framing: bytes
    chunks: Chunks
    part: ByteRange | None


class HitAnswerer:
    """Sends answers that are complete from the start."""

    def __init__(
        self, node: NodeFacts, recorder: RequestRecorder, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._node = node
        self._recorder = recorder
        self._clock = clock
        self._monotonic = monotonic

    def answer(self, asked: Asked, entry: Entry, result: Result, reason: Reason) -> None:
        """Answer from an entry."""
        head = asked.head
        now = self._clock()
        age = int(now - entry.age_base)
        if reason is Reason.FRESH and head.is_plain and head.method == b"GET":
            self._answer_whole(asked, entry, now, None)
            return
        wire = asked.wire
        keep_alive = wire.may_keep_alive
        body = self._choose_body(head, entry)
        start = finish_head(self._make_head(entry, body, result, reason), asked.request_id, max(age, 0), keep_alive)
        wire.send(start)
        if body.chunks:
            wire.send_many(body.chunks)
        self._record(asked, entry, body, (result, reason), (len(start), now))
        wire.end_exchange(keep_alive=keep_alive)

    def answer_again(self, again: RepeatedHit, entry: Entry, now: float) -> None:
        """The same answer as before, later; `entry` is the remembered one."""
        record = self._answer_whole(again, entry, now, again.template)
        if again.template is None:
            again.template = make_template(record)

    def _answer_whole(self, asked: Asked, entry: Entry, now: float, template: LineTemplate | None) -> LogRecord:
        """The way of most requests: the prepared head and the whole body, in one write when the body is small."""
        wire, request_id, small_body, head_hit, length = (
            asked.wire,
            asked.request_id,
            entry.small_body,
            entry.head_hit,
            entry.length,
        )
        keep_alive = wire.may_keep_alive
        age = int(now - entry.age_base)
        end = head_end(age if age > 0 else 0, keep_alive)  # noqa: FURB136 - a call of max() costs more than the comparison
        if small_body is not None:
            wire.send(b"".join((head_hit, request_id, end, small_body)))
        else:
            wire.send(b"".join((head_hit, request_id, end)))
            wire.send_many(entry.chunks)
        sent = len(head_hit) + len(request_id) + len(end) + length
        seconds = self._monotonic() - asked.started_at
        record = LogRecord(
            now,
            asked.head,
            wire.peer,
            asked.domain_name,
            entry.status,
            sent,
            wire.request_bytes,
            Result.HIT,
            Reason.FRESH,
            request_id,
            seconds,
            seconds,
            entry.content_type,
            length,
            -1,
            -1,
            template,
        )
        self._recorder.take(record)
        wire.end_exchange(keep_alive=keep_alive)
        return record

    def refuse(self, asked: Asked, refusal: Refuse, *, keep_alive: bool) -> None:
        """Answer with a page made here."""
        page = error_page(refusal.status, refusal.text, asked.request_id)
        fields = ((b"content-type", b"text/html"), (b"server", b"CloudFront"))
        outcome = (Result.ERROR, refusal.reason, x_cache(Result.ERROR, refusal.status))
        head = make_head(self._node, (refusal.status, b""), fields, content_length(len(page)), outcome)
        keep_alive = keep_alive and asked.wire.may_keep_alive
        start = finish_head(head, asked.request_id, None, keep_alive)
        is_head = asked.head.method == b"HEAD"
        asked.wire.send(start if is_head else start + page)
        sent = len(start) + (0 if is_head else len(page))
        seconds = self._monotonic() - asked.started_at
        wire = asked.wire
        self._recorder.take(
            LogRecord(
                self._clock(),
                asked.head,
                wire.peer,
                asked.domain_name,
                refusal.status,
                sent,
                wire.request_bytes,
                Result.ERROR,
                refusal.reason,
                asked.request_id,
                seconds,
                seconds,
                b"text/html",
                len(page),
                -1,
                -1,
            )
        )
        wire.end_exchange(keep_alive=keep_alive)

    def _choose_body(self, head: RequestHead, entry: Entry) -> _Body:
        """What of the entry this request gets."""
        fields = head.fields
        if head.method in (b"GET", b"HEAD") and is_not_modified(fields, entry.status, entry.etag, entry.last_modified):
            return _Body(304, b"", (), None)
        whole = _Body(entry.status, content_length(entry.length), entry.chunks if head.method != b"HEAD" else (), None)
        range_field = fields.get(b"range")
        if range_field is None or head.method != b"GET" or entry.status != 200:
            return whole
        if not may_send_range(fields, entry.etag, entry.last_modified):
            return whole
        match parse_range(range_field, entry.length):
            case None:
                return whole
            case Unsatisfiable():
                return _Body(416, b"Content-Range: bytes */%d\r\nContent-Length: 0\r\n" % entry.length, (), None)
            case ByteRange() as part:
                return _Body(206, content_range(part, entry.length), cut(entry.chunks, part), part)

    def _make_head(self, entry: Entry, body: _Body, result: Result, reason: Reason) -> bytes:
        fields = not_modified_fields(entry.headers) if body.status == 304 else entry.headers
        status_and_reason = (body.status, entry.reason if body.status == entry.status else b"")
        return make_head(
            self._node, status_and_reason, fields, body.framing, (result, reason, x_cache(result, body.status))
        )

    def _record(
        self,
        asked: Asked,
        entry: Entry,
        body: _Body,
        outcome: tuple[Result, Reason],
        head_length_and_now: tuple[int, float],
    ) -> None:
        head_length, now = head_length_and_now
        part = body.part
        sent_body = part.length if part is not None else entry.length if body.chunks else 0
        seconds = self._monotonic() - asked.started_at
        wire = asked.wire
        self._recorder.take(
            LogRecord(
                now,
                asked.head,
                wire.peer,
                asked.domain_name,
                body.status,
                head_length + sent_body,
                wire.request_bytes,
                *outcome,
                asked.request_id,
                seconds,
                seconds,
                entry.content_type,
                sent_body,
                part.first if part is not None else -1,
                part.last if part is not None else -1,
            )
        )


def cut(chunks: Chunks, part: ByteRange) -> Chunks:
    """The bytes of a range, without copying whole chunks."""
    pieces: list[bytes] = []
    offset = 0
    for chunk in chunks:
        first, last = part.first - offset, part.last - offset
        if last < 0:
            break
        if first < len(chunk):
            pieces.append(chunk[max(first, 0) : last + 1] if first > 0 or last < len(chunk) - 1 else chunk)
        offset += len(chunk)
    return tuple(pieces)
