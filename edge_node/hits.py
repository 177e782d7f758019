"""Answers from a stored response, and answers made here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_node.access_log import LogRecord
from edge_node.caching.bodies import Piece
from edge_node.caching.decisions import Reason, Refuse, Result
from edge_node.caching.entry import Entry
from edge_node.model import RequestHead, Semantics
from edge_node.policy.answers import (
    NodeFacts,
    content_length,
    error_page,
    middle_of_head,
    start_of_head,
    write_fields,
    x_cache,
)
from edge_node.policy.cache_statuses import status_of_entry
from edge_node.policy.contents import Content, choose_content
from edge_node.policy.error_pages import STATUSES_THAT_CLOSE
from edge_node.recording import RequestRecorder
from edge_node.sending import BodySender, PacedWire, new_buffer, pieces_of, pieces_to_send


class ViewerWire(PacedWire, Protocol):
    """The viewer's connection, as an immediate answer needs it."""

    peer: tuple[str, int]
    request_bytes: int

    def send(self, data: Piece) -> None:
        """Send bytes, later than everything before."""

    def send_many(self, chunks: list[Piece]) -> None:
        """Send pieces in order."""

    def end_exchange(self, *, keep_alive: bool) -> None:
        """The response has been handed over whole."""

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow."""


class Asked(Protocol):
    """A request and where its answer goes."""

    domain_name: bytes
    semantics: Semantics
    page_status: int
    """What the viewer is told instead of 200, when the answer is the page for an error; else 0."""

    asked_head: RequestHead | None
    """What the viewer asked, when `head` is the request for a page."""

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


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the record of an answer says of it."""

    status: int
    result: Result
    reason: Reason
    head_bytes: int
    content_type: bytes
    first_byte_seconds: float


class HitAnswerer:
    """Sends answers that are complete from the start."""

    def __init__(
        self, node: NodeFacts, recorder: RequestRecorder, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._node = node
        self._recorder = recorder
        self._clock = clock
        self._monotonic = monotonic
        self._buffer = new_buffer()

    def answer(self, asked: Asked, entry: Entry, result: Result, reason: Reason) -> None:
        """Answer from an entry."""
        wire = asked.wire
        now = self._clock()
        boundary = asked.request_id.rstrip(b"=")
        content = choose_content(asked.head, entry, asked.semantics, boundary, is_for_cache=self._node.is_regional)
        status = asked.page_status if asked.page_status and content.status == 200 else content.status
        if asked.page_status:
            result = Result.ERROR
        outcome = (result, reason, x_cache(result, status))
        phrase = entry.traits.reason if status == entry.status else b""
        start = start_of_head(self._node, (status, phrase), outcome)
        keep_alive = wire.may_keep_alive and asked.page_status not in STATUSES_THAT_CLOSE
        middle = middle_of_head(max(int(now - entry.age_base), 0), keep_alive)
        lines = content.field_lines
        if asked.semantics is Semantics.RFC9111:
            lines += b"Cache-Status: %b\r\n" % status_of_entry(self._node, entry, result, reason, now)
        head = b"".join((start, asked.request_id, middle, lines, b"\r\n"))
        first_byte_seconds = self._monotonic() - asked.started_at
        said = _Sent(status, result, reason, len(head), entry.traits.content_type, first_byte_seconds)
        if entry.body is None or entry.body.memory_bytes >= content.body_length:
            wire.send_many([head, *pieces_of(entry, content)])
            self._record(asked, said, content, content.body_length)
            wire.end_exchange(keep_alive=keep_alive)
            return

        def ended(sent_bytes: int, is_whole: bool) -> None:
            self._record(asked, said, content, sent_bytes, is_whole=is_whole)
            if is_whole:
                wire.end_exchange(keep_alive=keep_alive)

        BodySender(wire, head, pieces_to_send(entry, content, self._buffer, wire), ended).start()

    def refuse(self, asked: Asked, refusal: Refuse, *, keep_alive: bool) -> None:
        """Answer with a page made here."""
        page = error_page(refusal.status, refusal.text, asked.request_id)
        fields = ((b"content-type", b"text/html"), (b"server", b"CloudFront"))
        outcome = (Result.ERROR, refusal.reason, x_cache(Result.ERROR, refusal.status))
        wire = asked.wire
        keep_alive = keep_alive and wire.may_keep_alive
        start = start_of_head(self._node, (refusal.status, b""), outcome)
        lines = write_fields(fields) + content_length(len(page))
        head = b"".join((start, asked.request_id, middle_of_head(None, keep_alive), lines, b"\r\n"))
        body = b"" if asked.head.method == b"HEAD" else page
        wire.send(head + body)
        seconds = self._monotonic() - asked.started_at
        said = _Sent(refusal.status, Result.ERROR, refusal.reason, len(head), b"text/html", seconds)
        self._record(asked, said, Content(refusal.status, lines, len(page), ()), len(body))
        wire.end_exchange(keep_alive=keep_alive)

    def _record(
        self, asked: Asked, said: _Sent, content: Content, sent_body_bytes: int, *, is_whole: bool = True
    ) -> None:
        part = content.range
        wire = asked.wire
        self._recorder.take(
            LogRecord(
                self._clock(),
                asked.asked_head or asked.head,
                wire.peer,
                asked.domain_name,
                said.status,
                said.head_bytes + sent_body_bytes,
                wire.request_bytes,
                said.result,
                said.reason if is_whole else Reason.VIEWER_LEFT,
                asked.request_id,
                self._monotonic() - asked.started_at,
                said.first_byte_seconds,
                said.content_type,
                content.body_length,
                part.first if part is not None else -1,
                part.last if part is not None else -1,
            )
        )
