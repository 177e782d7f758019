"""Byte ranges: what a Range field selects of a representation, what a Content-Range field says, and how several parts travel in one answer.

RFC 9110 sections 14 and 15.3.7, reference 2.8. Both semantics answer what they do not honour with the whole representation, and differ in what they honour:
CloudFront sends ascending, disjoint ranges as they were asked for and nothing else (reference 2.8); the strict rules take ranges in any order and join
those that overlap or nearly touch (RFC 9110 section 15.3.7.2). Whether a range may be sent at all (If-Range) is decided in caching/conditional.py,
which bytes are stored in caching/partial.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from edge_node.model.configuration import Semantics

MOST_RANGES: Final = 64
"""More in one field is a broken client or an attack (RFC 9110 section 14.2): the whole representation. Players and viewers of documents ask for fewer than ten."""

PART_OVERHEAD_BYTES: Final = 80
"""What a further part costs (the figure of RFC 9110 section 15.3.7.2): ranges with a smaller gap between them are joined."""

LARGEST_POSITION: Final = 10**18
"""Positions beyond are taken for this one (RFC 9110 section 14.1.2 warns of overflow): no representation is as long, and numbers cost time to read."""

LONGEST_REMEMBERED_FIELD_BYTES: Final = 64

_RANGE_SPEC: Final = re.compile(rb"(\d+)-(\d*)|-(\d+)")
_CONTENT_RANGE: Final = re.compile(
    rb"bytes[ \t]+(?:(\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)|\*/(\d{1,18}))", re.IGNORECASE
)
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z_-]{1,70}")


class ByteRange(NamedTuple):
    """First and last position, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Bytes in it; 0 for the range that ends before it begins, which is all of an empty representation."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """No byte of the representation is in any of the ranges: 416."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What to send, each within the representation, in the order in which to send it: one as it is, several as multipart/byteranges."""

    ranges: tuple[ByteRange, ...]


class RangeSpec(NamedTuple):
    """One range as it is asked for, when the length may not be known: `first-last`, `first-` (no last), or the last `last` bytes (no first)."""

    first: int | None
    last: int | None

    @property
    def field_value(self) -> bytes:
        """As the value of a Range field."""
        first, last = (b"" if position is None else b"%d" % position for position in self)
        return b"bytes=%b-%b" % (first, last)


# -- Range


def select_ranges(field: bytes, length: int, semantics: Semantics) -> Selected | Unsatisfiable | None:
    """What a Range field selects of a representation of `length` bytes; None: ignore the field and send all of it."""
    specs = parse_range_field(field)
    if specs is None or (semantics is Semantics.CLOUDFRONT and not _is_ascending(specs, length)):
        return None
    wanted = [part for part in (_resolve(spec, length) for spec in specs) if part.first < length and part.length > 0]
    if not wanted:
        # A suffix is satisfiable whatever the length (RFC 9110 section 14.1.2), but the nothing at the end of an empty representation has no
        # Content-Range: the whole nothing, with 200.
        is_suffix_of_nothing = length == 0 and any(spec.first is None and spec.last for spec in specs)
        return None if is_suffix_of_nothing else Unsatisfiable()
    return Selected(tuple(wanted) if semantics is Semantics.CLOUDFRONT else coalesce(wanted))


def parse_range_field(field: bytes) -> tuple[RangeSpec, ...] | None:
    """The ranges of a Range field in bytes; None for another unit, a malformed or contradictory set, or too many ranges (RFC 9110 sections 14.1.1 and 14.2).

    White space may stand around the members of the list and nowhere else; empty members are skipped (RFC 9110 section 5.6.1.2).
    Short fields are remembered: many viewers ask for the same parts.
    """
    return _parse(field) if len(field) <= LONGEST_REMEMBERED_FIELD_BYTES else _parse.__wrapped__(field)


@lru_cache(maxsize=2048)
def _parse(field: bytes) -> tuple[RangeSpec, ...] | None:
    unit, _, range_set = field.partition(b"=")
    if unit.lower() != b"bytes":
        return None
    members = [member for text in range_set.split(b",") if (member := text.strip(b" \t"))]
    if not 1 <= len(members) <= MOST_RANGES:
        return None
    specs: list[RangeSpec] = []
    for member in members:
        spec = _parse_spec(member)
        if spec is None:
            return None
        specs.append(spec)
    return tuple(specs)


def coalesce(ranges: Sequence[ByteRange]) -> tuple[ByteRange, ...]:
    """Join ranges that overlap or that a further part would cost more than the gap between them; a joined range takes the place of its
    first member in the order asked for (RFC 9110 section 15.3.7.2)."""
    if len(ranges) == 1:
        return tuple(ranges)
    joined: list[tuple[int, ByteRange]] = []
    for place, part in sorted(enumerate(ranges), key=lambda numbered: numbered[1]):
        if joined and part.first - joined[-1][1].last - 1 < PART_OVERHEAD_BYTES:
            earlier_place, earlier = joined[-1]
            joined[-1] = (min(place, earlier_place), ByteRange(earlier.first, max(earlier.last, part.last)))
        else:
            joined.append((place, part))
    return tuple(part for _, part in sorted(joined))


def _parse_spec(text: bytes) -> RangeSpec | None:
    match = _RANGE_SPEC.fullmatch(text)
    if match is None:
        return None
    first_text, last_text, suffix_text = match.groups()
    if suffix_text is not None:
        return RangeSpec(None, _parse_position(suffix_text))
    first = _parse_position(first_text)
    last = _parse_position(last_text) if last_text else None
    return None if last is not None and last < first else RangeSpec(first, last)


def _parse_position(digits: bytes) -> int:
    digits = digits.lstrip(b"0") or b"0"
    return int(digits) if len(digits) <= 18 else LARGEST_POSITION


def _resolve(spec: RangeSpec, length: int) -> ByteRange:
    """The positions that are meant; empty or beyond the end when unsatisfiable."""
    if spec.first is None:
        return ByteRange(max(0, length - (spec.last or 0)), length - 1)
    return ByteRange(spec.first, length - 1 if spec.last is None else min(spec.last, length - 1))


def _is_ascending(specs: tuple[RangeSpec, ...], length: int) -> bool:
    """Whether each range begins after the one before it ends, as they were asked for: the only sets that CloudFront honours (reference 2.8)."""
    end = -1
    for first, last in specs:
        start = max(0, length - (last or 0)) if first is None else first
        if start <= end:
            return False
        end = LARGEST_POSITION if first is None or last is None else last
    return True


# -- Content-Range


class ContentRange(NamedTuple):
    """What a Content-Range field says: which part (None in a 416), of how many bytes (None: `*`)."""

    part: ByteRange | None
    complete_length: int | None


def parse_content_range(field: bytes) -> ContentRange | None:
    """RFC 9110 section 14.4; None when it is malformed or contradicts itself, after which nothing may be combined with anything."""
    match = _CONTENT_RANGE.fullmatch(field.strip(b" \t"))
    if match is None:
        return None
    first, last, complete_length, unsatisfied_length = (None if text is None else int(text) for text in match.groups())
    if first is None or last is None:
        return ContentRange(None, unsatisfied_length)
    if last < first or (complete_length is not None and complete_length <= last):
        return None
    return ContentRange(ByteRange(first, last), complete_length)


def format_content_range(part: ByteRange | None, complete_length: int) -> bytes:
    """The value of the Content-Range field of a part, or of a 416 (no part)."""
    if part is None:
        return b"bytes */%d" % complete_length
    return b"bytes %d-%d/%d" % (part.first, part.last, complete_length)


# -- multipart/byteranges (RFC 9110 section 14.6)


class BodyPart(NamedTuple):
    """What precedes one range in the body, and the range."""

    head: bytes
    part: ByteRange


@dataclass(frozen=True, slots=True)
class Multipart:
    """A 206 answer with several ranges. Its header section has this Content-Type and Content-Length and no Content-Range (RFC 9110 section 15.3.7.2)."""

    content_type: bytes
    content_length: int
    parts: tuple[BodyPart, ...]
    closing: bytes
    """Follows the last range."""


def make_multipart(
    ranges: Sequence[ByteRange], complete_length: int, content_type: bytes | None, boundary: bytes
) -> Multipart:
    """Lay out ranges as multipart/byteranges; each part repeats the media type of the representation, where it has one.

    The boundary must be unpredictable, of 16 characters at least, so that no content has it but by intent of who knows it beforehand.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(f"not a boundary that needs no quotes (RFC 2046 section 5.1.1): {boundary!r}")
    type_line = b"Content-Type: %b\r\n" % content_type if content_type else b""
    start = b"--%b\r\n%bContent-Range: " % (boundary, type_line)
    parts = tuple(
        BodyPart(
            b"%b%b%b\r\n\r\n" % (b"\r\n" if number else b"", start, format_content_range(part, complete_length)), part
        )
        for number, part in enumerate(ranges)
    )
    closing = b"\r\n--%b--\r\n" % boundary
    length = sum(len(head) + part.length for head, part in parts) + len(closing)
    return Multipart(b"multipart/byteranges; boundary=" + boundary, length, parts, closing)
