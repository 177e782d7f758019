"""Sentences about ranges, parts and conditions that hold for whatever input, judged by the bytes of a real representation."""

import re
from dataclasses import dataclass
from email.parser import BytesParser
from email.utils import formatdate
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from edge_node.caching.conditional import PreconditionResult, StoredValidators, is_for_origin, judge_request
from edge_node.caching.partial import (
    LARGEST_JOINED_CHUNK_BYTES,
    MOST_SEGMENTS,
    Chunk,
    PartialBody,
    StorablePart,
    cut,
    judge_part,
    may_combine,
)
from edge_node.http.ranges import (
    MOST_RANGES,
    PART_OVERHEAD_BYTES,
    ByteRange,
    Selected,
    Unsatisfiable,
    format_content_range,
    make_multipart,
    parse_content_range,
    select_ranges,
)
from edge_node.model.configuration import Semantics
from edge_node.model.http import ResponseHead

SEMANTICS = st.sampled_from(list(Semantics))
LENGTHS = st.one_of(st.integers(0, 60), st.integers(0, 2000))
POSITIONS = st.one_of(st.integers(0, 70), st.integers(0, 2100), st.sampled_from([10**17, 10**18 + 1, 10**30]))
SPECS = st.one_of(
    st.tuples(POSITIONS, POSITIONS).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    POSITIONS.map(lambda first: f"{first}-"),
    POSITIONS.map(lambda length: f"-{length}"),
)
FIELDS = st.lists(SPECS, min_size=1, max_size=6).map(lambda specs: ("bytes=" + ", ".join(specs)).encode())
ODD_FIELDS = st.one_of(st.binary(max_size=60), st.text("byteBYTES=0123456789-, \t", max_size=40).map(str.encode))


def content(length: int) -> bytes:
    """A representation in which each pair of bytes tells its position."""
    return b"".join(n.to_bytes(2, "big") for n in range((length + 1) // 2))[:length]


def positions_named(spec: str, length: int) -> set[int]:
    """The naive reading of one range: every position of the representation, asked one by one."""
    first, _, last = spec.strip().partition("-")
    if not first:
        return {position for position in range(length) if position >= length - int(last)}
    return {position for position in range(length) if position >= int(first) and (not last or position <= int(last))}


def specs_of(field: bytes) -> list[str]:
    return field.decode().removeprefix("bytes=").split(",")


# -- what a Range field selects


@given(FIELDS, LENGTHS)
def test_strict_ranges_are_the_positions_named_and_no_gap_that_a_part_would_cost_less_than(
    field: bytes, length: int
) -> None:
    named = set().union(*(positions_named(spec, length) for spec in specs_of(field)))
    selection = select_ranges(field, length, Semantics.RFC9111)
    if not isinstance(selection, Selected):
        assert not named
        return
    assert all(0 <= part.first <= part.last < length for part in selection.ranges)
    sent = [position for part in selection.ranges for position in range(part.first, part.last + 1)]
    assert len(sent) == len(set(sent)) and named <= set(sent) <= set(range(length))
    parts = sorted(selection.ranges)
    assert all(part.first in named and part.last in named for part in parts)
    for left, right in pairwise(parts):
        assert right.first - left.last - 1 >= PART_OVERHEAD_BYTES
    for part in parts:
        gap = 0
        for position in range(part.first, part.last + 1):
            gap = 0 if position in named else gap + 1
            assert gap < PART_OVERHEAD_BYTES


@given(FIELDS, LENGTHS)
def test_strict_parts_come_in_the_order_in_which_their_first_byte_was_asked_for(field: bytes, length: int) -> None:
    selection = select_ranges(field, length, Semantics.RFC9111)
    if isinstance(selection, Selected):
        named = [positions_named(spec, length) for spec in specs_of(field)]
        turns = [
            min(turn for turn, positions in enumerate(named) if positions and part.first <= min(positions) <= part.last)
            for part in selection.ranges
        ]
        assert turns == sorted(turns)


@given(FIELDS, LENGTHS)
def test_cloudfront_sends_each_range_as_it_was_asked_for_or_the_whole(field: bytes, length: int) -> None:
    named = [positions for spec in specs_of(field) if (positions := positions_named(spec, length))]
    match select_ranges(field, length, Semantics.CLOUDFRONT):
        case Selected(ranges):
            assert all(0 <= part.first <= part.last < length for part in ranges)
            assert [set(range(part.first, part.last + 1)) for part in ranges] == named
            assert all(left.last < right.first for left, right in pairwise(ranges))
        case Unsatisfiable():
            assert not named
        case None:
            is_empty_suffix = length == 0 and any(spec.strip().startswith("-") for spec in specs_of(field))
            assert len(specs_of(field)) > 1 or is_empty_suffix


@given(SPECS, LENGTHS)
def test_one_range_means_the_same_under_both_semantics(spec: str, length: int) -> None:
    field = f"bytes={spec}".encode()
    assert select_ranges(field, length, Semantics.CLOUDFRONT) == select_ranges(field, length, Semantics.RFC9111)


@given(ODD_FIELDS, LENGTHS, SEMANTICS)
@example(b"bytes=" + b"0-0," * 10_000, 10, Semantics.RFC9111)
@example(b"bytes=0-" + b"9" * 30_000, 10, Semantics.CLOUDFRONT)
def test_whatever_the_field_says_the_answer_stays_within_the_representation(
    field: bytes, length: int, semantics: Semantics
) -> None:
    selection = select_ranges(field, length, semantics)
    is_well_formed = re.fullmatch(rb"(?i)bytes=[ \t,]*((\d+-\d*|-\d+)[ \t]*(,[ \t,]*|$))+", field) is not None
    if not is_well_formed:
        assert selection is None
    if isinstance(selection, Selected):
        assert 1 <= len(selection.ranges) <= MOST_RANGES
        assert sum(part.length for part in selection.ranges) <= length
        assert all(0 <= part.first <= part.last < length for part in selection.ranges)


# -- answers


BOUNDARIES = st.text("abcXYZ019_-", min_size=16, max_size=70).map(str.encode)
MEDIA_TYPES = st.sampled_from([b"video/mp4", b"text/html; charset=utf-8", b"application/octet-stream"])


@given(FIELDS, LENGTHS, SEMANTICS, BOUNDARIES, MEDIA_TYPES)
def test_a_multipart_answer_parses_to_the_slices_and_is_as_long_as_it_says(
    field: bytes, length: int, semantics: Semantics, boundary: bytes, media_type: bytes
) -> None:
    selection = select_ranges(field, length, semantics)
    if not isinstance(selection, Selected):
        return
    # The letters of the alphabet used are in no boundary line: a body that has its delimiter is another question.
    representation = bytes(0x40 + byte % 16 for byte in content(length))
    answer = make_multipart(selection.ranges, length, media_type, boundary)
    body = b"".join(head + representation[part.first : part.last + 1] for head, part in answer.parts) + answer.closing
    assert len(body) == answer.content_length
    message = BytesParser().parsebytes(b"Content-Type: " + answer.content_type + b"\r\n\r\n" + body)
    assert message.is_multipart() and not message.defects
    parts = message.get_payload()
    assert isinstance(parts, list) and len(parts) == len(selection.ranges)
    for parsed, wanted in zip(parts, selection.ranges, strict=True):
        assert parsed["content-type"].encode() == media_type
        said = parse_content_range(parsed["content-range"].encode())
        assert said == (wanted, length)
        assert parsed.get_payload(decode=True) == representation[wanted.first : wanted.last + 1]


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_content_range_says_what_was_written_or_is_refused(first: int, last: int, length: int) -> None:
    read = parse_content_range(format_content_range(ByteRange(first, last), length))
    assert (read == (ByteRange(first, last), length)) if first <= last < length else read is None


@given(st.one_of(st.binary(max_size=40), st.text("bytes 0123456789-/*", max_size=30).map(str.encode)))
def test_a_content_range_that_is_accepted_is_within_the_length_that_it_gives(field: bytes) -> None:
    read = parse_content_range(field)
    if read is not None and read.part is not None:
        assert 0 <= read.part.first <= read.part.last
        assert read.complete_length is None or read.part.last < read.complete_length


# -- parts


def chunked(data: bytes, sizes: list[int]) -> tuple[Chunk, ...]:
    """The same bytes in pieces, every other one as a view."""
    pieces: list[Chunk] = []
    for number, size in enumerate([*sizes, len(data)]):
        pieces.append(memoryview(data)[:size] if number % 2 else data[:size])
        data = data[size:]
    return tuple(pieces)


SIZES = st.lists(st.integers(0, 20), max_size=6)
SPANS = st.tuples(st.integers(0, 400), st.integers(0, 120))
ARRIVALS = st.lists(st.tuples(SPANS, SIZES), max_size=12)


@given(st.binary(max_size=80), SIZES, st.integers(0, 80), st.integers(0, 80))
def test_cutting_chunks_is_slicing_bytes(data: bytes, sizes: list[int], first: int, last: int) -> None:
    assert b"".join(cut(chunked(data, sizes), ByteRange(first, last))) == data[first : last + 1]


@given(st.integers(0, 400), ARRIVALS, st.lists(SPANS, max_size=6))
def test_any_stored_parts_serve_exactly_the_representation_or_say_what_is_missing(
    length: int, arrivals: list[tuple[tuple[int, int], list[int]]], questions: list[tuple[int, int]]
) -> None:
    representation = content(length)
    body, known = PartialBody(length), set[int]()
    for (first, size), sizes in arrivals:
        data = representation[first : first + size]
        if data:
            body = body.with_part(first, chunked(data, sizes))
            known |= set(range(first, first + len(data)))
    assert body.stored_bytes == len(known)
    for first, size in [(0, length), *questions]:
        wanted = ByteRange(first, min(first + size, length) - 1)
        if wanted.length <= 0:
            continue
        missing = [position for position in range(wanted.first, wanted.last + 1) if position not in known]
        hull = body.missing_hull(wanted)
        assert hull == (ByteRange(missing[0], missing[-1]) if missing else None)
        assert body.covers(wanted) is not bool(missing)
        if not missing:
            assert b"".join(body.cut(wanted)) == representation[wanted.first : wanted.last + 1]
        elif hull is not None:
            completed = body.with_part(hull.first, [representation[hull.first : hull.last + 1]])
            assert b"".join(completed.cut(wanted)) == representation[wanted.first : wanted.last + 1]
    assert body.is_complete is (len(known) == length)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 4)), max_size=150))
def test_segments_are_ascending_disjoint_apart_bounded_and_true(arrivals: list[tuple[int, int]]) -> None:
    representation = content(3004)
    body = PartialBody(len(representation))
    for first, size in arrivals:
        body = body.with_part(first, [representation[first : first + size]])
        assert len(body.segments) <= MOST_SEGMENTS
        for segment in body.segments:
            assert segment.length == sum(map(len, segment.chunks)) > 0
            assert b"".join(segment.chunks) == representation[segment.first : segment.last + 1]
        for left, right in pairwise(body.segments):
            assert right.first > left.last + 1


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=40))
def test_bytes_that_came_in_order_are_kept_in_chunks_half_full_on_average(sizes: list[int]) -> None:
    body, position = PartialBody(sum(sizes)), 0
    for size in sizes:
        body = body.with_part(position, [bytes(size)])
        position += size
    chunks = body.segments[0].chunks
    for left, right in pairwise(chunks):
        assert len(left) + len(right) > LARGEST_JOINED_CHUNK_BYTES
    assert body.is_complete


@given(st.data())
def test_parts_of_different_versions_are_never_mixed(data: st.DataObject) -> None:
    """Two versions of the same length, and 206 responses of either in any order: what is served is of one version."""
    versions = {b'"a"': b"a" * 50, b'"b"': b"b" * 50, b'W/"a"': b"w" * 50}
    body, validator = PartialBody(50), None
    for etag, (first, size) in data.draw(
        st.lists(st.tuples(st.sampled_from(sorted(versions)), st.tuples(st.integers(0, 49), st.integers(1, 30))))
    ):
        sent = versions[etag][first : first + size]
        by_name = {b"etag": etag, b"content-range": b"bytes %d-%d/50" % (first, first + len(sent) - 1)}
        part = judge_part(ResponseHead(206, b"", tuple(by_name.items()), len(sent), by_name), None)
        assert isinstance(part, StorablePart)
        stored = body if may_combine(validator, body.complete_length, part) else PartialBody(part.complete_length)
        body, validator = stored.with_part(part.part.first, [sent]), part.validator
        assert len({byte for segment in body.segments for chunk in segment.chunks for byte in chunk}) == 1


# -- conditions


@dataclass(frozen=True)
class Tag:
    """An entity tag before it is written down."""

    is_weak: bool
    opaque: str

    def written(self) -> bytes:
        return f'{"W/" if self.is_weak else ""}"{self.opaque}"'.encode()


@dataclass(frozen=True)
class Conditions:
    """The conditions of a request before they are written down; moments are seconds, NEVER is no date."""

    method: bytes
    none_match: list[Tag] | str | None
    since: int | None
    if_range: Tag | int | None
    has_range: bool
    origin_condition: bytes | None

    def fields(self) -> dict[bytes, bytes]:
        fields: dict[bytes, bytes] = {}
        if isinstance(self.none_match, str):
            fields[b"if-none-match"] = self.none_match.encode()
        elif self.none_match is not None:
            fields[b"if-none-match"] = b" , ".join(tag.written() for tag in self.none_match)
        if self.since is not None:
            fields[b"if-modified-since"] = written_date(self.since)
        if isinstance(self.if_range, Tag):
            fields[b"if-range"] = self.if_range.written()
        elif self.if_range is not None:
            fields[b"if-range"] = written_date(self.if_range)
        if self.has_range:
            fields[b"range"] = b"bytes=0-0"
        if self.origin_condition is not None:
            fields[self.origin_condition] = b'"whatever"'
        return fields


NEVER = -1
SECONDS = st.integers(1_800_000_000, 1_800_000_003)
TAGS = st.builds(Tag, st.booleans(), st.sampled_from(["a", "b", "a,b", "\\", ""]))
REQUESTS = st.builds(
    Conditions,
    st.sampled_from([b"GET", b"HEAD"]),
    st.none() | st.just("*") | st.lists(TAGS, min_size=1, max_size=3),
    st.none() | st.just(NEVER) | SECONDS,
    st.none() | TAGS | st.just(NEVER) | SECONDS,
    st.booleans(),
    st.sampled_from([None, None, b"if-match", b"if-unmodified-since"]),
)


def written_date(moment: int) -> bytes:
    return b"never" if moment == NEVER else formatdate(moment, usegmt=True).encode()


def result_by_the_rfc(asked: Conditions, tag: Tag | None, modified: int | None, date: int | None) -> PreconditionResult:
    """RFC 9110 section 13.2.2, steps 3 to 6, for a stored 200 response."""
    if asked.none_match is not None:
        if isinstance(asked.none_match, str) or (tag and tag.opaque in [other.opaque for other in asked.none_match]):
            return PreconditionResult.NOT_MODIFIED
    elif asked.since not in (None, NEVER):
        changed = modified if modified is not None else date
        if changed is not None and asked.since is not None and changed <= asked.since:
            return PreconditionResult.NOT_MODIFIED
    if asked.method != b"GET" or not asked.has_range:
        return PreconditionResult.WHOLE
    if isinstance(asked.if_range, Tag):
        return (
            PreconditionResult.PART
            if asked.if_range == tag and not asked.if_range.is_weak
            else PreconditionResult.WHOLE
        )
    if asked.if_range is not None:
        is_strong = modified is not None and date is not None and modified < date
        return PreconditionResult.PART if is_strong and asked.if_range == modified else PreconditionResult.WHOLE
    return PreconditionResult.PART


@given(REQUESTS, st.none() | TAGS, st.none() | SECONDS, st.none() | SECONDS)
def test_a_request_is_judged_as_the_rfc_reads(
    asked: Conditions, tag: Tag | None, modified: int | None, date: int | None
) -> None:
    stored = StoredValidators(
        tag.written() if tag else None,
        written_date(modified) if modified is not None else None,
        written_date(date) if date is not None else None,
    )
    assert is_for_origin(asked.fields()) == (asked.origin_condition is not None)
    assert judge_request(asked.method, asked.fields(), 200, stored) is result_by_the_rfc(asked, tag, modified, date)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_condition_is_an_error(value: bytes, other: bytes) -> None:
    names = (b"if-none-match", b"if-modified-since", b"if-range", b"range")
    for chosen in (names, names[1:], names[2:]):
        judge_request(b"GET", dict.fromkeys(chosen, value), 200, StoredValidators(other, other, value))
