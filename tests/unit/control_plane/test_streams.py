"""In which order what waits for a node is sent to it."""

from collections.abc import Sequence

from control_plane.change_log import Frames
from control_plane.streams import NodeStream
from proto.cdn.v1 import sync_pb2

SNAPSHOT, LEASE, DIRECTORY = b"snapshot", b"lease", b"directory"


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


async def test_a_lease_and_the_directory_do_not_wait_behind_a_long_catching_up() -> None:
    stream = NodeStream("edge-1", 1, Frames(Log(1_000)))
    stream.start_after(0)
    assert index_of(await stream.next_frame()) == 1
    stream.put_directory(DIRECTORY)
    stream.put_lease(LEASE)
    assert [await stream.next_frame() for _ in range(2)] == [LEASE, DIRECTORY]
    assert index_of(await stream.next_frame()) == 2


async def test_a_snapshot_comes_before_everything_that_may_refer_to_it() -> None:
    stream = NodeStream("edge-1", 1, Frames(Log(9)))
    stream.put_directory(DIRECTORY)
    stream.put_lease(LEASE)
    stream.start_with_snapshot(8, SNAPSHOT)
    assert [await stream.next_frame() for _ in range(3)] == [SNAPSHOT, LEASE, DIRECTORY]
    assert index_of(await stream.next_frame()) == 9


async def test_of_directories_and_leases_that_wait_only_the_newest_is_sent() -> None:
    stream = NodeStream("edge-1", 1, Frames(Log(1)))
    stream.start_after(0)
    for frame in (b"older", b"newest"):
        stream.put_directory(frame)
        stream.put_lease(frame)
    assert [await stream.next_frame() for _ in range(2)] == [b"newest", b"newest"]
    assert index_of(await stream.next_frame()) == 1
