"""What to do with one request: a value, and the reason for it. The reason is also the metrics label and the log field.

What the request needs of the world (the stored entry, the time) comes as arguments; what the decision leads to is done by `pipeline.py`, which matches it once.
"""

from dataclasses import dataclass
from enum import StrEnum

from edge_node.caching.entry import Entry
from edge_node.model import Behavior, RequestHead


class Result(StrEnum):
    """How a request ended, seen from this tier; label of `cdn_requests_total`."""

    HIT = "hit"
    REFRESH_HIT = "refresh_hit"
    MISS = "miss"
    PASS = "pass"  # noqa: S105 - the result of a request, no password
    ERROR = "error"


class Reason(StrEnum):
    """Why."""

    FRESH = "fresh"
    COLLAPSED = "collapsed"
    REVALIDATED = "revalidated"
    STALE_ON_ERROR = "stale_on_error"
    NOT_STORED = "not_stored"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"
    METHOD = "method"
    CACHING_DISABLED = "caching_disabled"
    REGIONAL_BEHIND = "regional_behind"
    NOT_STORABLE = "not_storable"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    GET_WITH_BODY = "get_with_body"
    UNKNOWN_HOST = "unknown_host"
    DISTRIBUTION_DISABLED = "distribution_disabled"
    NOT_CONFIGURED = "not_configured"
    BAD_REQUEST = "bad_request"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_STATUS = "upstream_status"
    VIEWER_LEFT = "viewer_left"
    INTERNAL = "internal"


@dataclass(slots=True)
class Hit:
    """Answer from the entry."""

    entry: Entry
    reason: Reason


@dataclass(slots=True)
class Refresh:
    """Ask upstream whether the expired entry still holds."""

    entry: Entry


@dataclass(slots=True)
class Miss:
    """Fetch, store if the response allows; `stale` may stand in if upstream fails."""

    reason: Reason
    stale: Entry | None


@dataclass(slots=True)
class Pass:
    """Straight to the origin: not looked up, not stored, not collapsed."""

    reason: Reason


@dataclass(slots=True)
class Refuse:
    """An answer made here."""

    status: int
    reason: Reason
    text: str


Decision = Hit | Refresh | Miss | Pass | Refuse

_METHOD_NOT_ALLOWED = Refuse(
    403,
    Reason.METHOD_NOT_ALLOWED,
    "This distribution is not configured to allow the HTTP request method that was used for this request. "
    "The distribution supports only cachable requests, or fewer methods than that.",
)
_GET_WITH_BODY = Refuse(403, Reason.GET_WITH_BODY, "A GET, HEAD or cached OPTIONS request must not have a body.")


def decide(head: RequestHead, behavior: Behavior, entry: Entry | None, absence: Reason, now: float) -> Decision:
    """One request against what is stored for its key; `absence` says why there is no entry."""
    refusal_or_pass = decide_before_lookup(head, behavior)
    if refusal_or_pass is not None:
        return refusal_or_pass
    if entry is None:
        return Miss(absence, None)
    if now < entry.fresh_until:
        return Hit(entry, Reason.FRESH)
    if (
        now < entry.retry_at
    ):  # a refresh failed a moment ago: stale once per error caching minimum TTL, reference 2.4 and 2.5
        return Hit(entry, Reason.STALE_ON_ERROR)
    if (entry.etag is not None or entry.last_modified is not None) and behavior.cache_policy.cookies.is_empty:
        return Refresh(entry)
    return Miss(Reason.EXPIRED, entry)  # with cookies forwarded there are no conditional fetches, reference 2.4


def decide_before_lookup(head: RequestHead, behavior: Behavior) -> Refuse | Pass | None:
    """What the method and the policy settle before anything is looked up (reference 2.6); None: look up."""
    if head.method not in behavior.allowed_methods:
        return _METHOD_NOT_ALLOWED
    if head.method not in behavior.cached_methods:
        return Pass(Reason.METHOD)
    if head.has_body:
        return _GET_WITH_BODY
    if behavior.cache_policy.is_caching_disabled:
        return Pass(Reason.CACHING_DISABLED)
    return None
