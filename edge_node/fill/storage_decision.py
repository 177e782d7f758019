"""Whether, under which key and with which cache metadata a response that has just begun is kept: worked out once, from its head.

The rules are in `caching`; here they are asked in turn. A response is kept whole, or as a part of a representation (RFC 9111 section 3.3, reference 2.8).
"""

from typing import Final

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule, not_stored
from edge_node.caching.cacheability import judge_cacheability
from edge_node.caching.freshness_cloudfront import ERROR_CACHING_MINIMUM_TTL_SECONDS
from edge_node.caching.key import CacheKey, KeyedField, primary_key, variant_key
from edge_node.caching.partial import StorablePart, fields_of_whole, judge_part
from edge_node.caching.vary import VARY_ANY, variant_of, vary_names_of
from edge_node.model.http import Headers, RequestHead, ResponseHead
from edge_node.policy.router import Route
from edge_node.upstream.connection import make_response_head


class StorageDecision:
    """What becomes of one response."""

    __slots__ = ("cache_metadata", "fields", "head", "key", "part", "varying")

    def __init__(
        self,
        key: CacheKey,
        varying: tuple[KeyedField, ...],
        cache_metadata: CacheMetadata,
        head: ResponseHead,
        fields: Headers,
        part: StorablePart | None = None,
    ) -> None:
        self.key: Final = key
        self.varying: Final = varying
        """What its Vary makes of the request, in behaviors that follow the RFCs."""
        self.cache_metadata: Final = cache_metadata
        self.head: Final = head
        """As it is stored: status 200 for a part of a representation."""
        self.fields: Final = fields
        """End-to-end fields of `head`."""
        self.part: Final = part


def error_minimum_ttl(route: Route, status: int) -> float:
    """For how long at least an error is cached, seconds."""
    configured = route.distribution.error_responses.get(status)
    return ERROR_CACHING_MINIMUM_TTL_SECONDS if configured is None else configured.minimum_ttl


def decide_storage(
    request: RequestHead, route: Route, key: CacheKey, response: ResponseHead, fields: Headers, now: float
) -> StorageDecision:
    """What is decided about storing a response to this request, whose key is the one given but for its variant; received now. `fields` are the response's
    end-to-end fields."""
    if not route.is_strict and response.status != 206:
        minimum_ttl = error_minimum_ttl(route, response.status)
        cache_metadata = judge_cacheability(request, response, route.behavior, minimum_ttl, now)
        return StorageDecision(key, (), cache_metadata, response, fields)
    key = primary_key(key)
    part: StorablePart | None = None
    if response.status == 206:
        judged = judge_part(response, None)
        if request.method != b"GET" or not isinstance(judged, StorablePart):
            return StorageDecision(key, (), not_stored(LifetimeRule.STATUS), response, ())
        part = judged
        response, fields = make_response_head(200, b"OK", fields_of_whole(response.headers)), fields_of_whole(fields)
    minimum_ttl = error_minimum_ttl(route, response.status)
    cache_metadata = judge_cacheability(request, response, route.behavior, minimum_ttl, now)
    varying = varying_of(request, route, response)
    stored_key = variant_key(key, varying) if varying else key
    return StorageDecision(stored_key, varying, cache_metadata, response, fields, part)


def varying_of(request: RequestHead, route: Route, response: ResponseHead) -> tuple[KeyedField, ...]:
    """What a response's Vary makes of the request (RFC 9111 section 4.1).

    Accept-Encoding is left out where the key has its normal form. `*` is in the cache metadata: validated at each use.
    """
    names = vary_names_of(response.fields) if route.is_strict else ()
    if names is VARY_ANY:
        return ()
    policy = route.behavior.cache_policy
    is_keyed = policy.accepts_gzip or policy.accepts_brotli
    kept = tuple(name for name in names if not (is_keyed and name == b"accept-encoding"))
    return tuple(zip(kept, variant_of(kept, request.fields), strict=True))
