"""Responses from the cache, and responses made here: complete from the start."""

from collections.abc import Callable, Sequence

from edge_node.caching.entry import Entry
from edge_node.caching.lookup import Reason, Refuse, Result
from edge_node.caching.stored_body import Piece
from edge_node.delivery.body_sender import BodySender, new_buffer, pieces_of, pieces_to_send
from edge_node.delivery.downstream import DownstreamHead
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_record import SentResponse
from edge_node.delivery.streamed_response import ResponseDependencies
from edge_node.model.configuration import Semantics
from edge_node.model.http import Headers
from edge_node.policy.cache_status import status_of_entry
from edge_node.policy.error_responses import STATUSES_THAT_CLOSE
from edge_node.policy.representation import Representation, choose_representation
from edge_node.policy.response_head import error_page, write_fields, x_cache
from edge_node.policy.viewer_protocol import Redirect

_FIELDS_OF_LOCAL_REPLIES = ((b"content-type", b"text/html"), (b"server", b"CloudFront"))


class CachedResponder:
    """Sends them."""

    def __init__(self, dependencies: ResponseDependencies, clock: Callable[[], float]) -> None:
        self._dependencies = dependencies
        self._node = dependencies.node
        self._clock = clock
        """Seconds since the epoch."""
        self._buffer = new_buffer()

    def answer(self, context: RequestContext, entry: Entry) -> None:
        """Answer from an entry; result and reason are in the context."""
        now = self._clock()
        boundary = context.request_id.rstrip(b"=")
        content = choose_representation(
            context.head, entry, context.semantics, boundary, is_for_cache=self._node.is_regional
        )
        is_page = context.error_page_status != 0 and content.status == 200
        status = context.error_page_status if is_page else content.status
        block = content.field_block
        if context.error_page_status:
            context.result = Result.ERROR
        if context.semantics is Semantics.RFC9111:
            block += b"Cache-Status: %b\r\n" % status_of_entry(self._node, entry, context.result, context.reason, now)
        head = DownstreamHead(
            status,
            entry.template.reason if status == entry.status else b"",
            context.result,
            context.reason,
            x_cache(context.result, status),
            context.request_id,
            max(int(now - entry.age_base), 0),
            block,
            content.content_length,
            must_close=context.error_page_status in STATUSES_THAT_CLOSE,
        )
        sent = SentResponse(status, entry.template.content_type, content.body_length, content.range)
        if entry.body is None or entry.body.memory_bytes >= content.body_length:
            self._send_at_once(context, head, list(pieces_of(entry, content)), sent)
        else:
            self._send_at_pace(context, head, entry, content, sent)

    def refuse(self, context: RequestContext, refusal: Refuse) -> None:
        """Answer with a page made here."""
        context.result, context.reason = Result.ERROR, refusal.reason
        page = error_page(refusal.status, refusal.text, context.request_id)
        self._reply(context, refusal.status, _FIELDS_OF_LOCAL_REPLIES, page)

    def redirect(self, context: RequestContext, redirect: Redirect) -> None:
        """Send the viewer to another URL (reference 6.1)."""
        context.result, context.reason = Result.REDIRECT, redirect.reason
        fields = (*_FIELDS_OF_LOCAL_REPLIES, (b"location", redirect.location))
        self._reply(context, redirect.status, fields, redirect.body)

    def _reply(self, context: RequestContext, status: int, fields: Headers, page: bytes) -> None:
        """A page made here; what the viewer still sends of its request is not read, so nothing may follow on its connection."""
        head = DownstreamHead(
            status,
            b"",
            context.result,
            context.reason,
            x_cache(context.result, status),
            context.request_id,
            None,
            write_fields(fields),
            len(page),
            must_close=context.body is not None,
        )
        body = [] if context.head.method == b"HEAD" else [page]
        self._send_at_once(context, head, body, SentResponse(status, b"text/html", len(page)))

    def _send_at_once(
        self, context: RequestContext, head: DownstreamHead, pieces: Sequence[Piece], sent: SentResponse
    ) -> None:
        downstream = context.downstream
        context.first_byte_at = self._dependencies.monotonic()
        downstream.send_whole(head, pieces)
        downstream.end()
        self._dependencies.recorder.end(context, sent)
        downstream.release()

    def _send_at_pace(
        self, context: RequestContext, head: DownstreamHead, entry: Entry, content: Representation, sent: SentResponse
    ) -> None:
        """Of what is not in memory no more is read than the viewer takes."""

        def ended(is_whole: bool) -> None:
            if not is_whole:
                context.reason = Reason.VIEWER_LEFT
            self._dependencies.recorder.end(context, sent)

        context.first_byte_at = self._dependencies.monotonic()
        BodySender(
            context.downstream, head, pieces_to_send(entry, content, self._buffer, context.downstream), ended
        ).start()
