"""One viewer's request that is not answered at once: it waits for a transfer, sends what arrives at the viewer's own pace, and ends in one log record."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from edge_node.caching.bodies import Piece
from edge_node.caching.conditional import is_not_modified
from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entry import Entry
from edge_node.caching.key import KeyedField
from edge_node.caching.vary import variant_of
from edge_node.errors import UpstreamError
from edge_node.model import RequestHead, ResponseHead
from edge_node.policy.answers import (
    NodeFacts,
    age_to_show,
    content_length,
    middle_of_head,
    not_modified_fields,
    result_to_show,
    start_of_head,
    write_fields,
    x_cache,
)
from edge_node.policy.cache_statuses import status_of_fetch
from edge_node.policy.error_pages import STATUSES_THAT_CLOSE
from edge_node.policy.routing import Plan
from edge_node.policy.viewer_fields import viewer_fields
from edge_node.transfers import Transfer, TransferState

REQUEST_BODY_WINDOW_BYTES = 65_536
"""The viewer is paused above this many bytes that upstream has not taken."""


class ViewerLeftError(Exception):
    """The viewer closed before its request was whole."""


class Wire(Protocol):
    """The viewer's connection, as an exchange needs it."""

    peer: tuple[str, int]
    request_bytes: int
    is_held_up: bool
    """The viewer does not take what was sent; the connection calls `resume` when it does."""

    def send(self, data: Piece) -> None:
        """Send bytes, later than everything before."""

    def end_exchange(self, *, keep_alive: bool) -> None:
        """The response has been handed over whole."""

    def abort(self) -> None:
        """Cut the connection: the only honest end of a response that broke off."""

    def pause_body(self) -> None:
        """Take no more of the request's body for now."""

    def resume_body(self) -> None:
        """Take more."""

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow."""


class UnderWay(Protocol):
    """What a viewer's connection works on."""

    @property
    def body(self) -> "BodyFromViewer | None":
        """What it still takes of the request."""

    def resume(self) -> None:
        """The viewer takes more."""

    def viewer_left(self) -> None:
        """The connection is gone."""


class Recorder(Protocol):
    """Who counts and logs a finished request."""

    def record(self, exchange: "Exchange", status: int, body_length: int) -> None:
        """Once per exchange."""


class Helper(Protocol):
    """Who helps a viewer whose transfer let it go."""

    def serve_entry(self, exchange: "Exchange", entry: Entry, result: Result, reason: Reason) -> None:
        """Answer from this entry."""

    def try_alone(self, exchange: "Exchange", error: UpstreamError | None) -> None:
        """Fetch for this viewer alone, or answer with the error."""

    def replace_by_page(self, exchange: "Exchange", status: int) -> bool:
        """Answer with the page that is configured for an error status, if there is one; then the exchange has ended."""


class BodyFromViewer:
    """A request body on its way upstream."""

    def __init__(self, wire: Wire, length: int | None) -> None:
        self.length = length
        self._wire = wire
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_broken = False
        self._is_unwanted = False
        self._changed = asyncio.Event()
        self.is_complete = False
        self.is_full = False
        """Upstream is behind: no more is to be read of it for now."""

    def feed(self, data: bytes) -> None:
        """More has come from the viewer."""
        if self._is_unwanted:
            return
        self._chunks.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > REQUEST_BODY_WINDOW_BYTES:
            self.is_full = True
            self._wire.pause_body()
        self._changed.set()

    def end(self) -> None:
        """That was all."""
        self.is_complete = True
        self._changed.set()

    def break_off(self) -> None:
        """The viewer has gone."""
        self._is_broken = not self.is_complete
        self._changed.set()

    def discard(self) -> None:
        """The request is answered: what still comes of its body is read, so that another request can follow, and is for nobody."""
        self._is_unwanted = True
        self._chunks.clear()
        self._waiting_bytes = 0
        self.is_full = False
        self._changed.set()

    async def next_chunk(self) -> bytes | None:
        """The next piece for upstream; None at the end; ViewerLeftError when there will be no end."""
        while not self._chunks:
            if self._is_broken or self._is_unwanted:
                raise ViewerLeftError
            if self.is_complete:
                return None
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._waiting_bytes -= len(chunk)
        if self._waiting_bytes < REQUEST_BODY_WINDOW_BYTES // 2:
            self.is_full = False
            self._wire.resume_body()
        return chunk


class Exchange:
    """A viewer's request while it waits for, and sends, its response."""

    def __init__(self, wire: Wire, head: RequestHead, plan: Plan, request_id: bytes, started_at: float) -> None:
        self.wire = wire
        self.head = head
        self.plan = plan
        self.request_id = request_id
        self.started_at = started_at
        """On the monotonic clock, as is first_byte_at."""
        self.first_byte_at = 0.0
        self.position = 0
        self.body: BodyFromViewer | None = None
        self.transfer: Transfer | None = None
        self.result = Result.MISS
        self.reason = Reason.NOT_STORED
        self.tries = 1
        self.sent_bytes = 0
        self.is_ended = False
        self.response: ResponseHead | None = None
        self.status = 0
        self._is_chunked = False
        self._has_body = True
        self._keeps_alive = False
        """What the head has promised."""

        self.page_status = 0
        """What the viewer is told instead of 200, when the answer is the page for an error."""
        self.asked_head: RequestHead | None = None
        """What the viewer asked, when this is the request for a page."""
        self.has_sent_head = False

    # set by the pipeline when it makes the exchange
    node: NodeFacts
    recorder: Recorder
    helper: Helper
    monotonic: Callable[[], float]

    # -- reader of a transfer

    def transfer_started(self, transfer: Transfer) -> None:
        """Send the head."""
        assert transfer.head is not None
        head = transfer.head
        if head.status >= 400 and not self.page_status and self.helper.replace_by_page(self, head.status):
            transfer.detach(self, may_abandon=transfer.writer is None)
            return
        self.response = head
        if not self.head.is_plain and self._is_not_modified(transfer, head):
            fields = transfer.fields if self.node.is_regional else not_modified_fields(transfer.fields)
            lines = write_fields(fields)
            self._send_head(transfer, (304, b""), lines, b"")
            self._end(transfer)
            return
        self._has_body = self.head.method != b"HEAD" and head.status not in (204, 304)
        lines = transfer.field_lines
        if self.reason is not Reason.COLLAPSED:
            lines += transfer.own_lines
        self._send_head(transfer, (head.status, head.reason), lines, self._framing(head))
        if not self._has_body:
            self._end(transfer)

    def _is_not_modified(self, transfer: Transfer, head: ResponseHead) -> bool:
        by_name = dict(transfer.fields)
        etag, last_modified, date = (by_name.get(name) for name in (b"etag", b"last-modified", b"date"))
        return self.head.method != b"OPTIONS" and is_not_modified(
            self.head.fields, head.status, etag, last_modified, date
        )

    def transfer_advanced(self, transfer: Transfer) -> None:
        """Send what has come, as long as the viewer takes it."""
        if self.is_ended:
            return
        self._send_waiting(transfer)
        if self.position < transfer.end or not transfer.is_ended:
            return
        if transfer.state is TransferState.FAILED:
            self._cut(transfer)
            return
        if self._is_chunked:
            self._send(b"0\r\n\r\n")
        self._end(transfer)

    def interim_arrived(self, head: ResponseHead) -> None:
        """Pass on an interim response, as RFC 9110 section 15.2 asks of proxies; viewers of HTTP/1.0 do not know them."""
        if self.head.minor_version >= 1 and not self.has_sent_head:
            fields = write_fields(viewer_fields(head, self.plan.behavior))
            self._send(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, fields))

    def may_share(self, varying: tuple[KeyedField, ...]) -> bool:
        """Whether this request selects the same variant."""
        names = tuple(name for name, _ in varying)
        return variant_of(names, self.head.fields) == tuple(value for _, value in varying)

    def entry_ready(self, entry: Entry, result: Result, reason: Reason) -> None:
        """Answer from an entry."""
        self.transfer = None
        self.helper.serve_entry(self, entry, result, reason)

    def transfer_released(self, error: UpstreamError | None, reason: Reason) -> None:
        """Help yourself."""
        self.transfer = None
        if error is None:
            self.result, self.reason = Result.MISS, reason
        self.helper.try_alone(self, error)

    # -- the viewer's side

    def resume(self) -> None:
        """The viewer takes more."""
        if self.transfer is not None:
            transfer = self.transfer
            self.transfer_advanced(transfer)
            transfer.reader_moved()

    def viewer_left(self) -> None:
        """The connection is gone."""
        if self.is_ended:
            return
        self.is_ended = True
        self.reason = Reason.VIEWER_LEFT
        if self.body is not None:
            self.body.break_off()
        if self.transfer is not None:
            transfer, self.transfer = self.transfer, None
            transfer.detach(self)
        self.recorder.record(self, self.status, -1)

    def note_first_byte(self) -> None:
        """The response begins now."""
        self.first_byte_at = self.monotonic()

    # -- inside

    def _send_head(
        self, transfer: Transfer, status_and_reason: tuple[int, bytes], lines: bytes, framing: bytes
    ) -> None:
        said, why = transfer.upstream_result, self.reason
        if self.result is Result.MISS and transfer.head is not None and transfer.head.status >= 400:
            self.result, self.reason = Result.ERROR, Reason.UPSTREAM_STATUS
        if self.page_status:
            self.result = Result.ERROR
            if status_and_reason[0] == 200:
                status_and_reason = (self.page_status, b"")
        word = x_cache(result_to_show(self.result, said), status_and_reason[0])
        self.status = status_and_reason[0]
        self.note_first_byte()
        start = start_of_head(self.node, status_and_reason, (self.result, self.reason, word))
        is_framed = framing != b"" or not self._has_body or self.status == 304
        has_all_been_read = self.body is None or self.body.is_complete
        self._keeps_alive = self.wire.may_keep_alive and is_framed and has_all_been_read
        if self.page_status in STATUSES_THAT_CLOSE:
            self._keeps_alive = False
        if self.plan.is_strict:
            own = status_of_fetch(self.node, why, is_stored=transfer.writer is not None)
            lines += b"Cache-Status: %b\r\n" % own
        assert transfer.head is not None
        middle = middle_of_head(age_to_show(transfer.head, said, is_strict=self.plan.is_strict), self._keeps_alive)
        self._send(b"".join((start, self.request_id, middle, lines, framing, b"\r\n")))
        self.has_sent_head = True

    def _framing(self, head: ResponseHead) -> bytes:
        """How the viewer finds the end of the body (RFC 9112 section 6)."""
        if head.status == 204:  # RFC 9110 section 8.6: never with a length
            return b""
        if head.content_length is not None:
            return content_length(head.content_length)
        if self._has_body and self.head.minor_version >= 1:
            self._is_chunked = True
            return b"Transfer-Encoding: chunked\r\n"
        return b""

    def _send_waiting(self, transfer: Transfer) -> None:
        while self.position < transfer.end and not self.wire.is_held_up:
            chunk = transfer.chunks[self.position - transfer.first_chunk]
            self.position += 1
            self._send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._is_chunked else chunk)

    def _send(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        self.wire.send(data)

    def _end(self, transfer: Transfer) -> None:
        self.is_ended = True
        self.transfer = None
        self.recorder.record(self, self.status, transfer.received_bytes if self._has_body else 0)
        transfer.detach(self, may_abandon=transfer.writer is None and self._has_body)  # without one, the end is near
        self.wire.end_exchange(keep_alive=self._keeps_alive and self.wire.may_keep_alive)

    def _cut(self, transfer: Transfer) -> None:
        self.is_ended = True
        self.transfer = None
        self.result, self.reason = Result.ERROR, Reason.UPSTREAM_FAILED
        self.recorder.record(self, self.status, transfer.received_bytes)
        transfer.detach(self)
        self.wire.abort()
