"""The Cache-Status member (RFC 9211) of this node's answers, for behaviors that follow the RFCs."""

from typing import Final

from edge_node.caching.entry import Entry
from edge_node.caching.lookup import Reason, Result
from edge_node.http.cache_status_field import CacheStatus, Forwarding
from edge_node.policy.response_head import LocalNode

_FORWARDING: Final = {
    Reason.NOT_STORED: Forwarding.URI_MISS,
    Reason.INVALIDATED: Forwarding.URI_MISS,
    Reason.VARIANT_NOT_STORED: Forwarding.VARY_MISS,
    Reason.EXPIRED: Forwarding.STALE,
    Reason.REVALIDATED: Forwarding.STALE,
    Reason.REVALIDATED_ON_REQUEST: Forwarding.REQUEST,
    Reason.REQUEST_DIRECTIVE: Forwarding.REQUEST,
    Reason.INCOMPLETE: Forwarding.PARTIAL,
    Reason.METHOD: Forwarding.METHOD,
    Reason.CACHING_DISABLED: Forwarding.BYPASS,
    Reason.REGIONAL_BEHIND: Forwarding.BYPASS,
}


def status_of_entry(node: LocalNode, entry: Entry, result: Result, reason: Reason, now: float) -> bytes:
    """Of an answer from a stored response, or from one that has just been confirmed."""
    remaining = entry.fresh_until - now
    if result is Result.REFRESH_HIT:
        why = _FORWARDING.get(reason, Forwarding.STALE)
        return CacheStatus(node.pop, why, 304, remaining, is_stored=entry.cache_metadata.is_storable).serialise()
    return CacheStatus(
        node.pop, ttl_seconds=remaining, detail=None if reason is Reason.FRESH else reason.encode()
    ).serialise()


def status_of_fetch(node: LocalNode, reason: Reason, *, is_stored: bool) -> bytes:
    """Of an answer that upstream gave."""
    forwarding = _FORWARDING.get(reason, Forwarding.MISS)
    is_collapsed = True if reason is Reason.COLLAPSED else None
    return CacheStatus(node.pop, forwarding, is_stored=is_stored, is_collapsed=is_collapsed).serialise()
