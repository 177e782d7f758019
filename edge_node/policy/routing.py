"""From Host and target to distribution, behavior and the fixed part of the cache key; reference 1.6, 1.11 and 2.1.

The answer for one (host, method class, target) never changes within a snapshot, so it is worked out once and remembered, up to a bound.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_node.caching.decisions import Reason, Refuse
from edge_node.caching.key import LONGEST_REMEMBERED_FIELD_BYTES, CacheKey, KeyParts, select_parts, select_query
from edge_node.model import Behavior, Distribution, RequestHead
from edge_node.policy.patterns import compile_pattern, normalise_path

MAXIMUM_REMEMBERED_PLANS = 16_384
LONGEST_REMEMBERED_TARGET_BYTES = 512
"""A viewer chooses them, and each costs its length several times: longer ones are worked out anew."""
MOST_REMEMBERED_KEYS = 32
"""Of one plan, by Accept-Encoding: browsers have a handful between them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole configuration at one index of one log, immutable."""

    log_id: str
    index: int
    distributions: Mapping[str, Distribution]


@dataclass(slots=True)
class Plan:
    """Everything about a request that its host, method and target settle."""

    distribution: Distribution
    behavior: Behavior
    path: bytes
    """Raw, with the default root object in place of "/"."""
    query: bytes
    """The query string as keyed and forwarded."""
    method_class: bytes
    target: str
    """What invalidation paths are compared with."""
    has_fixed_key: bool
    """Nothing of the header section but Accept-Encoding is in the key."""
    keys: dict[bytes | None, CacheKey] = field(default_factory=dict)

    def key_for(self, head: RequestHead) -> CacheKey:
        """The cache key of this request."""
        if not self.has_fixed_key:
            return self.key_of(select_parts(head, self.behavior.cache_policy))
        accept_encoding = head.fields.get(b"accept-encoding")
        key = self.keys.get(accept_encoding)
        if key is None:
            key = self.key_of(select_parts(head, self.behavior.cache_policy))
            if len(self.keys) < MOST_REMEMBERED_KEYS and len(accept_encoding or b"") <= LONGEST_REMEMBERED_FIELD_BYTES:
                self.keys[accept_encoding] = key
        return key

    def key_of(self, parts: KeyParts) -> CacheKey:
        """Put the key together."""
        return (
            self.distribution.id,
            self.method_class,
            self.path,
            self.query,
            parts.accept_encoding,
            parts.headers,
            parts.cookies,
        )


_UNKNOWN_HOST = Refuse(
    403, Reason.UNKNOWN_HOST, "The request could not be satisfied: no distribution answers to this host name."
)
_DISABLED = Refuse(403, Reason.DISTRIBUTION_DISABLED, "The distribution is disabled.")
_NOT_CONFIGURED = Refuse(503, Reason.NOT_CONFIGURED, "This node has no configuration yet.")


class Planner:
    """Plans for one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._by_host: dict[bytes, Distribution] = {}
        self._patterns: dict[str, tuple[tuple[re.Pattern[str], Behavior], ...]] = {}
        for distribution in snapshot.distributions.values():
            for name in (distribution.domain_name, *distribution.aliases):
                self._by_host[name] = distribution
            self._patterns[distribution.id] = tuple(
                (compile_pattern(b.path_pattern), b) for b in distribution.behaviors
            )
        self._plans: dict[tuple[bytes, bytes, bytes], Plan | Refuse] = {}

    def plan(self, head: RequestHead) -> Plan | Refuse:
        """The plan for a viewer's request."""
        key = (head.host, head.method, head.target)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MAXIMUM_REMEMBERED_PLANS:
                self._plans.clear()
            plan = self._make(self._by_host.get(head.host), head)
            if len(head.host) + len(head.target) <= LONGEST_REMEMBERED_TARGET_BYTES:
                self._plans[key] = plan
        return plan

    def plan_for_distribution(self, distribution_id: str, head: RequestHead) -> Plan | Refuse:
        """The plan for an edge's request, which names its distribution."""
        return self._make(self.snapshot.distributions.get(distribution_id), head)

    def _make(self, distribution: Distribution | None, head: RequestHead) -> Plan | Refuse:
        if distribution is None:
            return _UNKNOWN_HOST if self.snapshot.log_id else _NOT_CONFIGURED
        if not distribution.is_enabled:
            return _DISABLED
        path, _, query = head.target.partition(b"?")
        if path == b"/" and distribution.default_root_object:
            path = b"/" + distribution.default_root_object
        behavior = self._select_behavior(distribution, path)
        policy = behavior.cache_policy
        keyed_query = select_query(query, policy.query_strings)
        target = path + b"?" + keyed_query if keyed_query else path
        method_class = b"OPTIONS" if head.method == b"OPTIONS" else b""
        has_fixed_key = policy.headers.is_empty and policy.cookies.is_empty
        return Plan(distribution, behavior, path, keyed_query, method_class, target.decode("latin-1"), has_fixed_key)

    def _select_behavior(self, distribution: Distribution, path: bytes) -> Behavior:
        """List order, first match wins, default last."""
        normalised = normalise_path(path.decode("latin-1"))
        for pattern, behavior in self._patterns[distribution.id]:
            if pattern.fullmatch(normalised):
                return behavior
        return distribution.default_behavior
