"""What the answer to a request about a stored response makes of it: a 304 that confirms it, or the head of its present form (RFC 9111 sections 4.3.4, 4.3.5, 3.2)."""

from dataclasses import dataclass
from typing import Final

from edge_node.caching.cache_metadata import LifetimeRule, not_stored
from edge_node.caching.cacheability import judge_cacheability
from edge_node.caching.entry import Entry
from edge_node.caching.entry_factory import ResponseTiming, revalidated_entry
from edge_node.caching.key import primary_key, variant_key
from edge_node.caching.revalidation import update_fields
from edge_node.fill.storage_decision import error_minimum_ttl, varying_of
from edge_node.model.http import Headers, ResponseHead
from edge_node.policy.compression import weak_etag, with_vary
from edge_node.policy.response_head import content_length, write_fields
from edge_node.policy.response_headers import viewer_fields
from edge_node.policy.upstream_request import UpstreamRequest
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.upstream.connection import make_response_head

_NOT_FOR_THIS_REQUEST: Final = frozenset({LifetimeRule.REQUEST_NO_STORE, LifetimeRule.AUTHORIZATION})
"""The request is why nothing of this answer is stored: what was stored before stays as it is."""


@dataclass(frozen=True, slots=True)
class RevalidationResult:
    """A stored response with the fields of a new answer."""

    entry: Entry
    """Answers those who asked. Its key is another one if the answer brought another Vary."""
    replaces: bool
    """It takes the place of what was stored."""
    is_outdated: bool
    """What was stored has to go, and this is not to be stored either."""


def merge_not_modified(
    upstream_request: UpstreamRequest,
    stored: Entry,
    answer: ResponseHead,
    timing: ResponseTiming,
    template: EntryTemplates,
) -> RevalidationResult:
    """Put the fields of the answer into the stored response, with a new age and new cache metadata."""
    route, request = upstream_request.route, upstream_request.head
    update = _of_coded(stored.headers, viewer_fields(answer, route.behavior))
    fields = update_fields(stored.headers, update, timing.response_time)
    merged = make_response_head(stored.status, stored.template.reason, fields)
    get = request.as_get() if request.method == b"HEAD" else request
    minimum = error_minimum_ttl(route, stored.status)
    cache_metadata = judge_cacheability(get, merged, route.behavior, minimum, timing.response_time)
    key = stored.key
    if route.is_strict and b"vary" in merged.fields:
        key = variant_key(primary_key(key), varying_of(request, route, merged))
    shared = template.of(
        stored.status,
        stored.template.reason,
        merged.fields.get(b"content-type", b""),
        cache_metadata if cache_metadata.is_storable else not_stored(LifetimeRule.NO_STORE),
        is_strict=route.is_strict,
    )
    lines = write_fields(fields) + content_length(stored.length)
    entry = revalidated_entry(stored, key, lines, shared, timing)
    is_outdated = not cache_metadata.is_storable and cache_metadata.rule not in _NOT_FOR_THIS_REQUEST
    return RevalidationResult(entry, cache_metadata.is_storable, is_outdated)


def _of_coded(stored: Headers, update: Headers) -> Headers:
    """A body that was coded here keeps its own weak tag, and its Vary, where the origin repeats what it says of the body before (RFC 9110 section 8.8.1)."""
    before, updated = dict(stored), dict(update)
    etag = updated.get(b"etag")
    if etag is None or b"content-encoding" not in before or etag == before.get(b"etag"):
        return update
    if weak_etag(etag) != before.get(b"etag"):
        return update
    kept = tuple(pair for pair in update if pair[0] != b"etag")
    return with_vary(kept) if b"vary" in updated else kept
