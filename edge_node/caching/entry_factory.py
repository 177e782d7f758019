"""Making entries: from a response that has arrived whole, and from an entry that a 304 has confirmed (RFC 9111 section 4.3.4)."""

from collections.abc import Sequence
from typing import Final

from edge_node.caching.bodies import Body, MemoryBody
from edge_node.caching.entry import Entry, Traits
from edge_node.caching.key import CacheKey

LARGEST_BLOCK_BODY_BYTES = 1_048_576
"""Up to this size a body is put into one piece with its header section when it is stored; larger ones are kept in the chunks in which they came."""


class Arrival:
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
    key: CacheKey, field_lines: bytes, chunks: Sequence[bytes], length: int, traits: Traits, arrival: Arrival
) -> Entry:
    """An entry of a whole body; `field_lines` ends with the line of Content-Length."""
    if length <= LARGEST_BLOCK_BODY_BYTES:
        block, body = b"".join((field_lines, b"\r\n", *chunks)), None
    else:
        block, body = field_lines + b"\r\n", MemoryBody(tuple(chunks), length)
    return with_age(Entry(key, block, body, traits, arrival.stamp), arrival)


def make_entry_of_body(key: CacheKey, field_lines: bytes, body: Body, traits: Traits, arrival: Arrival) -> Entry:
    """An entry whose body is elsewhere, or there only in part."""
    return with_age(Entry(key, field_lines + b"\r\n", body, traits, arrival.stamp), arrival)


def confirmed_entry(confirmed: Entry, key: CacheKey, field_lines: bytes, traits: Traits, arrival: Arrival) -> Entry:
    """The body of an entry under a header section that was updated, and under a key that follows from it."""
    body = confirmed.block[confirmed.body_start :] if confirmed.body is None else b""
    block = b"".join((field_lines, b"\r\n", body))
    return with_age(Entry(key, block, confirmed.body, traits, arrival.stamp), arrival)


def with_age(entry: Entry, arrival: Arrival) -> Entry:
    """Give a new entry its age."""
    entry.age_base = arrival.response_time - arrival.initial_age
    return entry
