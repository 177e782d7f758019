"""Making entries: from a response that has arrived whole, and from an entry that a 304 has confirmed (RFC 9111 section 4.3.4)."""

from dataclasses import dataclass

from edge_node.caching.entry import Entry
from edge_node.caching.freshness import Lifetime
from edge_node.caching.key import CacheKey
from edge_node.model import Headers

LARGEST_ONE_WRITE_BODY_BYTES = 65_536
"""Up to this size a body is kept in one piece and leaves in one write with its head; beyond, copying costs more than a second write."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a response was asked for and came, and how old it was then; seconds."""

    stamp: int
    response_time: float
    initial_age: float


def make_entry(
    key: CacheKey,
    target: str,
    status_and_reason: tuple[int, bytes],
    fields: Headers,
    lifetime: Lifetime,
    arrival: Arrival,
) -> Entry:
    """An entry without body and prepared head."""
    entry = Entry()
    entry.key = key
    entry.distribution_id = key[0]
    entry.target = target
    entry.stamp = arrival.stamp
    entry.status, entry.reason = status_and_reason
    entry.headers = fields
    entry.chunks = ()
    entry.length = 0
    entry.small_body = b""
    by_name = dict(fields)
    entry.content_type = by_name.get(b"content-type", b"")
    entry.etag = by_name.get(b"etag")
    entry.last_modified = by_name.get(b"last-modified")
    entry.age_base = arrival.response_time - arrival.initial_age
    entry.lifetime_seconds = lifetime.seconds or 0.0
    entry.fresh_until = entry.age_base + entry.lifetime_seconds
    entry.rule = lifetime.rule
    entry.retry_at = 0.0
    entry.head_hit = b""
    return entry


def with_body(entry: Entry, chunks: list[bytes], length: int) -> Entry:
    """Give a new entry its body."""
    entry.length = length
    if length <= LARGEST_ONE_WRITE_BODY_BYTES:
        entry.small_body = b"".join(chunks)
        entry.chunks = (entry.small_body,)
    else:
        entry.small_body = None
        entry.chunks = tuple(chunks)
    return entry


def merge_fields(stored: Headers, update: Headers) -> Headers:
    """Fields of the 304 replace stored ones of the same name; the rest stays (RFC 9111 section 3.2)."""
    replaced = {name for name, _ in update}
    return tuple(pair for pair in stored if pair[0] not in replaced) + update
