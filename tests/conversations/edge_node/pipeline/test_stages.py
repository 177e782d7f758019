"""The stages that may refuse a request, as viewers meet them: they look at each request, for hits as for misses, and only at edges (reference 5.1, 6.1, 6.5)."""

import pytest

from edge_node.caching.lookup import Reason
from edge_node.control.resource_reader import read_geo_table
from edge_node.model.configuration import Role
from edge_node.policy.loop_detection import CDN_ID, MAXIMUM_PASSES
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, geo_table_message
from tests.conversations.dialogue import VIEWER, Node
from tests.edge_state import reconfigured

FRESH = ("cache-control", "max-age=60")
EDGE = (("x-edge-distribution", "E1"), ("x-edge-request-id", "id=="))
ONLY_GERMANY = configuration_pb2.GeoRestriction(type=configuration_pb2.GeoRestriction.TYPE_ALLOW_LIST, countries=["DE"])
HTTPS_ONLY = behavior_message(viewer_protocol_policy=configuration_pb2.VIEWER_PROTOCOL_POLICY_HTTPS_ONLY)
TO_HTTPS = behavior_message(viewer_protocol_policy=configuration_pb2.VIEWER_PROTOCOL_POLICY_REDIRECT_TO_HTTPS)


def is_in(node: Node, country: str) -> None:
    """All viewers are."""
    table = read_geo_table(geo_table_message({f"{VIEWER.address}/32": country}))
    reconfigured(node.state, node.state.applied_index + 1, geo_table=table)


async def test_a_viewer_of_another_country_is_refused_what_is_stored() -> None:
    node = Node(geo_restriction=ONLY_GERMANY)
    is_in(node, "DE")
    await node.stores("/a", b"stored", FRESH)
    viewer = node.viewer().asks("/a")
    assert (await viewer.answer()).body == b"stored"
    is_in(node, "FR")
    again = node.viewer().asks("/a")
    assert ((await again.answer()).status, node.records.all[-1].reason) == (403, Reason.GEO_BLOCKED)


async def test_a_stage_that_looks_at_the_connection_is_asked_on_the_fast_path_as_well() -> None:
    node = Node(geo_restriction=ONLY_GERMANY)
    is_in(node, "DE")
    await node.stores("/a", b"stored", FRESH)
    viewer = node.viewer().asks("/a")
    await viewer.answer()
    viewer.asks_again()
    await viewer.answer()
    assert viewer.fast_answers == (1 if viewer.has_fast_path else 0)
    is_in(node, "FR")
    viewer.asks_again()
    assert ((await viewer.answer()).status, node.records.all[-1].reason) == (403, Reason.GEO_BLOCKED)


@pytest.mark.parametrize(
    ("behavior", "status", "reason"),
    [(HTTPS_ONLY, 403, Reason.HTTPS_ONLY), (TO_HTTPS, 301, Reason.REDIRECT_TO_HTTPS)],
    ids=["https only", "redirect"],
)
async def test_a_viewer_over_plain_http_gets_what_the_behavior_says(
    behavior: configuration_pb2.Behavior, status: int, reason: Reason
) -> None:
    node = Node(behavior)
    answer = await node.viewer().asks("/a?b=c").answer()
    assert (answer.status, node.records.all[-1].reason) == (status, reason)
    assert not node.fetcher.fetches


async def test_a_request_that_has_made_all_its_passes_is_a_loop() -> None:
    node = Node()
    await node.stores("/a", b"stored", FRESH)
    loop = ("cdn-loop", ", ".join([CDN_ID.decode()] * MAXIMUM_PASSES))
    answer = await node.viewer().asks("/a", loop).answer()
    assert (answer.status, node.records.all[-1].reason) == (403, Reason.LOOP_DETECTED)


async def test_a_regional_cache_does_not_ask_again_what_the_edge_has_let_pass() -> None:
    """Its viewer is the edge, and so are address and protocol."""
    node = Node(HTTPS_ONLY, role=Role.REGIONAL, geo_restriction=ONLY_GERMANY)
    is_in(node, "FR")
    loop = ("cdn-loop", ", ".join([CDN_ID.decode()] * MAXIMUM_PASSES))
    viewer = node.viewer().asks("/a", loop, *EDGE)
    (await node.fetch()).answers(200, b"fetched", FRESH)
    assert (await viewer.answer()).body == b"fetched"
