"""What `cdnlab explain` says of whom would be asked, where that is a group of origins."""

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
    said = Explainer("edge-1", node.pipeline._cache, node.state).explain(
        ExplainRequest("GET", "http://d1.cdn.localhost/a", ())
    )
    text = str(said)
    assert (
        "192.0.2.1:8000. If that answers 404, 503, or fails in a way that counts as one of them, 192.0.2.2:8001 is asked."
        in text
    )
