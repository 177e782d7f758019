"""Range, Content-Range and multipart/byteranges as tables (RFC 9110 sections 14 and 15.3.7, reference 2.8)."""

from email.parser import BytesParser

import pytest

from edge_node.http.ranges import (
    MOST_RANGES,
    PART_OVERHEAD_BYTES,
    ByteRange,
    ContentRange,
    RangeSpec,
    Selected,
    Unsatisfiable,
    format_content_range,
    make_multipart,
    parse_content_range,
    select_ranges,
)
from edge_node.model.configuration import Semantics

BOTH = (Semantics.CLOUDFRONT, Semantics.RFC9111)
WHOLE = None
NOTHING = Unsatisfiable()


def selected(*pairs: tuple[int, int]) -> Selected:
    return Selected(tuple(ByteRange(*pair) for pair in pairs))


# -- Range: what both semantics agree on


@pytest.mark.parametrize("semantics", BOTH)
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"bytes=0-0", selected((0, 0))),
        (b"bytes=10-19", selected((10, 19))),
        (b"bytes=990-", selected((990, 999))),
        (b"bytes=990-5000", selected((990, 999))),
        (b"bytes=-1", selected((999, 999))),
        (b"bytes=-5000", selected((0, 999))),
        (b"bytes=0-0,500-509,-1", selected((0, 0), (500, 509), (999, 999))),
        # white space and empty members of the list
        (b"bytes=0-0 ,\t500-509", selected((0, 0), (500, 509))),
        (b"bytes= 0-9 ", selected((0, 9))),
        (b"bytes=,0-9,,", selected((0, 9))),
        # any case of the unit
        (b"Bytes=0-9", selected((0, 9))),
        (b"BYTES=0-9", selected((0, 9))),
        # unsatisfiable
        (b"bytes=1000-", NOTHING),
        (b"bytes=1000-1001", NOTHING),
        (b"bytes=-0", NOTHING),
        (b"bytes=1000-1001,2000-2001", NOTHING),
        # some of them unsatisfiable
        (b"bytes=0-9,1000-1001", selected((0, 9))),
        # more digits than any machine word
        (b"bytes=0-99999999999999999999999999", selected((0, 999))),
        (b"bytes=-99999999999999999999999999", selected((0, 999))),
        (b"bytes=99999999999999999999999999-", NOTHING),
        (b"bytes=0-" + b"9" * 20_000, selected((0, 999))),
        (b"bytes=000000000000000000000000000001-2", selected((1, 2))),
        # not a set of byte ranges: as if the field were absent
        (b"", WHOLE),
        (b"bytes", WHOLE),
        (b"bytes=", WHOLE),
        (b"bytes=,", WHOLE),
        (b"bytes=-", WHOLE),
        (b"bytes=9-0", WHOLE),
        (b"bytes=0-9,9-0", WHOLE),
        (b"bytes=0-9,x", WHOLE),
        (b"bytes=--9", WHOLE),
        (b"bytes=0--9", WHOLE),
        (b"bytes=-1-2", WHOLE),
        (b"bytes=+0-9", WHOLE),
        (b"bytes=0x0-9", WHOLE),
        (b"bytes=0 - 9", WHOLE),
        (b"bytes =0-9", WHOLE),
        (b"bytes:0-9", WHOLE),
        (b"items=0-9", WHOLE),
        (b"bytes=0-9;500-509", WHOLE),
        (b"bytes=\xb2-9", WHOLE),
        # two fields, joined by a comma
        (b"bytes=0-9, bytes=20-29", WHOLE),
    ],
)
def test_what_a_range_field_selects_of_a_thousand_bytes(
    field: bytes, expected: Selected | Unsatisfiable | None, semantics: Semantics
) -> None:
    assert select_ranges(field, 1000, semantics) == expected


# -- Range: where they differ


@pytest.mark.parametrize(
    ("field", "cloudfront", "strict"),
    [
        # not ascending
        (b"bytes=500-509,0-9", WHOLE, selected((500, 509), (0, 9))),
        (b"bytes=-1,0-0", WHOLE, selected((999, 999), (0, 0))),
        # overlapping
        (b"bytes=0-499,400-599", WHOLE, selected((0, 599))),
        (b"bytes=0-9,0-9", WHOLE, selected((0, 9))),
        (b"bytes=0-9,9-19", WHOLE, selected((0, 19))),
        (b"bytes=0-,500-509", WHOLE, selected((0, 999))),
        (b"bytes=0-499,-600", WHOLE, selected((0, 999))),
        (b"bytes=1000-,2000-", WHOLE, NOTHING),
        (b"bytes=0-5000,500-509", WHOLE, selected((0, 999))),
        # touching, and with a gap that costs less than a part
        (b"bytes=0-9,10-19", selected((0, 9), (10, 19)), selected((0, 19))),
        (b"bytes=0-9,89-99", selected((0, 9), (89, 99)), selected((0, 99))),
        (b"bytes=0-9,90-99", selected((0, 9), (90, 99)), selected((0, 9), (90, 99))),
        # a joined range stands where its first member stood
        (b"bytes=500-509,0-9,510-519,900-", WHOLE, selected((500, 519), (0, 9), (900, 999))),
        (b"bytes=500-509,900-,0-9,480-499", WHOLE, selected((480, 509), (900, 999), (0, 9))),
        (b"bytes=500-509,5000-,0-9", WHOLE, selected((500, 509), (0, 9))),
    ],
)
def test_where_the_semantics_differ(
    field: bytes, cloudfront: Selected | None, strict: Selected | Unsatisfiable | None
) -> None:
    assert select_ranges(field, 1000, Semantics.CLOUDFRONT) == cloudfront
    assert select_ranges(field, 1000, Semantics.RFC9111) == strict


@pytest.mark.parametrize("semantics", BOTH)
@pytest.mark.parametrize(
    ("field", "expected"),
    [(b"bytes=0-", NOTHING), (b"bytes=0-0", NOTHING), (b"bytes=-0", NOTHING), (b"bytes=-5", WHOLE)],
)
def test_what_a_range_field_selects_of_nothing(
    field: bytes, expected: Unsatisfiable | None, semantics: Semantics
) -> None:
    assert select_ranges(field, 0, semantics) == expected


@pytest.mark.parametrize("semantics", BOTH)
def test_too_many_ranges_are_ignored(semantics: Semantics) -> None:
    def field(count: int) -> bytes:
        return b"bytes=" + b",".join(b"%d-%d" % (n * 1000, n * 1000) for n in range(count))

    selection = select_ranges(field(MOST_RANGES), 10**6, semantics)
    assert isinstance(selection, Selected) and len(selection.ranges) == MOST_RANGES
    assert select_ranges(field(MOST_RANGES + 1), 10**6, semantics) is None


def test_a_suffix_is_written_as_one() -> None:
    assert RangeSpec(None, 5).field_value == b"bytes=-5"


# -- Content-Range


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"bytes 0-4/10", ContentRange(ByteRange(0, 4), 10)),
        (b"bytes 5-9/10", ContentRange(ByteRange(5, 9), 10)),
        (b"Bytes 5-9/10", ContentRange(ByteRange(5, 9), 10)),
        (b" bytes  5-9/10 ", ContentRange(ByteRange(5, 9), 10)),
        (b"bytes 5-9/*", ContentRange(ByteRange(5, 9), None)),
        (b"bytes */10", ContentRange(None, 10)),
        (b"bytes 5-10/10", None),
        (b"bytes 5-4/10", None),
        (b"bytes 0-0/0", None),
        (b"bytes */*", None),
        (b"bytes 5-/10", None),
        (b"bytes -5/10", None),
        (b"bytes=5-9/10", None),
        (b"bytes 5-9", None),
        (b"bytes 5 - 9/10", None),
        (b"items 5-9/10", None),
        (b"bytes 0-4/10, bytes 5-9/10", None),
        (b"bytes 0-4/99999999999999999999", None),
        (b"bytes 0-4/10\n", None),
        (b"", None),
    ],
)
def test_content_range(field: bytes, expected: ContentRange | None) -> None:
    assert parse_content_range(field) == expected


def test_content_range_is_written() -> None:
    assert format_content_range(ByteRange(5, 9), 10) == b"bytes 5-9/10"
    assert format_content_range(None, 10) == b"bytes */10"


# -- multipart/byteranges


def test_a_multipart_answer_to_the_letter() -> None:
    content = b"0123456789"
    answer = make_multipart((ByteRange(0, 1), ByteRange(7, 9)), 10, b"text/plain", b"B_1")
    body = b"".join(head + content[part.first : part.last + 1] for head, part in answer.parts) + answer.closing
    assert body == (
        b"--B_1\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--B_1\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789"
        b"\r\n--B_1--\r\n"
    )
    assert answer.content_type == b"multipart/byteranges; boundary=B_1"
    assert answer.content_length == len(body)


def test_parts_of_a_representation_without_media_type_have_none() -> None:
    answer = make_multipart((ByteRange(0, 0), ByteRange(2, 2)), 3, None, b"x")
    head = answer.parts[0].head
    message = BytesParser().parsebytes(head.partition(b"\r\n")[2])
    assert message.keys() == ["Content-Range"]


@pytest.mark.parametrize("boundary", [b"", b"a b", b'a"', b"a\r\nb", b"a" * 71, b"a\n"])
def test_a_boundary_that_would_break_the_message_is_refused(boundary: bytes) -> None:
    with pytest.raises(ValueError, match="boundary"):
        make_multipart((ByteRange(0, 0),), 3, None, boundary)


def test_the_gap_below_which_ranges_are_joined_is_what_a_part_costs() -> None:
    two = make_multipart((ByteRange(0, 0), ByteRange(500, 500)), 1000, b"text/plain", b"b" * 20)
    one = make_multipart((ByteRange(0, 0),), 1000, b"text/plain", b"b" * 20)
    assert PART_OVERHEAD_BYTES <= two.content_length - one.content_length < 2 * PART_OVERHEAD_BYTES
