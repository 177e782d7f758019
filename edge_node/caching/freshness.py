"""For how long a response may be reused: the tables of reference 2.2 (success and redirects) and 2.5 (errors).

The lifetime is what the origin said, clamped by the policy; the age that a response already had when it arrived (Age field plus the time the
request took, RFC 9111 section 4.2.3) is taken off by the entry. CloudFront's documents are silent on Age from an origin, so the RFC decides; its apparent_age
is left out, because the documented table looks at the lifetime alone and not at the origin's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from edge_node.caching.cache_control import LONGEST_LIFETIME_SECONDS, CacheControl, parse_cache_control, split_list
from edge_node.caching.dates import parse_http_date
from edge_node.model import CachePolicy, ResponseHead

ERROR_CACHING_MINIMUM_TTL_SECONDS = 10
"""Reference 2.5: the default when the distribution has no entry for the status."""

_CACHED_ERRORS = frozenset({404, 414, 500, 501, 502, 503, 504})
_CACHED_ERRORS_UNLESS_FORBIDDEN = frozenset({404, 410, 414, 501})
_ERRORS_CACHED_WITH_LIFETIME = frozenset({400, 403, 405, 410, 412, 415})
"""Reference 2.5. 410 stands only in the rule about directives; it is treated as the other statuses that need a lifetime."""
_REDIRECTS_THAT_NEED_CACHE_CONTROL = frozenset({307, 308})


class LifetimeRule(StrEnum):
    """Which line of the table gave the lifetime; shown by `cdnlab explain`."""

    S_MAXAGE = "s-maxage"
    MAX_AGE = "max-age"
    EXPIRES = "expires"
    DEFAULT_TTL = "default_ttl"
    MINIMUM_TTL = "minimum_ttl"
    FORBIDDEN = "forbidden"
    CACHING_DISABLED = "caching_disabled"
    ERROR = "error_caching_minimum_ttl"
    STATUS = "status_not_cached"
    VARY_ANY = "vary_any"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds of reuse from when the response was made, and why; None: it must not be stored at all."""

    seconds: float | None
    rule: LifetimeRule

    @property
    def is_storable(self) -> bool:
        """May be stored, if only to be validated."""
        return self.seconds is not None


def lifetime_of(head: ResponseHead, policy: CachePolicy, now: float) -> Lifetime:
    """How long this response to a GET may be reused under the policy."""
    if policy.is_caching_disabled:
        return Lifetime(None, LifetimeRule.CACHING_DISABLED)
    control = parse_cache_control(head.fields.get(b"cache-control", b""))
    if head.status >= 400:
        return _lifetime_of_error(head, control, policy, now)
    if head.status not in _CACHED_BY_TABLE or (
        head.status in _REDIRECTS_THAT_NEED_CACHE_CONTROL and b"cache-control" not in head.fields
    ):
        return Lifetime(None, LifetimeRule.STATUS)
    if policy.minimum_ttl == 0 and b"*" in split_list(head.fields.get(b"vary", b"")):
        # Reference 2.4: stored, but each request goes to the origin without conditionals; storing it would serve nobody.
        return Lifetime(None, LifetimeRule.VARY_ANY)
    return _lifetime_by_table(head.fields, control, policy, now)


_CACHED_BY_TABLE = frozenset({200, 203, 300, 301, 302, 303, 307, 308})


def _lifetime_by_table(
    fields: Mapping[bytes, bytes], control: CacheControl, policy: CachePolicy, now: float
) -> Lifetime:
    """Reference 2.2."""
    if control.forbids_reuse:
        if policy.minimum_ttl > 0:
            return Lifetime(policy.minimum_ttl, LifetimeRule.MINIMUM_TTL)
        # no-cache may be kept for validation; no-store and private are not kept at all.
        return Lifetime(None if control.no_store or control.private else 0, LifetimeRule.FORBIDDEN)
    said, rule = _said_by_origin(fields, control, now)
    if said is None:
        return Lifetime(max(policy.minimum_ttl, policy.default_ttl), LifetimeRule.DEFAULT_TTL)
    clamped = min(max(said, policy.minimum_ttl), policy.maximum_ttl)
    return Lifetime(clamped, LifetimeRule.MINIMUM_TTL if clamped > said else rule)


def _lifetime_of_error(head: ResponseHead, control: CacheControl, policy: CachePolicy, now: float) -> Lifetime:
    """Reference 2.5."""
    said, _ = _said_by_origin(head.fields, control, now)
    if head.status in _CACHED_ERRORS_UNLESS_FORBIDDEN and control.forbids_reuse:
        return Lifetime(None, LifetimeRule.FORBIDDEN)
    if head.status in _ERRORS_CACHED_WITH_LIFETIME and (control.max_age is not None or control.s_maxage is not None):
        return Lifetime(
            min(
                max(said or 0, ERROR_CACHING_MINIMUM_TTL_SECONDS),
                max(policy.maximum_ttl, ERROR_CACHING_MINIMUM_TTL_SECONDS),
            ),
            LifetimeRule.ERROR,
        )
    if head.status in _CACHED_ERRORS:
        bounded = min(said or 0, policy.maximum_ttl)
        return Lifetime(max(bounded, ERROR_CACHING_MINIMUM_TTL_SECONDS), LifetimeRule.ERROR)
    return Lifetime(None, LifetimeRule.STATUS)


def _said_by_origin(
    fields: Mapping[bytes, bytes], control: CacheControl, now: float
) -> tuple[float | None, LifetimeRule]:
    """The lifetime in the response: s-maxage before max-age before Expires (RFC 9111 section 4.2.1)."""
    if control.s_maxage is not None:
        return control.s_maxage, LifetimeRule.S_MAXAGE
    if control.max_age is not None:
        return control.max_age, LifetimeRule.MAX_AGE
    expires = fields.get(b"expires")
    if expires is None:
        return None, LifetimeRule.DEFAULT_TTL
    moment = parse_http_date(expires)
    if moment is None:  # RFC 9111 section 5.3: an invalid date, "0" above all, is in the past
        return 0, LifetimeRule.EXPIRES
    made = parse_http_date(fields.get(b"date", b""))
    return min(max(0.0, moment - (now if made is None else made)), LONGEST_LIFETIME_SECONDS), LifetimeRule.EXPIRES


def initial_age(fields: Mapping[bytes, bytes], request_time: float, response_time: float) -> float:
    """Corrected age value (RFC 9111 section 4.2.3): what the Age field says plus how long the request took."""
    said = fields.get(b"age")
    if said is None:
        return 0.0
    text = said.split(b",", 1)[0].strip()
    return (min(int(text), LONGEST_LIFETIME_SECONDS) if text.isdigit() and len(text) < 20 else 0) + (
        response_time - request_time
    )


class StaleUse(StrEnum):
    """Whether a stale response may stand in for an error."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    WINDOW_OVER = "window_over"


def stale_use_on_error(fields: Mapping[bytes, bytes], staleness_seconds: float, policy: CachePolicy) -> StaleUse:
    """Reference 2.3: a stale copy is served on 5xx or timeout unless stale-if-error=0 or past its window; must-revalidate forbids it (RFC 9111 section 4.2.4)."""
    control = parse_cache_control(fields.get(b"cache-control", b""))
    if control.must_revalidate or control.no_cache:
        return StaleUse.FORBIDDEN
    if control.stale_if_error is not None:
        return (
            StaleUse.ALLOWED
            if staleness_seconds < min(control.stale_if_error, policy.maximum_ttl)
            else StaleUse.WINDOW_OVER
        )
    return StaleUse.ALLOWED if staleness_seconds < policy.maximum_ttl else StaleUse.WINDOW_OVER


def explain_rule(rule: LifetimeRule) -> str:
    """One sentence for `cdnlab explain`."""
    match rule:
        case LifetimeRule.S_MAXAGE | LifetimeRule.MAX_AGE | LifetimeRule.EXPIRES:
            return f"the origin said {rule}, within the policy's minimum and maximum TTL"
        case LifetimeRule.DEFAULT_TTL:
            return "the origin gave no lifetime, so the policy's default TTL holds"
        case LifetimeRule.MINIMUM_TTL:
            return "the policy's minimum TTL overrides what the origin said"
        case LifetimeRule.FORBIDDEN:
            return "the origin forbade reuse (no-store, no-cache or private) and the minimum TTL is 0"
        case LifetimeRule.CACHING_DISABLED:
            return "the cache policy disables caching: all three TTLs are 0"
        case LifetimeRule.ERROR:
            return "an error status is kept for the error caching minimum TTL"
        case LifetimeRule.STATUS:
            return "responses with this status are not cached"
        case LifetimeRule.VARY_ANY:
            return "Vary: * sends every request to the origin"
        case _ as unreachable:
            assert_never(unreachable)
