"""What to do with one request: a value, and the reason for it. The reason is also the metrics label and the log field.

What the request needs of the world (the stored entry, the time) comes as arguments; what the decision leads to `pipeline/dispatcher.py` does, which matches it once.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from edge_node.caching.conditional import is_for_origin
from edge_node.caching.entry import Entry
from edge_node.caching.request_directives import RequestDirectives, request_directives_of
from edge_node.caching.reuse import (
    Fresh,
    MustValidate,
    OnlyIfCachedMiss,
    ServeStale,
    StaleReason,
    ValidationReason,
    judge,
    may_serve_stale_if_error,
)
from edge_node.http.ranges import Selected, select_ranges
from edge_node.http.request_head import is_websocket_handshake
from edge_node.model.configuration import Behavior, Semantics
from edge_node.model.http import RequestHead


class Result(StrEnum):
    """How a request ended, seen from this tier; label of `cdn_requests_total`."""

    __hash__ = str.__hash__  # the one of Enum is written in Python, and these are keys on the hot path

    HIT = "hit"
    REFRESH_HIT = "refresh_hit"
    MISS = "miss"
    REDIRECT = "redirect"
    PASS = "pass"  # noqa: S105 - the result of a request, no password
    ERROR = "error"


class Reason(StrEnum):
    """Why."""

    __hash__ = str.__hash__

    FRESH = "fresh"
    COLLAPSED = "collapsed"
    REVALIDATED = "revalidated"
    REVALIDATED_ON_REQUEST = "revalidated_on_request"
    STALE_ON_ERROR = "stale_on_error"
    STALE_WHILE_REVALIDATE = "stale_while_revalidate"
    STALE_ON_REQUEST = "stale_on_request"
    NOT_STORED = "not_stored"
    VARIANT_NOT_STORED = "variant_not_stored"
    EXPIRED = "expired"
    UNCONFIRMED = "unconfirmed"
    INVALIDATED = "invalidated"
    METHOD = "method"
    CACHING_DISABLED = "caching_disabled"
    REGIONAL_BEHIND = "regional_behind"
    NOT_STORABLE = "not_storable"
    REQUEST_DIRECTIVE = "request_directive"
    INCOMPLETE = "incomplete"
    COLLAPSE_TIMEOUT = "collapse_timeout"
    ONLY_IF_CACHED = "only_if_cached"
    FAILED_RECENTLY = "failed_recently"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    GET_WITH_BODY = "get_with_body"
    WEBSOCKET = "websocket"
    UNKNOWN_HOST = "unknown_host"
    DISTRIBUTION_DISABLED = "distribution_disabled"
    GEO_BLOCKED = "geo_blocked"
    HTTPS_ONLY = "https_only"
    REDIRECT_TO_HTTPS = "redirect_to_https"
    LOOP_DETECTED = "loop_detected"
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
class ServeStaleAndRevalidate:
    """Answer from the stale entry at once, and ask upstream in the background whether it still holds (RFC 5861 section 3)."""

    entry: Entry


@dataclass(slots=True)
class Revalidate:
    """Ask upstream whether the entry still holds."""

    entry: Entry
    reason: Reason


@dataclass(slots=True)
class FetchMissingRange:
    """Fetch what is missing of an entry that is stored in part (RFC 9111 section 3.4)."""

    entry: Entry


@dataclass(slots=True)
class Miss:
    """Fetch, store if the response allows; `stale` may be served if upstream fails."""

    reason: Reason
    stale: Entry | None


@dataclass(slots=True)
class Pass:
    """Straight to the origin: not looked up, not stored, not collapsed."""

    reason: Reason


@dataclass(slots=True)
class Tunnel:
    """To the origin, and if it switches protocols, bytes both ways from then on (reference 9): not looked up, not stored, not collapsed."""

    reason: Reason


@dataclass(slots=True)
class Refuse:
    """An answer made here."""

    status: int
    reason: Reason
    text: str


Decision = Hit | ServeStaleAndRevalidate | Revalidate | FetchMissingRange | Miss | Pass | Tunnel | Refuse

_ONLY_IF_CACHED: Final = Refuse(
    504, Reason.ONLY_IF_CACHED, "Nothing usable is stored, and the request does not want the origin to be asked."
)
_OF_THE_RESPONSE: Final = frozenset({ValidationReason.EXPIRED, ValidationReason.ALWAYS_VALIDATED})
"""Why a stored response has to be confirmed whatever the request says: it is stale, or as good as stale."""
_GET_WITH_BODY: Final = Refuse(403, Reason.GET_WITH_BODY, "A GET, HEAD or cached OPTIONS request must not have a body.")


def decide(
    head: RequestHead,
    behavior: Behavior,
    entry: Entry | None,
    absence: Reason,
    now: float,
    *,
    must_confirm: bool = False,
) -> Decision:
    """One request against what is stored for its key; `absence` says why there is no entry.

    `must_confirm`: this node may have missed an invalidation (DESIGN section 4, rule 10), so what is stored is fetched anew from somebody who cannot have. Not by a
    conditional request: what an invalidation removes may have the validators of what takes its place (rule 8).
    """
    directives = request_directives_of(head.fields, behavior.semantics)
    decision: Decision | None = decide_before_lookup(head, behavior)
    if decision is None and must_confirm and entry is not None:
        decision = Miss(Reason.UNCONFIRMED, None)
    if decision is None:
        decision = _decide_by_entry(head, behavior, entry, absence, directives, now)
    if directives.is_only_if_cached and head.method in behavior.cached_methods and _asks_upstream(decision):
        return _ONLY_IF_CACHED  # RFC 9111 section 5.2.1.7; a write is not for a cache to answer, whatever it says
    return decision


def _asks_upstream(decision: Decision) -> bool:
    """Whether the viewer would wait for somebody else."""
    return isinstance(decision, (Miss, Pass, Revalidate, FetchMissingRange))


def _decide_by_entry(
    head: RequestHead,
    behavior: Behavior,
    entry: Entry | None,
    absence: Reason,
    directives: RequestDirectives,
    now: float,
) -> Decision:
    if entry is None:
        return Miss(absence, None)
    if behavior.semantics is Semantics.RFC9111 and is_for_origin(head.fields):
        return Miss(Reason.REQUEST_DIRECTIVE, None)
    reusability = judge(entry.cache_metadata, directives, now - entry.age_base)
    match reusability:
        case Fresh():
            return _use(head, entry, Reason.FRESH)
        case ServeStale(reason=StaleReason.WHILE_REVALIDATE):
            return _use_and_refresh(head, entry, now)
        case ServeStale():
            return _use(head, entry, Reason.STALE_ON_REQUEST)
        case MustValidate(reason=reason):
            return _validate(behavior, entry, reason, directives, now)
        case OnlyIfCachedMiss():
            return _ONLY_IF_CACHED
        case _ as unreachable:
            assert_never(unreachable)


def _use(head: RequestHead, entry: Entry, reason: Reason) -> Decision:
    """Answer from the entry, as far as it goes: one that is there only in part answers the ranges that it has."""
    if _is_enough(head, entry):
        return Hit(entry, reason)
    return FetchMissingRange(entry) if b"range" not in head.fields else Miss(Reason.INCOMPLETE, None)


def _use_and_refresh(head: RequestHead, entry: Entry, now: float) -> Decision:
    """Answer from the stale entry; upstream, if it failed a moment ago, is asked once per error caching minimum TTL here too (reference 2.5)."""
    if not _is_enough(head, entry):
        return Miss(Reason.EXPIRED, None)
    return Hit(entry, Reason.STALE_WHILE_REVALIDATE) if now < entry.retry_at else ServeStaleAndRevalidate(entry)


def _is_enough(head: RequestHead, entry: Entry) -> bool:
    """Whether all that is asked for is stored (RFC 9111 section 3.3)."""
    if not entry.is_partial or head.method == b"HEAD":
        return True
    body, field = entry.body, head.fields.get(b"range")
    if body is None or field is None or b"if-range" in head.fields:
        return False
    selection = select_ranges(field, body.length, Semantics.RFC9111)
    return isinstance(selection, Selected) and all(body.holds(*part) for part in selection.ranges)


def _validate(
    behavior: Behavior, entry: Entry, reason: ValidationReason, directives: RequestDirectives, now: float
) -> Decision:
    may_be_stale = reason is ValidationReason.EXPIRED and may_serve_stale_if_error(
        entry.cache_metadata, directives, now - entry.age_base
    )
    if now < entry.retry_at and may_be_stale and not entry.is_partial:
        # A refresh failed a moment ago: stale once per error caching minimum TTL, reference 2.4 and 2.5.
        return Hit(entry, Reason.STALE_ON_ERROR)
    why = Reason.EXPIRED if reason in _OF_THE_RESPONSE else Reason.REQUEST_DIRECTIVE
    # With cookies forwarded CloudFront makes no conditional fetches, reference 2.4.
    is_allowed = behavior.semantics is Semantics.RFC9111 or behavior.cache_policy.cookies.is_empty
    if entry.is_partial:
        return Miss(why, None)
    has_validator = entry.etag is not None or entry.last_modified is not None
    return Revalidate(entry, why) if is_allowed and has_validator else Miss(why, entry)


def decide_before_lookup(head: RequestHead, behavior: Behavior) -> Refuse | Pass | Tunnel | None:
    """What the method and the policy settle before anything is looked up (reference 2.6); None: look up."""
    if is_websocket_handshake(head):
        return Tunnel(Reason.WEBSOCKET)
    if head.method not in behavior.cached_methods:
        return Pass(Reason.METHOD)
    if head.has_body:
        return _GET_WITH_BODY
    if behavior.cache_policy.is_caching_disabled:
        return Pass(Reason.CACHING_DISABLED)
    return None
