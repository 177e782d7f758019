"""What a node may say of itself: it is written to a database, with that of all others."""

import pytest

from control_plane.admission import Admission
from control_plane.session_messages import StreamEndedError, introduced
from proto.cdn.v1 import sync_pb2

ANYBODY = Admission("cdn.localhost", is_certified=False)


def hello(**texts: str) -> sync_pb2.NodeMessage:
    said = {"id": "edge-1", "region": "us-east-1", "pop": "IAD89-P1", "http_address": "127.0.0.1:80"} | texts
    return sync_pb2.NodeMessage(hello=sync_pb2.Hello(node=sync_pb2.Node(role=sync_pb2.ROLE_EDGE, **said)))


def test_a_node_with_a_place_and_addresses_comes_in() -> None:
    assert introduced(hello(), {}, ANYBODY).identifier == "edge-1"


@pytest.mark.parametrize("name", ["id", "region", "pop", "http_address", "admin_address"])
@pytest.mark.parametrize("text", ["a\0b", "a\nb", "a" * 100_000])
def test_what_a_database_does_not_take_is_refused_before_it_is_written_with_what_others_said(
    name: str, text: str
) -> None:
    """PostgreSQL has no NUL in a text. The row would be refused at each attempt, as a mistake of the leader, and that of each leader that follows."""
    with pytest.raises(StreamEndedError):
        introduced(hello(**{name: text}), {}, ANYBODY)
