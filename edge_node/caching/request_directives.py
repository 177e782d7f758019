"""What a request demands of a stored response: Cache-Control and Pragma of a request (RFC 9111 sections 5.2.1 and 5.4, RFC 5861 section 4).

They are advisory. By the RFCs this cache follows them; in CloudFront's semantics it does not, because a viewer cannot force a refresh there (reference 2.1).
Of contradicting directives the more restricting one counts; a malformed max-age is 0, another malformed argument is as good as absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final

from edge_node.http.cache_control import (
    LONGEST_REMEMBERED_VALUE_BYTES,
    parse_delta_seconds,
    split_directive,
    split_list,
)
from edge_node.model.configuration import Semantics


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """The directives of one request; times in seconds."""

    is_no_cache: bool = False
    is_no_store: bool = False
    is_only_if_cached: bool = False
    max_age: float | None = None
    max_stale: float | None = None
    """How stale the viewer takes a response; without a value in the request: however stale."""
    min_fresh: float = 0.0
    stale_if_error: float = 0.0


NO_DIRECTIVES: Final = RequestDirectives()
_WITH_SECONDS: Final = frozenset({b"max-age", b"max-stale", b"min-fresh", b"stale-if-error"})
_NO_CACHE: Final = RequestDirectives(is_no_cache=True)


def request_directives_of(fields: Mapping[bytes, bytes], semantics: Semantics) -> RequestDirectives:
    """The directives that count in these semantics."""
    if semantics is Semantics.CLOUDFRONT:
        return NO_DIRECTIVES
    value = fields.get(b"cache-control")
    if value is not None:
        return parse_request_directives(value)
    pragma = fields.get(b"pragma")  # HTTP/1.0: counts only where there is no Cache-Control
    if pragma is None or b"no-cache" not in [member.lower() for member in split_list(pragma)]:
        return NO_DIRECTIVES
    return _NO_CACHE


def parse_request_directives(value: bytes) -> RequestDirectives:
    """Read one Cache-Control field of a request; short ones are remembered."""
    return _parse(value) if len(value) <= LONGEST_REMEMBERED_VALUE_BYTES else _parse.__wrapped__(value)


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> RequestDirectives:
    flags: set[bytes] = set()
    seconds: dict[bytes, list[float]] = {}
    for member in split_list(value):
        name, argument, _ = split_directive(member)
        if name not in _WITH_SECONDS:
            flags.add(name)
        elif (number := parse_delta_seconds(argument)) is not None:
            seconds.setdefault(name, []).append(number)
        elif name == b"max-age":
            seconds.setdefault(name, []).append(0)
        elif name == b"max-stale" and argument is None:
            seconds.setdefault(name, []).append(inf)
    directives = RequestDirectives(
        is_no_cache=b"no-cache" in flags,
        is_no_store=b"no-store" in flags,
        is_only_if_cached=b"only-if-cached" in flags,
        max_age=min(seconds.get(b"max-age", ()), default=None),
        max_stale=min(seconds.get(b"max-stale", ()), default=None),
        min_fresh=max(seconds.get(b"min-fresh", ()), default=0.0),
        stale_if_error=min(seconds.get(b"stale-if-error", ()), default=0.0),
    )
    return NO_DIRECTIVES if directives == NO_DIRECTIVES else directives
