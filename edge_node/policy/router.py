"""From Host and target to distribution, behavior and the fixed part of the cache key; reference 1.6, 1.11 and 2.1.

The answer for one (host, method class, target) never changes within a snapshot, so it is worked out once and remembered, up to a bound.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_node.caching.key import (
    LONGEST_REMEMBERED_FIELD_BYTES,
    CacheKey,
    KeyParts,
    make_key,
    select_parts,
    select_query,
)
from edge_node.caching.lookup import Reason, Refuse, decide_before_lookup
from edge_node.model.configuration import Behavior, Distribution, Semantics
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.http import RequestHead
from edge_node.policy.path_patterns import compile_pattern, normalise_path

MAXIMUM_REMEMBERED_ROUTES = 16_384
LONGEST_REMEMBERED_TARGET_BYTES: Final = 512
"""A viewer chooses them, and each costs its length several times: longer ones are worked out anew."""
MOST_REMEMBERED_KEYS: Final = 32
"""Of one route, by Accept-Encoding: browsers have a handful between them."""
_NO_KEYS: Mapping[bytes | None, CacheKey] = {}
_NO_ROUTES: Mapping[bytes, "Route | Refuse"] = {}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole configuration at one index of one log, immutable."""

    log_id: str
    index: int
    distributions: Mapping[str, Distribution]


class CompiledStage:
    """A stage that a request has still to pass. What it is called with is known to `stages/stage.py`, which is above this package, and makes them."""

    __slots__ = ("lets_pass", "run")

    def __init__(
        self, run: Callable[[Any, Any], Any], lets_pass: Callable[[ConnectionFacts, Any], bool] | None = None
    ) -> None:
        self.run: Final = run
        """Given a request's context and the node's state it answers, lets wait or lets pass."""
        self.lets_pass: Final = lets_pass
        """Given the facts of the viewer's connection and the node's state: whether `run` lets pass; None: that cannot be said without the request."""


CompileStages = Callable[[Distribution, Behavior, bytes], tuple[CompiledStage, ...]]


def no_stages(distribution: Distribution, behavior: Behavior, method: bytes) -> tuple[CompiledStage, ...]:
    """Of a table without rows."""
    del distribution, behavior, method
    return ()


class Route:
    """Everything about a request that its host, method and target determine."""

    __slots__ = (
        "behavior",
        "coding",
        "distribution",
        "has_fixed_key",
        "is_strict",
        "key",
        "log_texts",
        "may_validate",
        "method_class",
        "more_keys",
        "path",
        "query",
        "raw_target",
        "stages",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        distribution: Distribution,
        behavior: Behavior,
        path: bytes,
        query: bytes,
        method_class: bytes,
        raw_target: bytes,
        has_fixed_key: bool,
        stages: tuple[CompiledStage, ...] = (),
        coding: bytes | None = None,
        key: CacheKey | None = None,
        more_keys: Mapping[bytes | None, CacheKey] = _NO_KEYS,
        log_texts: tuple[str, str] | None = None,
    ) -> None:
        self.distribution = distribution
        self.behavior = behavior
        self.path = path
        """Raw, with the default root object in place of "/"."""
        self.query = query
        """The query string as keyed and forwarded."""
        self.method_class = method_class
        self.raw_target = raw_target
        """As the viewer sent it."""
        self.has_fixed_key = has_fixed_key
        """Nothing of the header section but Accept-Encoding is in the key."""
        self.stages = stages
        """What each request has still to pass before it is looked up (`stages/table.py`). With one that has to see the request there is no fast path."""
        self.coding = coding
        self.key = key
        """The key of requests with this Accept-Encoding, the first that came; None: none came yet, or the key is not fixed."""
        self.more_keys = more_keys
        """Those of others."""
        self.log_texts = log_texts
        """What the access log makes of it."""
        self.is_strict: Final = behavior.semantics is Semantics.RFC9111
        """The RFCs' rules hold, not CloudFront's."""
        self.may_validate: Final = self.is_strict or behavior.cache_policy.cookies.is_empty
        """Stored responses are validated by conditional requests; CloudFront makes none where cookies are forwarded (reference 2.4)."""

    @property
    def keyed_target(self) -> bytes:
        """Path and keyed query."""
        return self.path + b"?" + self.query if self.query else self.path

    @property
    def target(self) -> str:
        """The same, as invalidation paths are compared with it."""
        return self.keyed_target.decode("latin-1")

    @property
    def may_collapse(self) -> bool:
        """Requests for one key wait for one response; not where cookies are forwarded (reference 2.10)."""
        return self.may_validate

    @property
    def base_key(self) -> CacheKey:
        """The key but for what the header section has in it."""
        return make_key(self.distribution.id, b"", self.keyed_target, KeyParts(None, (), ()))

    def key_for(self, head: RequestHead) -> CacheKey:
        """The cache key of this request; without the variant that Vary may tell apart."""
        accept_encoding = head.fields.get(b"accept-encoding") if head.minor_version >= 1 else None
        key = self.key if self.coding == accept_encoding else self.more_keys.get(accept_encoding)
        if key is None:
            key = self._make_key(head)
            if self.has_fixed_key and len(accept_encoding or b"") <= LONGEST_REMEMBERED_FIELD_BYTES:
                self._remember_key(accept_encoding, key)
        return key

    def _remember_key(self, accept_encoding: bytes | None, key: CacheKey) -> None:
        if self.key is None:
            self.coding, self.key = accept_encoding, key
        elif len(self.more_keys) < MOST_REMEMBERED_KEYS:
            self.more_keys = {**self.more_keys, accept_encoding: key}

    def _make_key(self, head: RequestHead) -> CacheKey:
        parts = select_parts(head, self.behavior.cache_policy, self.behavior.semantics)
        return make_key(self.distribution.id, self.method_class, self.keyed_target, parts)


_UNKNOWN_HOST: Final = Refuse(
    403, Reason.UNKNOWN_HOST, "The request could not be satisfied: no distribution answers to this host name."
)
_DISABLED: Final = Refuse(403, Reason.DISTRIBUTION_DISABLED, "The distribution is disabled.")
_NOT_CONFIGURED: Final = Refuse(503, Reason.NOT_CONFIGURED, "This node has no configuration yet.")


def _line_of(head: RequestHead) -> bytes:
    """The request line, as nearly all requests have it; routes are remembered by it."""
    return b"%b %b HTTP/1.1" % (head.method, head.target)


class Router:
    """Routes for one snapshot."""

    def __init__(self, snapshot: Snapshot, compile_stages: CompileStages = no_stages) -> None:
        self.snapshot = snapshot
        self._compile_stages = compile_stages
        self._by_host: dict[bytes, Distribution] = {}
        self._patterns: dict[str, tuple[tuple[re.Pattern[str], Behavior], ...]] = {}
        for distribution in snapshot.distributions.values():
            for name in (distribution.domain_name, *distribution.aliases):
                self._by_host[name] = distribution
            self._patterns[distribution.id] = tuple(
                (compile_pattern(b.path_pattern), b) for b in distribution.behaviors
            )
        self._routes: dict[bytes, dict[bytes, Route | Refuse]] = {}
        """By host and request line."""
        self._fast_routes: dict[bytes, dict[bytes, Route]] = {}
        """Those of GET requests that a fresh entry answers whatever else the request says, if the viewer's connection passes the stages."""
        self._remembered = 0
        self._stages: dict[tuple[str, int, bytes], tuple[CompiledStage, ...]] = {}
        """What is left of the stages for a distribution, a behavior of it (this snapshot keeps it) and a method that it allows."""

    def route(self, head: RequestHead) -> Route | Refuse:
        """The route for a viewer's request."""
        distribution = self._by_host.get(head.host)
        if distribution is None:  # of the many names that are not ours, none is remembered
            return self._make(None, head)
        host, line = head.host, _line_of(head)
        known = self.fast_routes_of(host).get(line) or self._routes.get(host, _NO_ROUTES).get(line)
        return known if known is not None else self._make(distribution, head)

    def remember(self, head: RequestHead) -> None:
        """Keep the route for a request that is worth it: one that was answered from what is stored, and so may well come again."""
        line, host = _line_of(head), head.host
        if host not in self._by_host or len(line) > LONGEST_REMEMBERED_TARGET_BYTES:
            return
        if line not in self.fast_routes_of(host) and line not in self._routes.get(host, _NO_ROUTES):
            route = self._make(self._by_host[host], head)
            self._remember(host, line, route, is_fast_route=self._is_fast_route(head, route))

    def fast_routes_of(self, host: bytes) -> dict[bytes, Route]:
        """The routes of this host for GET requests by request line: those that a fresh entry answers whatever else the request says (`listeners/fast_path.py`)."""
        return self._fast_routes.setdefault(host, {}) if host in self._by_host else {}

    def _remember(self, host: bytes, line: bytes, route: Route | Refuse, *, is_fast_route: bool) -> None:
        if self._remembered >= MAXIMUM_REMEMBERED_ROUTES:
            self._remembered = 0
            self._routes.clear()
            for fast_routes in self._fast_routes.values():  # sections hold on to them
                fast_routes.clear()
        self._remembered += 1
        if is_fast_route and isinstance(route, Route):
            self._fast_routes[host][line] = route
        else:
            self._routes.setdefault(host, {})[line] = route

    @staticmethod
    def _is_fast_route(head: RequestHead, route: Route | Refuse) -> bool:
        if (
            isinstance(route, Refuse)
            or not route.has_fixed_key
            or route.is_strict
            or head.method != b"GET"
            or any(stage.lets_pass is None for stage in route.stages)
        ):
            return False
        return decide_before_lookup(head, route.behavior) is None

    def route_for_edge(self, head: RequestHead) -> Route | Refuse:
        """The route for an edge's request, which names its distribution."""
        distribution_id = head.fields.get(b"x-edge-distribution")
        if distribution_id is None:
            return self.route(head)
        return self._make(self.snapshot.distributions.get(distribution_id.decode("latin-1")), head)

    def _make(self, distribution: Distribution | None, head: RequestHead) -> Route | Refuse:
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
        method_class = b"OPTIONS" if head.method == b"OPTIONS" else b""
        has_fixed_key = policy.headers.is_empty and policy.cookies.is_empty
        return Route(
            distribution,
            behavior,
            path,
            keyed_query,
            method_class,
            head.target,
            has_fixed_key,
            self._stages_of(distribution, behavior, head.method),
        )

    def _stages_of(self, distribution: Distribution, behavior: Behavior, method: bytes) -> tuple[CompiledStage, ...]:
        known = distribution.id, id(behavior), method
        stages = self._stages.get(known)
        if stages is None:
            stages = self._compile_stages(distribution, behavior, method)
            if method in behavior.allowed_methods:  # of the others viewers may make up as many as they like
                self._stages[known] = stages
        return stages

    def _select_behavior(self, distribution: Distribution, path: bytes) -> Behavior:
        """List order, first match wins, default last."""
        patterns = self._patterns[distribution.id]
        normalised = normalise_path(path.decode("latin-1")) if patterns else ""
        for pattern, behavior in patterns:
            if pattern.fullmatch(normalised):
                return behavior
        return distribution.default_behavior
