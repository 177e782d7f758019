"""Configuration applied to one request: routing, fields, heads, the choice of a regional cache, and configuration that is refused."""

from collections import Counter

import pytest

from edge_node.caching.lookup import Reason, Refuse, Result
from edge_node.control.resource_reader import latencies_from, read_peers
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import Peer, Role
from edge_node.model.errors import RejectedResourceError
from edge_node.model.http import RequestHead
from edge_node.policy import router as router_module
from edge_node.policy.parent_selection import MAXIMUM_CANDIDATES, rank_regionals
from edge_node.policy.path_patterns import compile_pattern, normalise_path
from edge_node.policy.response_head import (
    LocalNode,
    error_page,
    middle_of_head,
    spell_field_name,
    start_of_head,
    write_fields,
    x_cache,
)
from edge_node.policy.response_headers import viewer_fields
from edge_node.policy.router import Route, Router, Snapshot
from edge_node.upstream.connection import make_response_head
from proto.cdn.v1 import configuration_pb2, sync_pb2
from tests.builders import (
    ALL,
    behavior_message,
    distribution_message,
    listed,
    origin_message,
    policy_message,
    read_distribution,
)


def head(target: str, host: str = "d1.cdn.localhost", method: str = "GET") -> RequestHead:
    return make_request_head(method.encode(), target.encode(), [(b"host", host.encode())], 1, True)


def router(*behaviors: configuration_pb2.Behavior, log_id: str = "log-1", **distribution: object) -> Router:
    message = distribution_message(origin_message("h", 80), *behaviors, **distribution)
    read = read_distribution(message)
    return Router(Snapshot(log_id, 1, {read.id: read}))


@pytest.mark.parametrize(
    ("pattern", "path", "does_match"),
    [
        ("*", "/a/b", True),
        ("/a*", "/a/b/c", True),
        ("a*", "/a/b", True),
        ("/a?", "/ab", True),
        ("/a?", "/a", False),
        ("/A", "/a", False),
        ("*.jpg", "/x/y.jpg", True),
        ("*.jpg", "/x/yzjpg", False),
        ("/a", "/a/", False),
        ("/a[b]", "/a[b]", True),
        ("/a[b]", "/ab", False),
    ],
)
def test_a_pattern(pattern: str, path: str, does_match: bool) -> None:
    assert bool(compile_pattern(pattern).fullmatch(path)) is does_match


@pytest.mark.parametrize(
    "pattern", ["/*a*a*a*.jpg", "*/a/*/a/*/a/*?b", f"/{'*a' * 120}*b", f"/{'*?' * 120}*b", "*" * 254 + "b"]
)
def test_a_long_path_is_compared_with_many_wildcards_at_once(pattern: str) -> None:
    """The path is the viewer's: trying the places of each `*` in turn takes years for these."""
    compiled = compile_pattern(pattern)
    for unit in ("a", "/a", "/a/"):
        assert compiled.fullmatch("/" + unit * (8_000 // len(unit))) is None


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/a//b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/../..", "/"),
        ("/a/.", "/a/"),
        ("/...", "/..."),
        ("/%2e%2e/a", "/%2e%2e/a"),
    ],
)
def test_a_path_is_normalised(path: str, normal: str) -> None:
    assert normalise_path(path) == normal


def test_the_first_pattern_that_matches_wins_and_the_default_comes_last() -> None:
    routes = router(behavior_message("/a/b*"), behavior_message("/a*"), behavior_message())

    def chosen(target: str) -> str:
        route = routes.route(head(target))
        assert isinstance(route, Route)
        return route.behavior.path_pattern

    assert [chosen(target) for target in ("/a/bc", "/a/c", "/b", "/a/b/..?c=1")] == ["/a/b*", "/a*", "*", "/a*"]


def test_hosts_select_distributions() -> None:
    routes = router(aliases=["www.example.org"])
    for host in ("d1.cdn.localhost", "D1.CDN.localhost:8080", "www.example.org"):
        assert isinstance(routes.route(head("/", host)), Route)
    unknown = routes.route(head("/", "other.example"))
    assert isinstance(unknown, Refuse) and (unknown.status, unknown.reason) == (403, Reason.UNKNOWN_HOST)
    disabled = router(enabled=False).route(head("/"))
    assert isinstance(disabled, Refuse) and (disabled.status, disabled.reason) == (403, Reason.DISTRIBUTION_DISABLED)
    empty = Router(Snapshot("", 0, {})).route(head("/"))
    assert isinstance(empty, Refuse) and (empty.status, empty.reason) == (503, Reason.NOT_CONFIGURED)


def test_routes_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAXIMUM_REMEMBERED_ROUTES", 10)
    routes = router()
    assert routes.route(head("/a")) is not routes.route(head("/a"))  # nothing is kept for what may never come again
    routes.remember(head("/a"))
    assert routes.route(head("/a")) is routes.route(head("/a"))
    for number in range(100):
        routes.remember(head(f"/{number}"))
        routes.remember(head(f"/{number}", method="HEAD"))
        routes.remember(head(f"/{number}", host=f"{number}.example"))
    routes.remember(head("/" + "x" * 8_000))
    kept = [line for of in (routes._routes, routes._fast_routes) for lines in of.values() for line in lines]
    assert len(kept) <= 10 and len(routes._routes) + len(routes._fast_routes) <= 4
    assert all(len(line) < 1_000 for line in kept)  # a viewer chooses them: memory has a bound


def test_the_target_of_invalidations_has_the_keyed_query_only() -> None:
    routes = router(behavior_message(policy=policy_message(query_strings=listed("x"))))
    route = routes.route(head("/a?y=2&x=1"))
    assert isinstance(route, Route) and (route.target, route.query, route.path) == ("/a?x=1", b"x=1", b"/a")


@pytest.mark.parametrize(
    ("fields", "policy", "kept"),
    [
        ([("vary", "*")], {}, {b"vary": b"*"}),
        ([("vary", "Accept")], {}, {}),
        ([("vary", "Accept, Accept-Encoding")], {}, {b"vary": b"Accept-Encoding"}),
        ([("vary", "X-A, Cookie")], {"headers": listed("x-a")}, {b"vary": b"X-A, Cookie"}),
        ([("set-cookie", "a=1")], {}, {}),
        ([("set-cookie", "a=1")], {"cookies": ALL}, {b"set-cookie": b"a=1"}),
        ([("connection", "x-a, close"), ("x-a", "1"), ("x-b", "2")], {}, {b"x-b": b"2"}),
        ([("x-edge-result", "hit"), ("x-edge-other", "1")], {}, {}),
        ([("age", "5"), ("content-length", "3"), ("transfer-encoding", "chunked")], {}, {}),
        ([("cache-control", 'private="x-a"'), ("x-a", "1")], {}, {b"cache-control": b'private="x-a"'}),
    ],
)
def test_what_of_a_response_reaches_the_viewer(
    fields: list[tuple[str, str]], policy: dict[str, object], kept: dict[bytes, bytes]
) -> None:
    response = make_response_head(200, b"", [(name.encode(), value.encode()) for name, value in fields])
    behavior = read_distribution(
        distribution_message(origin_message("h", 80), behavior_message(policy=policy_message(**policy)))
    ).default_behavior
    assert dict(viewer_fields(response, behavior)) == kept


@pytest.mark.parametrize(
    ("result", "status", "word"),
    [
        (Result.HIT, 200, b"Hit"),
        (Result.REFRESH_HIT, 200, b"RefreshHit"),
        (Result.MISS, 200, b"Miss"),
        (Result.PASS, 200, b"Miss"),
        (Result.ERROR, 200, b"Error"),
        (Result.HIT, 404, b"Error"),
    ],
)
def test_the_word_of_x_cache(result: Result, status: int, word: bytes) -> None:
    assert x_cache(result, status) == word + b" from cloudfront"


def test_a_response_head_is_spelled_as_people_expect() -> None:
    node = LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 x")
    start = start_of_head(node, 404, b"", Result.ERROR, Reason.UPSTREAM_STATUS, b"w")
    lines = write_fields(((b"content-type", b"a"), (b"etag", b"b")))
    whole = b"".join((start, b"id==", middle_of_head(5, True), lines, b"\r\n")).decode()
    assert whole == (
        "HTTP/1.1 404 Not Found\r\nX-Cache: w\r\nVia: 1.1 x\r\nX-Amz-Cf-Pop: FRA56-P1\r\nX-Amz-Cf-Id: id==\r\n"
        "Age: 5\r\nConnection: keep-alive\r\nContent-Type: a\r\nETag: b\r\n\r\n"
    )
    assert middle_of_head(None, False) == b"\r\nConnection: close\r\n"
    regional = start_of_head(LocalNode(Role.REGIONAL, b"p", b"v"), 200, b"Fine", Result.HIT, Reason.FRESH, b"w")
    assert regional.startswith(b"HTTP/1.1 200 Fine\r\n") and b"X-Edge-Result: hit;fresh\r\n" in regional
    assert spell_field_name(b"x-amz-meta-a") == b"X-Amz-Meta-A"
    assert b"502 ERROR" in error_page(502, "because", b"id==") and b"Request ID: id==" in error_page(
        502, "because", b"id=="
    )


# -- regional caches


def peer(number: int, region: str = "eu") -> Peer:
    return Peer(f"r{number}", Role.REGIONAL, region, "p", "h", 80, "a")


def test_keys_spread_over_the_regional_caches_and_stay_where_they_are() -> None:
    peers = [peer(number) for number in range(4)]
    keys = [str(number).encode() for number in range(2_000)]
    first = {key: rank_regionals(peers, {}, key, lambda _: False) for key in keys}
    shares = Counter(ranked[0].id for ranked in first.values())
    assert all(400 < share < 600 for share in shares.values())
    assert all(rank_regionals(peers[::-1], {}, key, lambda _: False) == first[key] for key in keys[:50])
    for key in keys:  # one dies: its keys go to their next-best, all others stay
        after = rank_regionals(peers, {}, key, lambda dead: dead == "r1")
        assert after[0] == (first[key][1] if first[key][0].id == "r1" else first[key][0])


def test_a_nearer_region_comes_first_and_few_are_tried() -> None:
    peers = [peer(0, "us"), peer(1, "eu"), peer(2, "ap"), peer(3, "nowhere"), peer(4, "eu")]
    ranked = rank_regionals(peers, {"eu": 0.0, "us": 40.0, "ap": 100.0}, b"k", lambda _: False)
    assert [p.region for p in ranked] == ["eu", "eu", "us"] and len(ranked) == MAXIMUM_CANDIDATES
    assert rank_regionals(peers, {}, b"k", lambda _: True) == ()


# -- configuration


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"domain_name": ""},
        {"domain_name": "d\u00e9"},
        {"aliases": ["\u20ac.example"]},
        {"default_root_object": "a b"},
        {"default_root_object": "a\r\nb"},
    ],
)
def test_a_distribution_that_cannot_be_honoured_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RejectedResourceError):
        read_distribution(distribution_message(origin_message("h", 80), **changes))


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"host": ""},
            {"host": "a b"},
            {"host": "\u20ac"},
            {"host": "a\r\n"},
            {"port": 0},
            {"port": 65_536},
            {"connection_attempts": 0},
        ),
        *(
            {"connection_timeout_milliseconds": 0},
            {"read_timeout_milliseconds": 0},
            {"path_prefix": "/a b"},
            {"path_prefix": "/a\r\nX: y"},
            {"path_prefix": "/a#"},
        ),
    ],
)
def test_an_origin_that_cannot_be_honoured_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RejectedResourceError):
        read_distribution(distribution_message(origin_message(**({"host": "h", "port": 80} | changes))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("a\r\n", "x"),
        ("a", "x\r\ny: z"),
        ("a", "\0"),
        ("a", "\u20ac"),
        ("Content-Length", "5"),
        ("HOST", "x"),
    ],
)
def test_a_custom_header_that_would_break_requests_is_refused(name: str, value: str) -> None:
    origin = origin_message("h", 80)
    origin.custom_headers.add(name=name, value=value)
    with pytest.raises(RejectedResourceError):
        read_distribution(distribution_message(origin))


@pytest.mark.parametrize(
    "behavior",
    [
        behavior_message(origin_id="other"),
        behavior_message(allowed_methods=[]),
        behavior_message(policy=policy_message(minimum_ttl_seconds=10, default_ttl_seconds=5)),
        behavior_message(policy=policy_message(default_ttl_seconds=10, maximum_ttl_seconds=5)),
        behavior_message(policy=policy_message(headers=ALL)),
        behavior_message(policy=policy_message(headers=listed("X-Edge-Log-Index"))),
        behavior_message(policy=policy_message(cookies=configuration_pb2.Selection())),
    ],
)
def test_a_behavior_that_cannot_be_honoured_is_refused(behavior: configuration_pb2.Behavior) -> None:
    with pytest.raises(RejectedResourceError):
        read_distribution(distribution_message(origin_message("h", 80), behavior))


def test_peers_are_the_cache_nodes_of_a_directory() -> None:
    directory = sync_pb2.Directory(
        nodes=[
            sync_pb2.Node(id="e", role=sync_pb2.ROLE_EDGE, region="eu", http_address="127.0.0.1:80"),
            sync_pb2.Node(
                id="r", role=sync_pb2.ROLE_REGIONAL, region="eu", http_address="[::1]:81", admin_address="x:1"
            ),
            sync_pb2.Node(id="d", role=sync_pb2.ROLE_DNS_ROUTER, http_address="127.0.0.1:53"),
            sync_pb2.Node(id="bad", role=sync_pb2.ROLE_EDGE, http_address="nowhere"),
        ]
    )
    assert [(p.id, p.host, p.port) for p in read_peers(directory)] == [("e", "127.0.0.1", 80), ("r", "::1", 81)]


def test_latencies_are_symmetric() -> None:
    table = configuration_pb2.RoutingTable(
        latencies=[
            configuration_pb2.Latency(from_region="eu", to_region="us", milliseconds=40),
            configuration_pb2.Latency(from_region="ap", to_region="eu", milliseconds=90),
            configuration_pb2.Latency(from_region="ap", to_region="us", milliseconds=70),
        ]
    )
    assert latencies_from("eu", table) == {"eu": 0.0, "us": 40.0, "ap": 90.0}


def test_without_a_host_field_the_name_in_an_absolute_target_is_what_is_keyed_and_sent() -> None:
    """HTTP/1.0: two names of one distribution shared a key, and the origin was asked for whichever came first (RFC 9112 section 3.2.2)."""
    by_host = behavior_message(policy=policy_message(headers=listed("Host")))
    route_of = router(by_host, aliases=["one.test", "two.test"]).route
    heads = [make_request_head(b"GET", b"http://%b/a" % name, [], 0, False) for name in (b"one.test", b"two.test")]
    routes = [route for route in map(route_of, heads) if isinstance(route, Route)]
    keys = [route.key_for(head) for route, head in zip(routes, heads, strict=True)]
    assert [key.rpartition(b"\n")[2] for key in keys] == [b"h host: one.test", b"h host: two.test"]
