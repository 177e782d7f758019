"""A request that waits for a cache fill, and its response, sent as it arrives, at the viewer's own pace."""

from collections.abc import Callable, Sequence
from typing import Final

from edge_node.caching.conditional import is_not_modified
from edge_node.caching.entry import Entry
from edge_node.caching.key import KeyedField
from edge_node.caching.lookup import Reason, Result
from edge_node.caching.request_directives import request_directives_of
from edge_node.caching.reuse import may_serve_stale_if_error
from edge_node.caching.vary import is_same_variant
from edge_node.delivery.downstream import DownstreamHead
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_record import NOTHING_SENT, UNKNOWN_LENGTH, SentResponse
from edge_node.delivery.request_recorder import RequestRecorder
from edge_node.fill.outcome import ANSWERED, FillOutcome, FillRole
from edge_node.fill.response_stream import ResponseStream, StreamState
from edge_node.model.http import ResponseHead
from edge_node.policy.cache_status import status_of_fetch
from edge_node.policy.error_responses import STATUSES_THAT_CLOSE
from edge_node.policy.response_head import (
    LocalNode,
    age_to_show,
    not_modified_fields,
    result_to_show,
    write_fields,
    x_cache,
)
from edge_node.policy.response_headers import viewer_fields
from edge_node.policy.router import Route

TakeOutcome = Callable[["StreamedResponse", FillOutcome], None]
"""What is done when the fill has come to something: the one place where that is decided is the dispatcher."""


class ResponseDependencies:
    """What all of a node's responses are sent with."""

    __slots__ = ("monotonic", "node", "recorder")

    def __init__(self, node: LocalNode, recorder: RequestRecorder, monotonic: Callable[[], float]) -> None:
        self.node: Final = node
        self.recorder: Final = recorder
        self.monotonic: Final = monotonic


class StreamedResponse:
    """One of those who read a response stream."""

    __slots__ = ("_dependencies", "_sent", "_take_outcome", "context", "is_over", "position", "role", "route", "stream")

    def __init__(
        self,
        context: RequestContext,
        route: Route,
        role: FillRole,
        stream: ResponseStream,
        dependencies: ResponseDependencies,
        take_outcome: TakeOutcome,
    ) -> None:
        self.context: Final = context
        self.route: Final = route
        self.role: Final = role
        self.stream: Final = stream
        self._dependencies: Final = dependencies
        self._take_outcome: Final = take_outcome
        self._sent = NOTHING_SENT
        self.position = 0
        self.is_over = False
        """Ended, or gone on to something else."""
        context.downstream.begin(self)

    # -- reader of a stream

    def outcome_arrived(self, outcome: FillOutcome) -> None:
        """Anything but a response that has begun is another way to the answer."""
        if not self.is_over:
            self.is_over = outcome is not ANSWERED
            self._take_outcome(self, outcome)

    def may_share(self, varying: tuple[KeyedField, ...]) -> bool:
        """Whether this request selects the same variant."""
        return is_same_variant(self.context.head.fields, varying)

    def may_have_stale(self, stale: Entry, age_seconds: float) -> bool:
        """Whether a stale entry may be served instead of an error here (RFC 5861 section 4): what one viewer allows, another one may not."""
        directives = request_directives_of(self.context.head.fields, self.route.behavior.semantics)
        return may_serve_stale_if_error(stale.cache_metadata, directives, age_seconds)

    def interim_arrived(self, head: ResponseHead) -> None:
        """Pass on an interim response, as RFC 9110 section 15.2 asks of proxies."""
        if not self.is_over and not self.context.first_byte_at:
            fields = viewer_fields(head, self.route.behavior)
            self.context.downstream.send_interim(head.status, head.reason, fields)

    def advanced(self) -> None:
        """Send what has come, as long as the viewer takes it."""
        if self.is_over:
            return
        stream, downstream = self.stream, self.context.downstream
        if self._sent is NOTHING_SENT:
            if stream.state is not StreamState.WAITING:
                self._break_off()  # a mistake of this program cost the head: without it there is no body
            return
        while self.position < stream.end and not downstream.is_write_blocked:
            chunk = stream.chunks[self.position - stream.first_chunk]
            self.position += 1
            downstream.send_body(chunk)
        if self.position < stream.end or not stream.is_ended:
            return
        if stream.state is StreamState.FAILED:
            self._break_off()
        else:
            self._end(stream.received_bytes, may_abandon=False)

    # -- the viewer's side

    def credit_returned(self) -> None:
        """The viewer takes more."""
        if not self.is_over:
            self.advanced()
            self.stream.reader_moved()

    def viewer_left(self) -> None:
        """The viewer is gone."""
        if self.is_over:
            return
        self.is_over = True
        context = self.context
        context.reason = Reason.VIEWER_LEFT
        if context.body is not None:
            context.body.break_off()
        self.stream.detach(self)
        sent = self._sent
        self._dependencies.recorder.end(context, SentResponse(sent.status, sent.content_type, UNKNOWN_LENGTH))

    # -- what the dispatcher calls

    def begin(self) -> None:
        """The viewer gets the response that has begun."""
        stream, context = self.stream, self.context
        head = stream.head
        assert head is not None
        if not context.head.is_plain and self._is_not_modified(head):
            fields = stream.fields if self._dependencies.node.is_regional else not_modified_fields(stream.fields)
            self._send_all(self._make_head(head, 304, b"", write_fields(fields), None), ())
            self._end(0, may_abandon=True)
            return
        lines = stream.field_lines + stream.own_lines if self.role is FillRole.LEADER else stream.field_lines
        answer = self._make_head(head, head.status, head.reason, lines, head.content_length)
        if context.head.method == b"HEAD" or head.status in (204, 304):
            self._send_all(answer, ())
            self._end(0, may_abandon=False)
        elif stream.state is StreamState.COMPLETE and stream.first_chunk == 0:
            self._send_all(answer, stream.chunks)
            self._end(stream.received_bytes, may_abandon=False)
        else:
            context.downstream.send_head(answer)
            self.advanced()

    def switched_head(self, head: ResponseHead) -> DownstreamHead:
        """The head of a 101, as this viewer gets it: end-to-end fields, and the node's own as for a miss."""
        lines = write_fields(viewer_fields(head, self.route.behavior))
        return self._make_head(head, head.status, head.reason, lines, None)

    def leave(self, *, may_abandon: bool) -> None:
        """Go on to something else."""
        self.is_over = True
        self.stream.detach(self, may_abandon=may_abandon)

    # -- inside

    def _is_not_modified(self, head: ResponseHead) -> bool:
        by_name = dict(self.stream.fields)
        etag, last_modified, date = (by_name.get(name) for name in (b"etag", b"last-modified", b"date"))
        request = self.context.head
        return request.method != b"OPTIONS" and is_not_modified(request.fields, head.status, etag, last_modified, date)

    def _make_head(
        self, head: ResponseHead, status: int, phrase: bytes, lines: bytes, length: int | None
    ) -> DownstreamHead:
        """The head as this viewer gets it, and what will be recorded of it."""
        context, route, upstream_result = self.context, self.route, self.stream.upstream_result
        why = context.reason
        if context.result is Result.MISS and head.status >= 400:
            context.result, context.reason = Result.ERROR, Reason.UPSTREAM_STATUS
        if context.error_page_status:
            context.result = Result.ERROR
            if status == 200:
                status, phrase = context.error_page_status, b""
        if route.is_strict:
            own = status_of_fetch(self._dependencies.node, why, is_stored=self.stream.is_stored)
            lines += b"Cache-Status: %b\r\n" % own
        context.first_byte_at = self._dependencies.monotonic()
        self._sent = SentResponse(status, head.fields.get(b"content-type", b""), UNKNOWN_LENGTH)
        return DownstreamHead(
            status,
            phrase,
            context.result,
            context.reason,
            x_cache(result_to_show(context.result, upstream_result), status),
            context.request_id,
            age_to_show(head, upstream_result, is_strict=route.is_strict),
            lines,
            length,
            must_close=context.error_page_status in STATUSES_THAT_CLOSE,
        )

    def _send_all(self, head: DownstreamHead, chunks: Sequence[bytes]) -> None:
        self.position = self.stream.end
        self.context.downstream.send_whole(head, chunks)

    def _end(self, body_length: int, *, may_abandon: bool) -> None:
        self.is_over = True
        downstream, sent, stream = self.context.downstream, self._sent, self.stream
        downstream.end()
        self._dependencies.recorder.end(self.context, SentResponse(sent.status, sent.content_type, body_length))
        stream.detach(self, may_abandon=may_abandon and not stream.is_stored)
        downstream.release()

    def _break_off(self) -> None:
        """Upstream was lost in the middle."""
        self.is_over = True
        context = self.context
        context.result, context.reason = Result.ERROR, Reason.UPSTREAM_FAILED
        received = self.stream.received_bytes
        self._dependencies.recorder.end(context, SentResponse(self._sent.status, self._sent.content_type, received))
        self.stream.detach(self)
        context.downstream.reset()
