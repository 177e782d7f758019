"""Preconditions and ranges as RFC 9110 sections 13 and 14 have them."""

import pytest

from origin.conditions import apply_conditions, http_date, parse_range
from origin.messages import Generated, Response
from tests.origin_builders import a_get, a_request

_DATE = http_date(1_000_000)
_LATER = http_date(1_000_001)
_EARLIER = http_date(999_999)
_BODY = bytes(range(100))
_HEADERS = (
    ("Content-Type", "text/plain"),
    ("Cache-Control", "max-age=5"),
    ("ETag", '"v1"'),
    ("Last-Modified", _DATE),
)
_WHOLE = Response(200, _HEADERS, _BODY, accepts_ranges=True)


@pytest.mark.parametrize("tag", ['"v1"', 'W/"v1"', '"v0", "v1"', "*"])
def test_if_none_match_that_matches_is_304(tag: str) -> None:
    response = apply_conditions(a_get("/x", ("If-None-Match", tag)), _WHOLE)
    assert (response.status, response.body) == (304, b"")
    assert response.header("etag") == '"v1"' and response.header("cache-control") == "max-age=5"
    assert response.header("content-type") is None


def test_if_none_match_beats_if_modified_since() -> None:
    request = a_get("/x", ("If-None-Match", '"other"'), ("If-Modified-Since", _LATER))
    assert apply_conditions(request, _WHOLE).status == 200


@pytest.mark.parametrize(("since", "status"), [(_DATE, 304), (_LATER, 304), (_EARLIER, 200), ("yesterday", 200)])
def test_if_modified_since(since: str, status: int) -> None:
    assert apply_conditions(a_get("/x", ("If-Modified-Since", since)), _WHOLE).status == status


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-Match", '"v1"', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"v2"', 412),
        ("If-Match", 'W/"v1"', 412),
        ("If-Unmodified-Since", _EARLIER, 412),
        ("If-Unmodified-Since", _DATE, 200),
    ],
)
def test_preconditions_that_stop_a_get(name: str, value: str, status: int) -> None:
    assert apply_conditions(a_get("/x", (name, value)), _WHOLE).status == status


@pytest.mark.parametrize("status", [206, 404, 500])
def test_only_a_200_is_conditional(status: int) -> None:
    whole = Response(status, _HEADERS, _BODY)
    assert apply_conditions(a_get("/x", ("If-None-Match", '"v1"')), whole) is whole


def test_a_post_is_never_conditional_here() -> None:
    assert apply_conditions(a_request("POST", "/x", ("If-None-Match", '"v1"')), _WHOLE) is _WHOLE


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=95-1000", (95, 100)),
        ("Bytes = 0-0", (0, 1)),
        ("bytes=9-1", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_parse_range(text: str, selected: tuple[int, int] | None) -> None:
    assert parse_range(text, 100) == selected


def test_a_range_is_a_206_with_its_place() -> None:
    response = apply_conditions(a_get("/x", ("Range", "bytes=10-19")), _WHOLE)
    assert (response.status, response.body, response.header("content-range")) == (206, _BODY[10:20], "bytes 10-19/100")


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_is_a_416(text: str) -> None:
    response = apply_conditions(a_get("/x", ("Range", text)), _WHOLE)
    assert (response.status, response.header("content-range")) == (416, "bytes */100")


def test_a_range_of_generated_content_stays_a_description() -> None:
    whole = Response(200, _HEADERS, Generated("s", 5 << 30), accepts_ranges=True)
    response = apply_conditions(a_get("/x", ("Range", "bytes=4294967296-4294967299")), whole)
    assert response.body == Generated("s", 4, offset=4_294_967_296)


@pytest.mark.parametrize(
    ("if_range", "status"), [('"v1"', 206), (_DATE, 206), ('"v2"', 200), (_EARLIER, 200), ('W/"v1"', 200)]
)
def test_if_range_lets_only_the_same_content_be_continued(if_range: str, status: int) -> None:
    request = a_get("/x", ("Range", "bytes=0-1"), ("If-Range", if_range))
    assert apply_conditions(request, _WHOLE).status == status


def test_a_head_ignores_ranges() -> None:
    assert apply_conditions(a_request("HEAD", "/x", ("Range", "bytes=0-1")), _WHOLE) is _WHOLE


def test_not_modified_beats_the_range() -> None:
    request = a_get("/x", ("Range", "bytes=0-1"), ("If-None-Match", '"v1"'))
    assert apply_conditions(request, _WHOLE).status == 304
