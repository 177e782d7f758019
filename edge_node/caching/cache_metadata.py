"""With which cache metadata a response may be stored and reused: one value, fixed when the response is stored, the same for both semantics.

`cacheability.judge_cacheability` makes it, from CloudFront's tables (freshness_cloudfront.py) or from the RFCs (freshness_rfc9111.py); `reuse.judge` reads it for
each request. How old the response was when it came (`age.py`) differs from one response to the next and is kept by the entry, so that equal cache metadata can
be shared between entries.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


class LifetimeRule(StrEnum):
    """Which rule gave the lifetime, or kept the response from being stored; shown by `cdnlab explain`."""

    S_MAXAGE = "s-maxage"
    MAX_AGE = "max-age"
    EXPIRES = "expires"
    STATUS = "status_not_cached"
    CACHING_DISABLED = "caching_disabled"
    VARY_ANY = "vary_any"
    # CloudFront's tables only
    DEFAULT_TTL = "default_ttl"
    MINIMUM_TTL = "minimum_ttl"
    FORBIDDEN = "forbidden"
    ERROR = "error_caching_minimum_ttl"
    # the RFCs only
    HEURISTIC = "heuristic"
    MAXIMUM_TTL = "maximum_ttl"
    NO_LIFETIME = "no_lifetime"
    NO_CACHE = "no_cache"
    NO_STORE = "no_store"
    PRIVATE = "private"
    REQUEST_NO_STORE = "request_no_store"
    METHOD = "method_not_cached"
    AUTHORIZATION = "authorization"
    NOT_UNDERSTOOD = "status_not_understood"


@dataclass(frozen=True, slots=True)
class CacheMetadata:
    """The cache metadata of one response. Hashable; times in seconds.

    *Fresh until* is the moment at which the response reaches the age `lifetime_seconds`; the stale windows begin there.
    """

    lifetime_seconds: float | None
    """Counted from when the response was made; None: it must not be stored; 0: it is stored to be validated."""
    rule: LifetimeRule
    stale_while_revalidate_seconds: float = 0.0
    """How long after fresh until it may be served at once while it is refreshed (RFC 5861 section 3, reference 2.3); 0: not."""
    stale_if_error_seconds: float = 0.0
    """How long after fresh until it may be served instead of an error or an unreachable upstream (RFC 5861 section 4, reference 2.3); 0: never."""
    may_be_stale_on_request: bool = False
    """A request's max-stale or stale-if-error counts: nothing in the response forbids stale use (RFC 9111 section 4.2.4)."""
    is_always_validated: bool = False
    """Each use is validated first: no-cache without field names (RFC 9111 section 5.2.2.4), or Vary: * (section 4.1)."""
    is_immutable: bool = False
    """While it is fresh, a viewer's reload does not validate it (RFC 8246)."""
    without_fields: tuple[bytes, ...] = ()
    """Fields, in lower case, that no-cache="..." or private="..." keep from being stored (RFC 9111 sections 5.2.2.4 and 5.2.2.7, reference 2.2)."""

    def __hash__(self) -> int:
        """Of the parts that usually differ: written out, because the one that Python generates stays interpreted (decision 13)."""
        return hash(
            (self.lifetime_seconds, self.rule, self.stale_while_revalidate_seconds, self.stale_if_error_seconds)
        )

    @property
    def is_storable(self) -> bool:
        """May be stored, if only to be validated."""
        return self.lifetime_seconds is not None

    def may_be_shared(self, age_seconds: float) -> bool:
        """Those who asked meanwhile may have a response of this age without asking again: it is fresh (RFC 9111 section 4, reference 2.10)."""
        return (
            self.lifetime_seconds is not None and self.lifetime_seconds > age_seconds and not self.is_always_validated
        )


def not_stored(rule: LifetimeRule) -> CacheMetadata:
    """The cache metadata of a response that must not be stored, and why."""
    return CacheMetadata(None, rule)


def explain_rule(rule: LifetimeRule) -> str:  # noqa: C901 - a table with one line per rule
    """One sentence for `cdnlab explain`."""
    match rule:
        case LifetimeRule.S_MAXAGE | LifetimeRule.MAX_AGE | LifetimeRule.EXPIRES:
            return f"the origin said {rule}, within the policy's minimum and maximum TTL"
        case LifetimeRule.DEFAULT_TTL:
            return "the origin gave no lifetime, so the policy's default TTL holds"
        case LifetimeRule.MINIMUM_TTL:
            return "the policy's minimum TTL overrides what the origin said"
        case LifetimeRule.MAXIMUM_TTL:
            return "the policy's maximum TTL is shorter than what the origin said"
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
        case LifetimeRule.HEURISTIC:
            return (
                "the origin gave no lifetime, so a tenth of the time since Last-Modified holds (RFC 9111 section 4.2.2)"
            )
        case LifetimeRule.NO_LIFETIME:
            return "nothing says for how long it may be reused, and it cannot be guessed (RFC 9111 section 3)"
        case LifetimeRule.NO_CACHE:
            return "the response says no-cache: it is stored, and each use is validated (RFC 9111 section 5.2.2.4)"
        case LifetimeRule.NO_STORE:
            return "the response says no-store (RFC 9111 section 5.2.2.5)"
        case LifetimeRule.PRIVATE:
            return "the response is for one viewer: private (RFC 9111 section 5.2.2.7)"
        case LifetimeRule.REQUEST_NO_STORE:
            return "the request says no-store (RFC 9111 section 5.2.1.5)"
        case LifetimeRule.METHOD:
            return "only responses to GET are stored (RFC 9111 section 3)"
        case LifetimeRule.AUTHORIZATION:
            return "the request has Authorization, and the response does not say that it may be shared all the same (RFC 9111 section 3.5)"
        case LifetimeRule.NOT_UNDERSTOOD:
            return "must-understand, and the status is not one that this cache understands (RFC 9111 section 5.2.2.3)"
        case _ as unreachable:
            assert_never(unreachable)
