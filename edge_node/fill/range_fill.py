"""Entries that are stored in part (RFC 9111 section 3.4): which bytes to ask for, how stored and new ones are put together, and in which order they make the whole.

One range is asked for, from the first missing byte to the last; what was stored between them comes again.
"""

from collections.abc import Iterable, Iterator

from edge_node.caching.conditional import strong_validator, validators
from edge_node.caching.entry import Entry
from edge_node.caching.partial import Chunk, PartialBody, StorablePart, judge_part, may_combine, range_fill_fields
from edge_node.caching.revalidation import update_fields
from edge_node.caching.stored_body import Body, PartialStoredBody, Piece
from edge_node.http.dates import parse_http_date
from edge_node.http.ranges import ByteRange
from edge_node.model.http import Header, Headers, ResponseHead


def conditions_to_revalidate(entry: Entry) -> tuple[Header, ...]:
    """The fields that ask whether an entry still holds. A date of change after the response was made says nothing: every later response would seem unchanged."""
    modified = entry.last_modified
    made_at = parse_http_date(dict(entry.headers).get(b"date", b""))
    modified_at = None if modified is None else parse_http_date(modified)
    is_ahead = made_at is not None and modified_at is not None and modified_at > made_at
    return validators(entry.etag, None if is_ahead else modified)


def conditions_for_missing_range(entry: Entry) -> tuple[Header, ...] | None:
    """The fields that ask for the missing part of an entry, if it is still of the same bytes; None when nothing can tell that."""
    validator, missing = _validator(entry), _missing(entry)
    return None if validator is None or missing is None else range_fill_fields(missing, validator)


def is_whole_of(there: Entry | None, part: StorablePart | None, now: float) -> bool:
    """Whether all of the bytes that a part belongs to are stored meanwhile, and fresh: then the part is not worth keeping."""
    if there is None or part is None or there.is_partial:
        return False
    is_fresh = (there.cache_metadata.lifetime_seconds or 0.0) > now - there.age_base
    return is_fresh and may_combine(_validator(there), there.length, part)


def with_stored_parts(
    there: Entry | None, part: StorablePart, fields: Headers, chunks: Iterable[Chunk], now: float
) -> tuple[PartialBody, Headers]:
    """A part that came now, in one body with those that are stored and belong to the same bytes (RFC 9111 section 3.4); a part of something else stands alone."""
    parts = PartialBody(part.complete_length)
    if (
        there is not None
        and isinstance(there.body, PartialStoredBody)
        and may_combine(_validator(there), there.length, part)
    ):
        parts, fields = there.body.parts, update_fields(there.headers, fields, now)
    return parts.with_part(part.part.first, chunks), fields


def is_rest_of(started: ResponseHead, received_bytes: int, head: ResponseHead) -> bool:
    """Whether this is the rest of a response that broke off after so many bytes (RFC 9110 section 15.3.7.3: the same strong validator)."""
    whole = started.content_length
    if head.status != 206 or whole is None or head.content_length != whole - received_bytes:
        return False
    is_rest = head.fields.get(b"content-range") == b"bytes %d-%d/%d" % (received_bytes, whole - 1, whole)
    return is_rest and head.fields.get(b"etag") == started.fields.get(b"etag")


def _validator(entry: Entry) -> bytes | None:
    return strong_validator(entry.etag, entry.last_modified, dict(entry.headers).get(b"date"))


def _missing(entry: Entry) -> ByteRange | None:
    return entry.body.parts.missing_hull() if isinstance(entry.body, PartialStoredBody) else None


class RangeFill:
    """The stored parts on both sides of one that is arriving."""

    def __init__(self, body: Body, missing: ByteRange) -> None:
        self._body = body
        self._missing = missing
        self._due_bytes = missing.length

    @classmethod
    def of(cls, entry: Entry, head: ResponseHead) -> "RangeFill | None":
        """For the answer to what was asked for; None when it is another part, or of other bytes."""
        validator = _validator(entry)
        judged, missing = judge_part(head, validator), _missing(entry)
        if missing is None or not isinstance(judged, StorablePart) or judged.part != missing:
            return None
        assert entry.body is not None
        return cls(entry.body, missing) if may_combine(validator, entry.length, judged) else None

    def takes(self, length: int) -> bool:
        """More of the missing part has come; False: that is more than was missing, which only a chunked body can be."""
        self._due_bytes -= length
        return self._due_bytes >= 0

    @property
    def is_done(self) -> bool:
        """All that was missing has come."""
        return self._due_bytes == 0

    def beginning(self) -> Iterator[Piece]:
        """What comes before the missing part."""
        return self._body.pieces(0, self._missing.first - 1) if self._missing.first else iter(())

    def rest(self) -> Iterator[Piece]:
        """What comes after it."""
        end = self._body.length - 1
        return self._body.pieces(self._missing.last + 1, end) if self._missing.last < end else iter(())
