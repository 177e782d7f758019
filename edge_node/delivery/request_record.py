"""What the access log and the counters are told of a finished request: the general record, with the one function that makes it, and the one of the hits' fast path."""

from typing import Final

from edge_node.caching.entry import EntryTemplate
from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.request_context import RequestContext
from edge_node.http.ranges import ByteRange
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.http import RequestHead
from edge_node.policy.parse_cache import HeaderSection
from edge_node.policy.representation import Representation
from edge_node.policy.router import Route

UNKNOWN_LENGTH: Final = -1


class LogRecord:
    """One finished request."""

    __slots__ = (
        "byte_range",
        "connection",
        "content_length",
        "content_type",
        "domain_name",
        "ended_at",
        "first_byte_seconds",
        "head",
        "index",
        "reason",
        "received_bytes",
        "request_id",
        "result",
        "seconds",
        "sent_bytes",
        "started_at",
        "status",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        ended_at: float,
        head: RequestHead,
        connection: ConnectionFacts,
        domain_name: bytes,
        status: int,
        sent_bytes: int,
        received_bytes: int,
        result: Result,
        reason: Reason,
        request_id: bytes,
        seconds: float,
        first_byte_seconds: float,
        content_type: bytes,
        content_length: int,
        byte_range: ByteRange | None,
        started_at: float = 0.0,
        index: int = 0,
    ) -> None:
        self.ended_at: Final = ended_at
        """Seconds since the epoch."""
        self.started_at: Final = started_at
        """On the monotonic clock."""
        self.index: Final = index
        """Of the log, that was applied when it was decided how to answer."""
        self.head: Final = head
        self.connection: Final = connection
        self.domain_name: Final = domain_name
        self.status: Final = status
        self.sent_bytes: Final = sent_bytes
        self.received_bytes: Final = received_bytes
        self.result: Final = result
        self.reason: Final = reason
        self.request_id: Final = request_id
        self.seconds: Final = seconds
        self.first_byte_seconds: Final = first_byte_seconds
        self.content_type: Final = content_type
        self.content_length: Final = content_length
        """Of the body; UNKNOWN_LENGTH: it did not end."""
        self.byte_range: Final = byte_range
        """The one range that was sent, of a 206."""


class HitRecord:
    """One finished request of the most frequent kind, a GET answered from a fresh response: made for each, so it points at what is known."""

    __slots__ = (
        "connection",
        "content_length",
        "ended_at",
        "part",
        "received_bytes",
        "request_id",
        "route",
        "seconds",
        "section",
        "sent_bytes",
        "started_at",
        "template",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        ended_at: float,
        connection: ConnectionFacts,
        section: HeaderSection,
        route: Route,
        template: EntryTemplate,
        sent_bytes: int,
        received_bytes: int,
        request_id: bytes,
        seconds: float,
        content_length: int,
        part: Representation | None,
        started_at: float,
    ) -> None:
        self.ended_at: Final = ended_at
        self.started_at: Final = started_at
        """On the monotonic clock. A batch is settled before the log is applied further, so what is applied then was when it was answered."""
        self.connection: Final = connection
        self.section: Final = section
        self.route: Final = route
        self.template: Final = template
        self.sent_bytes: Final = sent_bytes
        self.received_bytes: Final = received_bytes
        self.request_id: Final = request_id
        self.seconds: Final = seconds
        self.content_length: Final = content_length
        self.part: Final = part
        """What was sent, if not all."""

    @property
    def status(self) -> int:
        """As it was sent."""
        return self.template.status if self.part is None else self.part.status


Record = LogRecord | HitRecord


class SentResponse:
    """What a record says of the response, and the stream does not count."""

    __slots__ = ("byte_range", "content_length", "content_type", "status", "tunnelled")

    def __init__(
        self,
        status: int,
        content_type: bytes,
        content_length: int,
        byte_range: ByteRange | None = None,
        tunnelled: tuple[int, int] = (0, 0),
    ) -> None:
        self.status: Final = status
        self.content_type: Final = content_type
        self.content_length: Final = content_length
        self.byte_range: Final = byte_range
        self.tunnelled: Final = tunnelled
        """Bytes to the viewer and from it, behind the head of a 101."""


NOTHING_SENT: Final = SentResponse(0, b"", UNKNOWN_LENGTH)


def record_of(context: RequestContext, sent: SentResponse, now: float, ended_at: float) -> LogRecord:
    """The record of a request that has ended; `now` is in seconds since the epoch, `ended_at` on the monotonic clock."""
    downstream = context.downstream
    return LogRecord(
        now,
        context.original_head or context.head,
        downstream.connection,
        context.domain_name,
        sent.status,
        downstream.sent_bytes + sent.tunnelled[0],
        downstream.received_bytes + sent.tunnelled[1],
        context.result,
        context.reason,
        context.request_id,
        ended_at - context.started_at,
        (context.first_byte_at or ended_at) - context.started_at,
        sent.content_type,
        sent.content_length,
        sent.byte_range,
        context.started_at,
        context.index,
    )
