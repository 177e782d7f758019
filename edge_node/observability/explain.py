"""`POST /explain`: what this node would do with a request, step by step, without doing it. The answer's form is in docs/contracts.md.

It runs the same functions as the pipeline, on the same state, and changes nothing: entries are peeked at, stamps stay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

from edge_node.caching.cache_metadata import explain_rule
from edge_node.caching.entry import Entry
from edge_node.caching.key import KeyParts, select_parts
from edge_node.caching.lookup import (
    FetchMissingRange,
    Hit,
    Miss,
    Pass,
    Reason,
    Refuse,
    Revalidate,
    ServeStaleAndRevalidate,
    Tunnel,
    decide,
)
from edge_node.http.request_head import is_websocket_handshake, make_request_head
from edge_node.model.configuration import Peer, Role
from edge_node.model.errors import ViewerError
from edge_node.model.http import Header, RequestHead
from edge_node.policy.loop_detection import LOOP_DETECTED, is_loop
from edge_node.policy.methods import METHOD_NOT_ALLOWED, is_method_allowed
from edge_node.policy.origin_request_headers import ForwardingContext
from edge_node.policy.parent_selection import rank_regionals
from edge_node.policy.router import Route
from edge_node.policy.upstream_request import (
    UpstreamRequest,
    describe_peers,
    hash_input,
    parse_request,
    to_origin,
    to_regional,
)
from edge_node.policy.viewer_protocol import Redirect, judge_viewer_protocol
from edge_node.storage.cache import Cache
from edge_node.storage.node_state import NodeState

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """A request to explain."""

    method: str
    url: str
    headers: tuple[Header, ...]


def read_explain_request(document: object) -> ExplainRequest:
    """Check the posted JSON; ValueError says what is wrong."""
    if not isinstance(document, dict) or not isinstance(document.get("url"), str):
        raise ValueError('post {"method": "GET", "url": "http://host/path", "headers": [["name", "value"]]}')
    headers = document.get("headers", [])
    if not isinstance(headers, list) or not all(
        isinstance(h, list) and len(h) == 2 and all(isinstance(p, str) for p in h) for h in headers
    ):
        raise ValueError("headers must be a list of [name, value] pairs of text")
    return ExplainRequest(
        str(document.get("method", "GET")),
        document["url"],
        tuple(
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers
        ),
    )


class Explainer:
    """Explains requests at one node."""

    def __init__(self, node_id: str, cache: Cache, state: NodeState, monotonic: Callable[[], float]) -> None:
        self._node_id = node_id
        self._cache = cache
        self._state = state
        self._monotonic = monotonic

    def explain(self, request: ExplainRequest) -> JsonObject:
        """The explanation, as JSON values."""
        node = self._cache.node
        answer: JsonObject = {
            "node": self._node_id,
            "role": node.role.value,
            "pop": node.pop.decode(),
            "applied_index": self._state.applied_index,
            "distribution": None,
            "behavior": None,
            "key": None,
            "freshness": None,
            "next": None,
        }
        try:
            head = self._head(request)
        except ViewerError as error:
            return answer | {
                "decision": "error",
                "reason": Reason.BAD_REQUEST.value,
                "steps": [str(error)],
                "hint": "Send a valid request.",
            }
        router = self._state.router
        route = router.route_for_edge(head) if node.is_regional else router.route(head)
        if isinstance(route, Refuse):
            return answer | _refusal(route, [f"Host {head.host.decode('latin-1')!r} was looked up."])
        scheme = request.url.partition("://")[0].encode("latin-1", "replace").lower()
        return answer | self._explain_route(head, route, scheme)

    @staticmethod
    def _head(request: ExplainRequest) -> RequestHead:
        _, _, rest = request.url.partition("://")
        authority, slash, path = rest.partition("/")
        headers = [pair for pair in request.headers if pair[0] != b"host"]
        given = [value for name, value in request.headers if name == b"host"]
        headers.insert(0, (b"host", given[0] if given else authority.encode("latin-1", "replace")))
        return make_request_head(
            request.method.upper().encode("latin-1", "replace"),
            (slash + path or "/").encode("latin-1", "replace"),
            headers,
            1,
            True,
        )

    def _explain_route(self, head: RequestHead, route: Route, scheme: bytes) -> JsonObject:
        key = route.key_for(head)
        behavior, distribution = route.behavior, route.distribution
        now = self._cache.clock()
        entry, absence, steps = self._look_up(route, key_entry=self._cache.peek(route, key, head))
        steps = [
            f"Host {head.host.decode('latin-1')!r} belongs to distribution {distribution.id}.",
            f"Path {route.path.decode('latin-1')!r} is served by the behavior {behavior.path_pattern!r} with origin {behavior.origin.id!r} "
            f"and cache policy {behavior.cache_policy.id}.",
            *steps,
        ]
        stopped = self._pass_stages(head, route, scheme, steps)
        is_strict = distribution.is_strictly_invalidated
        must_confirm = self._state.fence.must_confirm(self._monotonic(), is_strict=is_strict)
        if must_confirm and entry is not None:
            steps.append(
                "This node holds no lease and may have missed an invalidation: what is stored is confirmed before it is served."
            )
        decision = stopped or decide(head, behavior, entry, absence, now, must_confirm=must_confirm)
        described: JsonObject = {
            "distribution": {"id": distribution.id, "domain_name": distribution.domain_name.decode()},
            "behavior": {
                "path_pattern": behavior.path_pattern,
                "origin_id": behavior.origin.id,
                "cache_policy_id": behavior.cache_policy.id,
            },
            "key": _describe_key(route, select_parts(head, behavior.cache_policy, behavior.semantics)),
            "freshness": None if entry is None else _freshness(entry, now),
        }
        if isinstance(decision, Refuse):
            return described | _refusal(decision, steps)
        name, reason, hint = _describe(decision)
        is_cacheable = not isinstance(decision, Pass)
        upstream = (
            {}
            if isinstance(decision, Hit | ServeStaleAndRevalidate)
            else {"next": self._next(head, route, steps, is_cacheable=is_cacheable)}
        )
        return described | {"decision": name, "reason": reason.value, "hint": hint, "steps": steps} | upstream

    def _pass_stages(self, head: RequestHead, route: Route, scheme: bytes, steps: list[str]) -> Refuse | None:
        """The stages before the lookup, as far as they can be told without a viewer (`stages/table.py`)."""
        if not is_method_allowed(head.method, route.behavior):
            return METHOD_NOT_ALLOWED
        if self._cache.node.is_regional:
            return None
        if is_loop(head.fields.get(b"cdn-loop")):
            return LOOP_DETECTED
        if route.distribution.geo_restriction is not None:
            steps.append(
                "Viewers of some countries are refused; where a viewer is, its address says, which is not asked here."
            )
        match judge_viewer_protocol(route.behavior.viewer_protocol_policy, scheme, head):
            case None:
                return None
            case Refuse() as refusal:
                return refusal
            case Redirect() as redirect:
                text = f"the viewer is sent to {redirect.location.decode('latin-1')}"
                return Refuse(redirect.status, redirect.reason, text)
            case _ as unreachable:
                assert_never(unreachable)

    def _look_up(self, route: Route, key_entry: Entry | None) -> tuple[Entry | None, Reason, list[str]]:
        """The entry as the pipeline would see it."""
        if key_entry is None:
            return None, Reason.NOT_STORED, ["Nothing is stored for its key."]
        applied = self._state.applied_index
        if self._cache.is_invalidated(key_entry):
            sentence = f"An entry stamped {key_entry.stamp} is stored, but an invalidation in ({key_entry.stamp}, {applied}] matches {route.target!r}."
            return None, Reason.INVALIDATED, [sentence]
        sentence = f"An entry of {key_entry.length} bytes with status {key_entry.status}, stamped {key_entry.stamp}, is stored; no later invalidation matches it."
        return key_entry, Reason.FRESH, [sentence]

    def _next(self, head: RequestHead, route: Route, steps: list[str], *, is_cacheable: bool) -> JsonObject:
        """Whom the node would ask."""
        hop = ForwardingContext(b"explain", self._cache.node.via, b"-")
        upstream_request = UpstreamRequest(head, route, hop, is_upgrade=is_websocket_handshake(head))
        if is_cacheable and self._cache.node.role is Role.EDGE:
            peers = rank_regionals(
                self._state.regionals, self._state.latency_milliseconds, hash_input(route), lambda _: False
            )
            if peers:
                steps.append(
                    f"It would ask the regional caches in this order: {describe_peers(peers)}; then the origin."
                )
                return self._next_regional(upstream_request, peers[0])
        origin = route.behavior.origin
        line, _ = parse_request(to_origin(upstream_request, origin))
        steps.append(f"It would ask the origin at {origin.host}:{origin.port}.{_describe_failover(head, route)}")
        path = line.split(b" ")[1].decode("latin-1")
        return {"kind": "origin", "origin_id": origin.id, "host": origin.host, "port": origin.port, "path": path}

    def _next_regional(self, upstream_request: UpstreamRequest, peer: Peer) -> JsonObject:
        line, fields = parse_request(to_regional(upstream_request, self._state.position))
        host = upstream_request.head.fields.get(b"host", b"").decode("latin-1")
        url = f"http://{host}{line.split(b' ')[1].decode('latin-1')}"
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields if name != b"host"]
        request = {"method": upstream_request.head.method.decode("latin-1"), "url": url, "headers": headers}
        return {
            "kind": "regional",
            "node": peer.id,
            "http": f"{peer.host}:{peer.port}",
            "admin": peer.admin,
            "request": request,
        }


def _describe_failover(head: RequestHead, route: Route) -> str:
    """The other origin of a group, and what sends a request to it (reference 1.5)."""
    behavior = route.behavior
    group = behavior.origin_group
    if group is None or head.method not in behavior.cached_methods:
        return ""
    statuses = ", ".join(str(status) for status in sorted(group.failover_statuses))
    second = group.secondary
    return f" If that answers {statuses}, or fails in a way that counts as one of them, {second.host}:{second.port} is asked."


def _describe_key(route: Route, parts: KeyParts) -> JsonObject:
    coding = parts.accept_encoding
    return {
        "method": (route.method_class or b"GET or HEAD").decode(),
        "path": route.path.decode("latin-1"),
        "query": route.query.decode("latin-1"),
        "accept_encoding": None if coding is None else coding.decode("latin-1"),
        "headers": [[n.decode("latin-1"), None if v is None else v.decode("latin-1")] for n, v in parts.headers],
        "cookies": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in parts.cookies],
    }


def _freshness(entry: Entry, now: float) -> JsonObject:
    age, remaining = now - entry.age_base, entry.fresh_until - now
    rule = entry.cache_metadata.rule
    return {
        "rule": rule.value,
        "because": explain_rule(rule),
        "ttl_seconds": entry.cache_metadata.lifetime_seconds,
        "age_seconds": round(age, 3),
        "remaining_seconds": round(remaining, 3),
        "stamp": entry.stamp,
        "arithmetic": f"lifetime {entry.cache_metadata.lifetime_seconds or 0:g} s - age {age:.1f} s = {remaining:.1f} s",
    }


_FIRST_MISS = "The first request for a key is a miss; the same request again is a hit, if the response may be stored."
_MISS_HINTS = {
    Reason.INVALIDATED: "It was a hit until the invalidation; the next request stores it again.",
    Reason.EXPIRED: "A longer lifetime would have kept it fresh; an ETag or Last-Modified would have allowed a cheap refresh.",
}


def _describe(
    decision: Hit | ServeStaleAndRevalidate | Revalidate | FetchMissingRange | Miss | Pass | Tunnel,
) -> tuple[str, Reason, str]:
    match decision:
        case Hit(reason=reason):
            return "hit", reason, "It is a hit."
        case ServeStaleAndRevalidate():
            return (
                "hit",
                Reason.STALE_WHILE_REVALIDATE,
                "It is a hit, stale within stale-while-revalidate; it is refreshed in the background.",
            )
        case FetchMissingRange():
            return "miss", Reason.INCOMPLETE, "Only a part of it is stored; the rest is fetched, then it is a hit."
        case Revalidate(reason=Reason.REQUEST_DIRECTIVE):
            return "refresh", Reason.REQUEST_DIRECTIVE, "The request's directives want it validated."
        case Revalidate(entry=entry) if entry.cache_metadata.is_always_validated:
            return "refresh", Reason.EXPIRED, "The response wants each use validated: it says no-cache, or Vary: *."
        case Revalidate():
            return (
                "refresh",
                Reason.EXPIRED,
                "A longer lifetime (Cache-Control: max-age or s-maxage, or the policy's TTLs) would have kept it fresh.",
            )
        case Miss(reason=reason):
            return "miss", reason, _MISS_HINTS.get(reason, _FIRST_MISS)
        case Tunnel(reason=reason):
            return "tunnel", reason, "It is a WebSocket's handshake: if the origin answers 101, bytes go both ways."
        case Pass(reason=reason):
            return "pass", reason, "Only the behavior's cached methods can be hits."


def _refusal(refusal: Refuse, steps: list[str]) -> JsonObject:
    return {
        "decision": "error",
        "reason": refusal.reason.value,
        "steps": [*steps, f"The request is refused with {refusal.status}: {refusal.text}"],
        "hint": "Change the request or the distribution's configuration.",
    }
