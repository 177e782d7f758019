"""Bodies that go from a mapped file to a socket (edge_node/storage/disk/record.py, storage/disk/mapping.py): proven once, never wrong, never touched by this process.

What a socket received is compared with what was put, as the generator of the test knows it.
"""

import contextlib
import errno
import mmap
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_node.storage.disk.errors import DiskCorruptionError
from edge_node.storage.disk.files import DiskFiles
from edge_node.storage.disk.format import BLOCK_BYTES, LOCATOR_BYTES
from edge_node.storage.disk.mapping import WINDOW_BYTES, Windows
from edge_node.storage.disk.proof import SETTLE_NANOSECONDS, FileState, Proof
from edge_node.storage.disk.record import HELD_BACK_BYTES, DiskRecord, MappedBytes
from edge_node.storage.disk.store import DiskStore

CAPACITY = 64 * 1024 * 1024
LENGTH = 9 * BLOCK_BYTES + 1_234
MAPPED = LENGTH - HELD_BACK_BYTES
PAGE = mmap.PAGESIZE

Open = Callable[[], DiskStore]


class LaterFiles(DiskFiles):
    """Files that were written a while ago, and what is read of them is counted."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.later_ns = 10 * SETTLE_NANOSECONDS

    def now_ns(self) -> int:
        return super().now_ns() + self.later_ns

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        count = super().read_into(descriptor, buffer, offset)
        self.read_bytes += count
        return count


class Viewer:
    """The two ends of a connection; the far one takes what comes as it is told to."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.received = bytearray()

    def take(self, most: int = 1 << 20) -> None:
        """What is there, up to so many bytes."""
        with contextlib.suppress(BlockingIOError):
            self.received += self.far.recv(most)

    def send(self, pieces: Iterator[memoryview | MappedBytes], most_at_once: int = 1 << 20) -> int:
        """All pieces, as a sender does; how many bytes came from a mapping."""
        mapped = 0
        for piece in pieces:
            if not isinstance(piece, MappedBytes):
                self.drain()
                self.received += piece
                continue
            mapped += piece.length
            sent = 0
            while sent < piece.length:
                try:
                    sent += piece.write_to(self.near.fileno(), sent)
                except BlockingIOError:
                    self.take(most_at_once)
        self.drain()
        return mapped

    def drain(self) -> None:
        """Everything that is on its way."""
        before = -1
        while before < len(self.received):
            before = len(self.received)
            self.take()

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    viewer = Viewer()
    yield viewer
    viewer.close()


@pytest.fixture
def files() -> LaterFiles:
    return LaterFiles()


@pytest.fixture
def open_store(tmp_path: Path, files: LaterFiles) -> Iterator[Open]:
    """Opens the store of this test; the one before is closed."""
    opened: list[DiskStore] = []

    def open_it() -> DiskStore:
        for store in opened:
            store.close()
        opened[:] = [DiskStore(tmp_path / "disk", CAPACITY, "boot", files)]
        return opened[0]

    yield open_it
    for store in opened:
        store.close()


def content(name: str, length: int = LENGTH) -> bytes:
    return random.Random(name).randbytes(length)


def put(store: DiskStore, name: str, length: int = LENGTH) -> DiskRecord:
    writer = store.open_writer(name.encode(), length)
    assert writer is not None and writer.write(content(name, length)) and writer.commit(b"", 1)
    return found(store, name)


def found(store: DiskStore, name: str) -> DiskRecord:
    record = store.lookup(name.encode())
    assert record is not None
    return record


def pieces_of(record: DiskRecord, first: int = 0, last: int | None = None) -> Iterator[memoryview | MappedBytes]:
    buffer = memoryview(bytearray(2 * BLOCK_BYTES))
    return record.body.sendable_pieces(first, record.length - 1 if last is None else last, buffer)


def prove(record: DiskRecord) -> None:
    assert not any(isinstance(piece, MappedBytes) for piece in pieces_of(record))


def file_of(folder: Path) -> Path:
    (path,) = (folder / "disk" / "records").glob("*.body")
    return path


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ 1,)))


def test_the_system_says_efault_for_a_mapped_page_that_is_gone_and_sends_no_signal(
    tmp_path: Path, viewer: Viewer
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * PAGE))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        os.truncate(path, PAGE)
        with memoryview(mapped) as whole, pytest.raises(OSError) as refusal:
            os.write(viewer.near.fileno(), whole[2 * PAGE :])
        assert refusal.value.errno == errno.EFAULT


def test_each_block_is_read_and_checked_once_and_then_comes_from_the_mapping(
    open_store: Open, files: LaterFiles, viewer: Viewer
) -> None:
    record = put(open_store(), "a")
    assert viewer.send(pieces_of(record)) == 0 and files.read_bytes == LENGTH
    assert viewer.send(pieces_of(record)) == MAPPED and files.read_bytes == LENGTH, "but for the end of a range"
    record = found(open_store(), "a")  # a start proves again
    assert viewer.send(pieces_of(record)) == 0
    assert viewer.received == 3 * content("a")


def test_all_ranges_are_the_same_however_much_of_the_body_is_proven(open_store: Open, viewer: Viewer) -> None:
    body, edges = content("a"), [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 5 * BLOCK_BYTES + 7, 9 * BLOCK_BYTES, LENGTH - 1]
    ranges = [(first, last) for first in edges for last in edges if first <= last]
    for seed in range(6):
        record = put(open_store(), "a")
        random.Random(seed).shuffle(ranges)
        for first, last in ranges:
            viewer.received.clear()
            viewer.send(pieces_of(record, first, last))
            assert viewer.received == body[first : last + 1]
    assert viewer.send(pieces_of(record, 3, LENGTH - 2)) > 7 * BLOCK_BYTES


@pytest.mark.parametrize("most_at_once", [1, 4_000, 100_000])
def test_a_slow_viewer_gets_the_rest_from_the_mapping(open_store: Open, viewer: Viewer, most_at_once: int) -> None:
    viewer.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    record = put(open_store(), "a")
    prove(record)
    assert viewer.send(pieces_of(record), max(most_at_once, 1_000)) == MAPPED
    assert viewer.received == content("a")


@pytest.mark.parametrize("block", [0, 4, 8, 9])
def test_a_block_that_was_damaged_before_its_first_use_is_never_sent(
    open_store: Open, tmp_path: Path, viewer: Viewer, block: int
) -> None:
    put(open_store(), "a")
    flip(file_of(tmp_path), LOCATOR_BYTES + block * BLOCK_BYTES + 77)
    store = open_store()
    record = found(store, "a")
    if block == 8:
        assert viewer.send(pieces_of(record, 0, 7 * BLOCK_BYTES)) == 0  # those before it are good, and proven
        viewer.received.clear()
    with pytest.raises(DiskCorruptionError):
        viewer.send(pieces_of(record))
    viewer.drain()
    assert content("a").startswith(bytes(viewer.received)) and len(viewer.received) <= block * BLOCK_BYTES
    assert store.lookup(b"a") is None and store.statistics.corrupt_records == 1


@pytest.mark.parametrize("block", [0, 4, 9])
def test_a_file_that_was_written_to_after_the_proof_is_proven_again(
    open_store: Open, tmp_path: Path, viewer: Viewer, block: int
) -> None:
    store = open_store()
    record = put(store, "a")
    prove(record)
    flip(file_of(tmp_path), LOCATOR_BYTES + block * BLOCK_BYTES + 77)
    with pytest.raises(DiskCorruptionError):
        viewer.send(pieces_of(record))
    viewer.drain()
    assert content("a").startswith(bytes(viewer.received)) and len(viewer.received) <= block * BLOCK_BYTES
    assert store.lookup(b"a") is None


def test_a_file_of_which_only_the_time_was_changed_is_proven_again_and_kept(
    open_store: Open, tmp_path: Path, viewer: Viewer
) -> None:
    store = open_store()
    record = put(store, "a")
    prove(record)
    os.utime(file_of(tmp_path), ns=(1, 1))
    assert viewer.send(pieces_of(record)) == 0
    assert viewer.send(pieces_of(record)) == MAPPED
    assert viewer.received == 2 * content("a") and store.statistics.corrupt_records == 0


def test_a_file_that_was_replaced_by_another_one_is_not_taken_for_it(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    prove(put(store, "a"))
    path = file_of(tmp_path)
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[LOCATOR_BYTES + 5] ^= 1
    (tmp_path / "other").write_bytes(data)
    os.utime(tmp_path / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "other").rename(path)
    store._segments.close()  # the store opens it again
    with pytest.raises(DiskCorruptionError):
        list(pieces_of(found(store, "a")))


def finish(viewer: Viewer, piece: MappedBytes, sent: int, pieces: Iterator[memoryview | MappedBytes]) -> None:
    """The rest of a piece, and all others."""
    while sent < piece.length:
        sent += piece.write_to(viewer.near.fileno(), sent)
        viewer.drain()
    viewer.send(pieces)


CUTS = [0, LOCATOR_BYTES, PAGE, PAGE + 1, 4 * BLOCK_BYTES + 100, 8 * BLOCK_BYTES, LOCATOR_BYTES + LENGTH + 1]


@pytest.mark.parametrize("length", CUTS)
@pytest.mark.parametrize("is_grown_again", [False, True])
@pytest.mark.parametrize("is_under_way", [False, True])
def test_a_file_that_is_cut_while_it_is_served_ends_the_answer_before_it_is_whole(
    open_store: Open, tmp_path: Path, viewer: Viewer, length: int, is_grown_again: bool, is_under_way: bool
) -> None:
    store = open_store()
    record = put(store, "a")
    prove(record)
    pieces = pieces_of(record)
    piece = next(pieces)
    assert isinstance(piece, MappedBytes)
    sent = piece.write_to(viewer.near.fileno(), 0) if is_under_way else 0
    viewer.drain()
    assert viewer.received == content("a")[:sent]
    path = file_of(tmp_path)
    size = path.stat().st_size
    os.truncate(path, length)
    if is_grown_again:
        os.truncate(path, size)
    with pytest.raises(DiskCorruptionError):
        finish(viewer, piece, sent, pieces)
    viewer.drain()
    assert len(viewer.received) < LENGTH
    if is_under_way:
        assert viewer.received == content("a")[: len(viewer.received)]
    assert store.lookup(b"a") is None and store.statistics.corrupt_records == 1
    with pytest.raises(DiskCorruptionError):
        piece.copy(0, 10)


def test_what_waits_for_a_slow_viewer_is_read_and_not_touched_in_the_mapping(open_store: Open) -> None:
    record = put(open_store(), "a")
    prove(record)
    piece = next(pieces_of(record, 7))
    assert isinstance(piece, MappedBytes)
    assert piece.copy(0, 1_000) == content("a")[7:1_007]
    assert piece.copy(piece.length - 5, 5) == content("a")[piece.length + 2 : piece.length + 7]


def test_a_file_that_is_too_young_is_read_each_time(open_store: Open, files: LaterFiles, viewer: Viewer) -> None:
    files.later_ns = 0
    store = open_store()
    record = put(store, "a")
    files.later_ns = -SETTLE_NANOSECONDS
    assert viewer.send(pieces_of(record)) == viewer.send(pieces_of(record)) == 0
    files.later_ns = 10 * SETTLE_NANOSECONDS
    assert viewer.send(pieces_of(record)) == 0 and viewer.send(pieces_of(record)) == MAPPED
    assert viewer.received == 4 * content("a")


def test_a_body_that_shares_its_file_is_never_mapped(open_store: Open, viewer: Viewer) -> None:
    record = put(open_store(), "a", 100_000)
    assert viewer.send(pieces_of(record)) == viewer.send(pieces_of(record)) == 0
    assert viewer.received == 2 * content("a", 100_000)


def mapped_files() -> set[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split("/")[-1].removesuffix(" (deleted)") for line in lines if ".body" in line}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are looked up in /proc")
def test_a_body_is_unmapped_with_its_file_and_its_room_is_free_then(
    open_store: Open, tmp_path: Path, viewer: Viewer
) -> None:
    store = open_store()
    record = put(store, "a")
    path = file_of(tmp_path)
    prove(record)
    descriptors = len(os.listdir("/proc/self/fd"))
    pieces = pieces_of(record)
    piece = next(pieces)
    assert path.name in mapped_files() and len(os.listdir("/proc/self/fd")) == descriptors + 1
    store.remove(b"a")
    assert isinstance(piece, MappedBytes) and store.statistics.used_bytes >= LENGTH
    assert viewer.send(iter([piece])) == MAPPED  # whoever has it, may send it
    assert viewer.received == content("a")[:MAPPED]
    del piece, pieces, record
    assert path.name not in mapped_files() and len(os.listdir("/proc/self/fd")) == descriptors - 1
    assert store.statistics.used_bytes == 0


def test_there_are_never_more_windows_than_the_bound_and_the_oldest_leaves(tmp_path: Path) -> None:
    windows = Windows(most=3)
    path = tmp_path / "file"
    with path.open("w+b") as file:
        file.truncate(5 * WINDOW_BYTES - 7)
        sizes = [len(windows.get(file.fileno(), number, 5 * WINDOW_BYTES - 7)) for number in range(5)]
        assert sizes == [WINDOW_BYTES] * 4 + [WINDOW_BYTES - 7] and len(windows) == 3
        last = windows.get(file.fileno(), 4, 5 * WINDOW_BYTES - 7)
        assert windows.get(file.fileno(), 4, 5 * WINDOW_BYTES - 7) is last
        file.truncate(PAGE)
        with pytest.raises(OSError):
            windows.get(file.fileno(), 1, 5 * WINDOW_BYTES - 7)
        windows.drop(file.fileno(), 5 * WINDOW_BYTES - 7)
        assert len(windows) == 0


def test_a_body_of_several_windows_is_sent_whole(open_store: Open, tmp_path: Path, files: LaterFiles) -> None:
    store = DiskStore(tmp_path / "large", 8 * WINDOW_BYTES, "boot", files)
    viewer, length = Viewer(), 2 * WINDOW_BYTES - 50_000
    try:
        record = put(store, "a", length)
        for _ in pieces_of(record):
            pass
        assert viewer.send(pieces_of(record)) == length - HELD_BACK_BYTES
        assert viewer.received == content("a", length)
    finally:
        viewer.close()
        store.close()


def test_what_was_proven_of_one_state_of_a_file_says_nothing_of_another() -> None:
    proof, state = Proof(10), FileState(1, 2, 3, 4)
    late = 4 + SETTLE_NANOSECONDS
    proof.add(2, 5, state, late)
    assert [proof.end_of_proven(first, 10) for first in (0, 2, 4, 5)] == [0, 5, 5, 5]
    assert proof.end_of_proven(2, 4) == 4
    proof.add(5, 6, state, late - 1)
    assert proof.end_of_proven(2, 10) == 5, "too young"
    proof.add(0, 1, state._replace(inode=7), late)
    assert [proof.end_of_proven(first, 10) for first in (0, 2)] == [1, 2]
    proof.forget()
    assert proof.end_of_proven(0, 10) == 0 and proof.state is None
