"""A stored response, in as little memory as Python allows: at most 600 bytes beyond a body of 1 KiB (benchmarks/entry_overhead.py).

A small response is one byte string, `block`: its header section as it is sent, the empty line, and the body. A hit sends what differs per response (status line,
request id, Age) before it. What many entries have in common is in `EntryTemplate`, which they share; everything else is worked out from these when it is needed.
"""

from dataclasses import dataclass
from typing import Any, Final

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.key import CacheKey, distribution_of, target_of
from edge_node.caching.stored_body import Body
from edge_node.model.http import Header, Headers

ENTRY_OVERHEAD_BYTES: Final = 320
"""What an entry takes beside its key and block, counted against the budget with them (measured: benchmarks/entry_overhead.py)."""

END_OF_FIELDS: Final = b"\r\n\r\n"

_SHARED_INTEGERS: Final = tuple(range(2_048))


def _shared(number: int) -> int:
    """The same object for the same small number, where Python would make another one each time."""
    return _SHARED_INTEGERS[number] if number < len(_SHARED_INTEGERS) else number


@dataclass(frozen=True, slots=True, eq=False)
class EntryTemplate:
    """What entries share: one object for all responses of one kind."""

    status: int
    reason: bytes
    content_type: bytes
    cache_metadata: CacheMetadata
    start: bytes
    """The head of a plain hit up to the request id."""
    is_plain: bool
    """A fresh entry answers a plain GET as it is: nothing of the request but its key matters."""
    is_strict: bool
    """Its behavior follows the RFCs."""


class Entry:
    """One stored response.

    Fixed but for `stamp`, which only moves forward (DESIGN section 4, rule 2), `retry_at`: until then a stale entry whose refresh failed is used as it is, and the
    four fields of the store's eviction policy. Times are seconds since the epoch.
    """

    __slots__ = (
        "age_base", "block", "body", "body_start", "key", "newer", "older", "queue", "retry_at", "stamp", "template", "uses",
    )  # fmt: skip

    def __init__(
        self, key: CacheKey, block: bytes, body: Body | None, template: EntryTemplate, stamp: int, body_start: int = 0
    ) -> None:
        """`body_start`: where that is known already."""
        self.key = key
        self.block = block
        """Field lines as they are sent, Content-Length among them, the empty line, and the body unless `body` has it."""
        self.body_start = _shared(body_start or block.index(END_OF_FIELDS) + 4)
        """Where the body begins in `block`."""
        self.body = body
        self.template = template
        self.stamp = stamp
        self.age_base = 0.0
        """Moment at which the response had age 0: now - age_base is its Age (RFC 9111 section 4.2.3)."""
        self.retry_at = 0.0
        self.newer: Any = None
        self.older: Any = None
        self.uses = 0
        self.queue = 0

    @property
    def status(self) -> int:
        """Status code; 200 for one that is stored in part."""
        return self.template.status

    @property
    def cache_metadata(self) -> CacheMetadata:
        """For how long it may be reused, and how."""
        return self.template.cache_metadata

    @property
    def fresh_until(self) -> float:
        """The moment from which it is stale."""
        return self.age_base + (self.template.cache_metadata.lifetime_seconds or 0.0)

    @property
    def distribution_id(self) -> str:
        """Whose it is."""
        return distribution_of(self.key)

    @property
    def target(self) -> str:
        """Path and keyed query: what invalidation paths are compared with."""
        return target_of(self.key)

    @property
    def length(self) -> int:
        """Of the whole body."""
        return self.body.length if self.body is not None else len(self.block) - self.body_start

    @property
    def is_partial(self) -> bool:
        """Some of the body is missing."""
        body = self.body
        return body is not None and body.length > 0 and not body.holds(0, body.length - 1)

    @property
    def field_lines(self) -> bytes:
        """The header section as it is sent, without the empty line."""
        return self.block[: self.body_start - 2]

    @property
    def bare_field_lines(self) -> bytes:
        """The same without the line of Content-Length, which is the last one."""
        return self.block[: self.block.rindex(b"Content-Length: ", 0, self.body_start)]

    @property
    def headers(self) -> Headers:
        """End-to-end fields, names in lower case; without Content-Length, which is written anew."""
        return parse_field_lines(self.bare_field_lines)

    @property
    def etag(self) -> bytes | None:
        """The entity tag, if it has one."""
        return self._find(b"\r\nETag: ")

    @property
    def last_modified(self) -> bytes | None:
        """The date of the last change, if it says one."""
        return self._find(b"\r\nLast-Modified: ")

    @property
    def cost_bytes(self) -> int:
        """What it counts for in a memory store's budget; never changes."""
        in_memory = len(self.key) + len(self.block) + ENTRY_OVERHEAD_BYTES
        return in_memory if self.body is None else in_memory + self.body.memory_bytes

    def _find(self, line_start: bytes) -> bytes | None:
        lines = b"\r\n" + self.field_lines
        position = lines.find(line_start)
        return None if position < 0 else lines[position + len(line_start) :].partition(b"\r\n")[0]


def parse_field_lines(lines: bytes) -> tuple[Header, ...]:
    """Field lines of our own writing, back to names in lower case and values."""
    pairs = (line.partition(b": ") for line in lines.split(b"\r\n") if line)
    return tuple((name.lower(), value) for name, _, value in pairs)
