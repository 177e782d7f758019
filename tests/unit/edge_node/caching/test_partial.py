"""Storing parts and putting them together (RFC 9111 sections 3.3 and 3.4, RFC 9110 section 15.3.7)."""

import pytest

from edge_node.caching.partial import (
    LARGEST_JOINED_CHUNK_BYTES,
    MOST_SEGMENTS,
    PartialBody,
    PartialRejectReason,
    StorablePart,
    combined_fields,
    cut,
    fields_of_whole,
    judge_part,
    may_combine,
    range_fill_fields,
)
from edge_node.http.ranges import ByteRange
from edge_node.model.http import Headers, ResponseHead

MODIFIED = b"Fri, 15 Jan 2027 08:00:00 GMT"
LATER = b"Fri, 15 Jan 2027 08:00:01 GMT"
ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


def response(*, status: int = 206, length: int | None = 5, **fields: bytes) -> ResponseHead:
    by_name = {name.replace("_", "-").encode(): value for name, value in fields.items()}
    by_name = {name: value for name, value in by_name.items() if value}
    return ResponseHead(status, b"", tuple(by_name.items()), length, by_name)


def body_with(*parts: tuple[int, bytes]) -> PartialBody:
    body = PartialBody(len(ALPHABET))
    for first, data in parts:
        body = body.with_part(first, [data])
    return body


def text(chunks: tuple[bytes | memoryview, ...]) -> bytes:
    return b"".join(chunks)


# -- may a 206 be stored?


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (response(content_range=b"bytes 0-4/10"), StorablePart(ByteRange(0, 4), 10, None)),
        (response(content_range=b"bytes 5-9/10", length=None), StorablePart(ByteRange(5, 9), 10, None)),
        (response(content_range=b"bytes 0-4/10", etag=b'"1"'), StorablePart(ByteRange(0, 4), 10, b'"1"')),
        (response(content_range=b"bytes 0-4/10", etag=b'W/"1"'), StorablePart(ByteRange(0, 4), 10, None)),
        (
            response(content_range=b"bytes 0-4/10", last_modified=MODIFIED, date=LATER),
            StorablePart(ByteRange(0, 4), 10, MODIFIED),
        ),
        (
            response(content_range=b"bytes 0-4/10", last_modified=MODIFIED, date=MODIFIED),
            StorablePart(ByteRange(0, 4), 10, None),
        ),
        (response(status=200, content_range=b"bytes 0-4/10"), PartialRejectReason.NOT_PARTIAL),
        (response(status=416, content_range=b"bytes */10"), PartialRejectReason.NOT_PARTIAL),
        (response(content_type=b"multipart/byteranges; boundary=x"), PartialRejectReason.MULTIPART),
        (response(content_type=b"Multipart/Byteranges;boundary=x"), PartialRejectReason.MULTIPART),
        (
            response(content_type=b"multipart/byteranges; boundary=x", content_range=b"bytes 0-4/10"),
            PartialRejectReason.MULTIPART,
        ),
        (response(), PartialRejectReason.NO_VALID_RANGE),
        (response(content_range=b"bytes */10"), PartialRejectReason.NO_VALID_RANGE),
        (response(content_range=b"bytes 0-4/4"), PartialRejectReason.NO_VALID_RANGE),
        (response(content_range=b"seconds 0-4/10"), PartialRejectReason.NO_VALID_RANGE),
        (response(content_range=b"bytes 0-4/*"), PartialRejectReason.UNKNOWN_LENGTH),
        (response(content_range=b"bytes 0-5/10"), PartialRejectReason.LENGTH_MISMATCH),
        (response(content_range=b"bytes 0-4/10", length=0), PartialRejectReason.LENGTH_MISMATCH),
    ],
)
def test_which_partial_responses_may_be_stored(
    head: ResponseHead, expected: StorablePart | PartialRejectReason
) -> None:
    assert judge_part(head, None) == expected


@pytest.mark.parametrize(
    ("fields", "if_range", "validator"),
    [
        # a 206 need not repeat the date that was asked with, but it must repeat a tag
        ({}, MODIFIED, MODIFIED),
        ({}, b'"1"', None),
        ({b"etag": b'"2"'}, MODIFIED, b'"2"'),
        ({b"etag": b'W/"2"'}, MODIFIED, None),
        ({b"last-modified": LATER, b"date": LATER}, MODIFIED, None),
        ({b"etag": b'"2"'}, b'"1"', b'"2"'),
    ],
)
def test_the_validator_of_an_answer_to_if_range(
    fields: dict[bytes, bytes], if_range: bytes, validator: bytes | None
) -> None:
    by_name = {b"content-range": b"bytes 0-4/10", **fields}
    part = judge_part(ResponseHead(206, b"", tuple(by_name.items()), 5, by_name), if_range)
    assert isinstance(part, StorablePart) and part.validator == validator


@pytest.mark.parametrize(
    ("stored", "length", "validator", "may"),
    [(b'"1"', 10, b'"1"', True), (b'"1"', 10, b'"2"', False), (b'"1"', 11, b'"1"', False), (None, 10, None, False)],
)
def test_parts_are_combined_with_the_same_strong_validator_only(
    stored: bytes | None, length: int, validator: bytes | None, may: bool
) -> None:
    assert may_combine(stored, length, StorablePart(ByteRange(0, 4), 10, validator)) is may


def test_a_body_longer_than_its_content_range_is_not_it() -> None:
    part = StorablePart(ByteRange(5, 9), 20, None)
    assert part.may_be_body(5) and part.may_be_body(2) and not part.may_be_body(6)


def test_the_fields_of_a_combined_entry() -> None:
    stored = ((b"content-type", b"text/plain"), (b"etag", b'"1"'), (b"cache-control", b"max-age=1"), (b"x-a", b"1"))
    arrived = (
        (b"content-range", b"bytes 0-4/10"),
        (b"content-length", b"5"),
        (b"cache-control", b"max-age=2"),
        (b"etag", b'"1"'),
        (b"date", MODIFIED),
        (b"x-b", b"1"),
        (b"x-b", b"2"),
    )
    assert combined_fields(stored, arrived, 0.0) == (
        (b"content-type", b"text/plain"),
        (b"x-a", b"1"),
        (b"cache-control", b"max-age=2"),
        (b"etag", b'"1"'),
        (b"date", MODIFIED),
        (b"x-b", b"1"),
        (b"x-b", b"2"),
    )


def test_the_fields_of_a_first_part_are_those_of_the_whole() -> None:
    arrived: Headers = ((b"content-range", b"bytes 0-4/10"), (b"content-length", b"5"), (b"etag", b'"1"'))
    assert fields_of_whole(arrived) == ((b"etag", b'"1"'),)
    assert combined_fields(arrived, (), 1_800_000_000.0) == ((b"etag", b'"1"'), (b"date", MODIFIED))


def test_what_completes_an_entry() -> None:
    assert range_fill_fields(ByteRange(5, 9), b'"1"') == ((b"range", b"bytes=5-9"), (b"if-range", b'"1"'))


# -- segments


def test_parts_that_meet_become_one_segment() -> None:
    body = body_with((0, b"abc"), (6, b"ghi"), (3, b"def"))
    assert [(s.first, s.length) for s in body.segments] == [(0, 9)]
    assert text(body.cut(ByteRange(2, 6))) == b"cdefg"
    assert body.stored_bytes == 9


def test_a_part_takes_the_place_of_what_it_overlaps() -> None:
    body = body_with((2, b"xxxx"), (8, b"xxxx"), (4, b"EFGHIJ"))
    assert text(body.cut(ByteRange(2, 11))) == b"xxEFGHIJxx"
    assert len(body.segments) == 1
    assert text(body_with((4, b"xx"), (0, ALPHABET)).cut(ByteRange(0, 25))) == ALPHABET
    assert text(body_with((0, ALPHABET), (4, b"XX")).cut(ByteRange(0, 25))) == b"abcdXXghijklmnopqrstuvwxyz"


def test_a_range_is_covered_by_one_segment_or_not_at_all() -> None:
    body = body_with((0, b"abc"), (6, b"ghi"))
    assert body.covers(ByteRange(0, 2)) and body.covers(ByteRange(7, 7))
    assert not body.covers(ByteRange(0, 3)) and not body.covers(ByteRange(2, 6)) and not body.covers(ByteRange(9, 9))
    with pytest.raises(ValueError, match="not covered"):
        body.cut(ByteRange(2, 6))


@pytest.mark.parametrize(
    ("parts", "wanted", "hull"),
    [
        ((), None, ByteRange(0, 25)),
        (((0, ALPHABET),), None, None),
        (((0, b"abc"),), None, ByteRange(3, 25)),
        (((23, b"xyz"),), None, ByteRange(0, 22)),
        (((0, b"abc"), (23, b"xyz")), None, ByteRange(3, 22)),
        (((0, b"abc"), (10, b"klm"), (23, b"xyz")), None, ByteRange(3, 22)),
        (((10, b"klm"),), None, ByteRange(0, 25)),
        (((10, b"klm"),), ByteRange(10, 12), None),
        (((10, b"klm"),), ByteRange(11, 14), ByteRange(13, 14)),
        (((10, b"klm"),), ByteRange(8, 11), ByteRange(8, 9)),
        (((10, b"klm"),), ByteRange(8, 14), ByteRange(8, 14)),
        (((10, b"klm"),), ByteRange(0, 5), ByteRange(0, 5)),
    ],
)
def test_what_is_missing(
    parts: tuple[tuple[int, bytes], ...], wanted: ByteRange | None, hull: ByteRange | None
) -> None:
    assert body_with(*parts).missing_hull(wanted) == hull


def test_completeness() -> None:
    body = body_with((1, ALPHABET[1:]))
    assert not body.is_complete
    body = body.with_part(0, [b"a"])
    assert body.is_complete and text(body.cut(ByteRange(0, 25))) == ALPHABET


def test_an_empty_representation_is_complete() -> None:
    body = PartialBody(0)
    assert body.is_complete and body.missing_hull() is None and body.cut(ByteRange(0, -1)) == ()


def test_nothing_arrived_changes_nothing() -> None:
    body = body_with((0, b"abc"))
    assert body.with_part(5, []) is body and body.with_part(5, [b"", b""]) is body


@pytest.mark.parametrize(("first", "data"), [(-1, b"a"), (26, b"a"), (20, b"too long")])
def test_bytes_outside_of_the_representation_are_refused(first: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        body_with((first, data))


def test_the_smallest_of_too_many_segments_is_forgotten() -> None:
    body = PartialBody(10_000)
    for number in range(MOST_SEGMENTS):
        body = body.with_part(number * 100, [b"x" * (2 if number == 7 else 3)])
    assert len(body.segments) == MOST_SEGMENTS and body.covers(ByteRange(700, 701))
    body = body.with_part(9_000, [b"xxx"])
    assert len(body.segments) == MOST_SEGMENTS and not body.covers(ByteRange(700, 700))
    assert body.covers(ByteRange(9_000, 9_002))
    assert not body.with_part(9_500, [b"x"]).covers(ByteRange(9_500, 9_500))  # it is the smallest itself


# -- chunks


def test_whole_chunks_are_neither_copied_nor_viewed() -> None:
    chunks = (b"0123", b"4567", b"89ab")
    pieces = cut(chunks, ByteRange(2, 9))
    assert text(pieces) == b"23456789"
    assert pieces[1] is chunks[1]
    assert isinstance(pieces[0], memoryview) and pieces[0].obj is chunks[0]
    assert isinstance(pieces[2], memoryview) and pieces[2].obj is chunks[2]
    assert all(piece is chunk for piece, chunk in zip(cut(chunks, ByteRange(0, 11)), chunks, strict=True))
    assert cut((memoryview(b"0123"),), ByteRange(1, 2)) == (b"12",)


def test_what_has_been_cut_off_is_not_kept_in_memory() -> None:
    large, whole = b"a" * 50_000, memoryview(b"b" * 50_000)
    body = PartialBody(200_000).with_part(0, [large, whole]).with_part(10_000, [b"c"])
    before, rest, untouched = body.segments[0].chunks[0], body.segments[0].chunks[-2], body.segments[0].chunks[-1]
    assert isinstance(before, bytes) and len(before) in (10_000, 10_001)
    assert isinstance(rest, bytes) and len(rest) == 39_999
    assert untouched == whole


def test_a_body_that_came_in_single_bytes_is_not_kept_in_single_bytes() -> None:
    body = PartialBody(100_000)
    for position in range(LARGEST_JOINED_CHUNK_BYTES // 16 * 40):
        body = body.with_part(position, [b"x"])
    assert len(body.segments) == 1
    assert len(body.segments[0].chunks) == 3
