"""The Cache-Status field (RFC 9211): what this cache did with a request, as one member of a list to which each cache on the way adds its own."""

import re
from dataclasses import dataclass
from enum import StrEnum
from math import floor
from typing import Final

_TOKEN: Final = re.compile(rb"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_PRINTABLE: Final = re.compile(rb"[ -~]*")
_LARGEST_INTEGER: Final = 999_999_999_999_999
"""RFC 9651 section 3.3.1."""


class Forwarding(StrEnum):
    """Why the request went on to the next hop (section 2.2)."""

    BYPASS = "bypass"
    METHOD = "method"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    MISS = "miss"
    REQUEST = "request"
    STALE = "stale"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """One member. A hit is one without `forwarding`; what is only meaningful with it is left out otherwise."""

    cache: bytes
    """The name of the cache."""
    forwarding: Forwarding | None = None
    forwarded_status: int | None = None
    """What the next hop answered, where that is not what the viewer gets."""
    ttl_seconds: float | None = None
    """Remaining freshness; negative for what is stale."""
    is_stored: bool = False
    is_collapsed: bool | None = None
    """Whether it shared another request's fetch; False: it tried in vain; None: it did not try."""
    key: bytes | None = None
    detail: bytes | None = None

    def serialise(self) -> bytes:
        """The member as a structured item with parameters."""
        parts = [_string_or_token(self.cache)]
        if self.forwarding is None:
            parts.append(b"hit")
        else:
            parts += self._forwarding_parameters(self.forwarding)
        if self.ttl_seconds is not None:
            parts.append(b"ttl=%d" % _integer(self.ttl_seconds))
        if self.key is not None and _PRINTABLE.fullmatch(self.key):  # what no String can hold is left out
            parts.append(b"key=" + _string(self.key))
        if self.detail is not None and _PRINTABLE.fullmatch(self.detail):
            parts.append(b"detail=" + _string_or_token(self.detail))
        return b"; ".join(parts)

    def _forwarding_parameters(self, forwarding: Forwarding) -> list[bytes]:
        parameters = [b"fwd=" + forwarding.encode("ascii")]
        if self.forwarded_status is not None:
            parameters.append(b"fwd-status=%d" % self.forwarded_status)
        if self.is_stored:
            parameters.append(b"stored")
        if self.is_collapsed is not None:
            parameters.append(b"collapsed" if self.is_collapsed else b"collapsed=?0")
        return parameters


def _integer(seconds: float) -> int:
    return max(-_LARGEST_INTEGER, min(_LARGEST_INTEGER, floor(seconds)))


def _string_or_token(text: bytes) -> bytes:
    return text if _TOKEN.fullmatch(text) else _string(text)


def _string(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
