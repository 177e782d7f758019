"""What every store promises (edge_node/storage/protocol.py), asked of each of them by the same suite: memory with each eviction policy, memory over disk, and memory
that is too small for anything, so that all answers come from disk."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry import Entry, EntryTemplate
from edge_node.caching.entry_factory import (
    LARGEST_BLOCK_BODY_BYTES,
    ResponseTiming,
    make_entry,
    make_entry_of_body,
    revalidated_entry,
    with_age,
)
from edge_node.caching.partial import PartialBody
from edge_node.caching.stored_body import BodyLostError, PartialStoredBody
from edge_node.model.configuration import Role
from edge_node.policy.response_head import LocalNode, content_length, write_fields
from edge_node.storage.disk import files
from edge_node.storage.disk.store import DiskStore
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.memory import LARGEST_SHARE_OF_BUDGET, MemoryStore
from edge_node.storage.protocol import Store
from edge_node.storage.tiered import TieredStore

CAPACITY = 256 * 1024
LARGEST_IN_MEMORY = CAPACITY // LARGEST_SHARE_OF_BUDGET
DISK_CAPACITY = 32 * 1024 * 1024
TEMPLATE = EntryTemplates(LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 a"))
FIELDS = ((b"content-type", b"text/plain"), (b"etag", b'"1"'), (b"date", b"Fri, 15 Jan 2027 08:00:00 GMT"))


def tiered(folder: Path, memory_bytes: int = CAPACITY, epoch: int = 1) -> TieredStore:
    memory = MemoryStore(memory_bytes, POLICIES["s3fifo"])
    return TieredStore(
        memory, DiskStore(folder / "cache", DISK_CAPACITY, "boot"), TEMPLATE, lambda: epoch.to_bytes(8, "big")
    )


STORES: dict[str, Callable[[Path], Store]] = {
    **{name: lambda _, policy=policy: MemoryStore(CAPACITY, policy) for name, policy in POLICIES.items()},  # type: ignore[misc]  # mypy does not infer a lambda with a default
    "tiered": tiered,
    "from disk": lambda folder: tiered(folder, memory_bytes=2_000),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](tmp_path)
    yield made
    if isinstance(made, TieredStore):
        made.close()


def key_of(name: str) -> bytes:
    return b"E1\n/" + name.encode("latin-1")


def template(seconds: float = 60.0) -> EntryTemplate:
    cache_metadata = CacheMetadata(seconds, LifetimeRule.MAX_AGE, stale_if_error_seconds=5.0)
    return TEMPLATE.of(200, b"OK", b"text/plain", cache_metadata, is_strict=False)


def lines_of(length: int) -> bytes:
    return write_fields(FIELDS) + content_length(length)


def put(store: Store, name: str, body: bytes = b"hello", piece: int = 60_000, *, is_known: bool = True) -> bool:
    """As a fill does it; False when the store does not take the body."""
    writer = store.open_writer(key_of(name), len(body) if is_known else None)
    chunks = [body[start : start + piece] for start in range(0, len(body), piece)]
    if writer is None or not all(writer.add(chunk) for chunk in chunks):
        return False
    timing = ResponseTiming(7, 1_000.0, 5.0)
    if writer.keeps_chunks:
        entry = make_entry(key_of(name), lines_of(len(body)), chunks, len(body), template(), timing)
    else:
        entry = with_age(Entry(key_of(name), lines_of(len(body)) + b"\r\n", None, template(), timing.stamp), timing)
    writer.commit(entry)
    return True


def body_of(entry: Entry) -> bytes:
    if entry.body is None:
        return entry.block[entry.body_start :]
    return b"".join(entry.body.pieces(0, entry.length - 1))


def found(store: Store, name: str) -> bytes | None:
    entry = store.lookup(key_of(name))
    return None if entry is None else body_of(entry)


def test_what_is_committed_is_found_as_it_was(store: Store) -> None:
    assert put(store, "a", b"hello")
    entry = store.lookup(key_of("a"))
    assert entry is not None and (entry.key, body_of(entry), entry.length) == (key_of("a"), b"hello", 5)
    assert (entry.status, entry.headers, entry.etag) == (200, FIELDS, b'"1"')
    assert (entry.stamp, entry.age_base, entry.cache_metadata) == (7, 995.0, template().cache_metadata)
    assert store.lookup(key_of("b")) is None


@pytest.mark.parametrize("length", [0, 1, 65_536, 200_000])
def test_bodies_of_any_length_come_back_or_are_refused(store: Store, length: int) -> None:
    body = bytes(number % 251 for number in range(length))
    for is_known in (True, False):
        is_taken = put(store, "a", body, is_known=is_known)
        assert found(store, "a") == (body if is_taken else None)
        store.remove(key_of("a"))


@pytest.mark.parametrize(
    "names", [("", "\0"), ("a", "a\n", "a\n+gzip"), (bytes(range(256)).decode("latin-1"), "\xff"), ("x" * 8_192,)]
)
def test_keys_of_any_bytes_are_told_apart(store: Store, names: tuple[str, ...]) -> None:
    bodies = {name: b"body %d" % number for number, name in enumerate(names)}
    is_taken = {name: put(store, name, body, is_known=False) for name, body in bodies.items()}
    for name, body in bodies.items():
        entry = store.lookup(key_of(name))
        is_there = entry is not None and entry.key == key_of(name) and body_of(entry) == body
        assert is_taken[name] and (is_there or (entry is None and len(name) > CAPACITY // LARGEST_SHARE_OF_BUDGET))


def test_an_unfinished_write_is_no_entry(store: Store) -> None:
    writer = store.open_writer(key_of("a"), None)
    assert writer is not None and writer.add(bytes(200))
    assert store.lookup(key_of("a")) is None
    writer.abort()
    writer.abort()
    assert not writer.add(b"x")
    assert store.lookup(key_of("a")) is None and store.statistics.used_bytes == 0


def test_a_later_entry_replaces_an_earlier_one(store: Store) -> None:
    for body in (b"old", b"newer", bytes(1_000), b"last"):
        put(store, "a", body)
        assert found(store, "a") == body
    assert store.statistics.entries <= 1


def test_what_is_removed_is_gone_and_releases_its_room(store: Store) -> None:
    put(store, "a")
    store.remove(key_of("a"))
    store.remove(key_of("a"))
    assert found(store, "a") is None
    assert (store.statistics.entries, store.statistics.used_bytes) == (0, 0)


def test_clear_forgets_all_entries(store: Store) -> None:
    for name in "abc":
        put(store, name)
    store.clear()
    assert all(found(store, name) is None for name in "abc")
    assert (store.statistics.entries, store.statistics.used_bytes) == (0, 0)


def test_the_memory_budget_holds_whatever_comes(store: Store) -> None:
    for number in range(200):
        put(store, str(number), bytes(number * 37 % 30_000))
        assert store.statistics.used_bytes <= store.statistics.capacity_bytes
    writers = [store.open_writer(key_of(str(number)), None) for number in range(40)]
    for writer in writers:
        assert writer is not None
        writer.add(bytes(20_000))
        assert store.statistics.used_bytes <= store.statistics.capacity_bytes
    for writer in writers:
        assert writer is not None
        writer.abort()


def test_a_part_of_a_body_is_kept_in_memory_or_not_at_all(store: Store) -> None:
    parts = PartialBody(1_000).with_part(100, [bytes(50)])
    writer = store.open_writer(key_of("a"), 50)
    assert writer is not None
    put(store, "a", b"whole")
    writer.add(bytes(50))
    writer.commit(
        make_entry_of_body(
            key_of("a"), lines_of(1_000), PartialStoredBody(parts), template(), ResponseTiming(8, 0.0, 0.0)
        )
    )
    entry = store.lookup(key_of("a"))
    if entry is not None:
        assert entry.is_partial and entry.body is not None and entry.body.holds(100, 149)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_memory_alone_refuses_what_is_too_large(policy: str) -> None:
    store = MemoryStore(CAPACITY, POLICIES[policy])
    assert store.open_writer(key_of("a"), LARGEST_IN_MEMORY) is None
    assert not put(store, "a", bytes(LARGEST_IN_MEMORY + 1), is_known=False)
    assert store.statistics.used_bytes == 0


# -- with a disk


@pytest.mark.parametrize("is_known", [True, False])
def test_what_is_too_large_for_memory_goes_to_disk_and_comes_from_there_in_pieces(
    tmp_path: Path, is_known: bool
) -> None:
    store = tiered(tmp_path)
    body = bytes(number % 251 for number in range(3 * LARGEST_BLOCK_BODY_BYTES))
    assert put(store, "a", body, is_known=is_known)
    entry = store.lookup(key_of("a"))
    assert entry is not None and entry.body is not None and entry.body.memory_bytes == 0
    pieces = list(entry.body.pieces(70_000, 2_000_000))
    assert b"".join(pieces) == body[70_000:2_000_001] and all(len(piece) <= 262_144 for piece in pieces)
    assert store.statistics.used_bytes < CAPACITY
    store.close()


def test_a_folder_that_is_opened_again_has_what_was_there_and_nothing_that_was_removed(tmp_path: Path) -> None:
    store = tiered(tmp_path)
    bodies = {str(number): bytes([number]) * (number * 5_000) for number in range(20)}
    for name, body in bodies.items():
        assert put(store, name, body)
    for name in ("3", "17"):
        store.remove(key_of(name))
        del bodies[name]
    store.close()
    again = tiered(tmp_path)
    assert {name: found(again, name) for name in bodies} == bodies
    assert found(again, "3") is None and found(again, "17") is None
    entry = again.lookup(key_of("4"))
    assert entry is not None and (entry.stamp, entry.age_base, entry.headers) == (7, 995.0, FIELDS)
    assert entry.template is template() and (entry.status, entry.template.reason) == (200, b"OK")
    again.close()
    third = tiered(tmp_path)  # a start that only read has changed nothing
    assert {name: found(third, name) for name in bodies} == bodies
    assert found(third, "3") is None and found(third, "17") is None
    third.close()


def test_entries_of_another_epoch_are_none(tmp_path: Path) -> None:
    store = tiered(tmp_path)
    put(store, "a")
    store.close()
    other = tiered(tmp_path, epoch=2)
    assert found(other, "a") is None
    other.close()
    back = tiered(tmp_path)
    assert found(back, "a") is None
    back.close()


def test_no_damaged_byte_is_ever_served(tmp_path: Path) -> None:
    store = tiered(tmp_path)
    bodies = {"a": b"hello" * 20, "b": bytes(range(256)) * 2_000}
    for name, body in bodies.items():
        put(store, name, body)
    store.close()
    files = [file for file in (tmp_path / "cache").rglob("*") if file.suffix in (".segment", ".body")]
    kept = {file: file.read_bytes() for file in files}
    assert len(files) == 2
    for file, original in kept.items():
        ends = (*range(0, 400, 7), *range(len(original) - 700, len(original), 3))
        for position in sorted({*ends, *range(0, len(original), 9_973)} & {*range(len(original))}):
            file.write_bytes(original[:position] + bytes([original[position] ^ 0x10]) + original[position + 1 :])
            damaged = tiered(tmp_path)
            for name, body in bodies.items():
                with contextlib.suppress(BodyLostError):
                    assert found(damaged, name) in (None, body)
            damaged.close()
            for left, data in kept.items():
                left.write_bytes(data)


# -- large bodies on disk that a 304 has confirmed


LARGE = bytes(range(253)) * ((LARGEST_BLOCK_BODY_BYTES + 100_000) // 253)


def confirm(store: Store, name: str, stamp: int = 8) -> None:
    """As `Cache.replace` does it: a new header section for the stored body."""
    stored = store.lookup(key_of(name))
    assert stored is not None
    lines = write_fields((*FIELDS, (b"x-confirmed", b"%d" % stamp))) + content_length(stored.length)
    entry = revalidated_entry(stored, stored.key, lines, stored.template, ResponseTiming(stamp, 2_000.0, 0.0))
    writer = store.open_writer(entry.key, 0)
    assert writer is not None
    writer.commit(entry)


def descriptors(folder: Path) -> int:
    """How many files in a folder this process has open, those that have left it included."""
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith(str(folder)) for link in links)


def test_a_confirmed_large_body_has_its_new_fields_and_its_bytes(tmp_path: Path) -> None:
    store = tiered(tmp_path)
    put(store, "a", LARGE)
    for stamp in (8, 9):
        confirm(store, "a", stamp)
        entry = store.lookup(key_of("a"))
        assert entry is not None and dict(entry.headers)[b"x-confirmed"] == b"%d" % stamp
        assert (entry.stamp, entry.age_base, entry.length, entry.is_partial) == (stamp, 2_000.0, len(LARGE), False)
        assert body_of(entry) == LARGE
    put(store, "a", LARGE[::-1])
    entry = store.lookup(key_of("a"))
    assert entry is not None and b"x-confirmed" not in dict(entry.headers) and body_of(entry) == LARGE[::-1]
    confirm(store, "a")
    store.remove(key_of("a"))
    assert store.lookup(key_of("a")) is None
    store.close()


def test_confirmed_bodies_hold_no_more_files_open_than_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_IDLE_FILES", 4)
    store = tiered(tmp_path)
    for number in range(20):
        put(store, str(number), LARGE)
        confirm(store, str(number))
    others = 3  # the lock, the segment that is written, one more that may be in use
    assert descriptors(tmp_path) <= 4 + others
    assert all(found(store, str(number)) == LARGE for number in range(20))
    store.close()


def test_a_confirmed_body_that_has_left_the_disk_releases_its_room_and_is_found_no_more(tmp_path: Path) -> None:
    store = tiered(tmp_path)
    for number in range(20):
        put(store, f"old/{number}", LARGE)
        confirm(store, f"old/{number}")
    for number in range(40):
        assert put(store, f"new/{number}", LARGE)
        assert found(store, f"new/{number}") == LARGE
    left = [found(store, f"old/{number}") for number in range(20)]
    assert left.count(None) >= 10 and set(left) <= {None, LARGE}
    on_disk = sum(file.stat().st_blocks * 512 for file in (tmp_path / "cache").rglob("*"))
    assert on_disk <= DISK_CAPACITY
    assert store.statistics.entries == 20 - left.count(None)  # nothing stays in memory of what has left
    store.close()
