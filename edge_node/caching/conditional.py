"""Conditional requests answered from a stored response (RFC 9110 section 13) and the conditions that validate one (reference 2.4)."""

from collections.abc import Mapping

from edge_node.caching.cache_control import split_list
from edge_node.caching.dates import parse_http_date
from edge_node.model import Header


def is_not_modified(
    request: Mapping[bytes, bytes], status: int, etag: bytes | None, last_modified: bytes | None
) -> bool:
    """Whether a GET or HEAD with these fields gets 304 instead of the stored response (RFC 9110 section 13.2.2)."""
    if status != 200:  # RFC 9110 section 13.2.1: conditions apply where the answer without them would be 2xx
        return False
    none_match = request.get(b"if-none-match")
    if none_match is not None:  # takes precedence over If-Modified-Since, RFC 9110 section 13.1.3
        return none_match.strip() == b"*" or (
            etag is not None and any(_weakly_equal(tag, etag) for tag in split_list(none_match))
        )
    since = request.get(b"if-modified-since")
    if since is None or last_modified is None:
        return False
    since_seconds, modified_seconds = parse_http_date(since), parse_http_date(last_modified)
    return since_seconds is not None and modified_seconds is not None and modified_seconds <= since_seconds


def may_send_range(request: Mapping[bytes, bytes], etag: bytes | None, last_modified: bytes | None) -> bool:
    """If-Range (RFC 9110 section 13.1.5): a strong ETag or the exact date; anything else means the whole response."""
    condition = request.get(b"if-range")
    if condition is None:
        return True
    if condition.startswith((b'"', b"W/")):
        return condition == etag and not condition.startswith(b"W/")
    return condition == last_modified


def _weakly_equal(left: bytes, right: bytes) -> bool:
    """Weak comparison (RFC 9110 section 8.8.3.2)."""
    return left.removeprefix(b"W/") == right.removeprefix(b"W/")


def validators(etag: bytes | None, last_modified: bytes | None) -> tuple[Header, ...]:
    """The conditions of a validation request for a stored response; empty when it has no validator."""
    conditions: list[Header] = []
    if etag is not None:
        conditions.append((b"if-none-match", etag))
    if last_modified is not None:
        conditions.append((b"if-modified-since", last_modified))
    return tuple(conditions)
