"""A disk that is full, slow or broken on purpose: what the store makes of it. Whatever the disk does, a body is handed out as it was put or not at all."""

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_node.storage.disk.errors import DiskCorruptionError
from edge_node.storage.disk.faulty_files import (
    DISK_BIT_FLIP,
    DISK_FULL,
    DISK_READ_ERROR,
    DISK_SLOW,
    DISK_TIER_KINDS,
    STATE_FOLDER_KINDS,
    FaultyDisk,
    FaultyDiskFiles,
)
from edge_node.storage.disk.format import BLOCK_BYTES
from edge_node.storage.disk.proof import SETTLE_NANOSECONDS
from edge_node.storage.disk.record import HELD_BACK_BYTES, MappedBytes
from edge_node.storage.disk.store import LARGEST_SMALL_RECORD_BYTES, DiskStore
from tests.contract.edge_node.storage.test_disk_mapped_bodies import Viewer
from tests.fault_builders import Faults

CAPACITY = 64 * 1024 * 1024
LENGTHS = (1, 1_000, 3 * BLOCK_BYTES + 17, LARGEST_SMALL_RECORD_BYTES + 1, 9 * BLOCK_BYTES + 1_234)
LARGE = LENGTHS[-1]


class LaterFiles(FaultyDiskFiles):
    """Files that were written a while ago, so that what is found right is known to be."""

    def now_ns(self) -> int:
        return super().now_ns() + 10 * SETTLE_NANOSECONDS


class Disk:
    """A store on a disk that can be broken."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.faults = Faults((*STATE_FOLDER_KINDS, *DISK_TIER_KINDS), seed)
        self.pauses: list[float] = []
        disk = FaultyDisk(self.faults.port, self.pauses.append)
        self.store = DiskStore(folder / "cache", CAPACITY, "boot", LaterFiles(disk))

    def put(self, name: str, length: int) -> None:
        """As far as the disk takes it."""
        writer = self.store.open_writer(name.encode(), length)
        if writer is not None and writer.write(content(name, length)):
            writer.commit(b"metadata", 1, b"epoch")
        self.store.flush()

    def got(self, name: str) -> bytes | None:
        """None: it is not there, or broke off."""
        record = self.store.lookup(name.encode())
        if record is None:
            return None
        try:
            return b"".join(record.body.chunks())
        except DiskCorruptionError:
            return None

    def sent(self, name: str, viewer: Viewer, then: Callable[[], None] = lambda: None) -> bytes | None:
        """To a viewer, from the mapped file where that may be; `then` is called when the first piece is on its way. None as above; what has come is in the viewer."""
        viewer.received.clear()
        record = self.store.lookup(name.encode())
        if record is None:
            return None
        try:
            pieces = record.body.sendable_pieces(0, record.length - 1, memoryview(bytearray(4 * BLOCK_BYTES)))
            first = next(pieces)
            then()
            viewer.send(iter((first, *())))
            viewer.send(pieces)
        except (DiskCorruptionError, OSError):
            viewer.drain()
            return None
        return bytes(viewer.received)


def content(name: str, length: int) -> bytes:
    return random.Random(name).randbytes(length)


@pytest.fixture
def open_disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    opened: list[Disk] = []

    def open_it(seed: int) -> Disk:
        opened.append(Disk(tmp_path / str(seed), seed))
        return opened[-1]

    yield open_it
    for each in opened:
        each.store.close()


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    viewer = Viewer()
    yield viewer
    viewer.close()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("probability", [0.05, 0.5, 1.0])
async def test_no_flipped_bit_is_handed_out(
    open_disk: Callable[[int], Disk], viewer: Viewer, seed: int, probability: float
) -> None:
    disk = open_disk(seed)
    bodies = {f"{seed}-{number}-{length}": length for number in range(3) for length in LENGTHS}
    for name, length in bodies.items():
        disk.put(name, length)
    assert [disk.got(name) for name in bodies] == [content(*each) for each in bodies.items()]
    fault = disk.faults.begin(DISK_BIT_FLIP, probability=probability)
    for _ in range(3):
        for name, length in bodies.items():
            assert disk.got(name) in (None, content(name, length))
            assert disk.sent(name, viewer) in (None, content(name, length))
            assert content(name, length).startswith(bytes(viewer.received))
    assert disk.faults.times(DISK_BIT_FLIP) and disk.store.statistics.corrupt_records
    disk.faults.end(fault)
    for name, length in bodies.items():
        disk.put(name, length)
        assert disk.got(name) == disk.sent(name, viewer) == content(name, length)


@pytest.mark.parametrize("kind", [DISK_BIT_FLIP, DISK_READ_ERROR])
async def test_what_is_being_sent_from_the_mapping_breaks_off(
    open_disk: Callable[[int], Disk], viewer: Viewer, kind: str
) -> None:
    disk = open_disk(0)
    disk.put("a", LARGE)
    assert disk.got("a") == content("a", LARGE), "proven from now on"
    record = disk.store.lookup(b"a")
    assert record is not None
    first = next(record.body.sendable_pieces(0, LARGE - 1, memoryview(bytearray(BLOCK_BYTES))))
    assert isinstance(first, MappedBytes) and first.length > LARGE - HELD_BACK_BYTES - BLOCK_BYTES

    def begin() -> None:
        disk.faults.begin(kind)

    assert disk.sent("a", viewer, begin) is None
    assert content("a", LARGE).startswith(bytes(viewer.received))


async def test_a_disk_that_cannot_be_read_has_nothing(open_disk: Callable[[int], Disk]) -> None:
    disk = open_disk(0)
    disk.put("a", 1_000)
    fault = disk.faults.begin(DISK_READ_ERROR)
    assert disk.got("a") is None
    disk.faults.end(fault)
    disk.put("a", 1_000)
    assert disk.got("a") == content("a", 1_000)


@pytest.mark.parametrize("length", [1_000, LARGE])
async def test_a_full_disk_keeps_what_it_has(open_disk: Callable[[int], Disk], length: int) -> None:
    disk = open_disk(0)
    disk.put("before", length)
    fault = disk.faults.begin(DISK_FULL)
    disk.put("meanwhile", length)
    assert disk.store.statistics.write_errors and disk.got("before") == content("before", length)
    assert disk.got("meanwhile") is None
    disk.faults.end(fault)
    disk.put("after", length)
    assert disk.got("after") == content("after", length)


async def test_a_slow_disk_takes_its_time_for_each_operation(open_disk: Callable[[int], Disk], viewer: Viewer) -> None:
    disk = open_disk(0)
    disk.put("a", LARGE)
    assert disk.got("a") == content("a", LARGE) and not disk.pauses
    fault = disk.faults.begin(DISK_SLOW, by=0.02)
    assert disk.sent("a", viewer) == content("a", LARGE), "also what comes from the mapping"
    assert disk.pauses and set(disk.pauses) == {0.02} and disk.faults.times(DISK_SLOW) == len(disk.pauses)
    disk.faults.end(fault)
    disk.pauses.clear()
    with contextlib.suppress(DiskCorruptionError):
        disk.got("a")
    assert not disk.pauses
