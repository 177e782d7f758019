"""Whatever comes and goes, and however rarely a node is told, it knows who is alive as soon as it has been told everything."""

from collections.abc import Mapping

from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.directory import REMEMBERED_VERSIONS, DirectoryFrames
from control_plane.nodes import NodeDescription, Role
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_machine import ApplyDirectory, NodeIdentity, NodeMachine

NODE_IDS = ("edge-1", "edge-2", "edge-3", "router-1")
ALIVE = st.dictionaries(st.sampled_from(NODE_IDS), st.integers(1, 3))
"""Who, and on which port."""
STEPS = st.lists(st.tuples(ALIVE, st.sets(st.sampled_from(("eager", "lazy", "lazier")))), min_size=1, max_size=12)
"""What is true next, and which followers are told then."""
IDENTITY = NodeIdentity("edge-1", sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


class Follower:
    """A node and the stream to it."""

    def __init__(self) -> None:
        self.machine = NodeMachine(IDENTITY, LogPosition())
        self.machine.connected(0.0, LogPosition())
        self.version: int | None = None
        self.known: dict[str, str] = {}
        self.wholes = 0

    def read(self, directory: DirectoryFrames) -> None:
        frame = directory.since(self.version)
        if frame is None:
            return
        self.version = directory.version
        message = sync_pb2.ControlMessage.FromString(frame)
        self.wholes += message.HasField("directory")
        (effect,) = self.machine.received(message, 0.0)
        assert isinstance(effect, ApplyDirectory) and effect.directory.version == directory.version
        self.known = {node.id: node.http_address for node in effect.directory.nodes}


def addresses(alive: Mapping[str, int]) -> dict[str, str]:
    return {node_id: f"127.0.0.1:{port}" for node_id, port in alive.items()}


def descriptions(alive: Mapping[str, int]) -> list[NodeDescription]:
    return [
        NodeDescription(node_id, Role.EDGE, "us-east-1", "IAD89-P1", address, "")
        for node_id, address in addresses(alive).items()
    ]


@given(STEPS)
@example([({"edge-1": 1}, {"eager"}), ({}, set()), ({"edge-1": 1}, {"eager"})])
def test_a_node_that_is_told_what_is_different_knows_who_is_alive(steps: list[tuple[dict[str, int], set[str]]]) -> None:
    directory = DirectoryFrames()
    followers = {name: Follower() for name in ("eager", "lazy", "lazier")}
    for alive, told in steps:
        directory.update(descriptions(alive))
        for name in told:
            followers[name].read(directory)
            assert followers[name].known == addresses(alive)
    for follower in followers.values():
        follower.read(directory)
        assert follower.known == addresses(steps[-1][0]) and follower.wholes == 1


def test_a_stream_that_missed_more_than_is_remembered_gets_the_whole_directory() -> None:
    directory, late = DirectoryFrames(), Follower()
    for missed in (REMEMBERED_VERSIONS, REMEMBERED_VERSIONS + 1):
        directory.update(descriptions({"edge-2": 1}))
        late.read(directory)
        wholes = late.wholes
        for number in range(missed):
            directory.update(descriptions({"edge-1": 1 + number % 2}))
        late.read(directory)
        assert late.known == addresses({"edge-1": 1 + (missed - 1) % 2})
        assert late.wholes - wholes == (missed > REMEMBERED_VERSIONS)


def test_what_is_the_same_is_not_sent_again() -> None:
    directory, follower = DirectoryFrames(), Follower()
    assert directory.since(None) is None, "there is none yet"
    assert directory.update([]) == 0 and directory.since(None) is not None, "nobody is alive: that is a directory"
    directory.update(descriptions({"edge-1": 1}))
    follower.read(directory)
    assert directory.update(descriptions({"edge-1": 1})) == 0 and directory.since(follower.version) is None
