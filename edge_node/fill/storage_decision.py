"""Whether, under which key and on which terms a response that has just begun is kept: worked out once, from its head.

The rules are in `caching`; here they are asked in turn. A response is kept whole, or as a part of a representation (RFC 9111 section 3.3, reference 2.8).
"""

from functools import lru_cache
from typing import Final

from edge_node.caching.freshness import ERROR_CACHING_MINIMUM_TTL_SECONDS, terms_by_table
from edge_node.caching.key import CacheKey, KeyedField, primary_key, variant_key
from edge_node.caching.partial import StorablePart, fields_of_whole, judge_part
from edge_node.caching.storing import terms_of
from edge_node.caching.terms import LifetimeRule, Terms, not_stored
from edge_node.caching.vary import VARY_ANY, variant_of, vary_names_of
from edge_node.model import CachePolicy, Headers, RequestHead, ResponseHead
from edge_node.policy.routing import Plan
from edge_node.upstream.connection import make_response_head

LONGEST_REMEMBERED_VALUES_BYTES = 512


class Keeping:
    """What becomes of one response."""

    __slots__ = ("fields", "head", "key", "part", "terms", "varying")

    def __init__(
        self,
        key: CacheKey,
        varying: tuple[KeyedField, ...],
        terms: Terms,
        head: ResponseHead,
        fields: Headers,
        part: StorablePart | None = None,
    ) -> None:
        self.key: Final = key
        self.varying: Final = varying
        """What its Vary makes of the request, in behaviors that follow the RFCs."""
        self.terms: Final = terms
        self.head: Final = head
        """As it is stored: status 200 for a part of a representation."""
        self.fields: Final = fields
        """End-to-end fields of `head`."""
        self.part: Final = part


def error_minimum_ttl(plan: Plan, status: int) -> float:
    """For how long at least an error is cached, seconds."""
    configured = plan.distribution.error_responses.get(status)
    return ERROR_CACHING_MINIMUM_TTL_SECONDS if configured is None else configured.minimum_ttl


def keep(question: tuple[RequestHead, Plan, CacheKey], response: ResponseHead, fields: Headers, now: float) -> Keeping:
    """The keeping of a response to this request, whose key is the one given but for its variant; received now. `fields` are the response's end-to-end fields."""
    request, plan, key = question
    if not plan.is_strict and response.status != 206:
        return Keeping(key, (), _terms_by_table(plan, response, now), response, fields)
    key = primary_key(key)
    part: StorablePart | None = None
    if response.status == 206:
        judged = judge_part(response, None)
        if request.method != b"GET" or not isinstance(judged, StorablePart):
            return Keeping(key, (), not_stored(LifetimeRule.STATUS), response, ())
        part = judged
        response, fields = make_response_head(200, b"OK", fields_of_whole(response.headers)), fields_of_whole(fields)
    terms = terms_of(request, response, plan.behavior, error_minimum_ttl(plan, response.status), now)
    varying = varying_of(request, plan, response)
    stored_key = variant_key(key, varying) if varying else key
    return Keeping(stored_key, varying, terms, response, fields, part)


def _terms_by_table(plan: Plan, response: ResponseHead, now: float) -> Terms:
    """CloudFront's terms. But for a lifetime that is counted from dates they follow from what most responses of an origin share, and are worked out once for them."""
    fields = response.fields
    control, vary = fields.get(b"cache-control", b""), fields.get(b"vary", b"")
    minimum_ttl = error_minimum_ttl(plan, response.status)
    if b"expires" in fields or len(control) + len(vary) > LONGEST_REMEMBERED_VALUES_BYTES:
        return terms_by_table(response, plan.behavior.cache_policy, minimum_ttl, now)
    has_control = b"cache-control" in fields
    return _terms_without_dates(
        response.status, control if has_control else None, vary, plan.behavior.cache_policy, minimum_ttl
    )


@lru_cache(maxsize=1024)
def _terms_without_dates(
    status: int, control: bytes | None, vary: bytes, policy: CachePolicy, error_minimum_ttl: float
) -> Terms:
    said = {b"vary": vary} if control is None else {b"vary": vary, b"cache-control": control}
    return terms_by_table(ResponseHead(status, b"", (), None, said), policy, error_minimum_ttl, 0.0)


def varying_of(request: RequestHead, plan: Plan, response: ResponseHead) -> tuple[KeyedField, ...]:
    """What a response's Vary makes of the request (RFC 9111 section 4.1).

    Accept-Encoding is left out where the key has its normal form. `*` is in the terms: validated at each use.
    """
    names = vary_names_of(response.fields) if plan.is_strict else ()
    if names is VARY_ANY:
        return ()
    policy = plan.behavior.cache_policy
    is_keyed = policy.accepts_gzip or policy.accepts_brotli
    kept = tuple(name for name in names if not (is_keyed and name == b"accept-encoding"))
    return tuple(zip(kept, variant_of(kept, request.fields), strict=True))
