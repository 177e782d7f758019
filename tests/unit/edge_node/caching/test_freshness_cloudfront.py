"""The cache metadata of a response in CloudFront's semantics: the tables of reference 2.2 (success and redirects), 2.3 (stale) and 2.5 (errors), line by line."""

import pytest

from edge_node.caching.cache_metadata import LifetimeRule
from edge_node.caching.cacheability import judge_cacheability
from edge_node.caching.freshness_cloudfront import metadata_by_table
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import Behavior, CachePolicy, Selection, SelectionMode
from edge_node.model.http import ResponseHead
from edge_node.upstream.connection import make_response_head
from tests.builders import behavior_message, distribution_message, origin_message, read_distribution

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
NONE = Selection(SelectionMode.NONE)


def policy(minimum: int, default: int, maximum: int) -> CachePolicy:
    return CachePolicy("p", minimum, default, maximum, False, False, NONE, NONE, NONE)


OPTIMISED = policy(0, 86_400, 31_536_000)
WITH_MINIMUM = policy(100, 86_400, 1_000_000)
SHORT = policy(0, 30, 30)


@pytest.mark.parametrize(
    ("fields", "of_policy", "seconds", "rule"),
    [
        # with a minimum TTL of 0
        ("cache-control: no-store", OPTIMISED, None, "forbidden"),
        ("cache-control: private", OPTIMISED, None, "forbidden"),
        ("cache-control: no-cache", OPTIMISED, 0, "forbidden"),
        ("cache-control: private, max-age=60", OPTIMISED, None, "forbidden"),
        ("cache-control: s-maxage=50, max-age=60", OPTIMISED, 50, "s-maxage"),
        ("cache-control: max-age=60, s-maxage=50", OPTIMISED, 50, "s-maxage"),
        ("cache-control: max-age=60", OPTIMISED, 60, "max-age"),
        ("cache-control: MAX-AGE=60", OPTIMISED, 60, "max-age"),
        ("cache-control: max-age=60, max-age=70", OPTIMISED, 60, "max-age"),
        ("cache-control: max-age=0", OPTIMISED, 0, "max-age"),
        ("cache-control: max-age=-1", OPTIMISED, 0, "max-age"),
        ("cache-control: max-age=x", OPTIMISED, 0, "max-age"),
        ("cache-control: max-age=99999999999999999999999", OPTIMISED, 31_536_000, "max-age"),
        ("cache-control: max-age=60", SHORT, 30, "max-age"),
        ("cache-control: public", OPTIMISED, 86_400, "default_ttl"),
        ("cache-control: max-age=60|expires: Fri, 15 Jan 2027 08:01:40 GMT", OPTIMISED, 60, "max-age"),
        ("expires: Fri, 15 Jan 2027 08:01:40 GMT", OPTIMISED, 100, "expires"),
        ("expires: Fri, 15 Jan 2027 08:01:40 GMT|date: Fri, 15 Jan 2027 08:01:30 GMT", OPTIMISED, 10, "expires"),
        ("expires: Fri, 15 Jan 2027 07:00:00 GMT", OPTIMISED, 0, "expires"),
        ("expires: 0", OPTIMISED, 0, "expires"),
        ("", OPTIMISED, 86_400, "default_ttl"),
        ('cache-control: no-cache="Set-Cookie", max-age=60', OPTIMISED, 60, "max-age"),
        # with a greater one
        ("cache-control: no-store", WITH_MINIMUM, 100, "minimum_ttl"),
        ("cache-control: no-cache", WITH_MINIMUM, 100, "minimum_ttl"),
        ("cache-control: private, max-age=5000", WITH_MINIMUM, 100, "minimum_ttl"),
        ("cache-control: max-age=60", WITH_MINIMUM, 100, "minimum_ttl"),
        ("cache-control: max-age=600", WITH_MINIMUM, 600, "max-age"),
        ("cache-control: s-maxage=60, max-age=600", WITH_MINIMUM, 100, "minimum_ttl"),
        ("cache-control: max-age=2000000", WITH_MINIMUM, 1_000_000, "max-age"),
        ("expires: 0", WITH_MINIMUM, 100, "minimum_ttl"),
        ("", policy(200, 100, 300), 200, "default_ttl"),
        # caching disabled
        ("cache-control: max-age=60", policy(0, 0, 0), None, "caching_disabled"),
        # Vary: *
        ("vary: *", OPTIMISED, None, "vary_any"),
        ("vary: accept, *", OPTIMISED, None, "vary_any"),
        ("vary: *", WITH_MINIMUM, 86_400, "default_ttl"),
        ("vary: accept", OPTIMISED, 86_400, "default_ttl"),
    ],
)
def test_the_lifetime_of_a_success(fields: str, of_policy: CachePolicy, seconds: float | None, rule: str) -> None:
    cache_metadata = metadata_by_table(response(200, fields), of_policy, 10.0, NOW)
    assert (cache_metadata.lifetime_seconds, cache_metadata.rule) == (seconds, LifetimeRule(rule))


def behavior() -> Behavior:
    return read_distribution(distribution_message(origin_message("h", 80), behavior_message())).default_behavior


def response(status: int, fields: str) -> ResponseHead:
    pairs = [line.partition(": ") for line in fields.split("|") if line]
    return make_response_head(status, b"", [(name.encode(), value.encode()) for name, _, value in pairs])


@pytest.mark.parametrize(
    ("status", "fields", "seconds"),
    [
        *[(status, "", 86_400) for status in (200, 203, 300, 301, 302, 303)],
        *[(status, "", None) for status in (201, 202, 204, 206, 304, 305, 307, 308)],
        *[(status, "cache-control: max-age=60", 60) for status in (307, 308, 301)],
        (307, "expires: Fri, 15 Jan 2027 08:01:40 GMT", None),
        # reference 2.5
        *[(status, "", 10) for status in (404, 414, 500, 501, 502, 503, 504)],
        *[(status, "", None) for status in (400, 403, 405, 410, 412, 415)],
        *[(status, "", None) for status in (401, 402, 406, 409, 416, 429, 451, 505)],
        *[(status, "cache-control: max-age=60", 60) for status in (404, 500, 400, 403, 405, 410, 412, 415)],
        *[(status, "cache-control: max-age=5", 10) for status in (404, 500, 403)],
        *[(status, "cache-control: s-maxage=60, max-age=5", 60) for status in (404, 403)],
        *[(status, "cache-control: max-age=60", None) for status in (401, 416, 429)],
        *[(status, "cache-control: no-store", None) for status in (404, 410, 414, 501)],
        *[(status, "cache-control: no-store", 10) for status in (500, 502, 503, 504)],
        (404, "expires: Fri, 15 Jan 2027 08:01:40 GMT", 100),
        (403, "expires: Fri, 15 Jan 2027 08:01:40 GMT", None),
        (404, "cache-control: max-age=99999999", 31_536_000),
    ],
)
def test_the_lifetime_by_status(status: int, fields: str, seconds: float | None) -> None:
    assert metadata_by_table(response(status, fields), OPTIMISED, 10.0, NOW).lifetime_seconds == seconds


@pytest.mark.parametrize(
    ("control", "of_policy", "while_revalidate", "if_error"),
    [
        # reference 2.3
        ("max-age=1", OPTIMISED, 0, 31_536_000),
        ("max-age=1, stale-if-error=60", OPTIMISED, 0, 60),
        ("max-age=1, stale-if-error=60", SHORT, 0, 30),
        ("max-age=1, stale-if-error=0", OPTIMISED, 0, 0),
        ("max-age=1, stale-while-revalidate=60", OPTIMISED, 60, 31_536_000),
        ("max-age=1, stale-while-revalidate=60, stale-if-error=5", SHORT, 30, 5),
        ("s-maxage=1, stale-while-revalidate=60", OPTIMISED, 60, 31_536_000),
        ("public", OPTIMISED, 0, 31_536_000),
        # where the documents are silent the RFC decides
        ("max-age=1, must-revalidate, stale-while-revalidate=60, stale-if-error=5", OPTIMISED, 0, 0),
        ("max-age=1, proxy-revalidate, stale-while-revalidate=60", OPTIMISED, 0, 0),
        ("no-cache, stale-while-revalidate=60", OPTIMISED, 0, 0),
        ('no-cache="a", max-age=1', OPTIMISED, 0, 31_536_000),
        # with a minimum TTL the directive is ignored
        ("no-cache, stale-while-revalidate=60", WITH_MINIMUM, 60, 1_000_000),
    ],
)
def test_how_long_a_stale_copy_may_be_used(
    control: str, of_policy: CachePolicy, while_revalidate: float, if_error: float
) -> None:
    cache_metadata = metadata_by_table(response(200, f"cache-control: {control}"), of_policy, 10.0, NOW)
    assert (cache_metadata.stale_while_revalidate_seconds, cache_metadata.stale_if_error_seconds) == (
        while_revalidate,
        if_error,
    )


def test_an_error_is_never_used_stale() -> None:
    cache_metadata = metadata_by_table(
        response(404, "cache-control: max-age=60, stale-while-revalidate=60"), OPTIMISED, 10.0, NOW
    )
    assert (cache_metadata.stale_while_revalidate_seconds, cache_metadata.stale_if_error_seconds) == (0, 0)


def test_no_cache_is_kept_for_validation_unless_a_minimum_ttl_overrides_it() -> None:
    assert metadata_by_table(response(200, "cache-control: no-cache"), OPTIMISED, 10.0, NOW).is_always_validated
    assert not metadata_by_table(response(200, "cache-control: no-cache"), WITH_MINIMUM, 10.0, NOW).is_always_validated


@pytest.mark.parametrize(
    ("status", "fields", "minimum", "seconds"),
    [
        # reference 2.5: the longer of the error caching minimum TTL and what the origin said, the latter within the maximum TTL
        (404, "", 300.0, 300),
        (404, "", 0.0, 0),
        (404, "", 0.5, 0.5),
        (404, "cache-control: max-age=60", 300.0, 300),
        (404, "cache-control: max-age=600", 300.0, 600),
        (404, "cache-control: max-age=99999999", 300.0, 31_536_000),
        (404, "cache-control: max-age=60", 50_000_000.0, 50_000_000),
        (503, "cache-control: no-store", 5.0, 5),
        (404, "cache-control: no-store", 300.0, None),
        (403, "", 300.0, None),
        (403, "cache-control: max-age=0", 300.0, 300),
        (403, "cache-control: s-maxage=400", 300.0, 400),
        (416, "cache-control: max-age=60", 300.0, None),
        (429, "", 300.0, None),
    ],
)
def test_the_minimum_ttl_of_an_error(status: int, fields: str, minimum: float, seconds: float | None) -> None:
    cache_metadata = metadata_by_table(response(status, fields), OPTIMISED, minimum, NOW)
    assert cache_metadata.lifetime_seconds == seconds
    assert cache_metadata.rule is LifetimeRule.ERROR or seconds is None


def test_targeted_fields_and_request_directives_mean_nothing() -> None:
    targeted = response(200, "cdn-cache-control: no-store|cache-control: max-age=60")
    asked = make_request_head(b"GET", b"/a", [(b"host", b"h"), (b"cache-control", b"no-store")], 1, True)
    cache_metadata = judge_cacheability(asked, targeted, behavior(), 10.0, NOW)
    assert (cache_metadata.lifetime_seconds, cache_metadata.rule) == (60, LifetimeRule.MAX_AGE)
