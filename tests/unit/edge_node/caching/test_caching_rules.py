"""The cache key (reference 2.1) and what is decided for a request (reference 2.4, 2.6), line by line. Cache metadata of responses: test_freshness_cloudfront.py."""

from typing import Any

import pytest

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry import Entry
from edge_node.caching.entry_factory import ResponseTiming, make_entry
from edge_node.caching.key import parse_cookies, select_query
from edge_node.caching.lookup import Hit, Miss, Pass, Reason, Refuse, Revalidate, decide
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import Behavior, Role, Selection, SelectionMode
from edge_node.model.http import RequestHead
from edge_node.policy.response_head import LocalNode, content_length, write_fields
from edge_node.storage.entry_templates import EntryTemplates
from tests.builders import (
    behavior_message,
    caching_disabled,
    distribution_message,
    listed,
    origin_message,
    policy_message,
    read_distribution,
)

TEMPLATE = EntryTemplates(LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 a"))
NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


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
    lines = write_fields(((b"etag", etag),) if etag else ()) + content_length(0)
    cache_metadata = CacheMetadata(fresh_for, LifetimeRule.MAX_AGE, stale_if_error_seconds=3_600.0)
    template = TEMPLATE.of(200, b"OK", b"", cache_metadata, is_strict=False)
    made = make_entry(b"E1\n/a", lines, [], 0, template, ResponseTiming(1, NOW, 0.0))
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
        (head(), behavior(), EXPIRED, Revalidate(EXPIRED, Reason.EXPIRED)),
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
    assert decide(head(), behavior(), stored, Reason.FRESH, NOW + 10.0) == Revalidate(stored, Reason.EXPIRED)


def test_an_expired_entry_without_validators_is_fetched_anew() -> None:
    stored = entry(fresh_for=0.0, etag=None)
    assert decide(head(), behavior(), stored, Reason.FRESH, NOW) == Miss(Reason.EXPIRED, stored)


@pytest.mark.parametrize(
    ("request_head", "reason"),
    [
        (head("GET", (b"content-length", b"1")), Reason.GET_WITH_BODY),
        (head("GET", (b"transfer-encoding", b"chunked")), Reason.GET_WITH_BODY),
    ],
)
def test_what_is_refused(request_head: RequestHead, reason: Reason) -> None:
    decision = decide(request_head, behavior(), FRESH, Reason.FRESH, NOW)
    assert isinstance(decision, Refuse) and (decision.status, decision.reason) == (403, reason)
