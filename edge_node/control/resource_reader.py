"""From the control plane's messages to the values that the node serves from. The generated stubs go no deeper than this file, `resource_kinds.py` and `client.py`.

A resource that this node cannot honour raises RejectedResourceError with the reason; it is the second check, after the control plane's own.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_node.model.configuration import (
    Behavior,
    CachePolicy,
    Distribution,
    ErrorResponse,
    GeoRestriction,
    Origin,
    OriginGroup,
    Peer,
    Role,
    Selection,
    SelectionMode,
    Semantics,
    ViewerProtocolPolicy,
)
from edge_node.model.errors import RejectedResourceError
from edge_node.model.http import Header
from edge_node.policy.geo import GeoNetwork, GeoTable
from proto.cdn.v1 import configuration_pb2, sync_pb2

_MODES = {
    configuration_pb2.Selection.MODE_NONE: SelectionMode.NONE,
    configuration_pb2.Selection.MODE_LIST: SelectionMode.LIST,
    configuration_pb2.Selection.MODE_ALL: SelectionMode.ALL,
    configuration_pb2.Selection.MODE_ALL_EXCEPT: SelectionMode.ALL_EXCEPT,
}
_SEMANTICS = {
    configuration_pb2.SEMANTICS_UNSPECIFIED: Semantics.CLOUDFRONT,
    configuration_pb2.SEMANTICS_CLOUDFRONT: Semantics.CLOUDFRONT,
    configuration_pb2.SEMANTICS_RFC9111: Semantics.RFC9111,
}
_VIEWER_PROTOCOL_POLICIES = {
    configuration_pb2.VIEWER_PROTOCOL_POLICY_UNSPECIFIED: ViewerProtocolPolicy.ALLOW_ALL,
    configuration_pb2.VIEWER_PROTOCOL_POLICY_ALLOW_ALL: ViewerProtocolPolicy.ALLOW_ALL,
    configuration_pb2.VIEWER_PROTOCOL_POLICY_HTTPS_ONLY: ViewerProtocolPolicy.HTTPS_ONLY,
    configuration_pb2.VIEWER_PROTOCOL_POLICY_REDIRECT_TO_HTTPS: ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
}
_IS_ALLOW_LIST = {
    configuration_pb2.GeoRestriction.TYPE_ALLOW_LIST: True,
    configuration_pb2.GeoRestriction.TYPE_DENY_LIST: False,
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
_ERROR_STATUSES = range(400, 600)


@dataclass(frozen=True, slots=True)
class _Targets:
    """What the behaviors of a distribution refer to, by id."""

    origins: Mapping[str, Origin]
    groups: Mapping[str, OriginGroup]
    policies: Mapping[str, CachePolicy]


def read_distribution(message: configuration_pb2.Distribution, policies: Mapping[str, CachePolicy]) -> Distribution:
    """One distribution, checked for internal consistency, with the cache policies that it refers to."""
    try:
        return _read_distribution(message, policies)
    except UnicodeError as error:
        raise RejectedResourceError(f"text that has no place in HTTP: {error}") from error


def cache_policy_ids(message: configuration_pb2.Distribution) -> list[str]:
    """What a distribution refers to, each once."""
    behaviors = (message.default_behavior, *message.behaviors)
    return list(dict.fromkeys(behavior.cache_policy_id for behavior in behaviors))


def _read_distribution(message: configuration_pb2.Distribution, policies: Mapping[str, CachePolicy]) -> Distribution:
    if not message.id or not message.domain_name:
        raise RejectedResourceError("a distribution without id or domain name")
    targets = _read_targets(message, policies)
    return Distribution(
        id=message.id,
        domain_name=message.domain_name.lower().encode("ascii"),
        aliases=tuple(alias.lower().encode("ascii") for alias in message.aliases),
        is_enabled=message.enabled,
        default_root_object=_read_path(message.default_root_object),
        behaviors=tuple(_read_behavior(behavior, targets) for behavior in message.behaviors),
        default_behavior=_read_behavior(message.default_behavior, targets),
        error_responses=_read_error_responses(message.error_responses),
        geo_restriction=_read_geo_restriction(message.geo_restriction) if message.HasField("geo_restriction") else None,
        is_strictly_invalidated=message.strict_invalidation,
    )


def _read_targets(message: configuration_pb2.Distribution, policies: Mapping[str, CachePolicy]) -> _Targets:
    ids = [*(origin.id for origin in message.origins), *(group.id for group in message.origin_groups)]
    if len(set(ids)) != len(ids):
        raise RejectedResourceError("two origins or origin groups have one id")
    origins = {origin.id: _read_origin(origin) for origin in message.origins}
    groups = {group.id: _read_group(group, origins) for group in message.origin_groups}
    return _Targets(origins, groups, policies)


def _read_group(message: configuration_pb2.OriginGroup, origins: Mapping[str, Origin]) -> OriginGroup:
    primary, secondary = origins.get(message.primary_origin_id), origins.get(message.secondary_origin_id)
    if not message.id or primary is None or secondary is None or primary is secondary:
        raise RejectedResourceError(f"origin group {message.id!r}: needs an id and two different origins")
    statuses = frozenset(message.failover_statuses)
    if not statuses or not all(status in _ERROR_STATUSES for status in statuses):
        raise RejectedResourceError(f"origin group {message.id!r}: failover is for statuses of errors, one at least")
    return OriginGroup(message.id, primary, secondary, statuses)


def _read_error_responses(messages: Sequence[configuration_pb2.ErrorResponse]) -> dict[int, ErrorResponse]:
    responses = {message.error_status: _read_error_response(message) for message in messages}
    if len(responses) != len(messages):
        raise RejectedResourceError("two error responses are for one status")
    return responses


def _read_error_response(message: configuration_pb2.ErrorResponse) -> ErrorResponse:
    name = f"error response {message.error_status}"
    if message.error_status not in _ERROR_STATUSES:
        raise RejectedResourceError(f"{name}: not the status of an error")
    if bool(message.page_path) != bool(message.response_status):
        raise RejectedResourceError(f"{name}: a page and the status that goes with it come together or not at all")
    if message.page_path and not message.page_path.startswith("/"):
        raise RejectedResourceError(f"{name}: the path of its page does not begin with /")
    if message.response_status and message.response_status not in (200, *_ERROR_STATUSES):
        raise RejectedResourceError(f"{name}: no page can be sent with status {message.response_status}")
    path = _read_path(message.page_path)
    return ErrorResponse(message.error_status, message.minimum_ttl_seconds, path, message.response_status)


def _read_geo_restriction(message: configuration_pb2.GeoRestriction) -> GeoRestriction:
    is_allow_list = _IS_ALLOW_LIST.get(message.type)
    if is_allow_list is None:
        raise RejectedResourceError(f"geographic restriction: its type, number {message.type}, is newer than this node")
    if not message.countries:
        raise RejectedResourceError("geographic restriction: without countries")
    return GeoRestriction(is_allow_list, frozenset(map(_read_country, message.countries)))


def _read_country(text: str) -> bytes:
    if not (len(text) == 2 and text.isascii() and text.isalpha() and text.isupper()):
        raise RejectedResourceError(f"{text[:16]!r} is no country")
    return text.encode()


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
        completion_timeout=message.completion_timeout_milliseconds / 1000,
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


def _read_behavior(message: configuration_pb2.Behavior, targets: _Targets) -> Behavior:
    name = f"behavior {message.path_pattern!r}"
    origin = targets.origins.get(message.origin_id)
    if origin is None:
        raise RejectedResourceError(f"{name}: there is no origin {message.origin_id!r}")
    if not message.allowed_methods:
        raise RejectedResourceError(f"{name}: no allowed methods")
    cache_policy = targets.policies.get(message.cache_policy_id)
    if cache_policy is None:
        raise RejectedResourceError(f"{name}: there is no cache policy {message.cache_policy_id!r}")
    semantics = _SEMANTICS.get(message.semantics)
    viewer_protocol_policy = _VIEWER_PROTOCOL_POLICIES.get(message.viewer_protocol_policy)
    if viewer_protocol_policy is None:  # to serve all the same would be to tell over http what is for https
        number = message.viewer_protocol_policy
        raise RejectedResourceError(f"{name}: viewer protocol policy number {number} is newer than this node")
    if semantics is None:
        raise RejectedResourceError(f"{name}: semantics number {message.semantics} is newer than this node")
    return Behavior(
        path_pattern=message.path_pattern or "*",
        origin=origin,
        allowed_methods=frozenset(method.encode() for method in message.allowed_methods),
        cached_methods=frozenset(method.encode() for method in message.cached_methods),
        cache_policy=cache_policy,
        origin_group=_find_group(message, targets),
        compresses=message.compress,
        semantics=semantics,
        viewer_protocol_policy=viewer_protocol_policy,
    )


def _find_group(message: configuration_pb2.Behavior, targets: _Targets) -> OriginGroup | None:
    if not message.origin_group_id:
        return None
    group = targets.groups.get(message.origin_group_id)
    if group is None or group.primary.id != message.origin_id:
        raise RejectedResourceError(
            f"behavior {message.path_pattern!r}: there is no origin group {message.origin_group_id!r} "
            f"whose primary is {message.origin_id!r}"
        )
    return group


def read_cache_policy(message: configuration_pb2.CachePolicy) -> CachePolicy:
    """One cache policy."""
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


def read_geo_table(message: configuration_pb2.GeoTable) -> GeoTable:
    """Where viewers are."""
    networks = [_read_geo_network(network) for network in message.networks]
    if len({(network.is_ipv6, network.first, network.last) for network in networks}) != len(networks):
        raise RejectedResourceError("table of countries: a network is there twice")
    return GeoTable(networks)


def _read_geo_network(message: configuration_pb2.GeoNetwork) -> GeoNetwork:
    try:
        network = ipaddress.ip_network(message.cidr)
    except ValueError as error:
        raise RejectedResourceError(f"table of countries: {error}") from error
    if "%" in message.cidr:
        raise RejectedResourceError(f"table of countries: {message.cidr!r} has a zone, which is no part of a network")
    country = _read_country(message.country)
    return GeoNetwork(int(network.network_address), network.prefixlen, country, is_ipv6=network.version == 6)


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
