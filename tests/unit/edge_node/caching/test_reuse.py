"""When a stored response answers a request: RFC 9111 sections 4, 4.2.4 and 5.2.1, RFC 5861, RFC 8246."""

import pytest

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.request_directives import NO_DIRECTIVES, RequestDirectives, parse_request_directives
from edge_node.caching.reuse import (
    Fresh,
    MustValidate,
    OnlyIfCachedMiss,
    ReuseDecision,
    ServeStale,
    StaleReason,
    ValidationReason,
    judge,
    may_serve_stale_if_error,
)

PLAIN = CacheMetadata(60.0, LifetimeRule.MAX_AGE, stale_if_error_seconds=100.0, may_be_stale_on_request=True)
STALE_WINDOW = CacheMetadata(
    60.0,
    LifetimeRule.MAX_AGE,
    stale_while_revalidate_seconds=30.0,
    stale_if_error_seconds=50.0,
    may_be_stale_on_request=True,
)
MUST_REVALIDATE = CacheMetadata(60.0, LifetimeRule.MAX_AGE)
NO_CACHE = CacheMetadata(0.0, LifetimeRule.NO_CACHE, is_always_validated=True)
IMMUTABLE = CacheMetadata(60.0, LifetimeRule.MAX_AGE, is_immutable=True, may_be_stale_on_request=True)

FRESH = Fresh()
EXPIRED = MustValidate(ValidationReason.EXPIRED)
REVALIDATING = ServeStale(StaleReason.WHILE_REVALIDATE)
ACCEPTED = ServeStale(StaleReason.MAX_STALE)
TOO_OLD = MustValidate(ValidationReason.REQUEST_MAX_AGE)
NOT_FRESH_ENOUGH = MustValidate(ValidationReason.REQUEST_MIN_FRESH)


@pytest.mark.parametrize(
    ("cache_metadata", "directives", "age", "verdict"),
    [
        (PLAIN, "", 0.0, FRESH),
        (PLAIN, "", 59.9, FRESH),
        (PLAIN, "", 60.0, EXPIRED),  # section 4.2: fresh while the lifetime is greater than the age
        (NO_CACHE, "", 0.0, MustValidate(ValidationReason.ALWAYS_VALIDATED)),
        (NO_CACHE, "max-stale", 0.0, MustValidate(ValidationReason.ALWAYS_VALIDATED)),
        # stale-while-revalidate
        (STALE_WINDOW, "", 60.0, REVALIDATING),
        (STALE_WINDOW, "", 89.9, REVALIDATING),
        (STALE_WINDOW, "", 90.0, EXPIRED),
        (STALE_WINDOW, "max-age=100", 70.0, EXPIRED),  # section 5.2.1.1: does not wish to receive a stale response
        (STALE_WINDOW, "min-fresh=1", 70.0, NOT_FRESH_ENOUGH),
        (STALE_WINDOW, "max-stale=5", 70.0, EXPIRED),
        # no-cache
        (PLAIN, "no-cache", 0.0, MustValidate(ValidationReason.REQUEST_NO_CACHE)),
        (IMMUTABLE, "no-cache", 0.0, MustValidate(ValidationReason.REQUEST_NO_CACHE)),
        (PLAIN, "no-store", 0.0, FRESH),  # section 5.2.1.5: does not apply to what is stored already
        # max-age
        (PLAIN, "max-age=5", 5.0, FRESH),
        (PLAIN, "max-age=5", 5.1, TOO_OLD),
        (PLAIN, "max-age=0", 0.1, TOO_OLD),
        (PLAIN, "max-age=x", 0.1, TOO_OLD),
        (IMMUTABLE, "max-age=0", 59.9, FRESH),  # RFC 8246: a reload is no reason
        (IMMUTABLE, "max-age=0", 60.0, TOO_OLD),  # but only while it is fresh
        # min-fresh
        (PLAIN, "min-fresh=10", 50.0, FRESH),
        (PLAIN, "min-fresh=10", 50.1, NOT_FRESH_ENOUGH),
        (IMMUTABLE, "min-fresh=61", 0.0, NOT_FRESH_ENOUGH),
        # max-stale
        (PLAIN, "max-stale", 1e9, ACCEPTED),
        (PLAIN, "max-stale=10", 70.0, ACCEPTED),
        (PLAIN, "max-stale=10", 70.1, EXPIRED),
        (PLAIN, "max-stale=10", 10.0, FRESH),
        (PLAIN, "max-stale=x", 70.0, EXPIRED),
        (PLAIN, "max-stale=10, min-fresh=1", 65.0, NOT_FRESH_ENOUGH),
        (PLAIN, "max-stale=10, max-age=100", 65.0, ACCEPTED),
        (PLAIN, "max-stale=10, max-age=62", 65.0, TOO_OLD),
        (MUST_REVALIDATE, "max-stale", 60.0, EXPIRED),
        (MUST_REVALIDATE, "max-stale", 59.0, FRESH),
        # only-if-cached
        (PLAIN, "only-if-cached", 0.0, FRESH),
        (PLAIN, "only-if-cached", 60.0, OnlyIfCachedMiss(ValidationReason.EXPIRED)),
        (PLAIN, "only-if-cached, max-stale", 60.0, ACCEPTED),
        (PLAIN, "only-if-cached, no-cache", 0.0, OnlyIfCachedMiss(ValidationReason.REQUEST_NO_CACHE)),
        (NO_CACHE, "only-if-cached", 0.0, OnlyIfCachedMiss(ValidationReason.ALWAYS_VALIDATED)),
        (STALE_WINDOW, "only-if-cached", 70.0, REVALIDATING),
    ],
)
def test_the_verdict(cache_metadata: CacheMetadata, directives: str, age: float, verdict: ReuseDecision) -> None:
    assert judge(cache_metadata, parse_request_directives(directives.encode()), age) == verdict


@pytest.mark.parametrize(
    ("cache_metadata", "directives", "age", "may"),
    [
        (PLAIN, "", 60.0, True),
        (PLAIN, "", 159.9, True),
        (PLAIN, "", 160.0, False),
        (PLAIN, "max-age=0", 70.0, True),  # RFC 5861 section 4: regardless of other freshness information
        (PLAIN, "no-cache", 70.0, False),
        (PLAIN, "stale-if-error=500", 300.0, True),
        (PLAIN, "stale-if-error=1", 159.0, True),
        (MUST_REVALIDATE, "", 60.0, False),
        (MUST_REVALIDATE, "stale-if-error=500", 60.0, False),
        (MUST_REVALIDATE, "min-fresh=50", 30.0, True),  # still fresh: nothing forbids it
        (NO_CACHE, "", 0.0, False),
        (NO_CACHE, "stale-if-error=500", 0.0, False),
    ],
)
def test_what_may_be_served_on_an_error(cache_metadata: CacheMetadata, directives: str, age: float, may: bool) -> None:
    assert may_serve_stale_if_error(cache_metadata, parse_request_directives(directives.encode()), age) is may


def test_a_request_without_demands_takes_the_fast_path_to_the_same_verdict() -> None:
    for cache_metadata in (PLAIN, STALE_WINDOW, MUST_REVALIDATE, NO_CACHE, IMMUTABLE):
        for age in (0.0, 59.0, 60.0, 89.0, 90.0):
            assert judge(cache_metadata, NO_DIRECTIVES, age) == judge(cache_metadata, RequestDirectives(), age)
