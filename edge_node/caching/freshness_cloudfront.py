"""For how long a response may be reused in CloudFront's semantics: the tables of reference 2.2 (success and redirects), 2.3 (stale) and 2.5 (errors).

The lifetime is what the origin said, clamped by the policy; the age that a response already had when it arrived (age.py) is taken off by the entry.
Where the documents are silent the RFC decides: must-revalidate and proxy-revalidate forbid stale use, targeted fields (RFC 9213) mean nothing here because
CloudFront does not document them.
"""

from collections.abc import Mapping
from typing import Final

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule, not_stored
from edge_node.http.cache_control import LONGEST_LIFETIME_SECONDS, CacheControl, parse_cache_control, split_list
from edge_node.http.dates import parse_http_date
from edge_node.model.configuration import CachePolicy
from edge_node.model.http import ResponseHead

ERROR_CACHING_MINIMUM_TTL_SECONDS: Final = 10
"""Reference 2.5: the default when the distribution has no entry for the status."""

_CACHED_ERRORS: Final = frozenset({404, 414, 500, 501, 502, 503, 504})
_CACHED_ERRORS_UNLESS_FORBIDDEN: Final = frozenset({404, 410, 414, 501})
_ERRORS_CACHED_WITH_LIFETIME: Final = frozenset({400, 403, 405, 410, 412, 415})
"""Reference 2.5. 410 stands only in the rule about directives; it is treated as the other statuses that need a lifetime."""
_REDIRECTS_THAT_NEED_CACHE_CONTROL: Final = frozenset({307, 308})
_CACHED_BY_TABLE: Final = frozenset({200, 203, 300, 301, 302, 303, 307, 308})


def metadata_by_table(
    head: ResponseHead, policy: CachePolicy, error_minimum_ttl_seconds: float, now: float
) -> CacheMetadata:
    """The cache metadata of this response to a cached method under the policy."""
    if policy.is_caching_disabled:
        return not_stored(LifetimeRule.CACHING_DISABLED)
    control = parse_cache_control(head.fields.get(b"cache-control", b""))
    if head.status >= 400:
        return _metadata_of_error(head, control, policy, error_minimum_ttl_seconds, now)
    if head.status not in _CACHED_BY_TABLE or (
        head.status in _REDIRECTS_THAT_NEED_CACHE_CONTROL and b"cache-control" not in head.fields
    ):
        return not_stored(LifetimeRule.STATUS)
    if policy.minimum_ttl == 0 and b"*" in split_list(head.fields.get(b"vary", b"")):
        # Reference 2.4: stored, but each request goes to the origin without conditionals; storing it would serve nobody.
        return not_stored(LifetimeRule.VARY_ANY)
    return _metadata_of_success(head.fields, control, policy, now)


def _metadata_of_success(
    fields: Mapping[bytes, bytes], control: CacheControl, policy: CachePolicy, now: float
) -> CacheMetadata:
    """Reference 2.2."""
    if control.forbids_reuse:
        if policy.minimum_ttl > 0:
            return _with_stale_windows(policy.minimum_ttl, LifetimeRule.MINIMUM_TTL, control, policy)
        if control.no_store or control.private:  # no-cache may be kept for validation; these are not kept at all
            return not_stored(LifetimeRule.FORBIDDEN)
        return CacheMetadata(0, LifetimeRule.FORBIDDEN, is_always_validated=True, without_fields=control.without_fields)
    said, rule = _said_by_origin(fields, control, now)
    if said is None:
        lifetime = max(policy.minimum_ttl, policy.default_ttl)
        return _with_stale_windows(lifetime, LifetimeRule.DEFAULT_TTL, control, policy)
    clamped = min(max(said, policy.minimum_ttl), policy.maximum_ttl)
    return _with_stale_windows(clamped, LifetimeRule.MINIMUM_TTL if clamped > said else rule, control, policy)


def _with_stale_windows(
    lifetime: float, rule: LifetimeRule, control: CacheControl, policy: CachePolicy
) -> CacheMetadata:
    """Reference 2.3: each window is at most the maximum TTL, and without stale-if-error a stale copy is served on errors until then."""
    if control.forbids_stale:
        return CacheMetadata(lifetime, rule, without_fields=control.without_fields)
    said = control.stale_if_error
    return CacheMetadata(
        lifetime,
        rule,
        stale_while_revalidate_seconds=min(control.stale_while_revalidate or 0, policy.maximum_ttl),
        stale_if_error_seconds=policy.maximum_ttl if said is None else min(said, policy.maximum_ttl),
        may_be_stale_on_request=True,
        without_fields=control.without_fields,
    )


def _metadata_of_error(
    head: ResponseHead, control: CacheControl, policy: CachePolicy, minimum_ttl_seconds: float, now: float
) -> CacheMetadata:
    """Reference 2.5: cached for the longer of the error caching minimum TTL and what the origin said, the latter bounded by the maximum TTL.

    An error that has expired is served for nothing.
    """
    said, _ = _said_by_origin(head.fields, control, now)
    if head.status in _CACHED_ERRORS_UNLESS_FORBIDDEN and control.forbids_reuse:
        return not_stored(LifetimeRule.FORBIDDEN)
    has_lifetime = control.max_age is not None or control.s_maxage is not None
    if head.status in _CACHED_ERRORS or (head.status in _ERRORS_CACHED_WITH_LIFETIME and has_lifetime):
        lifetime = max(min(said or 0, policy.maximum_ttl), minimum_ttl_seconds)
        return CacheMetadata(lifetime, LifetimeRule.ERROR, without_fields=control.without_fields)
    return not_stored(LifetimeRule.STATUS)


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
    return lifetime_from_expires(expires, fields.get(b"date"), now), LifetimeRule.EXPIRES


def lifetime_from_expires(expires: bytes, made: bytes | None, now: float) -> float:
    """Expires minus Date, or minus the time of receipt where there is no valid Date; an invalid Expires, "0" or two of them above all, is past (RFC 9111 section 5.3)."""
    moment = parse_http_date(expires, now)
    if moment is None:
        return 0.0
    made_at = None if made is None else parse_http_date(made, now)
    return min(max(0.0, moment - (now if made_at is None else made_at)), LONGEST_LIFETIME_SECONDS)
