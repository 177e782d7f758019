"""What of an upstream's header section reaches the viewer, and is stored: reference 2.12, 2.2 (Set-Cookie) and 2.4 (Vary)."""

from edge_node.caching.cache_control import parse_cache_control, split_list
from edge_node.model import CachePolicy, Header, Headers, ResponseHead

_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip
_REPLACED = frozenset({b"via", b"x-cache", b"x-amz-cf-pop", b"x-amz-cf-id", b"age", b"content-length"})
"""Written anew by this node: framing because the body is framed anew, Age because it moves on."""


def viewer_fields(head: ResponseHead, policy: CachePolicy) -> Headers:
    """End-to-end fields as the viewer gets them."""
    dropped = _named_by_connection(head) | _without_fields(head)
    if policy.cookies.is_empty:  # cookies are not forwarded, so Set-Cookie is removed
        dropped |= {b"set-cookie"}
    kept: list[Header] = []
    for name, value in head.headers:
        if name in _HOP_BY_HOP or name in _REPLACED or name in dropped or name.startswith(b"x-edge-"):
            continue
        if name == b"vary":
            filtered = filter_vary(value, policy)
            if filtered:
                kept.append((name, filtered))
            continue
        kept.append((name, value))
    return tuple(kept)


def filter_vary(value: bytes, policy: CachePolicy) -> bytes:
    """Keep Accept-Encoding, Cookie and what the policy forwards; drop the rest (reference 2.4). `*` stays."""
    kept = [member for member in split_list(value) if _keeps_vary_member(member.lower(), policy)]
    return b", ".join(kept)


def _keeps_vary_member(name: bytes, policy: CachePolicy) -> bool:
    return name in (b"accept-encoding", b"cookie", b"*") or policy.headers.includes(name)


def _named_by_connection(head: ResponseHead) -> frozenset[bytes]:
    """RFC 9110 section 7.6.1: fields listed in Connection end here."""
    value = head.fields.get(b"connection")
    return frozenset(name.lower() for name in split_list(value)) if value else frozenset()


def _without_fields(head: ResponseHead) -> frozenset[bytes]:
    """`no-cache="Set-Cookie"` keeps the object without these fields (reference 2.2)."""
    value = head.fields.get(b"cache-control")
    return frozenset(parse_cache_control(value).without_fields) if value and b'"' in value else frozenset()
