"""Whom a fill asks, in order: regional caches, then the origin, then the other origin of its group (reference 1.5, 3)."""

from collections.abc import Callable, Sequence

from edge_node.caching.unsafe_methods import SAFE_METHODS
from edge_node.model import Origin
from edge_node.policy.regional_choice import rank_regionals
from edge_node.policy.upstream_requests import LogPosition, Question, hash_input, to_origin, to_regional
from edge_node.serving_state import ServingState
from edge_node.upstream.targets import Target, origin_target, regional_target


class EndpointSelector:
    """Selects for one node."""

    def __init__(self, state: ServingState, is_down: Callable[[str], bool], *, is_regional: bool) -> None:
        self._state = state
        self._is_down = is_down
        self._is_regional = is_regional

    def select(self, question: Question, validated_index: int, *, is_cacheable: bool) -> list[Target]:
        """Cacheable requests go edge, regional, origin; the others straight to the origin (reference 3).

        Where the RFCs rule, a write passes the regional cache too, because it makes invalid what is stored there (RFC 9111 section 4.4).
        """
        plan, origins = question.plan, _origins_of(question)
        is_write = plan.is_strict and question.head.method not in SAFE_METHODS
        asks_regionals = (is_cacheable or is_write) and not self._is_regional
        regionals = self._regional_targets(question, validated_index, origins) if asks_regionals else ()
        return [*regionals, *[_origin_target(question, origin) for origin in origins]]

    def _regional_targets(
        self, question: Question, validated_index: int, origins: Sequence[Origin]
    ) -> Sequence[Target]:
        state = self._state
        regionals = state.regionals
        if not regionals:
            return ()
        peers = rank_regionals(regionals, state.latency_milliseconds, hash_input(question.plan), self._is_down)
        request = to_regional(question, LogPosition(state.log_id, validated_index)) if peers else b""
        return [regional_target(peer, origins, request) for peer in peers]


def _origin_target(question: Question, origin: Origin) -> Target:
    behavior = question.plan.behavior
    group = behavior.origin_group if question.head.method in behavior.cached_methods else None
    statuses = group.failover_statuses if group is not None and origin is group.primary else None
    return origin_target(origin, to_origin(question, origin), statuses)


def _origins_of(question: Question) -> Sequence[Origin]:
    """Whom a request may be sent to at last, the first one first: only requests that may be answered from a cache fail over (reference 1.5)."""
    behavior = question.plan.behavior
    group = behavior.origin_group
    if group is None or question.head.method not in behavior.cached_methods:
        return (behavior.origin,)
    return (group.primary, group.secondary)
