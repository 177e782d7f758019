"""In which order what waits for a node is sent to it, and how much of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from control_plane.change_log import Frames, SnapshotFrames, TooFarBehindError
from control_plane.directory import DirectoryFrames
from control_plane.entry_batches import MOST_BYTES, MOST_ENTRIES, EntryBatches
from control_plane.nodes import NodeDescription, Role
from control_plane.streams import NodeStream
from proto.cdn.v1 import sync_pb2

SNAPSHOT, LEASE = (b"the first piece", b"the second"), b"lease"


class Log:
    """A log of entries up to its head."""

    def __init__(self, head_index: int) -> None:
        self.head_index = head_index
        self.oldest_index = 1
        self.bytes_each = 0

    def entries_after(self, index: int, limit: int) -> Sequence[sync_pb2.Entry]:
        numbers = range(max(index + 1, self.oldest_index), min(index + limit, self.head_index) + 1)
        return [sync_pb2.Entry(index=number, log_id="x" * self.bytes_each) for number in numbers]

    def snapshot(self) -> sync_pb2.Snapshot:
        return sync_pb2.Snapshot(index=self.head_index)


@dataclass
class Wire:
    """A node that takes so many messages before it has to read."""

    room: int = 1_000_000
    sent: list[bytes] = field(default_factory=list)

    @property
    def is_writable(self) -> bool:
        return self.room > 0

    def send(self, message: bytes) -> None:
        self.room -= 1
        self.sent.append(message)


class Talk:
    """A stream to one node, with a log and a directory."""

    def __init__(self, head_index: int, room: int = 1_000_000) -> None:
        self.log, self.directory, self.wire, self.now = Log(head_index), DirectoryFrames(), Wire(room), 100.0
        self.entries = EntryBatches(Frames(self.log).of(Role.EDGE))
        self.stream = NodeStream("edge-1", 1, self.wire, (self.entries, self.directory), lambda: self.now)

    def push(self, room: int = 0) -> list[bytes]:
        """What is sent now, with so much more room."""
        self.wire.room += room
        self.wire.sent.clear()
        self.stream.push()
        return list(self.wire.sent)


def indexes_of(frame: bytes) -> list[int]:
    message = sync_pb2.ControlMessage.FromString(frame)
    entries = message.entries.entries if message.HasField("entries") else [message.entry]
    return [entry.index for entry in entries]


def directory_of(frame: bytes) -> tuple[str, ...]:
    return tuple(node.id for node in sync_pb2.ControlMessage.FromString(frame).directory.nodes)


def describe(node_id: str) -> NodeDescription:
    return NodeDescription(node_id, Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


def test_a_lease_and_the_directory_do_not_wait_behind_a_long_catching_up() -> None:
    talk = Talk(1_000, room=1)
    talk.stream.start_after(0)
    assert [indexes_of(frame)[0] for frame in talk.push()] == [1]
    talk.directory.update([describe("edge-1")])
    talk.stream.set_lease(LEASE)
    lease, directory, entries = talk.push(room=3)
    assert lease == LEASE and directory_of(directory) == ("edge-1",)
    assert indexes_of(entries)[0] == MOST_ENTRIES + 1


def test_pieces_of_a_snapshot_come_before_entries_and_hold_no_lease_up() -> None:
    talk = Talk(9, room=3)
    talk.directory.update([describe("edge-1")])
    talk.stream.set_lease(LEASE)
    talk.stream.start_with_snapshot(SnapshotFrames(8, SNAPSHOT))
    lease, directory, first = talk.push()
    assert (lease, first) == (LEASE, SNAPSHOT[0]) and directory_of(directory) == ("edge-1",)
    talk.stream.set_lease(LEASE)
    again, second, entry = talk.push(room=3)
    assert (again, second) == (LEASE, SNAPSHOT[1]) and indexes_of(entry) == [9]


def test_of_directories_and_leases_that_wait_only_the_newest_is_sent() -> None:
    talk = Talk(1, room=0)
    talk.stream.start_after(0)
    for node_id, lease in (("older", b"older"), ("newest", b"newest")):
        talk.directory.update([describe(node_id)])
        talk.stream.set_lease(lease)
        assert talk.push() == []
    newest, directory, entry = talk.push(room=9)
    assert newest == b"newest" and directory_of(directory) == ("newest",) and indexes_of(entry) == [1]


def test_entries_that_wait_go_as_one_message_and_each_once() -> None:
    talk = Talk(1)
    talk.stream.start_after(0)
    assert [indexes_of(frame) for frame in talk.push()] == [[1]]
    talk.log.head_index = 8
    talk.entries.log_grew()
    assert [indexes_of(frame) for frame in talk.push()] == [list(range(2, 9))]
    assert talk.push() == []


def test_a_message_of_entries_is_bounded_in_number_and_in_bytes() -> None:
    talk = Talk(MOST_ENTRIES + 1)
    talk.stream.start_after(0)
    assert [len(indexes_of(frame)) for frame in talk.push()] == [MOST_ENTRIES, 1]
    talk = Talk(9)
    talk.log.bytes_each = MOST_BYTES // 2
    talk.stream.start_after(0)
    assert [len(indexes_of(frame)) for frame in talk.push()] == [1] * 9


def test_nodes_that_lack_the_same_get_the_same_bytes() -> None:
    log, directory = Log(5), DirectoryFrames()
    entries = EntryBatches(Frames(log).of(Role.EDGE))
    wires = [Wire(), Wire()]
    for number, wire in enumerate(wires):
        stream = NodeStream(f"edge-{number}", 1, wire, (entries, directory), lambda: 0.0)
        stream.start_after(2)
        stream.push()
    assert wires[0].sent[0] is wires[1].sent[0]


def test_it_is_known_since_when_a_node_has_not_read() -> None:
    talk = Talk(300, room=1)
    talk.stream.start_after(0)
    talk.push()
    talk.now += 5.0
    talk.push()
    assert talk.stream.blocked_since == 100.0
    talk.push(room=9)
    assert talk.stream.blocked_since is None


def test_a_node_behind_what_is_retained_is_told_by_an_error() -> None:
    talk = Talk(9)
    talk.log.oldest_index = 5
    talk.stream.start_after(3)
    with pytest.raises(TooFarBehindError):
        talk.push()
