"""Whether a response that has just arrived may be stored, and for how long and on which terms it may be used then: its cache metadata.

The one place where the two semantics meet (docs/semantics.md): CloudFront's tables are in `freshness_cloudfront.py`, the RFCs' rules in `freshness_rfc9111.py`.
"""

from functools import lru_cache
from typing import Final, assert_never

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.freshness_cloudfront import metadata_by_table
from edge_node.caching.freshness_rfc9111 import metadata_by_standard
from edge_node.model.configuration import Behavior, CachePolicy, Semantics
from edge_node.model.http import RequestHead, ResponseHead

LONGEST_REMEMBERED_VALUES_BYTES: Final = 512


def judge_cacheability(
    request: RequestHead, response: ResponseHead, behavior: Behavior, error_minimum_ttl_seconds: float, now: float
) -> CacheMetadata:
    """With which cache metadata the response to this request may be stored and reused; `now` is when it was received.

    The error caching minimum TTL is the distribution's for this status; it has no meaning by the standard.
    """
    match behavior.semantics:
        case Semantics.CLOUDFRONT:
            return _by_table(response, behavior.cache_policy, error_minimum_ttl_seconds, now)
        case Semantics.RFC9111:
            return metadata_by_standard(request, response, behavior.cache_policy, now)
        case _ as unreachable:
            assert_never(unreachable)


def _by_table(response: ResponseHead, policy: CachePolicy, minimum_ttl: float, now: float) -> CacheMetadata:
    """CloudFront's cache metadata. But for a lifetime that is counted from dates they follow from what most responses of an origin share, and are worked out
    once for them."""
    fields = response.fields
    control, vary = fields.get(b"cache-control", b""), fields.get(b"vary", b"")
    if b"expires" in fields or len(control) + len(vary) > LONGEST_REMEMBERED_VALUES_BYTES:
        return metadata_by_table(response, policy, minimum_ttl, now)
    has_control = b"cache-control" in fields
    return _by_table_without_dates(response.status, control if has_control else None, vary, policy, minimum_ttl)


@lru_cache(maxsize=1024)
def _by_table_without_dates(
    status: int, control: bytes | None, vary: bytes, policy: CachePolicy, minimum_ttl: float
) -> CacheMetadata:
    fields = {b"vary": vary} if control is None else {b"vary": vary, b"cache-control": control}
    return metadata_by_table(ResponseHead(status, b"", (), None, fields), policy, minimum_ttl, 0.0)
