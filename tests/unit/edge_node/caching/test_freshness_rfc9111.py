"""Which responses are stored by the RFCs and for how long they are fresh: RFC 9111 sections 3, 3.5, 4.2 and 5.2.2, line by line."""

from dataclasses import replace
from email.utils import formatdate

import pytest

from edge_node.caching.age import initial_age
from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule, explain_rule
from edge_node.caching.cacheability import judge_cacheability
from edge_node.caching.freshness_rfc9111 import HEURISTIC_MAXIMUM_SECONDS
from edge_node.http.cache_control import LONGEST_LIFETIME_SECONDS
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import Behavior, Semantics
from edge_node.model.http import Header, RequestHead, ResponseHead
from edge_node.upstream.connection import make_response_head
from tests.builders import (
    behavior_message,
    caching_disabled,
    distribution_message,
    origin_message,
    policy_message,
    read_distribution,
)

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
MAXIMUM_TTL = 31_536_000
LAST_MODIFIED = "last-modified: Fri, 15 Jan 2027 07:43:20 GMT"  # 1,000 seconds ago
LATER = "Fri, 15 Jan 2027 08:01:40 GMT"  # in 100 seconds


def strict(**policy: int) -> Behavior:
    message = distribution_message(origin_message("h", 80), behavior_message(policy=policy_message(**policy)))
    return replace(read_distribution(message).default_behavior, semantics=Semantics.RFC9111)


STRICT = strict()


def lines(text: str) -> list[Header]:
    pairs = [line.partition(": ") for line in text.split("|") if line]
    return [(name.encode(), value.encode()) for name, _, value in pairs]


def response(status: int, fields: str) -> ResponseHead:
    return make_response_head(status, b"", lines(fields))


def request(method: str = "GET", fields: str = "") -> RequestHead:
    return make_request_head(method.encode(), b"/a", [(b"host", b"h"), *lines(fields)], 1, True)


def cache_metadata(
    fields: str, status: int = 200, asked: RequestHead | None = None, behavior: Behavior = STRICT
) -> CacheMetadata:
    return judge_cacheability(asked or request(), response(status, fields), behavior, 10.0, NOW)


@pytest.mark.parametrize(
    ("fields", "seconds", "rule"),
    [
        # the first of s-maxage, max-age and Expires, section 4.2.1
        ("cache-control: max-age=60", 60, "max-age"),
        ("cache-control: max-age=60, s-maxage=50", 50, "s-maxage"),
        ("cache-control: s-maxage=x, max-age=60", 0, "s-maxage"),
        ("cache-control: max-age=60|cache-control: s-maxage=1", 1, "s-maxage"),
        (f"cache-control: max-age=60|expires: {LATER}", 60, "max-age"),
        ("cache-control: max-age=60|expires: 0", 60, "max-age"),
        (f"cache-control: max-age=0|expires: {LATER}", 0, "max-age"),
        (f"expires: {LATER}", 100, "expires"),
        (f"cache-control: public|expires: {LATER}", 100, "expires"),
        (f"expires: {LATER}|date: Fri, 15 Jan 2027 08:01:00 GMT", 40, "expires"),
        (f"expires: {LATER}|date: Fri, 15 Jan 2027 07:00:00 GMT", 3_700, "expires"),
        (f"expires: {LATER}|date: yesterday", 100, "expires"),
        (f"expires: {LATER}|date: Fri, 15 Jan 2027 09:00:00 GMT", 0, "expires"),
        ("expires: Fri, 15 Jan 2027 07:00:00 GMT", 0, "expires"),
        *[
            (f"expires: {value}|{LAST_MODIFIED}", 0, "expires")  # no guess where there is an invalid Expires
            for value in ("0", "-1", "", "x", "Fri, 15 Jan 2027 09:00:00 UTC", "Fri, 15 Jan 2027 09:00:00")
        ],
        (f"expires: {LATER}|expires: {LATER}", 0, "expires"),
        ("expires: fri, 15 JAN 2027 08:01:40 gmt", 100, "expires"),
        ("expires: Friday, 15-Jan-27 08:01:40 GMT", 100, "expires"),
        ("expires: Fri Jan 15 08:01:40 2027", 100, "expires"),
        # heuristics, section 4.2.2
        (LAST_MODIFIED, 100, "heuristic"),
        (f"cache-control: public|{LAST_MODIFIED}", 100, "heuristic"),
        (f"{LAST_MODIFIED}|date: Fri, 15 Jan 2027 07:45:00 GMT", 10, "heuristic"),
        ("last-modified: Thu, 01 Jan 1970 00:00:00 GMT", HEURISTIC_MAXIMUM_SECONDS, "heuristic"),
        ("last-modified: Fri, 15 Jan 2027 09:00:00 GMT", 0, "heuristic"),
        ('last-modified: x|etag: "1"', 0, "heuristic"),
        ('etag: "1"', 0, "heuristic"),
        ("cache-control: stale-while-revalidate=5", 0, "heuristic"),
        ("", None, "no_lifetime"),
        # what forbids, section 3; no-cache only forbids to use it unvalidated
        ("cache-control: no-store", None, "no_store"),
        ("cache-control: max-age=60, No-Store", None, "no_store"),
        ("cache-control: private, max-age=60", None, "private"),
        ('cache-control: private="x-a", max-age=60', 60, "max-age"),
        ("cache-control: no-cache, max-age=60", 0, "no_cache"),
        ("cache-control: no-cache", 0, "no_cache"),
        ('cache-control: no-cache="x-a", max-age=60', 60, "max-age"),
        ("vary: *|cache-control: max-age=60", 0, "vary_any"),
        ("vary: x-a|cache-control: max-age=60", 60, "max-age"),
        # Set-Cookie and Pragma inhibit nothing, sections 7.3 and 5.4
        ("cache-control: max-age=60|set-cookie: a=1|pragma: no-cache", 60, "max-age"),
        # targeted fields, RFC 9213
        ("cdn-cache-control: max-age=60|cache-control: no-store", 60, "max-age"),
        (f"cdn-cache-control: max-age=60|expires: {LATER}", 60, "max-age"),
        (f"cdn-cache-control: none|expires: {LATER}|{LAST_MODIFIED}", 100, "heuristic"),
        ('cdn-cache-control: max-age="60"|cache-control: max-age=60', 0, "max-age"),
        ("cdn-cache-control: max-age=60, &|cache-control: max-age=7", 7, "max-age"),
        ("cdn-cache-control: private|cache-control: max-age=60", None, "private"),
    ],
)  # fmt: skip
def test_the_lifetime_of_a_success(fields: str, seconds: float | None, rule: str) -> None:
    made = cache_metadata(fields)
    assert (made.lifetime_seconds, made.rule) == (seconds, LifetimeRule(rule))


STORED_WITHOUT_LIFETIME = (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501)


@pytest.mark.parametrize("status", [*range(100, 600), 600, 999])
def test_every_status_code(status: int) -> None:
    guessed, said = cache_metadata(LAST_MODIFIED, status), cache_metadata("cache-control: max-age=60", status)
    marked, expiring = (
        cache_metadata(f"cache-control: public|{LAST_MODIFIED}", status),
        cache_metadata(f"expires: {LATER}", status),
    )
    must_not = not 200 <= status <= 599 or status in (304, 428, 429, 431, 511)
    assert guessed.lifetime_seconds == (100 if status in STORED_WITHOUT_LIFETIME else None)
    assert said.lifetime_seconds == (None if must_not else 60)
    assert marked.lifetime_seconds == (None if must_not else 100)
    assert expiring.lifetime_seconds == (None if must_not else 100)


@pytest.mark.parametrize(
    ("status", "fields", "rule"),
    [
        (200, "cache-control: no-store, must-understand, max-age=60", "max-age"),
        (200, "cache-control: must-understand, max-age=60", "max-age"),
        (299, "cache-control: no-store, must-understand, max-age=60", "status_not_understood"),
        (299, "cache-control: must-understand, max-age=60", "status_not_understood"),
        (206, "cache-control: must-understand, max-age=60", "status_not_understood"),
        (200, "cache-control: no-store, must-understand, private", "private"),
        (201, "cache-control: no-cache", "no_lifetime"),
        (201, "vary: *", "no_lifetime"),
        (201, "cache-control: no-cache, max-age=60", "no_cache"),
        (302, "", "no_lifetime"),
        (500, "cache-control: s-maxage=1", "s-maxage"),
    ],
)
def test_statuses_and_directives_together(status: int, fields: str, rule: str) -> None:
    assert cache_metadata(fields, status).rule == LifetimeRule(rule)


@pytest.mark.parametrize(
    ("asked", "fields", "rule"),
    [
        (request("HEAD"), "cache-control: max-age=60", "method_not_cached"),
        (request("POST"), "cache-control: max-age=60|content-location: /a", "method_not_cached"),
        (request("OPTIONS"), "cache-control: max-age=60", "method_not_cached"),
        (request("get"), "cache-control: max-age=60", "method_not_cached"),
        (request(fields="cache-control: no-store"), "cache-control: max-age=60", "request_no_store"),
        (request(fields="cache-control: no-cache"), "cache-control: max-age=60", "max-age"),
        (request(fields="authorization: x"), "cache-control: max-age=60", "authorization"),
        (request(fields="authorization: x"), f"expires: {LATER}", "authorization"),
        (request(fields="authorization: x"), "cache-control: proxy-revalidate, max-age=60", "authorization"),
        (request(fields="authorization: x"), "cache-control: public, max-age=60", "max-age"),
        (request(fields="authorization: x"), "cache-control: must-revalidate, max-age=60", "max-age"),
        (request(fields="authorization: x"), "cache-control: s-maxage=60", "s-maxage"),
        (request(fields="authorization: x"), "cdn-cache-control: max-age=60|cache-control: public", "authorization"),
        (request(fields="authorization: x"), "cache-control: no-store, public", "no_store"),
        (request(fields="cookie: a=1"), "cache-control: max-age=60", "max-age"),
    ],
)
def test_what_the_request_adds(asked: RequestHead, fields: str, rule: str) -> None:
    assert cache_metadata(fields, asked=asked).rule == LifetimeRule(rule)


def test_only_the_maximum_ttl_of_the_policy_counts() -> None:
    behavior = strict(minimum_ttl_seconds=20, default_ttl_seconds=30, maximum_ttl_seconds=40)
    assert cache_metadata("cache-control: max-age=60", behavior=behavior).lifetime_seconds == 40
    assert cache_metadata("cache-control: max-age=60", behavior=behavior).rule is LifetimeRule.MAXIMUM_TTL
    assert cache_metadata("cache-control: max-age=40", behavior=behavior).rule is LifetimeRule.MAX_AGE
    assert cache_metadata("cache-control: max-age=1", behavior=behavior).lifetime_seconds == 1
    assert cache_metadata("cache-control: no-store", behavior=behavior).rule is LifetimeRule.NO_STORE
    assert cache_metadata("", behavior=behavior).rule is LifetimeRule.NO_LIFETIME


def test_a_policy_without_any_ttl_disables_caching() -> None:
    message = distribution_message(origin_message("h", 80), behavior_message(policy=caching_disabled()))
    disabled = replace(read_distribution(message).default_behavior, semantics=Semantics.RFC9111)
    assert cache_metadata("cache-control: max-age=60", behavior=disabled) == CacheMetadata(
        None, LifetimeRule.CACHING_DISABLED
    )


# -- stale windows: sections 4.2.4 and 5.2.2, RFC 5861


@pytest.mark.parametrize(
    ("fields", "while_revalidate", "if_error", "on_request"),
    [
        ("cache-control: max-age=60", 0, MAXIMUM_TTL, True),
        ("cache-control: max-age=60, stale-while-revalidate=5, stale-if-error=7", 5, 7, True),
        ("cache-control: max-age=60, stale-if-error=0", 0, 0, True),
        ("cache-control: max-age=60, stale-if-error=x", 0, 0, True),
        ("cache-control: max-age=60, stale-while-revalidate=99999999", MAXIMUM_TTL, MAXIMUM_TTL, True),
        ("cache-control: max-age=60, stale-if-error=99999999", 0, MAXIMUM_TTL, True),
        (LAST_MODIFIED, 0, 0, True),
        (f"cache-control: stale-if-error=7|{LAST_MODIFIED}", 0, 7, True),
        *[
            (f"cache-control: {forbidding}, max-age=60, stale-while-revalidate=5, stale-if-error=7", 0, 0, False)
            for forbidding in ("must-revalidate", "proxy-revalidate", "s-maxage=5", "s-maxage=x", "no-cache")
        ],
        ("vary: *|cache-control: max-age=60, stale-while-revalidate=5, stale-if-error=7", 0, 0, False),
        ('cache-control: no-cache="x", max-age=60, stale-if-error=7', 0, 7, True),
    ],
)
def test_how_long_it_may_be_used_stale(fields: str, while_revalidate: float, if_error: float, on_request: bool) -> None:
    made = cache_metadata(fields)
    windows = (made.stale_while_revalidate_seconds, made.stale_if_error_seconds, made.may_be_stale_on_request)
    assert windows == (while_revalidate, if_error, on_request)


def test_what_else_the_metadata_say() -> None:
    assert cache_metadata("cache-control: no-cache, max-age=60").is_always_validated
    assert cache_metadata("vary: a, *").is_always_validated
    assert not cache_metadata('cache-control: no-cache="x", max-age=60').is_always_validated
    assert cache_metadata("cache-control: max-age=60, immutable").is_immutable
    assert cache_metadata('cache-control: no-cache="X-A", private="x-b", max-age=60').without_fields == (b"x-a", b"x-b")
    assert cache_metadata("cache-control: max-age=60") == cache_metadata("cache-control: max-age=60|etag: x")
    assert len({cache_metadata("cache-control: max-age=60"), cache_metadata("cache-control: max-age=60")}) == 1


def test_what_may_be_shared_is_fresh() -> None:
    assert cache_metadata("cache-control: max-age=60").may_be_shared(59.9)
    assert not cache_metadata("cache-control: max-age=60").may_be_shared(60.0)
    assert not cache_metadata("cache-control: max-age=60, no-cache").may_be_shared(0.0)
    assert not cache_metadata("cache-control: no-store").may_be_shared(0.0)


def test_every_rule_can_be_explained() -> None:
    assert all(explain_rule(rule).split() for rule in LifetimeRule)


# -- age: section 4.2.3


@pytest.mark.parametrize(
    ("age", "date_offset", "delay", "strictly", "by_cloudfront"),
    [
        (None, None, 2, 2, 0),
        (None, 0, 2, 2, 0),
        (b"10", 0, 2, 12, 12),
        (b"10", -5, 0, 10, 10),
        (b"10", -50, 0, 50, 10),  # the Date shows more: conservative
        (None, -3_600, 0, 3_600, 0),
        (None, 3_600, 0, 0, 0),  # a clock ahead of ours: never negative
        (b"10, 20", 0, 0, 10, 10),
        (b" 10 ", 0, 0, 10, 10),
        (b"0,7200", 0, 0, 0, 0),
        (b"x", 0, 1, 1, 1),
        (b"-7200", 0, 1, 1, 1),
        (b"7200.0", 0, 1, 1, 1),
        (b"", 0, 1, 1, 1),
        (b"9" * 30, 0, 0, LONGEST_LIFETIME_SECONDS, LONGEST_LIFETIME_SECONDS),
        (b"5", 0, -3, 5, 5),  # our clock was set back between request and response
    ],
)
def test_the_age_on_arrival(
    age: bytes | None, date_offset: int | None, delay: float, strictly: float, by_cloudfront: float
) -> None:
    fields = {} if age is None else {b"age": age}
    if date_offset is not None:
        fields[b"date"] = formatdate(NOW + date_offset, usegmt=True).encode()
    assert initial_age(fields, NOW - delay, NOW, Semantics.RFC9111) == strictly
    assert initial_age(fields, NOW - delay, NOW, Semantics.CLOUDFRONT) == by_cloudfront


def test_an_invalid_date_says_nothing_about_age() -> None:
    assert initial_age({b"date": b"Fri, 15 Jan 2026 08:00:00 CET"}, NOW, NOW, Semantics.RFC9111) == 0
