"""What of an upstream's header section reaches the viewer, and is stored: reference 2.12, 2.2 (Set-Cookie) and 2.4 (Vary)."""

from edge_node.http.cache_control import parse_cache_control, split_list
from edge_node.http.targeted_cache_control import directives_of
from edge_node.model.configuration import Behavior, CachePolicy, Semantics
from edge_node.model.http import Header, Headers, ResponseHead

_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip
_REPLACED = frozenset({b"via", b"x-cache", b"x-amz-cf-pop", b"x-amz-cf-id", b"age", b"content-length"})
"""Written anew by this node: framing because the body is framed anew, Age because it moves on."""
_DROPPED = _HOP_BY_HOP | _REPLACED
_DROPPED_WITH_COOKIES = _DROPPED | {b"set-cookie"}
_NOTHING_NAMED = frozenset({b"close", b"keep-alive", b"Keep-Alive", b"Close"})
_NO_NAMES: frozenset[bytes] = frozenset()


def viewer_fields(head: ResponseHead, behavior: Behavior) -> Headers:
    """End-to-end fields as viewers get them, and as they are stored."""
    is_strict = behavior.semantics is Semantics.RFC9111
    dropped = _dropped(behavior)
    named = _named_by_connection(head) | _without_fields(head, is_strict=is_strict)
    if named:
        dropped |= named
    kept = [pair for pair in head.headers if pair[0] not in dropped and pair[0][:7] != b"x-edge-"]
    if not is_strict and b"vary" in head.fields:
        kept = _with_filtered_vary(kept, behavior.cache_policy)
    return tuple(kept)


def fields_for_one(head: ResponseHead, behavior: Behavior) -> Headers:
    """What only the viewer gets who asked for it: end-to-end fields that no-cache="..." or private="..." keep from being stored and from others."""
    named = _without_fields(head, is_strict=behavior.semantics is Semantics.RFC9111)
    if not named:
        return ()
    named -= _dropped(behavior) | _named_by_connection(head)
    return tuple(pair for pair in head.headers if pair[0] in named and pair[0][:7] != b"x-edge-")


def _dropped(behavior: Behavior) -> frozenset[bytes]:
    """Where cookies are not forwarded, CloudFront removes Set-Cookie (reference 2.2)."""
    keeps_cookies = behavior.semantics is Semantics.RFC9111 or not behavior.cache_policy.cookies.is_empty
    return _DROPPED if keeps_cookies else _DROPPED_WITH_COOKIES


def _with_filtered_vary(fields: list[Header], policy: CachePolicy) -> list[Header]:
    filtered = [(name, filter_vary(value, policy) if name == b"vary" else value) for name, value in fields]
    return [pair for pair in filtered if pair[1] or pair[0] != b"vary"]


def filter_vary(value: bytes, policy: CachePolicy) -> bytes:
    """Keep Accept-Encoding, Cookie and what the policy forwards; drop the rest (reference 2.4). `*` stays."""
    kept = [member for member in split_list(value) if _keeps_vary_member(member.lower(), policy)]
    return b", ".join(kept)


def _keeps_vary_member(name: bytes, policy: CachePolicy) -> bool:
    return name in (b"accept-encoding", b"cookie", b"*") or policy.headers.includes(name)


def _named_by_connection(head: ResponseHead) -> frozenset[bytes]:
    """RFC 9110 section 7.6.1: fields listed in Connection end here."""
    value = head.fields.get(b"connection")
    if value is None or value in _NOTHING_NAMED:
        return _NO_NAMES
    return frozenset(name.lower() for name in split_list(value))


def _without_fields(head: ResponseHead, *, is_strict: bool) -> frozenset[bytes]:
    """`no-cache="Set-Cookie"` keeps the object without these fields (reference 2.2, RFC 9111 section 5.2.2.4)."""
    if is_strict:
        return frozenset(directives_of(head.fields).control.without_fields)
    value = head.fields.get(b"cache-control")
    return frozenset(parse_cache_control(value).without_fields) if value and value.find(b'"') >= 0 else _NO_NAMES
