"""What goes upstream for a request: reference 2.11, the rows for cache policies.

Fields outside the key reach the origin only where the table says so. What an edge sends to a regional cache is the same section plus `X-Edge-*` (docs/contracts.md),
and applying the table twice changes nothing, so a regional cache forwards by the same function.
"""

from collections.abc import Mapping, Set
from typing import Final

from edge_node.caching.key import select_parts
from edge_node.model.configuration import Origin
from edge_node.model.http import Header, RequestHead
from edge_node.policy.router import Route

_ALWAYS_FORWARDED: Final = frozenset({
    b"cache-control", b"content-md5", b"content-type", b"date", b"from", b"if-match", b"if-modified-since", b"if-none-match", b"if-range",
    b"if-unmodified-since", b"max-forwards", b"origin", b"pragma", b"range", b"request-range", b"warning",
})  # fmt: skip
_CONDITIONS: Final = frozenset(
    {
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"request-range",
    }
)
_AUTHORIZATION_FORWARDED: Final = frozenset({b"DELETE", b"PATCH", b"POST", b"PUT"})
_WRITTEN_HERE: Final = frozenset(
    {b"host", b"accept-encoding", b"cookie", b"connection", b"te", b"upgrade", b"proxy-authorization"}
    | {b"x-forwarded-for", b"x-amz-cf-id", b"via", b"cdn-loop"}
    | {b"content-length", b"transfer-encoding", b"expect", b"trailer", b"keep-alive", b"proxy-connection"}
)
"""Written by this module whatever the key holds, or never forwarded."""

_HANDSHAKE: Final = frozenset({
    b"sec-websocket-extensions", b"sec-websocket-key", b"sec-websocket-protocol", b"sec-websocket-version",
})  # fmt: skip
"""RFC 6455 section 11.3. CloudFront wants the policy to forward them (reference 9); a handshake is of no use without, so they go with it here."""

USER_AGENT: Final = b"Amazon CloudFront"


class ForwardingContext:
    """What this node adds to a request."""

    __slots__ = ("request_id", "via", "viewer_address")

    def __init__(
        self,
        request_id: bytes,
        via: bytes,
        viewer_address: bytes,
    ) -> None:
        self.request_id: Final = request_id
        self.via: Final = via
        self.viewer_address: Final = viewer_address
        """Appended to X-Forwarded-For by edges; empty at a regional cache, whose peer is no viewer."""


def origin_fields(head: RequestHead, route: Route, *, with_conditions: bool = True) -> list[Header]:
    """The header section of the request, without Host, framing, conditions of our own, and what differs from one request to the next."""
    policy = route.behavior.cache_policy
    fields = head.fields
    parts = select_parts(head, policy, route.behavior.semantics)
    if route.is_strict:
        return _all_fields(head, route, parts.accept_encoding, with_conditions=with_conditions)
    chosen = [
        (name, value)
        for name, value in head.headers
        if name in _ALWAYS_FORWARDED and (with_conditions or name not in _CONDITIONS)
    ]
    chosen += [
        (name, value)
        for name, value in parts.headers
        if value is not None and name not in _ALWAYS_FORWARDED | _WRITTEN_HERE
    ]
    if parts.cookies:
        chosen.append((b"cookie", b"; ".join(name + b"=" + value for name, value in parts.cookies)))
    if (
        b"authorization" in fields
        and not policy.headers.includes(b"authorization")
        and _is_authorization_forwarded(head, route)
    ):
        chosen.append((b"authorization", fields[b"authorization"]))
    accept_encoding = _accept_encoding(head, route, parts.accept_encoding)
    if accept_encoding is not None:
        chosen.append((b"accept-encoding", accept_encoding))
    if not policy.headers.includes(b"user-agent"):
        chosen.append((b"user-agent", USER_AGENT))
    return chosen


def _all_fields(
    head: RequestHead, route: Route, accept_encoding: bytes | None, *, with_conditions: bool
) -> list[Header]:
    """Behaviors that follow the RFCs: every end-to-end field goes on (RFC 9110 sections 5.1 and 7.6), and Vary tells apart what depends on it."""
    fields = head.fields
    ended = {name.strip().lower() for name in fields.get(b"connection", b"").split(b",")} | _WRITTEN_HERE - {b"cookie"}
    chosen = [
        (name, value)
        for name, value in head.headers
        if name not in ended and not name.startswith(b"x-edge-") and (with_conditions or name not in _CONDITIONS)
    ]
    coding = _accept_encoding(head, route, accept_encoding)
    policy = route.behavior.cache_policy
    if not (policy.accepts_gzip or policy.accepts_brotli):
        coding = fields.get(b"accept-encoding")  # whatever the version, since Vary may name it
    if coding is not None:
        chosen.append((b"accept-encoding", coding))
    return chosen


def handshake_fields(head: RequestHead, said: Set[bytes]) -> tuple[Header, ...]:
    """What makes a request one for a WebSocket, but for what is said already."""
    own = [pair for pair in head.headers if pair[0] in _HANDSHAKE and pair[0] not in said]
    return (*own, (b"upgrade", b"websocket"), (b"connection", b"Upgrade"))


def host_for_origin(head: RequestHead, route: Route, origin: Origin) -> bytes:
    """The viewer's Host only when the key has it; else the origin's own domain."""
    if route.behavior.cache_policy.headers.includes(b"host"):
        return head.fields.get(b"host", head.host)
    return origin.host_header


def with_custom_headers(fields: list[Header], origin: Origin) -> list[Header]:
    """An origin's own fields win over a viewer's of the same name (reference 1.4.2)."""
    names = {name for name, _ in origin.custom_headers}
    return [pair for pair in fields if pair[0] not in names] + list(origin.custom_headers)


def _is_authorization_forwarded(head: RequestHead, route: Route) -> bool:
    return head.method in _AUTHORIZATION_FORWARDED or (
        head.method == b"OPTIONS" and b"OPTIONS" not in route.behavior.cached_methods
    )


def _accept_encoding(head: RequestHead, route: Route, normalised: bytes | None) -> bytes | None:
    """Reference 2.7: the normalised form; `identity` when the viewer's field has neither coding; absent stays absent, and is what an HTTP/1.0 request has."""
    policy, fields = route.behavior.cache_policy, head.fields
    if head.minor_version < 1:
        return None
    if policy.accepts_gzip or policy.accepts_brotli:
        return None if b"accept-encoding" not in fields else (normalised or b"identity")
    return fields.get(b"accept-encoding") if policy.headers.includes(b"accept-encoding") else None


def forwarded_for(fields: Mapping[bytes, bytes], hop: ForwardingContext) -> bytes:
    """X-Forwarded-For with this hop's peer appended."""
    value = fields.get(b"x-forwarded-for")
    if not hop.viewer_address:
        return value or b"unknown"
    return value + b", " + hop.viewer_address if value else hop.viewer_address
