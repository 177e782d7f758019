"""May a response be stored, for how long is it fresh, and how long may it be used stale: RFC 9111 sections 3, 4.2.1, 4.2.2 and 4.2.4 for a shared cache.

With RFC 5861 (stale windows), RFC 8246 (immutable) and RFC 9213 (targeted fields). Of the cache policy only the maximum TTL counts, as an upper bound of what
the origin says. Set-Cookie does not inhibit caching (section 7.3), no Warning is generated (section 5.5). A 206 gets the cache metadata that a 200 would; that it is
stored as a part is the business of who stores it.
"""

from collections.abc import Mapping
from typing import Final

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule, not_stored
from edge_node.caching.freshness_cloudfront import lifetime_from_expires
from edge_node.caching.request_directives import request_directives_of
from edge_node.caching.vary import VARY_ANY, vary_names_of
from edge_node.http.cache_control import CacheControl
from edge_node.http.dates import parse_http_date
from edge_node.http.targeted_cache_control import Directives, directives_of
from edge_node.model.configuration import CachePolicy, Semantics
from edge_node.model.http import RequestHead, ResponseHead

HEURISTICALLY_CACHEABLE: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 section 15.1."""

UNDERSTOOD: Final = frozenset({
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308,
    400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505,
})  # fmt: skip
"""What must-understand asks for (RFC 9111 section 5.2.2.3): the final statuses of RFC 9110 that are complete answers; 206 and 416 are about a range."""

NEVER_STORED: Final = frozenset({304, 428, 429, 431, 511})
"""A 304 updates what is stored (RFC 9111 section 4.3.4); the others say so themselves (RFC 6585)."""

HEURISTIC_FRACTION: Final = 0.1
"""Of the time since Last-Modified: what RFC 9111 section 4.2.2 calls typical."""
HEURISTIC_MAXIMUM_SECONDS: Final = 86_400.0
"""A guess is never trusted for more than a day; the RFC leaves the bound open."""


def metadata_by_standard(
    request: RequestHead, response: ResponseHead, policy: CachePolicy, now: float
) -> CacheMetadata:
    """The cache metadata of the response to this request, received now."""
    if policy.is_caching_disabled:
        return not_stored(LifetimeRule.CACHING_DISABLED)
    control, is_targeted = directives_of(response.fields)
    obstacle = _obstacle(request, response, control)
    if obstacle is not None:
        return not_stored(obstacle)
    if control.no_cache or vary_names_of(response.fields) is VARY_ANY:
        return _metadata_for_validation(response, control, is_targeted=is_targeted)
    explicit = _explicit_lifetime(response.fields, Directives(control, is_targeted), now)
    if explicit is None:
        return _metadata_by_guess(response, control, policy, now)
    return _metadata(*explicit, control, policy, default_stale_if_error=policy.maximum_ttl)


def _obstacle(request: RequestHead, response: ResponseHead, control: CacheControl) -> LifetimeRule | None:
    """What forbids to store the response at all (section 3)."""
    if request.method != b"GET":  # responses to HEAD have no content to store, those to POST are left out by choice
        return LifetimeRule.METHOD
    if not 200 <= response.status <= 599 or response.status in NEVER_STORED:
        return LifetimeRule.STATUS
    if control.must_understand and response.status not in UNDERSTOOD:
        return LifetimeRule.NOT_UNDERSTOOD
    if control.no_store and not control.must_understand:  # section 5.2.2.3: understood, so no-store is ignored
        return LifetimeRule.NO_STORE
    if control.private:
        return LifetimeRule.PRIVATE
    allows_authorized = control.public or control.must_revalidate or control.s_maxage is not None  # section 3.5
    if b"authorization" in request.fields and not allows_authorized:
        return LifetimeRule.AUTHORIZATION
    if request_directives_of(request.fields, Semantics.RFC9111).is_no_store:
        return LifetimeRule.REQUEST_NO_STORE
    return None


def _explicit_lifetime(
    fields: Mapping[bytes, bytes], directives: Directives, now: float
) -> tuple[float, LifetimeRule] | None:
    """The first of s-maxage, max-age and Expires (section 4.2.1)."""
    control, is_targeted = directives
    if control.s_maxage is not None:
        return control.s_maxage, LifetimeRule.S_MAXAGE
    if control.max_age is not None:
        return control.max_age, LifetimeRule.MAX_AGE
    expires = fields.get(b"expires")
    if expires is None or is_targeted:  # RFC 9213 section 2.2
        return None
    return lifetime_from_expires(expires, fields.get(b"date"), now), LifetimeRule.EXPIRES


def _metadata_for_validation(response: ResponseHead, control: CacheControl, *, is_targeted: bool) -> CacheMetadata:
    """no-cache (section 5.2.2.4) and Vary: * (section 4.1): never used without validation, stale least of all."""
    has_lifetime = control.max_age is not None or control.s_maxage is not None
    has_expires = b"expires" in response.fields and not is_targeted
    if not (has_lifetime or has_expires or _is_heuristically_cacheable(response, control)):
        return not_stored(LifetimeRule.NO_LIFETIME)
    rule = LifetimeRule.NO_CACHE if control.no_cache else LifetimeRule.VARY_ANY
    return CacheMetadata(0.0, rule, is_always_validated=True, without_fields=control.without_fields)


def _metadata_by_guess(response: ResponseHead, control: CacheControl, policy: CachePolicy, now: float) -> CacheMetadata:
    """No explicit lifetime (section 4.2.2). What is known so little of does not be served on errors, unless the origin says that it may."""
    if not _is_heuristically_cacheable(response, control):
        return not_stored(LifetimeRule.NO_LIFETIME)
    cache_metadata = _metadata(heuristic_lifetime(response.fields, now), LifetimeRule.HEURISTIC, control, policy)
    has_use = (
        cache_metadata.lifetime_seconds
        or cache_metadata.stale_while_revalidate_seconds
        or cache_metadata.stale_if_error_seconds
    )
    has_validator = b"etag" in response.fields or b"last-modified" in response.fields
    # Section 3: a response that can be neither fresh nor validated is not worth storing.
    return cache_metadata if has_use or has_validator else not_stored(LifetimeRule.NO_LIFETIME)


def _is_heuristically_cacheable(response: ResponseHead, control: CacheControl) -> bool:
    """Sections 4.2.2 and 5.2.2.9: by its status, or because it says public."""
    return control.public or response.status in HEURISTICALLY_CACHEABLE


def heuristic_lifetime(fields: Mapping[bytes, bytes], now: float) -> float:
    """A tenth of the time from Last-Modified to Date, at most a day; 0 where there is no telling."""
    modified = parse_http_date(fields.get(b"last-modified", b""), now)
    if modified is None:
        return 0.0
    made = parse_http_date(fields.get(b"date", b""), now)
    interval = (now if made is None else made) - modified
    return min(max(0.0, interval * HEURISTIC_FRACTION), HEURISTIC_MAXIMUM_SECONDS)


def _metadata(
    lifetime: float,
    rule: LifetimeRule,
    control: CacheControl,
    policy: CachePolicy,
    default_stale_if_error: float = 0.0,
) -> CacheMetadata:
    """A lifetime within the policy, and the stale windows, which must-revalidate, proxy-revalidate and s-maxage close (sections 4.2.4, 5.2.2.2, 5.2.2.8, 5.2.2.10).

    Without stale-if-error an explicit lifetime lets the response be served for an origin that cannot be reached or fails (section 4.2.4: "disconnected";
    section 4.3.3 for 5xx) until the maximum TTL, as in CloudFront's semantics.
    """
    maximum = policy.maximum_ttl
    if lifetime > maximum:
        lifetime, rule = float(maximum), LifetimeRule.MAXIMUM_TTL
    if control.forbids_stale or control.s_maxage is not None:
        return CacheMetadata(lifetime, rule, is_immutable=control.immutable, without_fields=control.without_fields)
    said = control.stale_if_error
    return CacheMetadata(
        lifetime,
        rule,
        stale_while_revalidate_seconds=min(control.stale_while_revalidate or 0, maximum),
        stale_if_error_seconds=default_stale_if_error if said is None else min(said, maximum),
        may_be_stale_on_request=True,
        is_immutable=control.immutable,
        without_fields=control.without_fields,
    )
