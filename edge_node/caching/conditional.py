"""Conditional requests: those that a cache answers from a stored response, and those by which it validates or completes one.

RFC 9110 sections 8.8 and 13, RFC 9111 sections 4.3.1 and 4.3.2, reference 2.4 and 2.8. The order of evaluation is that of RFC 9110 section 13.2.2 without its first two
steps, which are the origin's. Which bytes a Range field selects is decided in http/ranges.py.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from edge_node.http.dates import parse_http_date
from edge_node.model.http import Header

_ENTITY_TAGS: Final = re.compile(rb'(?:W/)?"[^"]*"(?![^\s,])|[^\s,]+')
"""The members of a list of entity tags. A tag has no escapes (RFC 9110 section 8.8.3): a backslash in it is a character like others, unlike in quoted strings.
Tags without quotes are sent in the wild, by origins and so by their viewers; they are equal to themselves only."""

SHORTEST_STRONG_DATE_SECONDS: Final = 1.0
"""A date is a strong validator when the response is at least this much younger (RFC 9110 section 8.8.2.2): within one second, content may change and its date not."""


class StoredValidators(NamedTuple):
    """The fields of a stored response that conditions are compared with. `date`: its Date field, which every stored response has or is given (RFC 9110 section 6.6.1)."""

    etag: bytes | None
    last_modified: bytes | None
    date: bytes | None


class PreconditionResult(Enum):
    """What a request with conditions gets, when there is a stored response that may be reused for it."""

    WHOLE = auto()
    """The stored response as it is: no condition, none that applies, or one that failed."""
    PART = auto()
    """What its Range field selects."""
    NOT_MODIFIED = auto()
    """304."""


def judge_request(
    method: bytes, fields: Mapping[bytes, bytes], status: int, stored: StoredValidators
) -> PreconditionResult:
    """Evaluate the conditions of a request against a stored response with this status, in the order of RFC 9110 section 13.2.2."""
    if method not in (b"GET", b"HEAD"):
        # OPTIONS does not select a representation: its conditions are ignored (RFC 9110 section 13.2.1).
        return PreconditionResult.WHOLE
    if is_not_modified(fields, status, stored.etag, stored.last_modified, stored.date):
        return PreconditionResult.NOT_MODIFIED
    # Range is defined for GET only (RFC 9110 section 14.2), and If-Range means nothing without it (13.1.5).
    if method == b"GET" and status == 200 and b"range" in fields and may_send_range(fields, *stored):
        return PreconditionResult.PART
    return PreconditionResult.WHOLE


def is_for_origin(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a request has a condition that no cache may evaluate: If-Match, If-Unmodified-Since (RFC 9111 section 4.3.2).

    The strict semantics forward such a request (RFC 9110 section 13.2.1), since who sends it waits for a 412 that only the origin can give. Under CloudFront's a stored
    response is used as if the field were absent, which RFC 9111 section 4 allows: nothing a viewer sends makes CloudFront pass by a fresh object (reference 2.4, `[I]`).
    """
    return b"if-match" in fields or b"if-unmodified-since" in fields


def is_not_modified(
    request: Mapping[bytes, bytes],
    status: int,
    etag: bytes | None,
    last_modified: bytes | None,
    date: bytes | None = None,
) -> bool:
    """Whether a GET or HEAD with these fields gets 304 instead of the stored response (RFC 9110 section 13.2.2, steps 3 and 4)."""
    if status != 200:
        # Conditions apply where the answer without them would be 2xx (RFC 9110 section 13.2.1);
        # of these only 200 transfers the representation that tags and dates are of.
        return False
    none_match = request.get(b"if-none-match")
    if none_match is not None:  # takes precedence over If-Modified-Since, RFC 9110 section 13.1.3
        return _matches_any(none_match, etag)
    since = request.get(b"if-modified-since")
    # Without Last-Modified the Date of the stored response stands in (RFC 9111 section 4.3.2).
    modified = last_modified if last_modified is not None else date
    if since is None or modified is None:
        return False
    since_seconds, modified_seconds = parse_http_date(since), parse_http_date(modified)
    return since_seconds is not None and modified_seconds is not None and modified_seconds <= since_seconds


def may_send_range(
    request: Mapping[bytes, bytes], etag: bytes | None, last_modified: bytes | None, date: bytes | None = None
) -> bool:
    """If-Range (RFC 9110 section 13.1.5): the same strong ETag, or exactly the same date and that a strong one; anything else means the whole response."""
    condition = request.get(b"if-range")
    if condition is None:
        return True
    if b'"' in condition[:3]:  # this is how a tag is told from a date, RFC 9110 section 13.1.5
        return condition == etag and is_strong_tag(condition)
    return condition == last_modified and is_strong_date(condition, date)


def strong_validator(etag: bytes | None, last_modified: bytes | None, date: bytes | None) -> bytes | None:
    """What identifies these very bytes: the ETag when it is strong, or a strong date where there is no ETag at all; None without either.

    A weak ETag beside a date says that the origin itself cannot tell one version's bytes from another's; its dates, coarser still, are not asked.
    """
    if etag is not None:
        return etag if is_strong_tag(etag) else None
    return last_modified if last_modified is not None and is_strong_date(last_modified, date) else None


def is_strong_tag(etag: bytes) -> bool:
    """Whether it is an entity tag and not a weak one (RFC 9110 section 8.8.3)."""
    return len(etag) >= 2 and etag[:1] == etag[-1:] == b'"'


def is_strong_date(last_modified: bytes, date: bytes | None) -> bool:
    """Whether a Last-Modified value is a strong validator in the hands of a cache, whose stored response has this Date (RFC 9110 section 8.8.2.2)."""
    modified_seconds = parse_http_date(last_modified)
    date_seconds = parse_http_date(date) if date is not None else None
    return (
        modified_seconds is not None
        and date_seconds is not None
        and date_seconds - modified_seconds >= SHORTEST_STRONG_DATE_SECONDS
    )


def validators(etag: bytes | None, last_modified: bytes | None) -> tuple[Header, ...]:
    """The conditions of a validation request for a stored response (RFC 9111 section 4.3.1, reference 2.4); empty when it has no validator."""
    conditions: list[Header] = []
    if etag is not None:
        conditions.append((b"if-none-match", etag))
    if last_modified is not None:
        conditions.append((b"if-modified-since", last_modified))
    return tuple(conditions)


def _matches_any(none_match: bytes, etag: bytes | None) -> bool:
    """If-None-Match against the tag of the stored response, which exists: `*` matches it whatever its tag (RFC 9110 section 13.1.2)."""
    if none_match.strip() == b"*":
        return True
    if etag is None:
        return False
    return none_match == etag or any(_weakly_equal(tag, etag) for tag in _ENTITY_TAGS.findall(none_match))


def _weakly_equal(left: bytes, right: bytes) -> bool:
    """Weak comparison (RFC 9110 section 8.8.3.2)."""
    return left.removeprefix(b"W/") == right.removeprefix(b"W/")
