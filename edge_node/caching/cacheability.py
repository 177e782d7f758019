"""The terms of a response that has just arrived, in the semantics of its behavior: the one place where the two meet (docs/semantics.md)."""

from typing import assert_never

from edge_node.caching.freshness import terms_by_table
from edge_node.caching.strict import terms_by_standard
from edge_node.caching.terms import Terms
from edge_node.model import Behavior, RequestHead, ResponseHead, Semantics


def terms_of(
    request: RequestHead, response: ResponseHead, behavior: Behavior, error_minimum_ttl_seconds: float, now: float
) -> Terms:
    """On which terms the response to this request may be stored and reused; `now` is when it was received.

    The error caching minimum TTL is the distribution's for this status; it has no meaning by the standard.
    """
    match behavior.semantics:
        case Semantics.CLOUDFRONT:
            return terms_by_table(response, behavior.cache_policy, error_minimum_ttl_seconds, now)
        case Semantics.RFC9111:
            return terms_by_standard(request, response, behavior.cache_policy, now)
        case _ as unreachable:
            assert_never(unreachable)
