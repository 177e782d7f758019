"""Making entries: from a response that has arrived whole, and from an entry that a 304 has confirmed (RFC 9111 section 4.3.4)."""

from collections.abc import Sequence
from typing import Final

from edge_node.caching.entry import Entry, EntryTemplate
from edge_node.caching.key import CacheKey
from edge_node.caching.stored_body import Body, MemoryBody

LARGEST_BLOCK_BODY_BYTES: Final = 1_048_576
"""Up to this size a body is put into one piece with its header section when it is stored; larger ones are kept in the chunks in which they came."""


class ResponseTiming:
    """When a response was asked for and came, and how old it was then; seconds."""

    __slots__ = ("initial_age", "response_time", "stamp")

    def __init__(
        self,
        stamp: int,
        response_time: float,
        initial_age: float,
    ) -> None:
        self.stamp: Final = stamp
        self.response_time: Final = response_time
        self.initial_age: Final = initial_age


def make_entry(
    key: CacheKey,
    field_lines: bytes,
    chunks: Sequence[bytes],
    length: int,
    template: EntryTemplate,
    timing: ResponseTiming,
) -> Entry:
    """An entry of a whole body; `field_lines` ends with the line of Content-Length."""
    if length <= LARGEST_BLOCK_BODY_BYTES:
        block, body = b"".join((field_lines, b"\r\n", *chunks)), None
    else:
        block, body = field_lines + b"\r\n", MemoryBody(tuple(chunks), length)
    return with_age(Entry(key, block, body, template, timing.stamp, len(field_lines) + 2), timing)


def make_entry_of_body(
    key: CacheKey, field_lines: bytes, body: Body, template: EntryTemplate, timing: ResponseTiming
) -> Entry:
    """An entry whose body is elsewhere, or there only in part."""
    return with_age(Entry(key, field_lines + b"\r\n", body, template, timing.stamp), timing)


def revalidated_entry(
    revalidated: Entry, key: CacheKey, field_lines: bytes, template: EntryTemplate, timing: ResponseTiming
) -> Entry:
    """The body of an entry under a header section that was updated, and under a key that follows from it."""
    body = revalidated.block[revalidated.body_start :] if revalidated.body is None else b""
    block = b"".join((field_lines, b"\r\n", body))
    return with_age(Entry(key, block, revalidated.body, template, timing.stamp), timing)


def with_age(entry: Entry, timing: ResponseTiming) -> Entry:
    """Give a new entry its age."""
    entry.age_base = timing.response_time - timing.initial_age
    return entry
