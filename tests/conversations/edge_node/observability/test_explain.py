"""What `cdnlab explain` says of whom would be asked, where that is a group of origins."""

import time

from edge_node.model.configuration import Role
from edge_node.observability.explain import Explainer, ExplainRequest
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, origin_message
from tests.conversations.dialogue import Node


def test_the_other_origin_of_a_group_and_what_sends_a_request_there_are_named() -> None:
    group = configuration_pb2.OriginGroup(
        id="group", primary_origin_id="origin", secondary_origin_id="second", failover_statuses=[503, 404]
    )
    behavior = behavior_message(origin_group_id="group")
    node = Node(
        behavior,
        origins=[origin_message("192.0.2.1", 8000), origin_message("192.0.2.2", 8001, id="second")],
        origin_groups=[group],
    )
    said = Explainer("edge-1", node.pipeline._cache, node.state, time.monotonic).explain(
        ExplainRequest("GET", "http://d1.cdn.localhost/a", ())
    )
    text = str(said)
    assert (
        "192.0.2.1:8000. If that answers 404, 503, or fails in a way that counts as one of them, 192.0.2.2:8001 is asked."
        in text
    )


HANDSHAKE = (
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
)


def test_a_handshake_is_explained_as_a_tunnel_and_what_the_next_tier_is_asked_is_one_as_well() -> None:
    node = Node()
    node.knows_regionals("regional-1")
    explainer = Explainer("edge-1", node.pipeline._cache, node.state, time.monotonic)
    said = explainer.explain(ExplainRequest("GET", "http://d1.cdn.localhost/a", HANDSHAKE))
    assert (said["decision"], said["reason"], said["next"]["kind"]) == ("tunnel", "websocket", "regional")
    asked = said["next"]["request"]
    fields = tuple((name.encode(), value.encode()) for name, value in asked["headers"])
    regional = Node(role=Role.REGIONAL)
    explainer = Explainer("regional-1", regional.pipeline._cache, regional.state, time.monotonic)
    said = explainer.explain(ExplainRequest(asked["method"], asked["url"], fields))
    assert (said["decision"], said["reason"], said["next"]["kind"]) == ("tunnel", "websocket", "origin")


def test_a_handshake_that_lacks_something_is_a_request_like_any_other() -> None:
    node = Node()
    explainer = Explainer("edge-1", node.pipeline._cache, node.state, time.monotonic)
    for missing in range(len(HANDSHAKE)):
        fields = HANDSHAKE[:missing] + HANDSHAKE[missing + 1 :]
        assert explainer.explain(ExplainRequest("GET", "http://d1.cdn.localhost/a", fields))["decision"] == "miss"
    assert explainer.explain(ExplainRequest("HEAD", "http://d1.cdn.localhost/a", HANDSHAKE))["decision"] == "miss"
