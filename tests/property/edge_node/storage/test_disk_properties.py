"""The disk store against a plain dictionary, with crashes at any write, damage anywhere and restarts (docs/disk-format.md).

In one sentence: what is found is what was put under that key last, nothing removed comes back, and what is lost is what a fault touched, what waited to be written, or
what was evicted.
"""

import contextlib
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, example, given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_node.storage.disk.boot_id import record_boot
from edge_node.storage.disk.disk_budget import SMALLEST_CAPACITY_BYTES
from edge_node.storage.disk.errors import DiskCorruptionError
from edge_node.storage.disk.files import DiskFiles
from edge_node.storage.disk.format import (
    DEAD,
    LOCATOR_BYTES,
    RecordHead,
    block_checksum,
    block_count,
    decode_head,
    encode_head,
    parse_file_name,
    walk_segment,
)
from edge_node.storage.disk.key_hash import KeyHash, is_modulus, is_prime, new_modulus
from edge_node.storage.disk.segment_index import (
    SegmentIndex,
    decode_index,
    encode_index,
    index_length,
    state_words,
)
from edge_node.storage.disk.store import DiskStore
from edge_node.storage.disk.writer import DiskWriter
from tests.depth import examples

BOOT = "boot"
CAPACITY = SMALLEST_CAPACITY_BYTES
KEYS = [b"key %d" % number for number in range(7)]
SIZES = [0, 10, 3_000, 7_000, 9_000, 70_000, 1_000_000]
"""In a segment (of 16 KiB), and in files of their own."""


class Image:
    """What is on a disk: files by path, as the system calls leave them."""

    def __init__(self) -> None:
        self.contents: dict[int, bytearray] = {}
        self.paths: dict[str, int] = {}

    def apply(self, call: tuple[object, ...], only: int | None = None) -> None:
        """One system call, or the first `only` bytes of a write."""
        match call:
            case ("create", str(path), int(file)):
                self.paths[path] = file
                self.contents[file] = bytearray()
            case ("write", int(file), bytes(data), int(offset)):
                content, data = self.contents[file], data[:only]
                if data:
                    content.extend(bytes(max(0, offset - len(content))))
                    content[offset : offset + len(data)] = data
            case ("truncate", int(file), int(length)):
                content = self.contents[file]
                content[length:] = bytes(max(0, length - len(content)))
            case ("unlink", str(path)):
                self.paths.pop(path, None)
            case ("rename", str(path), str(new_path)):
                self.paths = {
                    new_path + name[len(path) :] if name == path or name.startswith(path + "/") else name: file
                    for name, file in self.paths.items()
                }

    def write_to(self, folder: Path) -> None:
        for path, file in self.paths.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(self.contents[file])


class RecordingFiles(DiskFiles):
    """Remembers every call that changes something."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[object, ...]] = []
        self.base = Image()
        self._by_descriptor: dict[int, int] = {}
        self._by_inode: dict[int, int] = {}
        self._count = 0

    def start_from(self) -> None:
        """What is in the folder already."""
        for path in sorted(self.folder.rglob("*.*")):
            self.base.apply(("create", self._name(path), self._new(path.stat().st_ino)))
            self.base.contents[self._count] = bytearray(path.read_bytes())

    def image(self, count: int, torn: int | None = None) -> Image:
        """The disk after so many calls, and `torn` bytes of the next if that is a write. Consumes the recording."""
        for call in self.calls[:count]:
            self.base.apply(call)
        if torn is not None and count < len(self.calls) and self.calls[count][0] == "write":
            self.base.apply(self.calls[count], torn)
        return self.base

    def damage(self, path: Path, data: bytes, offset: int) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        self.calls.append(("write", self._by_inode[path.stat().st_ino], data, offset))

    def cut(self, path: Path, length: int) -> None:
        os.truncate(path, length)
        self.calls.append(("truncate", self._by_inode[path.stat().st_ino], length))

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._by_descriptor[descriptor] = self._new(os.fstat(descriptor).st_ino)
        self.calls.append(("create", self._name(path), self._count))
        return descriptor

    def open(self, path: Path) -> int:
        descriptor = super().open(path)
        self._by_descriptor[descriptor] = self._by_inode[os.fstat(descriptor).st_ino]
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        self.calls.append(("write", self._by_descriptor[descriptor], bytes(data), offset))
        return super().write(descriptor, data, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        super().truncate(descriptor, length)
        self.calls.append(("truncate", self._by_descriptor[descriptor], length))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.calls.append(("unlink", self._name(path)))

    def rename(self, path: Path, new_path: Path) -> None:
        super().rename(path, new_path)
        self.calls.append(("rename", self._name(path), self._name(new_path)))

    def _new(self, inode: int) -> int:
        self._count += 1
        self._by_inode[inode] = self._count
        return self._count

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.folder))


class Event:
    """Something that was done to a key: put with a body, or removed; between which system calls."""

    def __init__(self, body: bytes | None, start: int, end: int, evictions: int) -> None:
        self.body, self.start, self.end, self.evictions = body, start, end, evictions
        self.flushed_at: int | None = None
        """After which system call it has been on the disk in any case."""
        self.was_touched = False
        """By a fault: may be lost from then on."""


class DiskMachine(RuleBasedStateMachine):
    """Does to a store what life does."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="disk-property-"))
        self.incarnation = 0
        self.events: dict[bytes, list[Event]] = {}
        self.number = 0
        self.unfinished: DiskWriter | None = None
        self.open()

    def teardown(self) -> None:
        self.unfinished = None
        self.store.close()
        shutil.rmtree(self.root)

    def open(self) -> None:
        self.folder = self.root / str(self.incarnation)
        self.folder.mkdir(exist_ok=True)
        record_boot(self.folder, BOOT)
        self.files = RecordingFiles(self.folder)
        self.files.start_from()
        self.store = DiskStore(self.folder, CAPACITY, BOOT, self.files)

    @property
    def now(self) -> int:
        return len(self.files.calls)

    def note(self, key: bytes, body: bytes | None, start: int) -> None:
        self.events.setdefault(key, []).append(Event(body, start, self.now, self.store.statistics.evictions))

    def note_flush(self) -> None:
        for event in (event for of_key in self.events.values() for event in of_key if event.flushed_at is None):
            event.flushed_at = self.now

    def body_of(self, length: int) -> bytes:
        self.number += 1
        return (b"%9d " % self.number * (length // 10 + 1))[:length]

    @rule(key=st.sampled_from(KEYS), length=st.sampled_from(SIZES))
    def put(self, key: bytes, length: int) -> None:
        body, start = self.body_of(length), self.now
        writer = self.store.open_writer(key, length)
        assert writer is not None and writer.write(body)
        assert writer.commit(b"metadata", self.number, b"epoch")
        self.note(key, body, start)

    @rule(length=st.sampled_from([2_000, 6_000]), count=st.integers(1, 20))
    def put_many_others(self, length: int, count: int) -> None:
        for other in range(count):
            self.put(b"other %d" % other, length)

    @rule(count=st.integers(1, 4))
    def fill(self, count: int) -> None:
        for number in range(count):
            self.put(b"filler %d" % number, 1_000_000)

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: bytes) -> None:
        start = self.now
        self.store.remove(key)
        self.note(key, None, start)

    @rule()
    def clear(self) -> None:
        start = self.now
        self.store.clear()
        for key in self.events:
            self.note(key, None, start)

    @rule()
    def flush(self) -> None:
        self.store.flush()
        self.note_flush()

    @rule(length=st.sampled_from([5_000, 600_000]))
    def leave_a_body_unfinished(self, length: int) -> None:
        self.unfinished = self.store.open_writer(b"unfinished", None)
        assert self.unfinished is not None and self.unfinished.write(bytes(length))

    @rule(key=st.sampled_from(KEYS))
    def look_up(self, key: bytes) -> None:
        events = self.events.get(key, [])
        self.check(key, self.found(key), events[-1:], must=True)

    @rule()
    def reopen(self) -> None:
        self.unfinished = None
        self.store.close()
        self.note_flush()
        self.restart(self.files.image(self.now), self.now)

    @rule(back=st.integers(0, 60), torn=st.one_of(st.none(), st.integers(0, 20_000)))
    def crash(self, back: int, torn: int | None) -> None:
        self.store._lock.release()
        at = max(0, self.now - back)
        self.restart(self.files.image(at, torn), at)

    def restart(self, image: Image, at: int) -> None:
        """With the disk as it was after call `at`; what is found then is what there is."""
        old, self.unfinished = self.store, None
        self.incarnation += 1
        image.write_to(self.root / str(self.incarnation))
        self.open()
        old.close()
        evictions = old.statistics.evictions
        events, self.events = self.events, {}
        for key, of_key in events.items():
            done = [event for event in of_key if event.end <= at][-1:]
            under_way = [event for event in of_key if event.start <= at < event.end]
            is_flushed = bool(done) and done[0].flushed_at is not None and done[0].flushed_at <= at
            body = self.found(key)
            must = is_flushed and not under_way and done[0].evictions == evictions
            self.check(key, body, done + under_way, must=must)
            self.note(key, body, 0)
        self.note_flush()

    @precondition(lambda self: self.record_files())
    @rule(data=st.data(), bit=st.integers(0, 7))
    def flip_a_bit(self, data: st.DataObject, bit: int) -> None:
        path = data.draw(st.sampled_from(self.record_files()))
        offset = data.draw(st.integers(0, min(200, path.stat().st_size) - 1) | st.integers(0, path.stat().st_size - 1))
        self.touch(path, offset, offset + 1)
        with path.open("rb") as file:
            file.seek(offset)
            self.files.damage(path, bytes([file.read(1)[0] ^ 1 << bit]), offset)

    @precondition(lambda self: self.record_files())
    @rule(data=st.data(), is_zeroed=st.booleans())
    def lose_the_end_of_a_file(self, data: st.DataObject, is_zeroed: bool) -> None:
        path = data.draw(st.sampled_from(self.record_files()))
        size = path.stat().st_size
        length = data.draw(st.integers(0, size - 1))
        self.touch(path, length, size)
        if is_zeroed:
            self.files.damage(path, bytes(size - length), length)
        else:
            self.files.cut(path, length)

    def touch(self, path: Path, first: int, end: int) -> None:
        """Whose records lie there, by the file before the fault (or by one already damaged: then all of its file)."""
        name = parse_file_name(path.name)
        content = path.read_bytes()
        assert name is not None
        if name.is_body:
            keys = {key for key in self.events if key in content[-400:]}
        else:
            found = list(walk_segment(lambda length, at: content[at : at + length], len(content), name.marker))
            keys = {r.head.key for r in found if r.head is not None and r.offset < end and r.end > first}
            damaged = [r for r in found if r.head is None]
            keys |= {key for key in self.events if damaged and key in content}
        for key in keys:
            for event in self.events.get(key, []):
                event.was_touched = True

    @invariant()
    def stays_within_its_budget(self) -> None:
        used = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        assert used <= CAPACITY
        assert self.store.statistics.used_bytes <= CAPACITY

    @invariant()
    def counts_its_records(self) -> None:
        statistics = self.store.statistics
        assert statistics.records == len(self.store._catalog._index)
        assert statistics.records == sum(segment.record_count for segment in self.store._segments.all())

    def record_files(self) -> list[Path]:
        return sorted(path for path in (self.folder / "records").iterdir() if path.stat().st_size)

    def found(self, key: bytes) -> bytes | None:
        with contextlib.suppress(DiskCorruptionError):
            record = self.store.lookup(key)
            if record is not None:
                assert record.key == key and record.metadata == b"metadata" and record.epoch_id == b"epoch"
                return b"".join(record.body.chunks())
        return None

    def check(self, key: bytes, body: bytes | None, allowed: list[Event], *, must: bool) -> None:
        """`body` is that of one of these events; and there has to be one if `must`, unless it was evicted or touched."""
        if body is not None:
            assert any(event.body == body for event in allowed), f"{key!r}: {body[:20]!r} is not what was put last"
            return
        if must and allowed and allowed[-1].body is not None and not allowed[-1].was_touched:
            assert allowed[-1].evictions < self.store.statistics.evictions, f"{key!r} is lost"


DiskMachine.TestCase.settings = settings(
    max_examples=examples(40), stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestDisk = DiskMachine.TestCase


MARKER = bytes(range(1, 9))


def record_of(key: bytes, metadata: bytes, body: bytes, salt: int) -> bytes:
    checksums = b"".join(
        block_checksum(body[at : at + 65_536], salt, at // 65_536).to_bytes(4, "little")
        for at in range(0, len(body), 65_536)
    )
    assert len(checksums) == 4 * block_count(len(body))
    return encode_head(RecordHead(True, 1, 2, len(body), salt, b"epoch", key, metadata, checksums), MARKER) + body


def walked(content: bytes) -> Iterator[tuple[int, RecordHead | None, int]]:
    return walk_segment(lambda length, at: content[at : at + length], len(content), MARKER)


@given(
    st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=300), st.binary(max_size=300)), max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_a_segment_is_read_as_it_was_written(records: list[tuple[bytes, bytes, bytes]], salt: int) -> None:
    content = b"".join(record_of(*record, salt) for record in records)
    heads = [head for _, head, _ in walked(content)]
    assert [(head.key, head.metadata, head.body_length) for head in heads if head is not None] == [
        (key, metadata, len(body)) for key, metadata, body in records
    ]
    assert None not in heads


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=4))
@example(MARKER * 60, [])
def test_no_bytes_are_too_strange_to_be_walked(noise: bytes, markers: list[int]) -> None:
    content = bytearray(noise)
    for at in markers:
        content[at:at] = MARKER
    at = 0
    for offset, head, end in walked(bytes(content)):
        assert offset == at < end <= len(content) and head is None
        at = end
    assert at == len(content)


def test_each_single_bit_of_a_segment_costs_at_most_one_record() -> None:
    """All bits of three records, of which the middle one was removed."""
    records = [record_of(key, b"metadata", b"body of " + key, 7) for key in (b"a", b"b", b"c")]
    records[1] = records[1].replace(records[1][8:12], DEAD, 1)
    content, starts = b"".join(records), [0, len(records[0]), len(records[0]) + len(records[1])]
    for at in range(len(content)):
        hit = max(number for number, start in enumerate(starts) if start <= at)
        for bit in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            alive = {head.key for _, head, _ in walked(bytes(damaged)) if head is not None and head.is_live}
            assert {b"a", b"c"} - {(b"a", b"b", b"c")[hit]} <= alive <= {b"a", b"c"}


def test_the_first_bytes_of_a_head_are_no_head() -> None:
    record = record_of(b"key", b"metadata", b"", 1)
    assert decode_head(record, 0, MARKER) is not None
    assert all(decode_head(record[:length], 0, MARKER) is None for length in range(len(record)))


@given(
    st.dictionaries(st.integers(0, 2_000_000), st.tuples(st.integers(0, 2**60 - 1), st.booleans(), st.booleans())),
    st.integers(0, 2**64 - 1),
)
def test_an_index_is_read_as_it_was_written(records: dict[int, tuple[int, bool, bool]], highest_sequence: int) -> None:
    offsets = sorted(records)
    hashes, live, noted = zip(*(records[offset] for offset in offsets), strict=True) if records else ((), (), ())
    states = state_words(list(live), bytearray(noted))
    index = SegmentIndex(2**59 + 1, highest_sequence, array("q", hashes), array("I", offsets), states)
    data = encode_index(index, MARKER, 2_000_001)
    assert len(data) == index_length(len(records))
    read = decode_index(data[:-LOCATOR_BYTES], MARKER, 2_000_001)
    assert read == index and read.live() == list(live)
    assert [is_live and bool(is_noted) for is_live, is_noted in zip(live, read.noted(), strict=True)] == [
        is_live and is_noted for is_live, is_noted in zip(live, noted, strict=True)
    ]
    assert index.are_all_live is (all(live) and not any(noted))


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_are_too_strange_for_an_index(noise: bytes, has_marker: bool) -> None:
    assert decode_index(MARKER + noise if has_marker else noise, MARKER, 1_000) is None


@given(st.lists(st.binary(max_size=700), unique=True, max_size=60))
def test_keys_have_hashes_of_their_own(keys: list[bytes]) -> None:
    key_hash = KeyHash(new_modulus())
    hashes = [key_hash.of(key) for key in keys]
    assert len(set(hashes)) == len(keys) and all(0 <= each < 2**60 for each in hashes)
    assert hashes == [KeyHash(key_hash.modulus).of(key) for key in keys]
    assert key_hash.of(b"a") != key_hash.of(b"a\0") and is_modulus(key_hash.modulus) and is_prime(key_hash.modulus)


def test_a_prime_is_what_no_smaller_number_divides() -> None:
    for number in range(41, 20_001, 2):
        assert is_prime(number) is all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
    for known in (2**59 - 55, 2**60 - 93, 2**61 - 1):
        assert is_prime(known) and not is_prime(known * (2**31 - 1))
