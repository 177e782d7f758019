"""The cache metadata of a response that has just arrived, in the semantics of its behavior: the one place where the two meet (docs/semantics.md)."""

from typing import assert_never

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.freshness_cloudfront import metadata_by_table
from edge_node.caching.freshness_rfc9111 import metadata_by_standard
from edge_node.model.configuration import Behavior, Semantics
from edge_node.model.http import RequestHead, ResponseHead


def metadata_of(
    request: RequestHead, response: ResponseHead, behavior: Behavior, error_minimum_ttl_seconds: float, now: float
) -> CacheMetadata:
    """With which cache metadata the response to this request may be stored and reused; `now` is when it was received.

    The error caching minimum TTL is the distribution's for this status; it has no meaning by the standard.
    """
    match behavior.semantics:
        case Semantics.CLOUDFRONT:
            return metadata_by_table(response, behavior.cache_policy, error_minimum_ttl_seconds, now)
        case Semantics.RFC9111:
            return metadata_by_standard(request, response, behavior.cache_policy, now)
        case _ as unreachable:
            assert_never(unreachable)
