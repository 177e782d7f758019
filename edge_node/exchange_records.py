"""What the access log is told of an exchange that ended."""

from edge_node.access_log import LogRecord
from edge_node.exchange import Exchange


def record_of(exchange: Exchange, status: int, body_length: int, now: float, ended_at: float) -> LogRecord:
    """The record; `now` is in seconds since the epoch, `ended_at` on the monotonic clock."""
    first_byte = (exchange.first_byte_at or ended_at) - exchange.started_at
    content_type = exchange.response.fields.get(b"content-type", b"") if exchange.response else b""
    return LogRecord(
        now,
        exchange.asked_head or exchange.head,
        exchange.wire.peer,
        exchange.plan.distribution.domain_name,
        status,
        exchange.sent_bytes,
        exchange.wire.request_bytes,
        exchange.result,
        exchange.reason,
        exchange.request_id,
        ended_at - exchange.started_at,
        first_byte,
        content_type,
        body_length,
        -1,
        -1,
    )
