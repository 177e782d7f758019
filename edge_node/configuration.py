"""From the control plane's messages to the values that the node serves from. The generated stubs go no deeper than this file and `control_client.py`.

A resource that this node cannot honour raises RejectedResourceError with the reason; it is the second check, after the control plane's own.
"""

from edge_node.errors import RejectedResourceError
from edge_node.model import Behavior, CachePolicy, Distribution, Header, Origin, Peer, Role, Selection, SelectionMode
from edge_node.policy.routing import Snapshot
from proto.cdn.v1 import configuration_pb2, sync_pb2

_MODES = {
    configuration_pb2.Selection.MODE_NONE: SelectionMode.NONE,
    configuration_pb2.Selection.MODE_LIST: SelectionMode.LIST,
    configuration_pb2.Selection.MODE_ALL: SelectionMode.ALL,
    configuration_pb2.Selection.MODE_ALL_EXCEPT: SelectionMode.ALL_EXCEPT,
}
_ROLES = {sync_pb2.ROLE_EDGE: Role.EDGE, sync_pb2.ROLE_REGIONAL: Role.REGIONAL}
_FORBIDDEN_IN_FIELDS = frozenset("\r\n\0")
_FORBIDDEN_IN_PATHS = frozenset(map(chr, (*range(0x21), 0x7F, ord("#"))))
_FRAMING_FIELDS = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""What this node writes itself (reference 1.4.2 forbids more; these would break the request)."""
_NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
"""Of a field name (RFC 9110 section 5.6.2)."""


def read_snapshot(message: sync_pb2.Snapshot) -> Snapshot:
    """The whole configuration; a distribution that cannot be honoured rejects the snapshot."""
    return Snapshot(message.log_id, message.index, {d.id: read_distribution(d) for d in message.distributions})


def read_distribution(message: configuration_pb2.Distribution) -> Distribution:
    """One distribution, checked for internal consistency."""
    try:
        return _read_distribution(message)
    except UnicodeError as error:
        raise RejectedResourceError(f"text that has no place in HTTP: {error}") from error


def _read_distribution(message: configuration_pb2.Distribution) -> Distribution:
    if not message.id or not message.domain_name:
        raise RejectedResourceError("a distribution without id or domain name")
    origins = {origin.id: _read_origin(origin) for origin in message.origins}
    return Distribution(
        id=message.id,
        domain_name=message.domain_name.lower().encode("ascii"),
        aliases=tuple(alias.lower().encode("ascii") for alias in message.aliases),
        is_enabled=message.enabled,
        default_root_object=_read_path(message.default_root_object),
        behaviors=tuple(_read_behavior(behavior, origins) for behavior in message.behaviors),
        default_behavior=_read_behavior(message.default_behavior, origins),
    )


def _read_origin(message: configuration_pb2.Origin) -> Origin:
    if not message.host or not 0 < message.port < 65536:
        raise RejectedResourceError(f"origin {message.id!r}: no host or no port")
    if (
        message.connection_attempts < 1
        or message.connection_timeout_milliseconds < 1
        or message.read_timeout_milliseconds < 1
    ):
        raise RejectedResourceError(f"origin {message.id!r}: attempts and time limits must be positive")
    if not message.host.isascii() or _FORBIDDEN_IN_PATHS & {*message.host}:
        raise RejectedResourceError(f"origin {message.id!r}: {message.host!r} is no host name")
    return Origin(
        id=message.id,
        host=message.host,
        port=message.port,
        path_prefix=_read_path(message.path_prefix),
        custom_headers=tuple(_read_header(message.id, header) for header in message.custom_headers),
        connection_attempts=message.connection_attempts,
        connection_timeout=message.connection_timeout_milliseconds / 1000,
        read_timeout=message.read_timeout_milliseconds / 1000,
        keepalive_timeout=message.keepalive_timeout_milliseconds / 1000,
    )


def _read_path(text: str) -> bytes:
    """A part of a request target; one that could end the request line is never taken, whoever configured it."""
    if _FORBIDDEN_IN_PATHS & {*text}:
        raise RejectedResourceError(f"path {text!r} holds white space, a control character or a fragment")
    return text.encode()


def _read_header(origin_id: str, header: configuration_pb2.Header) -> Header:
    """A field that could split a request is never taken, whoever configured it."""
    if not header.name or not {*header.name} <= _NAME_CHARACTERS or _FORBIDDEN_IN_FIELDS & {*header.value}:
        raise RejectedResourceError(
            f"origin {origin_id!r}: custom header {header.name!r} has no proper name or holds a line break"
        )
    if header.name.lower() in _FRAMING_FIELDS:
        raise RejectedResourceError(f"origin {origin_id!r}: custom header {header.name!r} is not for origins to set")
    return header.name.lower().encode("latin-1"), header.value.encode("latin-1")


def _read_behavior(message: configuration_pb2.Behavior, origins: dict[str, Origin]) -> Behavior:
    origin = origins.get(message.origin_id)
    if origin is None:
        raise RejectedResourceError(f"behavior {message.path_pattern!r}: there is no origin {message.origin_id!r}")
    if not message.allowed_methods:
        raise RejectedResourceError(f"behavior {message.path_pattern!r}: no allowed methods")
    return Behavior(
        path_pattern=message.path_pattern or "*",
        origin=origin,
        allowed_methods=frozenset(method.encode() for method in message.allowed_methods),
        cached_methods=frozenset(method.encode() for method in message.cached_methods),
        cache_policy=_read_policy(message.cache_policy),
    )


def _read_policy(message: configuration_pb2.CachePolicy) -> CachePolicy:
    if not message.minimum_ttl_seconds <= message.default_ttl_seconds <= message.maximum_ttl_seconds:
        raise RejectedResourceError(f"cache policy {message.id!r}: minimum, default and maximum TTL are not in order")
    return CachePolicy(
        id=message.id,
        minimum_ttl=message.minimum_ttl_seconds,
        default_ttl=message.default_ttl_seconds,
        maximum_ttl=message.maximum_ttl_seconds,
        accepts_gzip=message.accept_encoding_gzip,
        accepts_brotli=message.accept_encoding_brotli,
        headers=_read_selection(message.headers, is_header=True),
        cookies=_read_selection(message.cookies),
        query_strings=_read_selection(message.query_strings),
    )


def _read_selection(message: configuration_pb2.Selection, *, is_header: bool = False) -> Selection:
    mode = _MODES.get(message.mode)
    if mode is None:
        raise RejectedResourceError("a selection without a mode")
    names = tuple((name.lower() if is_header else name).encode() for name in message.names)
    if is_header and mode in (SelectionMode.ALL, SelectionMode.ALL_EXCEPT):
        raise RejectedResourceError("a cache policy can key on listed headers only")
    if is_header and any(name.startswith(b"x-edge-") for name in names):
        raise RejectedResourceError("X-Edge-* headers belong to the tiers: a cache policy cannot forward them")
    return Selection(mode, tuple(sorted(names)))


def read_peers(message: sync_pb2.Directory) -> tuple[Peer, ...]:
    """The cache nodes of a directory; others, and addresses that are none, are left out."""
    peers = []
    for node in message.nodes:
        host, _, port = node.http_address.rpartition(":")
        if node.role in _ROLES and port.isdigit():
            peers.append(
                Peer(node.id, _ROLES[node.role], node.region, node.pop, host.strip("[]"), int(port), node.admin_address)
            )
    return tuple(peers)


def latencies_from(region: str, table: configuration_pb2.RoutingTable) -> dict[str, float]:
    """One-way delay from one region to each other one; the table is symmetric."""
    delays = {region: 0.0}
    for latency in table.latencies:
        if latency.from_region == region:
            delays[latency.to_region] = latency.milliseconds
        elif latency.to_region == region:
            delays.setdefault(latency.from_region, latency.milliseconds)
    return delays
