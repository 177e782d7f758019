"""The tables of reference 2.1 to 2.8, line by line."""

from typing import Any

import pytest

from edge_node.caching.cache_control import LONGEST_LIFETIME_SECONDS, CacheControl, parse_cache_control
from edge_node.caching.conditional import is_not_modified, may_send_range, validators
from edge_node.caching.dates import parse_http_date
from edge_node.caching.decisions import Hit, Miss, Pass, Reason, Refresh, Refuse, decide
from edge_node.caching.entries import Arrival, make_entry, merge_fields
from edge_node.caching.entry import Entry
from edge_node.caching.freshness import (
    Lifetime,
    LifetimeRule,
    StaleUse,
    explain_rule,
    initial_age,
    lifetime_of,
    stale_use_on_error,
)
from edge_node.caching.key import normalise_accept_encoding, parse_cookies, select_query
from edge_node.configuration import read_distribution
from edge_node.listeners.heads import make_request_head
from edge_node.model import Behavior, CachePolicy, RequestHead, ResponseHead, Selection, SelectionMode
from edge_node.upstream.connection import make_response_head
from tests.builders import (
    behavior_message,
    caching_disabled,
    distribution_message,
    listed,
    origin_message,
    policy_message,
)

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
    assert lifetime_of(response(200, fields), of_policy, NOW) == Lifetime(seconds, LifetimeRule(rule))


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
    assert lifetime_of(response(status, fields), OPTIMISED, NOW).seconds == seconds


def test_every_rule_can_be_explained() -> None:
    assert len({explain_rule(rule) for rule in LifetimeRule}) >= 8


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        (None, 0.0),
        (b"10", 12.0),
        (b"10, 20", 12.0),
        (b"x", 2.0),
        (b"-5", 2.0),
        (b"9" * 30, 2.0),
        (b"99999999999", LONGEST_LIFETIME_SECONDS + 2.0),
    ],
)
def test_the_age_on_arrival(age: bytes | None, seconds: float) -> None:
    fields = {} if age is None else {b"age": age}
    assert initial_age(fields, 100.0, 102.0) == seconds


@pytest.mark.parametrize(
    ("control", "staleness", "use"),
    [
        ("max-age=1", 1_000.0, StaleUse.ALLOWED),
        ("max-age=1", 31_536_000.0, StaleUse.WINDOW_OVER),
        ("max-age=1, stale-if-error=60", 59.0, StaleUse.ALLOWED),
        ("max-age=1, stale-if-error=60", 60.0, StaleUse.WINDOW_OVER),
        ("max-age=1, stale-if-error=0", 0.0, StaleUse.WINDOW_OVER),
        ("max-age=1, must-revalidate", 0.0, StaleUse.FORBIDDEN),
        ("max-age=1, proxy-revalidate", 0.0, StaleUse.FORBIDDEN),
        ("no-cache", 0.0, StaleUse.FORBIDDEN),
        ('no-cache="a", max-age=1', 0.0, StaleUse.ALLOWED),
    ],
)
def test_when_a_stale_copy_may_stand_in_for_an_error(control: str, staleness: float, use: StaleUse) -> None:
    assert stale_use_on_error({b"cache-control": control.encode()}, staleness, OPTIMISED) is use


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", CacheControl()),
        (b"No-Store , PRIVATE", CacheControl(no_store=True, private=True)),
        (b'private="X-A, X-B"', CacheControl(without_fields=(b"x-a", b"x-b"))),
        (b'max-age="60"', CacheControl(max_age=60)),
        (b'ext="a, no-store", max-age=5', CacheControl(max_age=5)),
        (b"max-age = 5", CacheControl(max_age=5)),
        (b"max-age", CacheControl(max_age=0)),
        (b",,max-age=5,,", CacheControl(max_age=5)),
        (
            b"stale-if-error=9, must-revalidate, public",
            CacheControl(stale_if_error=9, must_revalidate=True, public=True),
        ),
    ],
)
def test_cache_control_is_read(value: bytes, expected: CacheControl) -> None:
    assert parse_cache_control(value) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"Fri, 15 Jan 2027 08:00:00 GMT", NOW),
        (b"Friday, 15-Jan-27 08:00:00 GMT", NOW),
        (b"Fri Jan 15 08:00:00 2027", NOW),
        (b"Fri, 15 Jan 2027 08:00:00 +0100", NOW - 3600),
        (b"", None),
        (b"0", None),
        (b"-1", None),
        (b"Fri, 35 Jan 2027 08:00:00 GMT", None),
        (b"\xff", None),
    ],
)
def test_dates_are_read(text: bytes, seconds: float | None) -> None:
    assert parse_http_date(text) == seconds


# -- conditions (RFC 9110 section 13)

MODIFIED = b"Fri, 15 Jan 2027 08:00:00 GMT"
LATER = b"Fri, 15 Jan 2027 08:00:01 GMT"
EARLIER = b"Fri, 15 Jan 2027 07:59:59 GMT"


@pytest.mark.parametrize(
    ("request_fields", "status", "is_304"),
    [
        ({b"if-none-match": b'"1"'}, 200, True),
        ({b"if-none-match": b'W/"1"'}, 200, True),
        ({b"if-none-match": b'"0", "1"'}, 200, True),
        ({b"if-none-match": b'"0,1", "2"'}, 200, False),
        ({b"if-none-match": b" * "}, 200, True),
        ({b"if-none-match": b"1"}, 200, False),
        ({b"if-none-match": b'"2"', b"if-modified-since": LATER}, 200, False),
        ({b"if-modified-since": MODIFIED}, 200, True),
        ({b"if-modified-since": LATER}, 200, True),
        ({b"if-modified-since": EARLIER}, 200, False),
        ({b"if-modified-since": b"yesterday"}, 200, False),
        ({b"if-none-match": b'"1"'}, 404, False),
        ({b"if-none-match": b'"1"'}, 301, False),
        ({}, 200, False),
    ],
)
def test_when_a_stored_response_is_not_modified(request_fields: dict[bytes, bytes], status: int, is_304: bool) -> None:
    assert is_not_modified(request_fields, status, b'"1"', MODIFIED) is is_304


def test_a_response_without_validators_is_always_modified() -> None:
    assert not is_not_modified({b"if-none-match": b'"1"'}, 200, None, None)
    assert not is_not_modified({b"if-modified-since": LATER}, 200, b'"1"', None)
    assert is_not_modified({b"if-none-match": b"*"}, 200, None, None)
    assert validators(None, None) == ()
    assert validators(b'"1"', MODIFIED) == ((b"if-none-match", b'"1"'), (b"if-modified-since", MODIFIED))


@pytest.mark.parametrize(
    ("condition", "etag", "may"),
    [
        (None, b'"1"', True),
        (b'"1"', b'"1"', True),
        (b'"2"', b'"1"', False),
        (b'W/"1"', b'W/"1"', False),
        (b'"1"', b'W/"1"', False),
        (MODIFIED, b'"1"', True),
        (LATER, b'"1"', False),
    ],
)
def test_if_range_needs_a_strong_match(condition: bytes | None, etag: bytes, may: bool) -> None:
    assert may_send_range({} if condition is None else {b"if-range": condition}, etag, MODIFIED) is may


# -- the key


@pytest.mark.parametrize(
    ("field", "pairs"),
    [
        (b"b=2; a=1", ((b"a", b"1"), (b"b", b"2"))),
        (b"a=2; a=1", ((b"a", b"2"), (b"a", b"1"))),
        (b"a=b=c; $Path=/", ((b"a", b"b=c"),)),
        (b"a=; b", ()),
        (b"a=1;; b=2;", ((b"a", b"1"), (b"b", b"2"))),
        (b"=1", ()),
        (b"", ()),
    ],
)
def test_cookies_are_read(field: bytes, pairs: tuple[tuple[bytes, bytes], ...]) -> None:
    assert parse_cookies(field) == pairs


@pytest.mark.parametrize(
    ("field", "gzip", "brotli", "expected"),
    [
        (b"gzip, br", True, True, b"br,gzip"),
        (b"BR", True, True, b"br"),
        (b"gzip;q=0.5, br;q=0.0", True, True, b"gzip"),
        (b"gzip;q=0", True, True, None),
        (b"gzip; Q=0.000", True, False, None),
        (b"gzip; q = 0.001", True, False, b"gzip"),
        (b"x-gzip", True, True, None),
        (b"*", True, True, None),
        (b"gzip, br", False, False, None),
        (None, True, True, None),
    ],
)
def test_accept_encoding_is_normalised(field: bytes | None, gzip: bool, brotli: bool, expected: bytes | None) -> None:
    assert normalise_accept_encoding(field, gzip, brotli) == expected


@pytest.mark.parametrize(
    ("mode", "selected"),
    [
        (SelectionMode.NONE, b""),
        (SelectionMode.ALL, b"a=1&&b=2&a=3"),
        (SelectionMode.LIST, b"a=1&a=3"),
        (SelectionMode.ALL_EXCEPT, b"b=2"),
    ],
)
def test_a_query_string_is_selected(mode: SelectionMode, selected: bytes) -> None:
    assert select_query(b"a=1&&b=2&a=3", Selection(mode, (b"a",))) == selected


# -- decisions


def behavior(**changes: Any) -> Behavior:
    message = distribution_message(origin_message("h", 80), behavior_message(**changes))
    return read_distribution(message).default_behavior


def entry(*, fresh_for: float, etag: bytes | None = b'"1"', retry_in: float = 0.0) -> Entry:
    fields = ((b"etag", etag),) if etag else ()
    made = make_entry(
        ("E1", b"", b"/a", b"", None, (), ()),
        "/a",
        (200, b"OK"),
        fields,
        Lifetime(fresh_for, LifetimeRule.MAX_AGE),
        Arrival(1, NOW, 0.0),
    )
    made.retry_at = NOW + retry_in
    return made


def head(method: str = "GET", *headers: tuple[bytes, bytes]) -> RequestHead:
    return make_request_head(method.encode(), b"/a", [(b"host", b"h"), *headers], 1, True)


FRESH, EXPIRED = entry(fresh_for=1.0), entry(fresh_for=0.0)


@pytest.mark.parametrize(
    ("request_head", "of_behavior", "stored", "expected"),
    [
        (head(), behavior(), FRESH, Hit(FRESH, Reason.FRESH)),
        (head("HEAD"), behavior(), FRESH, Hit(FRESH, Reason.FRESH)),
        (head(), behavior(), EXPIRED, Refresh(EXPIRED)),
        (head(), behavior(), None, Miss(Reason.NOT_STORED, None)),
        (head(), behavior(policy=policy_message(cookies=listed("a"))), EXPIRED, Miss(Reason.EXPIRED, EXPIRED)),
        (head(), behavior(policy=caching_disabled()), FRESH, Pass(Reason.CACHING_DISABLED)),
        (head("POST"), behavior(allowed_methods=["GET", "POST"]), FRESH, Pass(Reason.METHOD)),
        (head("OPTIONS"), behavior(allowed_methods=["GET", "OPTIONS"]), None, Pass(Reason.METHOD)),
        (
            head("OPTIONS"),
            behavior(allowed_methods=["OPTIONS"], cached_methods=["OPTIONS"]),
            None,
            Miss(Reason.NOT_STORED, None),
        ),
        (
            head("GET", (b"cache-control", b"no-cache"), (b"pragma", b"no-cache")),
            behavior(),
            FRESH,
            Hit(FRESH, Reason.FRESH),
        ),
        (head("GET", (b"content-length", b"0")), behavior(), FRESH, Hit(FRESH, Reason.FRESH)),
    ],
)
def test_what_to_do_with_a_request(
    request_head: RequestHead, of_behavior: Behavior, stored: Entry | None, expected: object
) -> None:
    assert decide(request_head, of_behavior, stored, Reason.NOT_STORED, NOW) == expected


def test_a_refresh_that_failed_is_not_tried_again_at_once() -> None:
    stored = entry(fresh_for=0.0, retry_in=10.0)
    assert decide(head(), behavior(), stored, Reason.FRESH, NOW + 9.9) == Hit(stored, Reason.STALE_ON_ERROR)
    assert decide(head(), behavior(), stored, Reason.FRESH, NOW + 10.0) == Refresh(stored)


def test_an_expired_entry_without_validators_is_fetched_anew() -> None:
    stored = entry(fresh_for=0.0, etag=None)
    assert decide(head(), behavior(), stored, Reason.FRESH, NOW) == Miss(Reason.EXPIRED, stored)


@pytest.mark.parametrize(
    ("request_head", "reason"),
    [
        (head("DELETE"), Reason.METHOD_NOT_ALLOWED),
        (head("get"), Reason.METHOD_NOT_ALLOWED),
        (head("GET", (b"content-length", b"1")), Reason.GET_WITH_BODY),
        (head("GET", (b"transfer-encoding", b"chunked")), Reason.GET_WITH_BODY),
    ],
)
def test_what_is_refused(request_head: RequestHead, reason: Reason) -> None:
    decision = decide(request_head, behavior(), FRESH, Reason.FRESH, NOW)
    assert isinstance(decision, Refuse) and (decision.status, decision.reason) == (403, reason)


def test_a_304_replaces_the_fields_that_it_names() -> None:
    stored = ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert merge_fields(stored, ((b"a", b"9"), (b"c", b"4"))) == ((b"b", b"2"), (b"a", b"9"), (b"c", b"4"))
