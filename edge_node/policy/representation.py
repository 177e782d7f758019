"""What of a stored response a request gets: all of it, nothing but 304, one range, several, or 416 (RFC 9110 sections 13, 14 and 15.3.7, reference 2.8)."""

from dataclasses import dataclass
from typing import assert_never

from edge_node.caching.conditional import PreconditionResult, StoredValidators, judge_request
from edge_node.caching.entry import Entry
from edge_node.http.ranges import (
    BodyPart,
    ByteRange,
    Multipart,
    Selected,
    Unsatisfiable,
    format_content_range,
    make_multipart,
    select_ranges,
)
from edge_node.model.configuration import Semantics
from edge_node.model.http import Headers, RequestHead
from edge_node.policy.response_head import content_length, not_modified_fields, write_fields


@dataclass(frozen=True, slots=True)
class Representation:
    """An answer from an entry but for its start: status, field lines with framing, and which bytes follow."""

    status: int
    field_block: bytes
    """Field lines, without Content-Length."""
    content_length: int | None
    """Of the representation, or of the part of it; None where it is not said."""
    body_length: int
    """Of what is sent, bytes."""
    parts: tuple[BodyPart, ...]
    """What to send in order; nothing for HEAD, 304 and 416."""
    closing: bytes = b""

    @property
    def field_lines(self) -> bytes:
        """The field block with the framing of HTTP/1.1."""
        return (
            self.field_block if self.content_length is None else self.field_block + content_length(self.content_length)
        )

    @property
    def range(self) -> ByteRange | None:
        """The one range that is sent, of a 206."""
        return self.parts[0].part if self.status == 206 and len(self.parts) == 1 else None


def choose_representation(
    head: RequestHead, entry: Entry, semantics: Semantics, boundary: bytes, *, is_for_cache: bool = False
) -> Representation:
    """For a GET, HEAD or cached OPTIONS request; `boundary` is used if several ranges are sent. Another cache updates its copy by a 304, so it gets all fields."""
    fields = head.fields
    if head.is_plain:
        return _whole(head, entry)
    headers = entry.headers
    stored = StoredValidators(entry.etag, entry.last_modified, dict(headers).get(b"date"))
    match judge_request(head.method, fields, entry.status, stored):
        case PreconditionResult.WHOLE:
            return _whole(head, entry)
        case PreconditionResult.NOT_MODIFIED:
            return Representation(
                304, write_fields(headers if is_for_cache else not_modified_fields(headers)), None, 0, ()
            )
        case PreconditionResult.PART:
            return _part(head, entry, semantics, boundary)
        case _ as unreachable:
            assert_never(unreachable)


def _part(head: RequestHead, entry: Entry, semantics: Semantics, boundary: bytes) -> Representation:
    """What the Range field selects."""
    match select_ranges(head.fields[b"range"], entry.length, semantics):
        case None:
            return _whole(head, entry)
        case Unsatisfiable():
            unsatisfied = b"Content-Range: %b\r\n" % format_content_range(None, entry.length)
            return Representation(416, unsatisfied, 0, 0, ())
        case Selected(ranges=(part,)):
            return _one_range(entry, part)
        case Selected(ranges=ranges):
            headers = entry.headers
            parts = make_multipart(ranges, entry.length, dict(headers).get(b"content-type"), boundary)
            return _several_ranges(headers, parts)


def _whole(head: RequestHead, entry: Entry) -> Representation:
    length = entry.length
    is_sent = head.method != b"HEAD" and length > 0
    parts = (BodyPart(b"", ByteRange(0, length - 1)),) if is_sent else ()
    return Representation(entry.status, entry.bare_field_lines, length, length if is_sent else 0, parts)


def _one_range(entry: Entry, part: ByteRange) -> Representation:
    content_range = b"Content-Range: %b\r\n" % format_content_range(part, entry.length)
    return Representation(206, entry.bare_field_lines + content_range, part.length, part.length, (BodyPart(b"", part),))


def _several_ranges(headers: Headers, several: Multipart) -> Representation:
    kept = tuple(pair for pair in headers if pair[0] != b"content-type")
    lines = write_fields((*kept, (b"content-type", several.content_type)))
    return Representation(206, lines, several.content_length, several.content_length, several.parts, several.closing)
