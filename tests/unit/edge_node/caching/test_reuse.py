"""When a stored response answers a request: RFC 9111 sections 4, 4.2.4 and 5.2.1, RFC 5861, RFC 8246."""

import pytest

from edge_node.caching.request_directives import NO_DEMANDS, Demands, parse_demands
from edge_node.caching.reuse import (
    NOTHING_STORED,
    GatewayTimeout,
    MustValidate,
    StaleReason,
    Usable,
    UsableStale,
    ValidationReason,
    Verdict,
    judge,
    may_stand_in,
)
from edge_node.caching.terms import LifetimeRule, Terms

PLAIN = Terms(60.0, LifetimeRule.MAX_AGE, stale_if_error_seconds=100.0, may_be_stale_on_request=True)
STALE_WINDOW = Terms(
    60.0,
    LifetimeRule.MAX_AGE,
    stale_while_revalidate_seconds=30.0,
    stale_if_error_seconds=50.0,
    may_be_stale_on_request=True,
)
MUST_REVALIDATE = Terms(60.0, LifetimeRule.MAX_AGE)
NO_CACHE = Terms(0.0, LifetimeRule.NO_CACHE, is_always_validated=True)
IMMUTABLE = Terms(60.0, LifetimeRule.MAX_AGE, is_immutable=True, may_be_stale_on_request=True)

FRESH = Usable()
EXPIRED = MustValidate(ValidationReason.EXPIRED)
REVALIDATING = UsableStale(StaleReason.WHILE_REVALIDATE)
ACCEPTED = UsableStale(StaleReason.MAX_STALE)
TOO_OLD = MustValidate(ValidationReason.REQUEST_MAX_AGE)
NOT_FRESH_ENOUGH = MustValidate(ValidationReason.REQUEST_MIN_FRESH)


@pytest.mark.parametrize(
    ("terms", "demands", "age", "verdict"),
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
        (PLAIN, "only-if-cached", 60.0, GatewayTimeout(ValidationReason.EXPIRED)),
        (PLAIN, "only-if-cached, max-stale", 60.0, ACCEPTED),
        (PLAIN, "only-if-cached, no-cache", 0.0, GatewayTimeout(ValidationReason.REQUEST_NO_CACHE)),
        (NO_CACHE, "only-if-cached", 0.0, GatewayTimeout(ValidationReason.ALWAYS_VALIDATED)),
        (STALE_WINDOW, "only-if-cached", 70.0, REVALIDATING),
    ],
)
def test_the_verdict(terms: Terms, demands: str, age: float, verdict: Verdict) -> None:
    assert judge(terms, parse_demands(demands.encode()), age) == verdict


@pytest.mark.parametrize(
    ("terms", "demands", "age", "may"),
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
def test_what_may_stand_in_for_an_error(terms: Terms, demands: str, age: float, may: bool) -> None:
    assert may_stand_in(terms, parse_demands(demands.encode()), age) is may


def test_a_request_without_demands_takes_the_short_way_to_the_same_verdict() -> None:
    for terms in (PLAIN, STALE_WINDOW, MUST_REVALIDATE, NO_CACHE, IMMUTABLE):
        for age in (0.0, 59.0, 60.0, 89.0, 90.0):
            assert judge(terms, NO_DEMANDS, age) == judge(terms, Demands(), age)


def test_only_if_cached_without_anything_stored_has_its_own_answer() -> None:
    assert GatewayTimeout(None) == NOTHING_STORED
