"""The index at the end of a full segment (edge_node/storage/disk/segment_index.py): a start reads it in place of the records, and believes nothing that is odd.

Records are compared with what was put, as the generator of the test knows it: whatever happens to an index, none is lost, and none that was removed comes back.
"""

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_node.storage.disk.files import DiskFiles
from edge_node.storage.disk.format import DEAD, INDEX, LIVE, parse_file_name
from edge_node.storage.disk.segment_index import index_length, read_index, state_offset
from edge_node.storage.disk.store import DiskStore

CAPACITY = 8 * 1024 * 1024
"""Segments of 32 KiB."""
LARGE_CAPACITY = 64 * CAPACITY
"""Segments of 2 MiB."""
BOOT = "this boot"
COUNT = 100

Bodies = dict[bytes, bytes]


class CountingFiles(DiskFiles):
    """What is read of the files."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        data = super().read(descriptor, length, offset)
        self.read_bytes += len(data)
        return data


@contextlib.contextmanager
def opened(
    folder: Path,
    files: DiskFiles | None = None,
    boot: str = BOOT,
    is_noted: Callable[[bytes], bool] | None = None,
    capacity: int = CAPACITY,
) -> Iterator[DiskStore]:
    def never(_: bytes) -> bool:
        return False

    with contextlib.closing(DiskStore(folder, capacity, boot, files, is_noted or never)) as store:
        yield store


def put(store: DiskStore, name: str, length: int = 200, metadata: bytes = b"about") -> Bodies:
    body = random.Random(name).randbytes(length)
    writer = store.open_writer(name.encode(), length)
    assert writer is not None and writer.write(body) and writer.commit(metadata, 1, b"log")
    return {name.encode(): body}


def put_many(store: DiskStore, count: int = COUNT, length: int = 200) -> Bodies:
    bodies: Bodies = {}
    for number in range(count):
        bodies |= put(store, f"key {number}", length)
    return bodies


def found(store: DiskStore, bodies: Bodies) -> Bodies:
    """Of these keys."""
    records = {key: store.lookup(key) for key in bodies}
    return {key: b"".join(record.body.chunks()) for key, record in records.items() if record is not None}


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "records").glob("*.segment"))


def index_offset(path: Path) -> int:
    data, name = path.read_bytes(), parse_file_name(path.name)
    assert name is not None
    return data.index(name.marker + INDEX)


def stop(folder: Path) -> Path:
    """The folder as kill -9 leaves it now."""
    return Path(shutil.copytree(folder, folder.parent / "after", dirs_exist_ok=True))


def set_byte(path: Path, offset: int, change: Callable[[int], int]) -> None:
    data = bytearray(path.read_bytes())
    data[offset] = change(data[offset])
    path.write_bytes(data)


def test_a_start_after_a_clean_end_reads_a_small_part_of_the_records(tmp_path: Path) -> None:
    with opened(tmp_path / "disk", capacity=LARGE_CAPACITY) as store:
        bodies = put_many(store, 3_000, 3_000)
    files, size = CountingFiles(), sum(path.stat().st_size for path in segments(tmp_path / "disk"))
    with opened(tmp_path / "disk", files, capacity=LARGE_CAPACITY) as store:
        assert store.statistics.recovered_records == 3_000 and files.read_bytes < size // 40
        read = files.read_bytes
        assert found(store, bodies) == bodies and files.read_bytes - read > 9_000_000
    assert all(index_offset(path) > 0 for path in segments(tmp_path / "disk"))


def test_after_kill_9_only_the_segment_that_was_being_written_is_walked_and_once(tmp_path: Path) -> None:
    with opened(tmp_path / "disk", capacity=LARGE_CAPACITY) as store:
        bodies = put_many(store, 3_000, 3_000)
        store.flush()
        folder = stop(tmp_path / "disk")
    walked = CountingFiles()
    with opened(folder, walked, capacity=LARGE_CAPACITY) as store:
        assert store.statistics.recovered_records == 3_000 and store.statistics.corrupt_records == 0
        assert len(segments(folder)) == 5 and walked.read_bytes < 2_500_000
        assert found(store, bodies) == bodies
        folder_again = Path(shutil.copytree(folder, tmp_path / "killed again"))
    files = CountingFiles()
    with opened(folder_again, files, capacity=LARGE_CAPACITY) as store:
        by_index = files.read_bytes
        assert found(store, bodies) == bodies
        assert by_index <= 6 * 32 * 1024, "the start gave each file that was walked its index"
        assert store.statistics.used_bytes == sum(path.stat().st_size for path in (folder_again / "records").iterdir())


def test_an_index_that_is_torn_at_any_byte_costs_nothing_but_time(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store, 8)
    (path,) = segments(tmp_path / "disk")
    data, offset = path.read_bytes(), index_offset(path)
    assert len(data) - offset == index_length(8)
    for length in range(offset, len(data)):
        path.write_bytes(data[:length])
        with opened(tmp_path / "disk") as store:
            assert found(store, bodies) == bodies
            assert store.statistics.corrupt_records <= (offset < length < offset + 12)
            assert store.statistics.used_bytes == path.stat().st_size == len(data), "it has its index again"


def test_an_index_with_any_bit_flipped_costs_nothing_but_time(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store, 4)
    (path,) = segments(tmp_path / "disk")
    data, offset = path.read_bytes(), index_offset(path)
    for at in range(offset, len(data)):
        for bit in (0, 5):
            set_byte(path, at, lambda byte, bit=bit: byte ^ 1 << bit)  # type: ignore[misc]
            with opened(tmp_path / "disk") as store:
                assert found(store, bodies) == bodies, f"byte {at - offset} of the index"
                assert store.statistics.records == 4 and store.statistics.corrupt_records <= 1
            path.write_bytes(data)


def test_the_index_of_another_boot_is_void_with_its_records(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store)
    with opened(tmp_path / "disk", boot="next boot") as store:
        assert found(store, bodies) == {} and store.statistics.used_bytes == 0


def test_records_that_were_put_after_the_last_index_are_found(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store)
    with opened(tmp_path / "disk") as store:
        bodies |= put(store, "key 5", 333) | put(store, "late") | put(store, "large", 700_000)
        store.remove(b"key 6")
        store.flush()
        folder = stop(tmp_path / "disk")
    del bodies[b"key 6"]
    with opened(folder) as store:
        assert found(store, bodies | {b"key 6": b""}) == bodies
        assert store.statistics.records == len(bodies) and store.statistics.corrupt_records == 0


def test_what_is_removed_or_replaced_is_so_in_the_index_too(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store)
    with opened(tmp_path / "disk") as store:
        for number in range(0, COUNT, 3):
            store.remove(b"key %d" % number)
            del bodies[b"key %d" % number]
        bodies |= put(store, "key 1", 77)
    files = CountingFiles()
    with opened(tmp_path / "disk", files) as store:
        assert store.statistics.recovered_records == len(bodies)
        by_index = sum(min(path.stat().st_size, 32 * 1024) for path in segments(tmp_path / "disk"))
        assert files.read_bytes <= 2 * by_index, "no head was read"
        assert found(store, bodies | {b"key 0": b""}) == bodies


def make_stale(path: Path, removed: set[int], count: int) -> None:
    """As if the process had been killed between the mark of a record and that of the index."""
    data, offset = bytearray(path.read_bytes()), index_offset(path)
    for position in removed:
        at = state_offset(offset, count, position)
        assert data[at : at + 4] == DEAD
        data[at : at + 4] = LIVE
    path.write_bytes(data)


def test_a_removed_record_that_the_index_still_has_stays_away(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store)
    with opened(tmp_path / "disk") as store:
        store.remove(b"key 7")
        store.remove(b"key 8")
        bodies |= put(store, "key 8", 50)
        store.flush()
    del bodies[b"key 7"]
    old = segments(tmp_path / "disk")[0]
    make_stale(old, {7, 8}, COUNT)
    with opened(tmp_path / "disk") as store:
        assert found(store, bodies | {b"key 7": b""}) == bodies
        assert (store.statistics.records, store.statistics.corrupt_records) == (len(bodies), 0)
        store.remove(b"key 8")
        del bodies[b"key 8"]
    set_byte(old, old.stat().st_size - 1, lambda byte: byte ^ 1)  # the index is not believed any more: the records tell
    with opened(tmp_path / "disk") as store:
        assert found(store, bodies | {b"key 7": b"", b"key 8": b""}) == bodies
        assert store.statistics.records == len(bodies)


def test_a_stale_index_does_not_let_a_removed_record_be_copied_when_its_file_leaves(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store, 50)
    with opened(tmp_path / "disk") as store:
        for number in range(25):
            store.remove(b"key %d" % number)
    make_stale(segments(tmp_path / "disk")[0], set(range(25)), 50)
    with opened(tmp_path / "disk") as store:
        found(store, {b"key %d" % number: b"" for number in range(10, 50)})  # used: they are copied
        number = 0
        while not store.statistics.copied_records or found(store, bodies).keys() & {b"key 0"}:
            put(store, f"filler {number}", 20_000)
            number += 1
        store.flush()
        folder = stop(tmp_path / "disk")
    with opened(folder) as store:
        gone = {b"key %d" % number: b"" for number in range(25)}
        assert found(store, gone) == {}


@pytest.mark.parametrize("place", ["head", "body"])
def test_damage_under_a_good_index_costs_its_record_when_that_is_looked_up(tmp_path: Path, place: str) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store, 10)
    (path,) = segments(tmp_path / "disk")
    at = path.read_bytes().index(b"key 4" if place == "head" else bodies[b"key 4"])
    set_byte(path, at, lambda byte: byte ^ 1)
    with opened(tmp_path / "disk") as store:
        if place == "head":
            assert store.lookup(b"key 4") is None and store.statistics.corrupt_records == 1
        del bodies[b"key 4"]
        assert found(store, bodies) == bodies


def test_a_segment_that_came_from_another_folder_is_walked(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        bodies = put_many(store)
    with opened(tmp_path / "other") as store:
        more = put(store, "one") | put(store, "two")
    (foreign,) = segments(tmp_path / "other")
    name = foreign.name.replace("000000001", "000000777")
    foreign.rename(tmp_path / "disk" / "records" / name)
    for _ in range(2):
        with opened(tmp_path / "disk") as store:
            assert found(store, bodies | more) == bodies | more and store.statistics.corrupt_records == 0


def test_noted_records_are_known_after_each_kind_of_end_and_only_their_files_are_read(tmp_path: Path) -> None:
    def is_noted(metadata: bytes) -> bool:
        return metadata.startswith(b"!")

    with opened(tmp_path / "disk", is_noted=is_noted) as store:
        put(store, "small", 100, b"!")
        put(store, "removed", 100, b"!")
        put_many(store, 300, 20_000)
        put(store, "large", 700_000, b"!!")
        put(store, "last", 100, b"!")
        store.remove(b"removed")
        store.flush()
        killed = stop(tmp_path / "disk")
    for folder in (tmp_path / "disk", killed, killed):
        files = CountingFiles()
        with opened(folder, files, is_noted=is_noted) as store:
            before = files.read_bytes
            assert {summary.key for summary in store.noted_records()} == {b"small", b"large", b"last"}
            assert files.read_bytes - before < 1_500_000 < 6_000_000 < store.statistics.used_bytes


def test_an_index_is_not_written_where_it_would_take_the_room_of_records(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        for number in range(3_000):
            put(store, str(number), 4_000)
            assert store.statistics.used_bytes <= CAPACITY
        assert store.statistics.evictions
        store.flush()
        assert store.statistics.used_bytes == sum(path.stat().st_size for path in segments(tmp_path / "disk"))


def test_an_index_of_other_bytes_than_its_file_says_is_none(tmp_path: Path) -> None:
    with opened(tmp_path / "disk") as store:
        put_many(store, 5)
    (path,) = segments(tmp_path / "disk")
    data, name = path.read_bytes(), parse_file_name(path.name)
    assert name is not None

    def read_of(content: bytes) -> Callable[[int, int], bytes]:
        return lambda length, at: content[at : at + length]

    assert read_index(read_of(data), len(data), name.marker) is not None
    assert read_index(read_of(data), len(data), bytes(8)) is None
    assert read_index(read_of(b"x" + data), len(data) + 1, name.marker) is None
    assert read_index(read_of(data[:100]), len(data), name.marker) is None
    assert all(read_index(read_of(data[:length]), length, name.marker) is None for length in range(len(data)))
