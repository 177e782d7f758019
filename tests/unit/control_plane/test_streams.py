"""In which order what waits for a node is sent to it."""

import asyncio
from collections.abc import Sequence

from control_plane.change_log import Frames, SnapshotFrames
from control_plane.directory import DirectoryFrames
from control_plane.nodes import NodeDescription, Role
from control_plane.streams import NodeStream
from proto.cdn.v1 import sync_pb2

SNAPSHOT, LEASE = (b"the first piece", b"the second"), b"lease"


class Log:
    """A log of entries up to its head."""

    def __init__(self, head_index: int) -> None:
        self.head_index = head_index

    def entries_after(self, index: int, limit: int) -> Sequence[sync_pb2.Entry]:
        return [sync_pb2.Entry(index=number) for number in range(index + 1, min(index + limit, self.head_index) + 1)]

    def snapshot(self) -> sync_pb2.Snapshot:
        return sync_pb2.Snapshot(index=self.head_index)


def index_of(frame: bytes) -> int:
    return sync_pb2.ControlMessage.FromString(frame).entry.index


def directory_of(frame: bytes) -> tuple[str, ...]:
    return tuple(node.id for node in sync_pb2.ControlMessage.FromString(frame).directory.nodes)


def describe(node_id: str) -> NodeDescription:
    return NodeDescription(node_id, Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


async def test_a_lease_and_the_directory_do_not_wait_behind_a_long_catching_up() -> None:
    directory = DirectoryFrames()
    stream = NodeStream(describe("edge-1"), 1, Frames(Log(1_000)), directory)
    stream.start_after(0)
    assert index_of(await stream.next_frame()) == 1
    directory.update([describe("edge-1")])
    stream.put_lease(LEASE)
    assert await stream.next_frame() == LEASE
    assert directory_of(await stream.next_frame()) == ("edge-1",)
    assert index_of(await stream.next_frame()) == 2


async def test_pieces_of_a_snapshot_come_before_entries_and_hold_no_lease_up() -> None:
    directory = DirectoryFrames()
    directory.update([describe("edge-1")])
    stream = NodeStream(describe("edge-1"), 1, Frames(Log(9)), directory)
    stream.put_lease(LEASE)
    stream.start_with_snapshot(SnapshotFrames(8, SNAPSHOT))
    assert await stream.next_frame() == LEASE
    assert directory_of(await stream.next_frame()) == ("edge-1",)
    assert await stream.next_frame() == SNAPSHOT[0]
    stream.put_lease(LEASE)
    assert [await stream.next_frame() for _ in range(2)] == [LEASE, SNAPSHOT[1]]
    assert index_of(await stream.next_frame()) == 9


async def test_of_directories_and_leases_that_wait_only_the_newest_is_sent() -> None:
    directory = DirectoryFrames()
    stream = NodeStream(describe("edge-1"), 1, Frames(Log(1)), directory)
    stream.start_after(0)
    for node_id, lease in (("older", b"older"), ("newest", b"newest")):
        directory.update([describe(node_id)])
        stream.put_lease(lease)
    assert await stream.next_frame() == b"newest"
    assert directory_of(await stream.next_frame()) == ("newest",)
    assert index_of(await stream.next_frame()) == 1


async def test_a_change_of_the_directory_wakes_a_stream_that_has_nothing_else_to_say() -> None:
    directory = DirectoryFrames()
    stream = NodeStream(describe("edge-1"), 1, Frames(Log(0)), directory)
    stream.start_after(0)
    waiting = asyncio.ensure_future(stream.next_frame())
    await asyncio.sleep(0)
    directory.update([describe("edge-1")])
    stream.directory_changed()
    assert directory_of(await asyncio.wait_for(waiting, 5)) == ("edge-1",)
