"""Whom a fill asks, in order: regional caches, then the origin, then the other origin of its group (reference 1.5, 3)."""

from collections.abc import Callable, Sequence

from edge_node.caching.unsafe_methods import SAFE_METHODS
from edge_node.model.configuration import Origin
from edge_node.policy.parent_selection import rank_regionals
from edge_node.policy.upstream_request import UpstreamRequest, hash_input, to_origin, to_regional
from edge_node.storage.node_state import NodeState
from edge_node.upstream.endpoints import Endpoint, origin_endpoint, regional_endpoint
from proto.log_position import LogPosition


class EndpointSelector:
    """Selects for one node."""

    def __init__(self, state: NodeState, is_down: Callable[[str], bool], *, is_regional: bool) -> None:
        self._state = state
        self._is_down = is_down
        self._is_regional = is_regional

    def select(self, upstream_request: UpstreamRequest, validated_index: int, *, is_cacheable: bool) -> list[Endpoint]:
        """Cacheable requests go edge, regional, origin; the others straight to the origin (reference 3).

        Where the RFCs rule, a write passes the regional cache too, because it makes invalid what is stored there (RFC 9111 section 4.4).
        """
        route, origins = upstream_request.route, _origins_of(upstream_request)
        is_write = route.is_strict and upstream_request.head.method not in SAFE_METHODS
        asks_regionals = (is_cacheable or is_write) and not self._is_regional
        regionals = self._regional_endpoints(upstream_request, validated_index, origins) if asks_regionals else ()
        return [*regionals, *[_origin_endpoint(upstream_request, origin) for origin in origins]]

    def _regional_endpoints(
        self, upstream_request: UpstreamRequest, validated_index: int, origins: Sequence[Origin]
    ) -> Sequence[Endpoint]:
        state = self._state
        regionals = state.regionals
        digest = state.invalidations.digest_at(validated_index)
        if not regionals or digest is None:  # so long under way that no regional cache could tell the history
            return ()
        peers = rank_regionals(regionals, state.latency_milliseconds, hash_input(upstream_request.route), self._is_down)
        request = to_regional(upstream_request, LogPosition(state.log_id, validated_index, digest)) if peers else b""
        return [regional_endpoint(peer, origins, request) for peer in peers]


def _origin_endpoint(upstream_request: UpstreamRequest, origin: Origin) -> Endpoint:
    behavior = upstream_request.route.behavior
    group = behavior.origin_group if upstream_request.head.method in behavior.cached_methods else None
    statuses = group.failover_statuses if group is not None and origin is group.primary else None
    return origin_endpoint(origin, to_origin(upstream_request, origin), statuses)


def _origins_of(upstream_request: UpstreamRequest) -> Sequence[Origin]:
    """Whom a request may be sent to at last, the first one first: only requests that may be answered from a cache fail over (reference 1.5)."""
    behavior = upstream_request.route.behavior
    group = behavior.origin_group
    if group is None or upstream_request.head.method not in behavior.cached_methods:
        return (behavior.origin,)
    return (group.primary, group.secondary)
