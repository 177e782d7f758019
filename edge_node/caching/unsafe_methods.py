"""Which stored responses a request with an unsafe method makes invalid (RFC 9111 section 4.4).

Not in CloudFront's semantics, where a write purges nothing (reference 2.6).
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from edge_node.model.http import RequestHead, ResponseHead

SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
"""RFC 9110 section 9.2.1; any other method, an unknown one too, counts as unsafe."""

InvalidateTargets = Callable[[RequestHead, str, tuple[bytes, ...]], None]
"""Makes targets of a distribution invalid that a write has changed."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOCATIONS = (b"location", b"content-location")


def invalidated_targets(request: RequestHead, response: ResponseHead, scheme: bytes) -> tuple[bytes, ...]:
    """Path and query of each URI whose stored responses are invalid now: the target's, then those of Location and Content-Location in the same origin."""
    if request.method in SAFE_METHODS or not 200 <= response.status <= 399:  # a non-error response
        return ()
    authority = request.fields.get(b"host", request.host)
    base = (scheme + b"://" + authority + request.target).decode("latin-1")
    targets = [request.target]
    for name in _LOCATIONS:
        value = response.fields.get(name)
        target = None if value is None else _target_in_same_origin(base, value.strip(b" \t").decode("latin-1"))
        if target is not None and target not in targets:
            targets.append(target)
    return tuple(targets)


def _target_in_same_origin(base: str, reference: str) -> bytes | None:
    """Path and query of a URI reference, percent-encoding as it is; None when it is in another origin (RFC 9110 section 4.3.1) or none at all."""
    try:
        ours, theirs = urlsplit(base), urlsplit(urljoin(base, reference))
        is_ours = _origin(ours) == _origin(theirs)
    except ValueError:  # a malformed address or port
        return None
    if not is_ours:
        return None
    path = theirs.path or "/"
    return (f"{path}?{theirs.query}" if theirs.query else path).encode("latin-1", "replace")


def _origin(uri: SplitResult) -> tuple[str, str | None, int | None]:
    port = uri.port
    return uri.scheme, uri.hostname, _DEFAULT_PORTS.get(uri.scheme) if port is None else port
