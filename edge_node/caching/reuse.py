"""May a stored response answer this request now: RFC 9111 sections 4, 4.2.4 and 5.2.1, RFC 5861, RFC 8246. One code path for both semantics.

What differs between them is in the cache metadata, fixed when the response was stored, and in the directives, of which a viewer has none in CloudFront's semantics.
That the request selects this response at all (key, method, Vary) is settled before.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.request_directives import NO_DIRECTIVES, RequestDirectives


class StaleReason(StrEnum):
    """What allows stale use before the origin has been asked."""

    WHILE_REVALIDATE = "stale_while_revalidate"
    MAX_STALE = "request_max_stale"


class ValidationReason(StrEnum):
    """Why the stored response must be validated before it is used."""

    EXPIRED = "expired"
    ALWAYS_VALIDATED = "always_validated"
    REQUEST_NO_CACHE = "request_no_cache"
    REQUEST_MAX_AGE = "request_max_age"
    REQUEST_MIN_FRESH = "request_min_fresh"


@dataclass(frozen=True, slots=True)
class Fresh:
    """Fresh, and what the request wants."""


@dataclass(frozen=True, slots=True)
class ServeStale:
    """Stale, and allowed all the same."""

    reason: StaleReason


@dataclass(frozen=True, slots=True)
class MustValidate:
    """Ask upstream first."""

    reason: ValidationReason


@dataclass(frozen=True, slots=True)
class OnlyIfCachedMiss:
    """504: upstream would have to be asked, but the request says only-if-cached (section 5.2.1.7)."""

    reason: ValidationReason


ReuseDecision = Fresh | ServeStale | MustValidate | OnlyIfCachedMiss

FRESH: Final = Fresh()
_STALE: Final = {reason: ServeStale(reason) for reason in StaleReason}
_VALIDATE: Final = {reason: MustValidate(reason) for reason in ValidationReason}
_TIMEOUT: Final = {reason: OnlyIfCachedMiss(reason) for reason in ValidationReason}


def judge(cache_metadata: CacheMetadata, directives: RequestDirectives, age_seconds: float) -> ReuseDecision:
    """Whether a stored response of this age may be used; its cache metadata says that it was storable."""
    lifetime = cache_metadata.lifetime_seconds or 0.0
    if (
        lifetime > age_seconds and directives is NO_DIRECTIVES and not cache_metadata.is_always_validated
    ):  # nearly every hit
        return FRESH
    reason = _validation_reason(cache_metadata, directives, age_seconds)
    if reason is not None:
        return _TIMEOUT[reason] if directives.is_only_if_cached else _VALIDATE[reason]
    if lifetime > age_seconds:
        return FRESH
    stale = _stale_reason(cache_metadata, directives, age_seconds - lifetime)
    if stale is not None:
        return _STALE[stale]
    return _TIMEOUT[ValidationReason.EXPIRED] if directives.is_only_if_cached else _VALIDATE[ValidationReason.EXPIRED]


def _validation_reason(
    cache_metadata: CacheMetadata, directives: RequestDirectives, age_seconds: float
) -> ValidationReason | None:
    """What asks for validation of fresh and stale alike."""
    lifetime = cache_metadata.lifetime_seconds or 0.0
    if cache_metadata.is_always_validated:  # sections 4 and 5.2.2.4
        return ValidationReason.ALWAYS_VALIDATED
    if directives.is_no_cache:  # section 5.2.1.4; a force reload, which RFC 8246 section 2.1 lets through
        return ValidationReason.REQUEST_NO_CACHE
    is_immutable_now = (
        cache_metadata.is_immutable and lifetime > age_seconds
    )  # RFC 8246 section 2.1: a plain reload is skipped
    if directives.max_age is not None and age_seconds > directives.max_age and not is_immutable_now:  # section 5.2.1.1
        return ValidationReason.REQUEST_MAX_AGE
    if directives.min_fresh and lifetime < age_seconds + directives.min_fresh:  # section 5.2.1.3
        return ValidationReason.REQUEST_MIN_FRESH
    return None


def _stale_reason(
    cache_metadata: CacheMetadata, directives: RequestDirectives, staleness_seconds: float
) -> StaleReason | None:
    """Section 4.2.4. A request that says how old or how stale a response may be gets none that is staler, whatever the origin allows (section 5.2.1.1)."""
    if directives.max_stale is not None:
        is_allowed = cache_metadata.may_be_stale_on_request and staleness_seconds <= directives.max_stale
        return StaleReason.MAX_STALE if is_allowed else None
    if directives.max_age is None and staleness_seconds < cache_metadata.stale_while_revalidate_seconds:
        return StaleReason.WHILE_REVALIDATE
    return None


def may_serve_stale_if_error(cache_metadata: CacheMetadata, directives: RequestDirectives, age_seconds: float) -> bool:
    """Whether the stored response may answer instead of an error or an unreachable upstream (sections 4.2.4 and 4.3.3, RFC 5861 section 4, reference 2.3).

    Other wishes of the request for freshness do not matter then ("regardless of other freshness information"), except that no-cache wants none unvalidated.
    """
    if cache_metadata.is_always_validated or directives.is_no_cache:
        return False
    staleness = age_seconds - (cache_metadata.lifetime_seconds or 0.0)
    asked = directives.stale_if_error if cache_metadata.may_be_stale_on_request else 0.0
    return staleness < max(cache_metadata.stale_if_error_seconds, asked, 0.0)
