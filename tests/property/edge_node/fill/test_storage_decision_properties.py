"""What is remembered for responses that share some fields is what each of them would get by itself (`edge_node/fill/storage_decision.py`)."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.caching.freshness_cloudfront import metadata_by_table
from edge_node.fill.storage_decision import decide_storage, error_minimum_ttl
from edge_node.http.request_head import make_request_head
from edge_node.policy.router import Route, Router, Snapshot
from edge_node.upstream.connection import make_response_head
from tests.builders import (
    behavior_message,
    caching_disabled,
    distribution_message,
    origin_message,
    policy_message,
    read_distribution,
)
from tests.depth import examples

NOW = 1_800_000_000.0
POLICIES = [
    policy_message(),
    policy_message(minimum_ttl_seconds=5),
    policy_message(maximum_ttl_seconds=30, default_ttl_seconds=3),
    caching_disabled(),
]
VALUES = {
    b"cache-control": [
        b"max-age=60",
        b"s-maxage=5, max-age=9",
        b"no-store",
        b"private",
        b"no-cache",
        b"max-age=60, stale-if-error=4",
        b"",
        b'no-cache="x"',
        b"x" * 600,
    ],
    b"vary": [b"*", b"Accept", b"x" * 600],
    b"expires": [b"0", b"Fri, 15 Jan 2027 09:00:00 GMT"],
    b"date": [b"Fri, 15 Jan 2027 08:00:00 GMT", b"Thu, 14 Jan 2027 08:00:00 GMT"],
    b"age": [b"7"],
    b"last-modified": [b"Thu, 14 Jan 2027 08:00:00 GMT"],
    b"set-cookie": [b"a=1"],
    b"cdn-cache-control": [b"max-age=1"],
}
FIELDS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()})


def route_with(policy: Any) -> Route:
    message = distribution_message(origin_message("192.0.2.1", 8000), behavior_message(policy=policy))
    router = Router(Snapshot("log", 1, {"E1": read_distribution(message)}))
    route = router.route(REQUEST)
    assert isinstance(route, Route)
    return route


REQUEST = make_request_head(b"GET", b"/a", [(b"host", b"d1.cdn.localhost")], 1, True)
ROUTES = [route_with(policy) for policy in POLICIES]


@given(
    st.sampled_from(ROUTES),
    st.sampled_from([200, 203, 301, 302, 307, 404, 410, 418, 500, 503]),
    FIELDS,
    st.floats(0, 1e5),
)
@settings(max_examples=examples(250))
def test_remembered_metadata_are_those_of_the_response_itself(
    route: Route, status: int, fields: dict[bytes, bytes], later: float
) -> None:
    response = make_response_head(status, b"X", fields.items())
    kept = decide_storage(REQUEST, route, route.key_for(REQUEST), response, (), NOW + later)
    minimum_ttl = error_minimum_ttl(route, status)
    assert kept.cache_metadata == metadata_by_table(response, route.behavior.cache_policy, minimum_ttl, NOW + later)
