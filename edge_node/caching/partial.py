"""Partial content in the cache: which 206 responses may be stored, how their parts are put together, and what is still missing.

RFC 9111 sections 3.3 and 3.4, RFC 9110 section 15.3.7, reference 2.8. A partial body is a value: putting a part into it gives another one. Positions are within the
representation; chunks are never copied whole. What a request asks for is decided in http/ranges.py, whether conditions allow it in conditional.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_node.caching.conditional import strong_validator
from edge_node.caching.revalidation import update_fields
from edge_node.http.ranges import ByteRange, RangeSpec, parse_content_range
from edge_node.model.http import Header, Headers, ResponseHead

Chunk = bytes | memoryview
Chunks = tuple[Chunk, ...]

MOST_SEGMENTS: Final = 32
"""Pieces that one partial body may be in. A viewer who asks for every second byte gets no more of the node's memory and time than this;
a player that jumps about in a video leaves fewer."""

LARGEST_JOINED_CHUNK_BYTES: Final = 16_384
"""Where two segments meet, their chunks become one up to this size, so that a body that came in single bytes is not kept in single bytes."""


# -- may it be stored?


class PartialRejectReason(StrEnum):
    """Why a 206 response is passed on and not stored."""

    NOT_PARTIAL = "not_partial"
    """Another status than 206."""
    MULTIPART = "multipart"
    """Several ranges in one body: allowed, but not kept. This cache asks for one range at a time."""
    NO_VALID_RANGE = "no_valid_range"
    """Content-Range is missing, malformed or contradicts itself (RFC 9110 section 14.4)."""
    UNKNOWN_LENGTH = "unknown_length"
    """`Content-Range: bytes 0-9/*`: neither the end nor what is missing could be told."""
    LENGTH_MISMATCH = "length_mismatch"
    """Content-Length is not that of the range."""


@dataclass(frozen=True, slots=True)
class StorablePart:
    """Where the body of a 206 response belongs."""

    part: ByteRange
    complete_length: int
    validator: bytes | None
    """What identifies the representation it is a part of; without one it is reused alone and never combined (RFC 9111 section 3.4)."""

    def may_be_body(self, received_bytes: int) -> bool:
        """Whether that many bytes can be the part, or its beginning when the stream broke off. A longer body, which only an unknown Content-Length
        allows, belies its Content-Range: nothing of it is stored."""
        return received_bytes <= self.part.length


def judge_part(head: ResponseHead, if_range: bytes | None) -> StorablePart | PartialRejectReason:
    """Whether a response can be stored as part of a representation, as far as its form goes (freshness has its own rules).

    `if_range`: the condition that this cache put on the request, None when it was a viewer's, which nothing is stored by. A 206 that it led to need not
    repeat Last-Modified (RFC 9110 section 15.3.7).
    """
    fields = head.fields
    if head.status != 206:
        return PartialRejectReason.NOT_PARTIAL
    if fields.get(b"content-type", b"").strip().lower().startswith(b"multipart/byteranges"):
        return PartialRejectReason.MULTIPART
    content_range = parse_content_range(fields.get(b"content-range", b""))
    if content_range is None or content_range.part is None:
        return PartialRejectReason.NO_VALID_RANGE
    if content_range.complete_length is None:
        return PartialRejectReason.UNKNOWN_LENGTH
    if head.content_length is not None and head.content_length != content_range.part.length:
        return PartialRejectReason.LENGTH_MISMATCH
    etag, last_modified = fields.get(b"etag"), fields.get(b"last-modified")
    validator = strong_validator(etag, last_modified, fields.get(b"date"))
    if etag is None and last_modified is None and if_range is not None and b'"' not in if_range:
        validator = if_range
    return StorablePart(content_range.part, content_range.complete_length, validator)


def may_combine(stored_validator: bytes | None, stored_length: int, arrived: StorablePart) -> bool:
    """Whether a part belongs to the same bytes as what is stored: the same strong validator (RFC 9111 section 3.4), and the same length; else it replaces it."""
    return (
        stored_validator is not None
        and stored_validator == arrived.validator
        and stored_length == arrived.complete_length
    )


_NOT_OF_THE_WHOLE: Final = frozenset({b"content-range", b"content-length", b"transfer-encoding"})
"""Fields of one message and not of the representation. The length of the whole is that of the entry, and is written into each answer."""


def fields_of_whole(arrived: Headers) -> Headers:
    """The header section of an entry that begins with a 206 that has these end-to-end fields: that of the 200 that it is a part of."""
    return tuple(pair for pair in arrived if pair[0] not in _NOT_OF_THE_WHOLE)


def combined_fields(stored: Headers, arrived: Headers, received_seconds: float) -> Headers:
    """The header section after a 206 with these fields has been combined with an entry: updated as by a 304 (RFC 9111 section 3.4),
    except that no Content-Range stays, since the entry stands for the whole."""
    return update_fields(fields_of_whole(stored), fields_of_whole(arrived), received_seconds)


def range_fill_fields(missing: ByteRange, validator: bytes) -> tuple[Header, Header]:
    """What to ask for the missing bytes with: the part, or all of it if it has changed (RFC 9110 section 13.1.5)."""
    return ((b"range", RangeSpec(missing.first, missing.last).field_value), (b"if-range", validator))


# -- what is stored


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes without a gap; never empty."""

    first: int
    length: int
    chunks: Chunks

    @property
    def last(self) -> int:
        """Position of the last byte."""
        return self.first + self.length - 1


@dataclass(frozen=True, slots=True)
class PartialBody:
    """What is known of a representation: segments that are ascending, disjoint and do not touch."""

    complete_length: int
    segments: tuple[Segment, ...] = ()

    @property
    def stored_bytes(self) -> int:
        """How much is known."""
        return sum(segment.length for segment in self.segments)

    @property
    def is_complete(self) -> bool:
        """Nothing is missing."""
        return self.covers(self._whole)

    @property
    def _whole(self) -> ByteRange:
        return ByteRange(0, self.complete_length - 1)

    def covers(self, wanted: ByteRange) -> bool:
        """Whether all of a range is known: only then may it be answered from here (RFC 9111 section 3.3)."""
        return wanted.length == 0 or self._segment_with(wanted) is not None

    def cut(self, wanted: ByteRange) -> Chunks:
        """The bytes of a range that is covered."""
        if wanted.length == 0:
            return ()
        segment = self._segment_with(wanted)
        if segment is None:
            raise ValueError(f"{wanted} is not covered")
        return cut(segment.chunks, ByteRange(wanted.first - segment.first, wanted.last - segment.first))

    def missing_hull(self, wanted: ByteRange | None = None) -> ByteRange | None:
        """The one range from the first to the last byte that is missing of `wanted` (else of the whole), known ones between them included; None: nothing."""
        first, last = self._whole if wanted is None else wanted
        for segment in self.segments:
            if segment.first <= first <= segment.last:
                first = segment.last + 1
        for segment in reversed(self.segments):
            if segment.first <= last <= segment.last:
                last = segment.first - 1
        return ByteRange(first, last) if first <= last else None

    def with_part(self, first: int, chunks: Iterable[Chunk]) -> "PartialBody":
        """The same with bytes that have arrived, from position `first` on, in place of those already there; the smallest segments beyond the bound are forgotten."""
        arrived = tuple(chunk for chunk in chunks if len(chunk))
        length = sum(len(chunk) for chunk in arrived)
        if first < 0 or first + length > self.complete_length:
            raise ValueError(f"{length} bytes from {first} do not fit into {self.complete_length}")
        if not arrived:
            return self
        before, after = _outside(self.segments, ByteRange(first, first + length - 1))
        segments = _join_touching([*before, Segment(first, length, arrived), *after])
        return PartialBody(self.complete_length, _without_smallest(segments))

    def _segment_with(self, wanted: ByteRange) -> Segment | None:
        for segment in self.segments:
            if segment.first <= wanted.first and wanted.last <= segment.last:
                return segment
        return None


def cut(chunks: Sequence[Chunk], wanted: ByteRange) -> Chunks:
    """The bytes from one position of a sequence of chunks to another: whole chunks as they are, parts of chunks as views of them."""
    pieces: list[Chunk] = []
    offset = 0
    for chunk in chunks:
        first, last = wanted.first - offset, wanted.last - offset
        if last < 0:
            break
        length = len(chunk)
        if first < length:
            is_whole = first <= 0 and last >= length - 1
            pieces.append(chunk if is_whole else memoryview(chunk)[max(first, 0) : last + 1])
        offset += length
    return tuple(pieces)


def _outside(segments: tuple[Segment, ...], part: ByteRange) -> tuple[list[Segment], list[Segment]]:
    """What remains of segments before and after a part."""
    before = [_keep(segment, segment.first, min(segment.last, part.first - 1)) for segment in segments]
    after = [_keep(segment, max(segment.first, part.last + 1), segment.last) for segment in segments]
    return [s for s in before if s is not None], [s for s in after if s is not None]


def _keep(segment: Segment, first: int, last: int) -> Segment | None:
    """A segment between two positions. The chunk at a cut is copied: a view would keep in memory, uncounted, what has been cut off."""
    if first > last:
        return None
    if first == segment.first and last == segment.last:
        return segment
    pieces = cut(segment.chunks, ByteRange(first - segment.first, last - segment.first))
    kept = tuple(bytes(piece) if place in (0, len(pieces) - 1) else piece for place, piece in enumerate(pieces))
    return Segment(first, last - first + 1, kept)


def _join_touching(segments: list[Segment]) -> list[Segment]:
    joined: list[Segment] = []
    for segment in segments:
        if joined and joined[-1].last + 1 == segment.first:
            earlier = joined.pop()
            chunks = _join_chunks(earlier.chunks, segment.chunks)
            joined.append(Segment(earlier.first, earlier.length + segment.length, chunks))
        else:
            joined.append(segment)
    return joined


def _join_chunks(left: Chunks, right: Chunks) -> Chunks:
    seam = (left[-1], right[0])
    if sum(len(chunk) for chunk in seam) > LARGEST_JOINED_CHUNK_BYTES:
        return left + right
    return (*left[:-1], b"".join(seam), *right[1:])


def _without_smallest(segments: list[Segment]) -> tuple[Segment, ...]:
    while len(segments) > MOST_SEGMENTS:
        segments.remove(min(segments, key=lambda segment: (segment.length, segment.first)))
    return tuple(segments)
