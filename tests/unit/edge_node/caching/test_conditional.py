"""Conditional requests as tables (RFC 9110 sections 8.8 and 13, RFC 9111 section 4.3.2)."""

import pytest

from edge_node.caching.conditional import (
    PreconditionResult,
    StoredValidators,
    is_for_origin,
    is_not_modified,
    is_strong_date,
    judge_request,
    may_send_range,
    strong_validator,
    validators,
)
from edge_node.model.configuration import Semantics

EARLIER = b"Fri, 15 Jan 2027 07:59:59 GMT"
MODIFIED = b"Fri, 15 Jan 2027 08:00:00 GMT"
LATER = b"Fri, 15 Jan 2027 08:00:01 GMT"
BOTH = (Semantics.CLOUDFRONT, Semantics.RFC9111)
STRONG = StoredValidators(b'"1"', MODIFIED, LATER)
NO_TAG = StoredValidators(None, MODIFIED, LATER)


# -- If-None-Match: weak comparison


@pytest.mark.parametrize(
    ("none_match", "etag", "is_304"),
    [
        (b'"1"', b'"1"', True),
        (b'W/"1"', b'"1"', True),
        (b'"1"', b'W/"1"', True),
        (b'W/"1"', b'W/"1"', True),
        (b'"0", "1"', b'"1"', True),
        (b'"0","1",W/"2"', b'"2"', True),
        (b', "0" ,, "1" ,', b'"1"', True),
        (b'"2"', b'"1"', False),
        (b'"01"', b'"1"', False),
        (b'w/"1"', b'"1"', False),
        (b'"1"x', b'"1"', False),
        (b'x"1"', b'"1"', False),
        # what is inside the quotes belongs to the tag: commas, stars, white space, a backslash, which escapes nothing
        (b'"0,1", "2"', b'"1"', False),
        (b'"0,1", "2"', b'"0,1"', True),
        (b'"*"', b'"1"', False),
        (b'"a b"', b'"a b"', True),
        (b'"a\\", "b"', b'"b"', True),
        (b'"a\\"', b'"a\\"', True),
        (b'""', b'""', True),
        # any representation
        (b"*", b'"1"', True),
        (b" * ", b'"1"', True),
        (b"*", None, True),
        (b'"0", *', b'"1"', False),
        # without a tag nothing else matches
        (b'"1"', None, False),
        # malformed
        (b"1", b'"1"', False),
        (b"", b'"1"', False),
        (b'"1', b'"1"', False),
        (b"1", b"1", True),
        (b'"0", 1', b"1", True),
    ],
)
def test_if_none_match(none_match: bytes, etag: bytes | None, is_304: bool) -> None:
    assert is_not_modified({b"if-none-match": none_match}, 200, etag, None) is is_304


# -- If-Modified-Since


@pytest.mark.parametrize(
    ("since", "last_modified", "date", "is_304"),
    [
        (MODIFIED, MODIFIED, LATER, True),
        (LATER, MODIFIED, LATER, True),
        (EARLIER, MODIFIED, LATER, False),
        (b"Friday, 15-Jan-27 08:00:00 GMT", MODIFIED, LATER, True),
        (b"Fri Jan 15 08:00:00 2027", MODIFIED, LATER, True),
        (b"yesterday", MODIFIED, LATER, False),
        (b"", MODIFIED, LATER, False),
        (b"0", MODIFIED, LATER, False),
        (MODIFIED, b"yesterday", LATER, False),
        (b"yesterday", b"yesterday", LATER, False),
        # Last-Modified is absent: Date stands in
        (LATER, None, LATER, True),
        (MODIFIED, None, LATER, False),
        (LATER, None, None, False),
        (LATER, None, b"yesterday", False),
    ],
)
def test_if_modified_since(since: bytes, last_modified: bytes | None, date: bytes | None, is_304: bool) -> None:
    assert is_not_modified({b"if-modified-since": since}, 200, b'"1"', last_modified, date) is is_304


def test_if_none_match_decides_alone() -> None:
    assert not is_not_modified({b"if-none-match": b'"2"', b"if-modified-since": LATER}, 200, b'"1"', MODIFIED)
    assert is_not_modified({b"if-none-match": b'"1"', b"if-modified-since": EARLIER}, 200, b'"1"', MODIFIED)


@pytest.mark.parametrize("status", [203, 204, 206, 301, 404, 410, 500])
def test_conditions_on_other_stored_responses_are_ignored(status: int) -> None:
    assert not is_not_modified({b"if-none-match": b"*", b"if-modified-since": LATER}, status, b'"1"', MODIFIED)


# -- If-Range: strong comparison


@pytest.mark.parametrize(
    ("condition", "stored", "may"),
    [
        (None, StoredValidators(None, None, None), True),
        (b'"1"', STRONG, True),
        (b'"2"', STRONG, False),
        (b'W/"1"', STRONG, False),
        (b'"1"', StoredValidators(b'W/"1"', MODIFIED, LATER), False),
        (b'W/"1"', StoredValidators(b'W/"1"', MODIFIED, LATER), False),
        (b'"1"', NO_TAG, False),
        (b'"1", "2"', STRONG, False),
        (b"*", STRONG, False),
        # dates: exactly the same one, and at least a second older than the response
        (MODIFIED, STRONG, True),
        (MODIFIED, NO_TAG, True),
        (LATER, NO_TAG, False),
        (EARLIER, NO_TAG, False),
        (b"Fri Jan 15 08:00:00 2027", NO_TAG, False),
        (MODIFIED, StoredValidators(None, MODIFIED, MODIFIED), False),
        (MODIFIED, StoredValidators(None, MODIFIED, None), False),
        (MODIFIED, StoredValidators(None, MODIFIED, b"yesterday"), False),
        (MODIFIED, StoredValidators(None, None, LATER), False),
        (b"yesterday", StoredValidators(None, b"yesterday", LATER), False),
        (b"", NO_TAG, False),
    ],
)
def test_if_range(condition: bytes | None, stored: StoredValidators, may: bool) -> None:
    assert may_send_range({} if condition is None else {b"if-range": condition}, *stored) is may


# -- the order of evaluation


@pytest.mark.parametrize(
    ("method", "fields", "verdict"),
    [
        (b"GET", {}, PreconditionResult.WHOLE),
        (b"GET", {b"if-none-match": b'"1"'}, PreconditionResult.NOT_MODIFIED),
        (b"HEAD", {b"if-none-match": b'"1"'}, PreconditionResult.NOT_MODIFIED),
        (b"HEAD", {b"if-modified-since": MODIFIED}, PreconditionResult.NOT_MODIFIED),
        (b"GET", {b"if-none-match": b'"2"', b"if-modified-since": LATER}, PreconditionResult.WHOLE),
        (b"GET", {b"range": b"bytes=0-0"}, PreconditionResult.PART),
        (b"HEAD", {b"range": b"bytes=0-0"}, PreconditionResult.WHOLE),
        (b"GET", {b"if-range": b'"1"'}, PreconditionResult.WHOLE),
        (b"GET", {b"range": b"bytes=0-0", b"if-range": b'"1"'}, PreconditionResult.PART),
        (b"GET", {b"range": b"bytes=0-0", b"if-range": b'"2"'}, PreconditionResult.WHOLE),
        # 304 comes before the range
        (b"GET", {b"range": b"bytes=0-0", b"if-none-match": b'"1"'}, PreconditionResult.NOT_MODIFIED),
        (b"GET", {b"range": b"bytes=0-0", b"if-none-match": b'"2"'}, PreconditionResult.PART),
        (
            b"GET",
            {b"range": b"bytes=0-0", b"if-range": b'"2"', b"if-none-match": b'"1"'},
            PreconditionResult.NOT_MODIFIED,
        ),
        # OPTIONS selects no representation
        (b"OPTIONS", {b"if-none-match": b"*", b"range": b"bytes=0-0"}, PreconditionResult.WHOLE),
        (b"OPTIONS", {b"if-match": b'"2"'}, PreconditionResult.WHOLE),
    ],
)
def test_the_order_of_evaluation(method: bytes, fields: dict[bytes, bytes], verdict: PreconditionResult) -> None:
    assert judge_request(method, fields, 200, STRONG) is verdict


@pytest.mark.parametrize("status", [203, 301, 404])
def test_ranges_and_conditions_are_for_200(status: int) -> None:
    fields = {b"range": b"bytes=0-0", b"if-none-match": b'"1"'}
    assert judge_request(b"GET", fields, status, STRONG) is PreconditionResult.WHOLE


@pytest.mark.parametrize("condition", [b"if-match", b"if-unmodified-since"])
def test_conditions_for_the_origin_are_not_evaluated_here(condition: bytes) -> None:
    assert is_for_origin({condition: b"x"}) and not is_for_origin({b"if-none-match": b"x"})
    assert judge_request(b"GET", {condition: LATER}, 200, STRONG) is PreconditionResult.WHOLE
    assert (
        judge_request(b"GET", {condition: LATER, b"if-none-match": b'"1"'}, 200, STRONG)
        is PreconditionResult.NOT_MODIFIED
    )


# -- validators


@pytest.mark.parametrize(
    ("etag", "last_modified", "date", "expected"),
    [
        (b'"1"', MODIFIED, LATER, b'"1"'),
        (b'"1"', None, None, b'"1"'),
        (b'W/"1"', MODIFIED, LATER, None),
        (b"1", MODIFIED, LATER, None),
        (b'"', None, None, None),
        (None, MODIFIED, LATER, MODIFIED),
        (None, MODIFIED, MODIFIED, None),
        (None, LATER, MODIFIED, None),
        (None, MODIFIED, None, None),
        (None, b"yesterday", LATER, None),
        (None, None, LATER, None),
    ],
)
def test_what_identifies_the_very_bytes(
    etag: bytes | None, last_modified: bytes | None, date: bytes | None, expected: bytes | None
) -> None:
    assert strong_validator(etag, last_modified, date) == expected


def test_a_date_is_strong_a_second_later() -> None:
    assert is_strong_date(MODIFIED, LATER)
    assert not is_strong_date(MODIFIED, MODIFIED)
    assert not is_strong_date(LATER, EARLIER)


def test_the_conditions_of_a_validation() -> None:
    assert validators(None, None) == ()
    assert validators(b'"1"', None) == ((b"if-none-match", b'"1"'),)
    assert validators(None, MODIFIED) == ((b"if-modified-since", MODIFIED),)
    assert validators(b'W/"1"', MODIFIED) == ((b"if-none-match", b'W/"1"'), (b"if-modified-since", MODIFIED))
