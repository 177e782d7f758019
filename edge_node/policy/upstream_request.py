"""The requests that a node sends upstream: to whom, with which line and fields."""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Final

from edge_node.model.configuration import Behavior, Origin, Peer
from edge_node.model.http import Header, RequestHead
from edge_node.policy.loop_detection import cdn_loop_for_upstream
from edge_node.policy.origin_request_headers import (
    ForwardingContext,
    forwarded_for,
    handshake_fields,
    host_for_origin,
    origin_fields,
    with_custom_headers,
)
from edge_node.policy.router import Route
from proto.log_position import LogPosition

RequestBytes = bytes
"""Request line and field lines, without the empty line, so that a range may be added."""

_POSITION: Final = re.compile(rb"([!-9;-~]*):([0-9]{1,19})(?::([0-9a-f]{32}))?")

MOST_REMEMBERED_OF_A_SECTION: Final = 8
NO_NAMES: Final[Set[bytes]] = frozenset()


@dataclass(frozen=True, slots=True)
class _CachedFieldLines:
    """Field lines, and what they follow from beside the header section."""

    behavior: Behavior
    method: bytes
    lines: bytes


class UpstreamRequest:
    """One request of a viewer, as it is to be put upstream."""

    __slots__ = (
        "body_length",
        "conditions",
        "has_body",
        "has_viewer_conditions",
        "head",
        "hop",
        "is_upgrade",
        "must_confirm",
        "route",
    )

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        head: RequestHead,
        route: Route,
        hop: ForwardingContext,
        conditions: tuple[Header, ...] = (),
        has_viewer_conditions: bool = True,
        body_length: int | None = None,
        has_body: bool = False,
        is_upgrade: bool = False,
        must_confirm: bool = False,
    ) -> None:
        self.head: Final = head
        self.route: Final = route
        self.hop: Final = hop
        self.conditions: Final = conditions
        """Conditions of our own, that validate a stored response; the viewer's are left out then."""
        self.has_viewer_conditions: Final = has_viewer_conditions
        self.body_length: Final = body_length
        self.has_body: Final = has_body
        self.is_upgrade: Final = is_upgrade
        """It asks for a WebSocket, as the viewer's does (RFC 6455 section 4.1)."""
        self.must_confirm: Final = must_confirm
        """This node may have missed an invalidation: only a regional cache that holds a lease may answer from what it has stored."""

    @property
    def asks_for_part(self) -> bool:
        """It has a Range or a condition of one already, the viewer's or our own: no other one can go along (RFC 9110 section 5.3)."""
        said = self.head.fields if self.has_viewer_conditions else dict(self.conditions)
        return b"range" in said or b"if-range" in said


def to_origin(upstream_request: UpstreamRequest, origin: Origin) -> RequestBytes:
    """The request as an origin gets it."""
    own_names = {name for name, _ in origin.custom_headers} if origin.custom_headers else NO_NAMES
    lines = [
        _line(upstream_request, origin.path_prefix),
        _cached_lines(upstream_request, origin),
        _changing_lines(upstream_request, own_names),
    ]
    if upstream_request.has_body:
        lines.append(_write(_framing(upstream_request)))
    return b"".join(lines)


def to_regional(upstream_request: UpstreamRequest, position: LogPosition) -> RequestBytes:
    """The request as a regional cache gets it: what the viewer asked, plus what only an edge may say (docs/contracts.md)."""
    edge_fields: tuple[Header, ...] = (
        (b"x-edge-log-index", encode_position(position)),
        (b"x-edge-distribution", upstream_request.route.distribution.id.encode()),
        (b"x-edge-request-id", upstream_request.hop.request_id),
    )
    lines = [
        _line(upstream_request, b""),
        _cached_lines(upstream_request, None),
        _changing_lines(upstream_request, NO_NAMES),
    ]
    if upstream_request.must_confirm:
        edge_fields = (*edge_fields, (b"x-edge-confirm", b"1"))
    lines.append(_write((*_framing(upstream_request), *edge_fields)))
    return b"".join(lines)


def encode_position(position: LogPosition) -> bytes:
    """The value of X-Edge-Log-Index: `<log_id>:<index>:<digest in hexadecimal>`, without the last part where the digest is empty."""
    digest = f":{position.digest.hex()}" if position.digest else ""
    return f"{position.log_id}:{position.index}{digest}".encode()


def decode_position(value: bytes) -> LogPosition | None:
    """What `encode_position` has written; None for anything else."""
    match = _POSITION.fullmatch(value)
    if match is None:
        return None
    log_id, index, digest = match.groups(b"")
    return LogPosition(log_id.decode(), int(index), bytes.fromhex(digest.decode()))


def parse_request(data: RequestBytes) -> tuple[bytes, tuple[Header, ...]]:
    """Request line and fields of a request of our own writing."""
    line, *fields = data.removesuffix(b"\r\n").split(b"\r\n")
    pairs = (field.partition(b": ") for field in fields)
    return line, tuple((name, value) for name, _, value in pairs)


def hash_input(route: Route) -> bytes:
    """What rendezvous hashing spreads: all variants of one URL live on one regional cache."""
    return route.distribution.id.encode() + route.target.encode("latin-1")


def describe_peers(peers: Sequence[Peer]) -> str:
    """For explanations."""
    return ", ".join(peer.id for peer in peers) or "none"


def _cached_lines(upstream_request: UpstreamRequest, origin: Origin | None) -> bytes:
    """The field lines that follow from header section, behavior and peer (None: a regional cache) alone; worked out once where requests share the section."""
    head, route = upstream_request.head, upstream_request.route
    kind = (
        None if origin is None else origin.id,
        upstream_request.has_viewer_conditions,
        route.distribution.id,
        route.behavior.path_pattern,
    )
    known = head.memo.get(kind) if head.memo is not None else None
    if isinstance(known, _CachedFieldLines) and known.behavior is route.behavior and known.method == head.method:
        return known.lines
    fields = origin_fields(head, route, with_conditions=upstream_request.has_viewer_conditions)
    if origin is None:
        host = head.fields.get(b"host", head.host)
    else:
        host, fields = host_for_origin(head, route, origin), with_custom_headers(fields, origin)
    via = (b"via", _via(upstream_request))
    if upstream_request.is_upgrade:  # such a section is never shared with other requests
        handshake = handshake_fields(head, {name for name, _ in fields})
        return _write(((b"host", host), *fields, *_cdn_loop(upstream_request), via, *handshake))
    lines = _write(((b"host", host), *fields, *_cdn_loop(upstream_request), via, (b"connection", b"keep-alive")))
    if head.memo is not None and len(head.memo) < MOST_REMEMBERED_OF_A_SECTION:
        head.memo[kind] = _CachedFieldLines(route.behavior, head.method, lines)
    return lines


def _changing_lines(upstream_request: UpstreamRequest, own_names: Set[bytes]) -> bytes:
    """The field lines that differ from one request to the next."""
    hop = upstream_request.hop
    lines = [b"x-amz-cf-id: ", hop.request_id, b"\r\n"]
    if b"x-forwarded-for" not in own_names:
        lines += (b"x-forwarded-for: ", forwarded_for(upstream_request.head.fields, hop), b"\r\n")
    if upstream_request.conditions:
        lines.append(_write(upstream_request.conditions))
    return b"".join(lines)


def _write(fields: Iterable[Header]) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in fields])


def _line(upstream_request: UpstreamRequest, prefix: bytes) -> bytes:
    route = upstream_request.route
    query = b"?" + route.query if route.query else b""
    return b"%b %b%b%b HTTP/1.1\r\n" % (upstream_request.head.method, prefix, route.path, query)


def _framing(upstream_request: UpstreamRequest) -> tuple[Header, ...]:
    if not upstream_request.has_body:
        return ()
    if upstream_request.body_length is None:
        return ((b"transfer-encoding", b"chunked"),)
    return ((b"content-length", b"%d" % upstream_request.body_length),)


def _cdn_loop(upstream_request: UpstreamRequest) -> tuple[Header, ...]:
    """RFC 8586: an edge adds this pass, its regional cache repeats it."""
    value = upstream_request.head.fields.get(b"cdn-loop")
    if upstream_request.hop.viewer_address:
        return ((b"cdn-loop", cdn_loop_for_upstream(value)),)
    return () if value is None else ((b"cdn-loop", value),)


def _via(upstream_request: UpstreamRequest) -> bytes:
    """Appended to what the viewer's request carried (reference 2.11)."""
    value = upstream_request.head.fields.get(b"via")
    return value + b", " + upstream_request.hop.via if value else upstream_request.hop.via
