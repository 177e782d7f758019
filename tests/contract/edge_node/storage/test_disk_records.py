"""What the disk store promises its owner (edge_node/storage/disk), on a real folder: what is found, what is forgotten, what leaves, what damage costs."""

import contextlib
import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_node.storage.disk.disk_budget import SMALLEST_CAPACITY_BYTES
from edge_node.storage.disk.errors import (
    DiskCorruptionError,
    DiskRemovalError,
    DiskStoreError,
    DiskStoreLockedError,
)
from edge_node.storage.disk.files import DiskFiles
from edge_node.storage.disk.format import BLOCK_BYTES, DEAD, LIVE
from edge_node.storage.disk.record import DiskRecord
from edge_node.storage.disk.store import DiskStore

CAPACITY = 8 * 1024 * 1024
BOOT = "this boot"
LARGE = 700_000
"""Bytes of a body that gets a file of its own."""
SIZES = (0, 1, 4_000, 20_000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 4 * BLOCK_BYTES, LARGE)

Open = Callable[..., DiskStore]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    """Opens the store of this test; the one before is closed."""
    opened: list[DiskStore] = []

    def open_it(capacity: int = CAPACITY, boot: str = BOOT, files: DiskFiles | None = None) -> DiskStore:
        for store in opened:
            store.close()
        opened[:] = [DiskStore(tmp_path / "disk", capacity, boot, files)]
        return opened[0]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> DiskStore:
    return open_store()


def content(name: str, length: int) -> bytes:
    return random.Random(name).randbytes(length)


def put(store: DiskStore, name: str, body: bytes = b"hello", stamp: int = 1) -> bool:
    writer = store.open_writer(name.encode(), len(body))
    assert writer is not None
    return writer.write(body) and writer.commit(b"about " + name.encode(), stamp, b"log 1")


def found(store: DiskStore, name: str) -> bytes | None:
    record = store.lookup(name.encode())
    return None if record is None else body_of(record)


def body_of(record: DiskRecord, first: int = 0, last: int | None = None) -> bytes:
    return b"".join(record.body.chunks(first, last))


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def record_files(folder: Path) -> list[Path]:
    return sorted((folder / "disk" / "records").iterdir())


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("length", SIZES)
@pytest.mark.parametrize("is_reopened", [False, True])
def test_what_is_committed_is_found_with_all_that_came_with_it(
    open_store: Open, length: int, is_reopened: bool
) -> None:
    store, body = open_store(), content("a", length)
    assert put(store, "a", body, stamp=2**40)
    if is_reopened:
        store = open_store()
        assert store.statistics.recovered_records == 1
    record = store.lookup(b"a")
    assert record is not None
    assert (record.key, record.metadata, record.stamp, record.epoch_id) == (b"a", b"about a", 2**40, b"log 1")
    assert (record.length, record.body.length) == (length, length)
    assert body_of(record) == body
    assert store.lookup(b"b") is None
    assert [tuple(summary) for summary in store.records()] == [(b"a", b"about a", 2**40, b"log 1", length)]


@pytest.mark.parametrize("chunk", [1_000, BLOCK_BYTES, 300_000])
def test_how_a_body_arrives_makes_no_difference(store: DiskStore, chunk: int) -> None:
    body = content("a", LARGE)
    writer = store.open_writer(b"a", None)
    assert writer is not None
    for at in range(0, len(body), chunk):
        assert writer.write(memoryview(body)[at : at + chunk])
    assert writer.commit(b"", 1)
    assert found(store, "a") == body


@pytest.mark.parametrize("length", [30_000, LARGE])
def test_any_range_of_a_body_can_be_had(store: DiskStore, length: int) -> None:
    body = content("a", length)
    put(store, "a", body)
    record = store.lookup(b"a")
    assert record is not None
    edges = sorted({0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 4 * BLOCK_BYTES, 5 * BLOCK_BYTES + 7, length - 1})
    for first in (edge for edge in edges if edge < length):
        for last in (edge for edge in edges if first <= edge < length):
            assert body_of(record, first, last) == body[first : last + 1]
    assert body_of(record, length - 5, length + 5) == body[-5:]
    assert body_of(record, length) == b""
    assert max(len(piece) for piece in record.body.chunks()) <= 4 * BLOCK_BYTES


@pytest.mark.parametrize("length", [100, LARGE])
def test_an_unfinished_write_is_no_record(open_store: Open, tmp_path: Path, length: int) -> None:
    store = open_store()
    empty = store.statistics.used_bytes
    writer = store.open_writer(b"a", length)
    assert writer is not None and writer.write(bytes(length))
    assert store.lookup(b"a") is None
    writer.abort()
    writer.abort()
    assert not writer.write(b"more")
    assert not writer.commit(b"", 1)
    assert store.lookup(b"a") is None
    assert (store.statistics.used_bytes, store.statistics.records) == (empty, 0)
    assert not any((tmp_path / "disk" / "arriving").iterdir())
    assert open_store().lookup(b"a") is None


def test_a_writer_that_is_abandoned_releases_its_room(store: DiskStore, tmp_path: Path) -> None:
    writer = store.open_writer(b"a", None)
    assert writer is not None and writer.write(bytes(LARGE))
    assert store.statistics.used_bytes > 0
    del writer
    assert store.statistics.used_bytes == 0
    assert not any((tmp_path / "disk" / "arriving").iterdir())


@pytest.mark.parametrize("is_reopened", [False, True])
@pytest.mark.parametrize(("old", "new"), [(100, 200), (100, LARGE), (LARGE, 100), (LARGE, LARGE)])
def test_the_later_record_of_a_key_wins(open_store: Open, old: int, new: int, is_reopened: bool) -> None:
    store = open_store()
    put(store, "a", content("old", old))
    store.flush()
    put(store, "a", content("new", new), stamp=2)
    if is_reopened:
        store = open_store()
    assert found(store, "a") == content("new", new)
    assert store.statistics.records == 1
    store.remove(b"a")
    assert open_store().lookup(b"a") is None


@pytest.mark.parametrize("is_flushed", [False, True])
@pytest.mark.parametrize("length", [100, LARGE])
def test_what_is_removed_stays_away(open_store: Open, length: int, is_flushed: bool) -> None:
    store = open_store()
    put(store, "a", content("a", length))
    put(store, "b")
    if is_flushed:
        store.flush()
    store.remove(b"a")
    store.remove(b"a")
    assert store.lookup(b"a") is None and found(store, "b") == b"hello"
    store = open_store()
    assert store.lookup(b"a") is None and found(store, "b") == b"hello"
    assert store.statistics.corrupt_records == 0


def test_a_file_without_records_is_removed(store: DiskStore, tmp_path: Path) -> None:
    number = 0
    while len(record_files(tmp_path)) < 3:
        put(store, str(number), bytes(1_000))
        store.flush()
        number += 1
    for name in range(number):
        store.remove(str(name).encode())
    assert len(record_files(tmp_path)) == 1  # the one that is being written
    assert store.statistics.records == 0


@pytest.mark.parametrize("is_reopened", [False, True])
def test_clear_forgets_all_records_but_not_what_arrives(open_store: Open, tmp_path: Path, is_reopened: bool) -> None:
    store = open_store()
    writer = store.open_writer(b"late", None)
    assert writer is not None and writer.write(content("late", LARGE))
    for number in range(300):
        put(store, str(number), content(str(number), 5_000))
    put(store, "large", content("large", LARGE))
    store.clear()
    assert all(store.lookup(str(number).encode()) is None for number in range(300))
    assert store.lookup(b"large") is None
    assert store.statistics.records == 0
    assert writer.commit(b"", 7) and put(store, "next", b"next")
    if is_reopened:
        store = open_store()
    assert sorted(summary.key for summary in store.records()) == [b"late", b"next"]
    assert found(store, "late") == content("late", LARGE) and found(store, "next") == b"next"
    store.flush()
    assert store.statistics.used_bytes == disk_bytes(tmp_path / "disk" / "records")
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["arriving", "boot", "lock", "records"]


def test_the_room_of_a_cleared_store_is_given_back_in_steps(open_store: Open, tmp_path: Path) -> None:
    store = open_store(capacity=64 * 1024 * 1024)
    for number in range(150):
        put(store, str(number), bytes(300_000))
    full = store.statistics.used_bytes
    store.clear()
    assert 0 < store.statistics.used_bytes < full
    assert disk_bytes(tmp_path / "disk") > 1_000_000
    store.flush()
    store.flush()
    assert store.statistics.used_bytes == 0
    assert disk_bytes(tmp_path / "disk") < 1_000


@pytest.mark.parametrize("length", [3_000, LARGE])
def test_a_body_that_is_being_read_outlives_its_record(open_store: Open, length: int) -> None:
    store = open_store()
    for name in ("evicted", "removed", "cleared"):
        put(store, name, content(name, length))
    readers = {name: store.lookup(name.encode()) for name in ("evicted", "removed", "cleared")}
    held = {name: record.body.chunks() for name, record in readers.items() if record is not None}
    store.remove(b"removed")
    number = 0
    while any(summary.key == b"evicted" for summary in store.records()):
        for _ in range(50):
            put(store, f"filler {number}", bytes(30_000))
            number += 1
    assert store.statistics.evictions
    store.clear()
    assert {name: b"".join(body) for name, body in held.items()} == {name: content(name, length) for name in held}
    assert len(held) == 3
    store.close()
    assert readers["removed"] is not None and body_of(readers["removed"]) == content("removed", length)


def test_the_room_of_a_removed_body_is_free_when_its_last_reader_is_done(store: DiskStore) -> None:
    put(store, "a", bytes(LARGE))
    record, other = store.lookup(b"a"), store.lookup(b"a")
    store.remove(b"a")
    assert record is not None and other is not None and store.statistics.used_bytes >= LARGE
    del record
    assert store.statistics.used_bytes >= LARGE
    assert body_of(other) == bytes(LARGE)
    del other
    assert store.statistics.used_bytes == 0


@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize("length", [2_000, 300_000])
def test_a_record_that_was_used_outlives_those_that_were_not(store: DiskStore, length: int, is_used: bool) -> None:
    put(store, "first", content("first", length))
    store.flush()
    if is_used:
        assert found(store, "first") is not None
    number = 0
    while not store.statistics.evictions:
        put(store, str(number), bytes(20_000))
        number += 1
    assert (found(store, "first") == content("first", length)) is is_used


def test_records_that_are_used_now_and_then_stay(store: DiskStore) -> None:
    names = [f"hot {number}" for number in range(20)]
    for name in names:
        put(store, name, content(name, 3_000))
    for number in range(3_000):
        put(store, str(number), bytes(10_000))
        assert found(store, names[number % len(names)]) is not None
    assert store.statistics.evictions > 1_000
    assert store.statistics.copied_records >= 2 * len(names)


def copied_while_its_file_is_leaving(store: DiskStore) -> str:
    """The name of a record that is in two files now, both of them whole on the disk."""
    names = [f"hot {number}" for number in range(300)]
    for name in names:
        put(store, name, b"hot")
        assert found(store, name) == b"hot"
    number = 0
    while not store.statistics.copied_records:
        put(store, str(number), bytes(2_000))
        number += 1
    store.flush()
    return names[0]


def crashed(folder: Path) -> Path:
    """The folder as it would be after kill -9 now."""
    return Path(shutil.copytree(folder / "disk", folder / "after the crash", dirs_exist_ok=True))


def test_a_record_that_is_in_two_files_is_removed_from_both(store: DiskStore, tmp_path: Path) -> None:
    name = copied_while_its_file_is_leaving(store)
    store.remove(name.encode())
    with contextlib.closing(DiskStore(crashed(tmp_path), CAPACITY, BOOT)) as after:
        assert after.lookup(name.encode()) is None
        assert found(after, "hot 299") == b"hot"


def test_of_a_record_that_is_in_two_files_a_start_leaves_one(store: DiskStore, tmp_path: Path) -> None:
    name = copied_while_its_file_is_leaving(store)
    folder = crashed(tmp_path)
    with contextlib.closing(DiskStore(folder, CAPACITY, BOOT)) as after:
        assert found(after, name) == b"hot"
        after.remove(name.encode())
    with contextlib.closing(DiskStore(folder, CAPACITY, BOOT)) as after:
        assert after.lookup(name.encode()) is None


def test_a_store_in_which_all_is_used_still_makes_room(store: DiskStore) -> None:
    for number in range(3_000):
        assert put(store, str(number), bytes(9_000))
        assert found(store, str(number)) is not None
    assert store.statistics.refused_bodies == 0


@pytest.mark.parametrize("capacity", [SMALLEST_CAPACITY_BYTES, 5_000_000, 20_000_000, 64 * 1024 * 1024])
@pytest.mark.parametrize("largest_share", [0.0005, 0.005, 0.011])
def test_a_full_store_is_within_two_per_cent_of_its_capacity(
    open_store: Open, tmp_path: Path, capacity: int, largest_share: float
) -> None:
    store, rng, lowest, number, written = open_store(capacity), random.Random(1), capacity, 0, 0
    body, largest = bytes(int(capacity * largest_share)), int(capacity * largest_share)
    while written < 2 * capacity:
        length = rng.randrange(largest // 4, largest)
        put(store, str(number % 5_000), body[:length])
        written, number = written + length, number + 1
        if rng.random() < 0.3:
            store.lookup(str(rng.randrange(number)).encode())
        assert store.statistics.used_bytes <= capacity
        if written > capacity * 1.1:
            lowest = min(lowest, store.statistics.used_bytes)
        if number % 500 == 0:
            assert disk_bytes(tmp_path) <= capacity
    store.flush()
    assert store.statistics.used_bytes == disk_bytes(tmp_path / "disk" / "records")
    assert lowest >= 0.98 * capacity


def test_the_budget_holds_for_large_bodies_and_many_at_once(open_store: Open, tmp_path: Path) -> None:
    store = open_store(capacity=20_000_000)
    largest = store.largest_body_bytes
    for number in range(6):
        put(store, str(number), bytes(largest))
        assert disk_bytes(tmp_path) <= 20_000_000
    writers = [store.open_writer(b"w%d" % number, None) for number in range(8)]
    for _ in range(largest // 100_000):
        for writer in writers:
            assert writer is not None
            writer.write(bytes(100_000))
        assert disk_bytes(tmp_path) <= 20_000_000
    kept = [writer.commit(b"", 1) for writer in writers if writer is not None]
    assert 1 <= sum(kept) <= 4
    assert store.statistics.refused_bodies >= 4
    store.flush()
    assert store.statistics.used_bytes == disk_bytes(tmp_path / "disk" / "records")


def test_a_body_that_is_too_large_is_not_admitted(store: DiskStore) -> None:
    largest = store.largest_body_bytes
    assert largest == CAPACITY // 4
    assert store.open_writer(b"a", largest + 1) is None
    assert put(store, "a", bytes(largest))
    writer = store.open_writer(b"b", None)
    assert writer is not None and writer.write(bytes(largest)) and not writer.write(b"x")
    assert not writer.commit(b"", 1)
    assert store.statistics.refused_bodies == 2 and store.statistics.used_bytes < largest + 1_000


def test_a_body_of_five_gib_is_admitted_when_the_capacity_is_large(open_store: Open) -> None:
    store = open_store(capacity=20 * 1024**3)
    assert store.largest_body_bytes == 5 * 1024**3


def test_a_capacity_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        DiskStore(tmp_path, SMALLEST_CAPACITY_BYTES - 1, BOOT)


def test_a_store_that_has_become_smaller_evicts_when_it_is_opened(open_store: Open, tmp_path: Path) -> None:
    store = open_store(capacity=4 * CAPACITY)
    for number in range(1_000):
        put(store, str(number), content(str(number), 30_000))
    store = open_store(capacity=CAPACITY)
    assert disk_bytes(tmp_path) <= CAPACITY
    assert 0.9 * CAPACITY <= store.statistics.used_bytes <= CAPACITY
    assert found(store, "999") == content("999", 30_000)
    for number in range(1_000):
        assert put(store, str(number), bytes(10_000))
        found(store, str(number // 2))
        assert store.statistics.used_bytes <= CAPACITY


def test_records_of_another_boot_are_void(open_store: Open) -> None:
    put(open_store(), "a")
    assert found(open_store(), "a") == b"hello"
    store = open_store(boot="next boot")
    assert store.lookup(b"a") is None and store.statistics.used_bytes == 0
    put(store, "a", b"new")
    assert found(open_store(boot="next boot"), "a") == b"new"


def test_without_a_boot_id_records_survive_only_a_clean_end(open_store: Open, tmp_path: Path) -> None:
    put(open_store(boot=""), "a")
    assert found(open_store(boot=""), "a") == b"hello"
    open_store(boot="").close()
    (tmp_path / "disk" / "clean").unlink()
    assert open_store(boot="").lookup(b"a") is None


def test_a_folder_has_one_owner(open_store: Open, tmp_path: Path) -> None:
    put(open_store(), "a")
    with pytest.raises(DiskStoreLockedError, match="in use by another process"):
        DiskStore(tmp_path / "disk", CAPACITY, BOOT)
    assert found(open_store(), "a") == b"hello"


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskStoreError, match="cannot be used"):
        DiskStore(tmp_path / "file" / "disk", CAPACITY, BOOT)


def test_other_files_in_the_folder_are_left_alone(open_store: Open, tmp_path: Path) -> None:
    put(open_store(), "a")
    open_store().close()
    foreign = tmp_path / "disk" / "records" / "README"
    foreign.write_text("not ours")
    assert found(open_store(), "a") == b"hello"
    assert foreign.read_text() == "not ours"


# Damage


def stored_bytes(folder: Path, needle: bytes) -> tuple[Path, int]:
    """The file and the offset where something is."""
    return next((path, data.index(needle)) for path in record_files(folder) if needle in (data := path.read_bytes()))


@pytest.mark.parametrize("is_reopened", [False, True])
@pytest.mark.parametrize("place", [b"key of b", b"about key of b", LIVE])
def test_a_damaged_head_costs_its_record(open_store: Open, tmp_path: Path, place: bytes, is_reopened: bool) -> None:
    store = open_store()
    for name in "abc":
        put(store, f"key of {name}", content(name, 1_000))
    store.flush()
    path, at = stored_bytes(tmp_path, b"key of b")
    flip(path, path.read_bytes().rindex(LIVE, 0, at) if place == LIVE else stored_bytes(tmp_path, place)[1])
    if is_reopened:
        store = open_store()
    assert store.lookup(b"key of b") is None
    assert found(store, "key of a") == content("a", 1_000) and found(store, "key of c") == content("c", 1_000)
    assert (store.statistics.corrupt_records, store.statistics.records) == (1, 2)


@pytest.mark.parametrize("length", [1, 4_000, BLOCK_BYTES, BLOCK_BYTES + 1, LARGE])
@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_a_body_that_is_read_into_a_buffer_is_the_same(store: DiskStore, length: int, blocks: int) -> None:
    body = content("a", length)
    put(store, "a", body)
    store.flush()
    record = store.lookup(b"a")
    assert record is not None
    buffer = memoryview(bytearray(blocks * BLOCK_BYTES + 100))
    for first, last in [(0, length - 1), (length // 3, length // 2), (length - 1, length - 1)]:
        pieces = [bytes(piece) for piece in record.body.chunks(first, last, buffer)]
        assert b"".join(pieces) == body[first : last + 1]
        assert all(0 < len(piece) <= blocks * BLOCK_BYTES for piece in pieces)


def test_a_large_body_takes_no_memory_of_its_own_when_there_is_a_buffer(store: DiskStore) -> None:
    put(store, "a", content("a", LARGE))
    record = store.lookup(b"a")
    assert record is not None
    buffer = memoryview(bytearray(2 * BLOCK_BYTES))
    assert {piece.obj is buffer.obj for piece in record.body.chunks(buffer=buffer)} == {True}


@pytest.mark.parametrize("has_buffer", [False, True])
@pytest.mark.parametrize("is_reopened", [False, True])
@pytest.mark.parametrize("length", [3_000, 30_000, LARGE])
def test_a_damaged_body_is_never_handed_out(
    open_store: Open, tmp_path: Path, length: int, is_reopened: bool, has_buffer: bool
) -> None:
    store, body = open_store(), content("b", length)
    for name in "abc":
        put(store, name, content(name, length))
    store.flush()
    path, at = stored_bytes(tmp_path, body[-100:])
    flip(path, at + 50)
    if is_reopened:
        store = open_store()
    record = store.lookup(b"b")
    assert record is not None
    buffer = memoryview(bytearray(2 * BLOCK_BYTES)) if has_buffer else None
    pieces, handed_out = record.body.chunks(buffer=buffer), bytearray()
    with pytest.raises(DiskCorruptionError):
        handed_out.extend(byte for piece in pieces for byte in piece)
    assert body.startswith(handed_out) and len(handed_out) < length
    assert store.lookup(b"b") is None and store.statistics.corrupt_records == 1
    assert found(store, "a") == content("a", length) and found(store, "c") == content("c", length)
    store = open_store()
    assert store.lookup(b"b") is None and store.statistics.corrupt_records == 0


def test_blocks_that_changed_places_are_noticed(store: DiskStore, tmp_path: Path) -> None:
    blocks = [content(str(number), BLOCK_BYTES) for number in range(6)]
    put(store, "a", b"".join(blocks))
    path, first = stored_bytes(tmp_path, blocks[1])
    data = path.read_bytes()
    blocks[1], blocks[4] = blocks[4], blocks[1]
    path.write_bytes(data[: first - BLOCK_BYTES] + b"".join(blocks) + data[first + 5 * BLOCK_BYTES :])
    assert path.stat().st_size == len(data)
    with pytest.raises(DiskCorruptionError):
        found(store, "a")


@pytest.mark.parametrize("length", [5_000, LARGE])
@pytest.mark.parametrize("is_reopened", [False, True])
@pytest.mark.parametrize("damage", ["truncated", "zeroed", "deleted", "emptied"])
def test_a_file_that_was_ruined_costs_what_was_in_it(
    open_store: Open, tmp_path: Path, length: int, is_reopened: bool, damage: str
) -> None:
    store, names = open_store(), [str(number) for number in range(40 if length < LARGE else 4)]
    for name in names:
        put(store, name, content(name, length))
    store.flush()
    victim, size = record_files(tmp_path)[0], record_files(tmp_path)[0].stat().st_size
    held = {name: record for name in names if (record := store.lookup(name.encode())) is not None}
    match damage:
        case "truncated":
            os.truncate(victim, size // 2 + 1)
        case "zeroed":
            victim.write_bytes(bytes(size))
        case "emptied":
            os.truncate(victim, 0)
        case _:
            victim.unlink()
    if is_reopened:
        store = open_store()
    lost = 0
    for name in names:
        try:
            body = found(store, name)
        except DiskCorruptionError:
            body = None
        assert body in (None, content(name, length))
        lost += body is None
    in_victim = size // length
    assert lost <= in_victim
    if is_reopened:
        assert lost >= max(1, in_victim // 2)
        # An empty segment is also what a crash leaves that comes before the first write to it: no sign of damage.
        assert store.statistics.corrupt_records or damage == "deleted" or (damage == "emptied" and length < LARGE)
    for name, record in held.items():  # a reader from before sees the file as it is now, and no wrong byte of it
        try:
            assert body_of(record) == content(name, length)
        except DiskCorruptionError:
            lost -= 1
    assert store.statistics.records == sum(store.lookup(name.encode()) is not None for name in names)


def test_a_removed_record_is_not_brought_back_by_damage(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    put(store, "kept")
    put(store, "gone")
    store.flush()
    store.remove(b"gone")
    path, at = stored_bytes(tmp_path, DEAD)
    for offset in range(4):
        for bit in range(8):
            store.close()
            data = bytearray(path.read_bytes())
            data[at + offset] ^= 1 << bit
            path.write_bytes(data)
            store = open_store()
            assert store.lookup(b"gone") is None and found(store, "kept") == b"hello"
            store.close()
            data[at + offset] ^= 1 << bit
            path.write_bytes(data)


def test_a_body_that_looks_like_a_record_is_none(open_store: Open, tmp_path: Path) -> None:
    """Damage makes the reader search for the next record; what an origin put into a body must not be found."""
    store = open_store()
    put(store, "genuine", b"genuine")
    store.flush()
    path, at = stored_bytes(tmp_path, b"genuine")
    forged = path.read_bytes().replace(path.read_bytes()[:8], bytes(8)).replace(b"genuine", b"forged!")
    put(store, "carrier", forged * 3)
    store.flush()
    path, at = stored_bytes(tmp_path, b"carrier")
    flip(path, at)
    store = open_store()
    assert [summary.key for summary in store.records()] == [b"genuine"]


# A disk that refuses


class RefusingFiles(DiskFiles):
    """Fails what it is told to fail."""

    def __init__(self) -> None:
        self.room: int | None = None
        """Bytes that may still be written at the end of files."""
        self.refused: set[str] = set()

    def write(self, descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        self._refuse("write")
        if self.room is not None:
            data = memoryview(data)[: self.room]
            self.room -= len(data)
            if not data:
                raise OSError(errno.ENOSPC, "no space")
        return super().write(descriptor, data, offset)

    def create(self, path: Path) -> int:
        self._refuse("create")
        return super().create(path)

    def open(self, path: Path) -> int:
        self._refuse("open")
        return super().open(path)

    def unlink(self, path: Path) -> None:
        self._refuse("unlink")
        super().unlink(path)

    def truncate(self, descriptor: int, length: int) -> None:
        self._refuse("truncate")
        super().truncate(descriptor, length)

    def rename(self, path: Path, new_path: Path) -> None:
        self._refuse("rename")
        super().rename(path, new_path)

    def _refuse(self, name: str) -> None:
        if name in self.refused:
            raise OSError(errno.EIO, name)


@pytest.mark.parametrize("room", [0, 1, 500, 2_000, 10_000])
@pytest.mark.parametrize("length", [1_000, LARGE])
def test_a_full_disk_costs_what_was_being_written(open_store: Open, tmp_path: Path, room: int, length: int) -> None:
    files = RefusingFiles()
    store = open_store(files=files)
    put(store, "before", content("before", length))
    store.flush()
    files.room = room
    for name in "abcdefghijkl":
        put(store, name, content(name, length))
    store.flush()
    assert store.statistics.write_errors >= 1
    for name in "abcdefghijkl":
        assert found(store, name) in (None, content(name, length))
    assert found(store, "before") == content("before", length)
    assert store.statistics.used_bytes == disk_bytes(tmp_path / "disk" / "records")
    files.room = None
    assert put(store, "after", content("after", length))
    store = open_store()
    assert found(store, "before") == content("before", length) and found(store, "after") == content("after", length)
    assert store.statistics.corrupt_records == 0


@pytest.mark.parametrize("refused", ["create", "write", "rename"])
def test_a_disk_that_refuses_is_counted_and_not_raised(open_store: Open, refused: str) -> None:
    files = RefusingFiles()
    store = open_store(files=files)
    files.refused = {refused}
    put(store, "small")
    store.flush()
    put(store, "large", bytes(LARGE))
    assert store.statistics.write_errors >= 1 and store.lookup(b"large") is None
    files.refused = set()
    assert put(store, "a") and found(store, "a") == b"hello"


def test_a_record_that_cannot_be_marked_takes_its_file_with_it(open_store: Open) -> None:
    files = RefusingFiles()
    store = open_store(files=files)
    put(store, "a")
    put(store, "b")
    store.flush()
    files.refused = {"write"}
    store.remove(b"a")
    assert store.lookup(b"a") is None and store.lookup(b"b") is None
    assert store.statistics.lost_records == 1
    assert open_store().statistics.recovered_records == 0


@pytest.mark.parametrize("length", [100, LARGE])
def test_a_file_that_cannot_be_removed_is_emptied(open_store: Open, length: int) -> None:
    files = RefusingFiles()
    store = open_store(files=files)
    put(store, "a", bytes(length))
    store.flush()
    files.refused = {"write", "unlink"}
    store.remove(b"a")
    files.refused = set()
    assert open_store().lookup(b"a") is None


def test_a_removal_that_cannot_last_is_raised(open_store: Open) -> None:
    files = RefusingFiles()
    store = open_store(files=files)
    put(store, "a")
    store.flush()
    files.refused = {"write", "unlink", "truncate"}
    with pytest.raises(DiskRemovalError):
        store.remove(b"a")
    assert store.lookup(b"a") is None
    files.refused = set()


def test_clear_lasts_also_where_the_folder_cannot_be_moved(open_store: Open) -> None:
    files = RefusingFiles()
    store = open_store(files=files)
    put(store, "a")
    put(store, "b", bytes(LARGE))
    store.flush()
    files.refused = {"rename"}
    store.clear()
    assert store.lookup(b"a") is None and store.lookup(b"b") is None
    files.refused = set()
    assert open_store().statistics.recovered_records == 0


def test_want_of_descriptors_is_a_miss_and_costs_nothing(open_store: Open) -> None:
    files = RefusingFiles()
    put(open_store(), "a")
    open_store().close()
    store = open_store(files=files)
    store._segments.close()
    files.refused = {"open"}
    assert store.lookup(b"a") is None and store.statistics.read_errors == 1
    files.refused = set()
    assert found(store, "a") == b"hello"


def test_more_files_than_descriptors_may_be_in_use(open_store: Open) -> None:
    store = open_store(capacity=64 * 1024 * 1024)
    for number in range(180):
        put(store, str(number), content(str(number), 263_000))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    records = [store.lookup(str(number).encode()) for number in range(180)]
    assert [
        record is not None and body_of(record) == content(str(number), 263_000) for number, record in enumerate(records)
    ] == [True] * 180
    del records
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 10
