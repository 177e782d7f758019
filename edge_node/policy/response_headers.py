"""What of an upstream's header section reaches the viewer, and is stored: reference 2.12, 2.2 (Set-Cookie) and 2.4 (Vary)."""

from typing import Final, cast

from edge_node.http.cache_control import parse_cache_control, split_list
from edge_node.http.targeted_cache_control import directives_of
from edge_node.model.configuration import Behavior, CachePolicy, Semantics
from edge_node.model.http import Header, Headers, ResponseHead

_HOP_BY_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip
_REPLACED: Final = frozenset({b"via", b"x-cache", b"x-amz-cf-pop", b"x-amz-cf-id", b"age", b"content-length"})
"""Written anew by this node: framing because the body is framed anew, Age because it moves on."""
_DROPPED: Final = _HOP_BY_HOP | _REPLACED
_DROPPED_WITH_COOKIES: Final = _DROPPED | {b"set-cookie"}
_NOTHING_NAMED: Final = frozenset({b"close", b"keep-alive", b"Keep-Alive", b"Close"})
_NO_NAMES: frozenset[bytes] = frozenset()
MOST_REMEMBERED_VALUES: Final = 256
LONGEST_REMEMBERED_VALUE_BYTES: Final = 512
_field_names_in: Final[dict[bytes, frozenset[bytes]]] = {}
"""By Cache-Control: which fields it keeps from being stored."""


def viewer_fields(head: ResponseHead, behavior: Behavior) -> Headers:
    """End-to-end fields as viewers get them, and as they are stored."""
    return _fields_but(head, behavior, _without_fields(head, behavior))


def divided_fields(head: ResponseHead, behavior: Behavior) -> tuple[Headers, Headers]:
    """The same, and what only the viewer gets who asked for it: end-to-end fields that no-cache="..." or private="..." keep from being stored and from others."""
    kept_back = _without_fields(head, behavior)
    for_all = _fields_but(head, behavior, kept_back)
    if not kept_back:
        return for_all, ()
    for_one = kept_back - _dropped(behavior) - _named_by_connection(head)
    return for_all, tuple([pair for pair in head.headers if pair[0] in for_one and not _is_internal(pair[0])])


def _fields_but(head: ResponseHead, behavior: Behavior, kept_back: frozenset[bytes]) -> Headers:
    dropped = _dropped(behavior)
    named = _named_by_connection(head)
    if named or kept_back:
        dropped = dropped | named | kept_back
    kept: list[object] = []  # as objects, as in upstream/response_head_parser.py
    for field in cast("tuple[object, ...]", head.headers):
        name, _ = cast("Header", field)
        if name not in dropped and not _is_internal(name):
            kept.append(field)
    if behavior.semantics is not Semantics.RFC9111 and b"vary" in head.fields:
        return tuple(_with_filtered_vary(cast("list[Header]", kept), behavior.cache_policy))
    return cast("Headers", tuple(kept))


def _is_internal(name: bytes) -> bool:
    """What one node tells another."""
    return name[:1] == b"x" and name[:7] == b"x-edge-"


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


def _without_fields(head: ResponseHead, behavior: Behavior) -> frozenset[bytes]:
    """`no-cache="Set-Cookie"` keeps the object without these fields (reference 2.2, RFC 9111 section 5.2.2.4)."""
    if behavior.semantics is Semantics.RFC9111:
        return frozenset(directives_of(head.fields).control.without_fields)
    value = head.fields.get(b"cache-control")
    if value is None:
        return _NO_NAMES
    known = _field_names_in.get(value)
    return _read_field_names(value) if known is None else known


def _read_field_names(control: bytes) -> frozenset[bytes]:
    """Remembered, as most responses of an origin say the same: those that repeat are soon known again after all were forgotten."""
    names = frozenset(parse_cache_control(control).without_fields)
    if len(control) <= LONGEST_REMEMBERED_VALUE_BYTES:
        if len(_field_names_in) >= MOST_REMEMBERED_VALUES:
            _field_names_in.clear()
        _field_names_in[control] = names
    return names
