"""The bytes on the disk, and how they are read when they cannot be trusted. Pure: files are `files.py`'s, what is kept and what leaves is `store.py`'s.

Rules that live here. A record begins with the marker of its file, eight random bytes that are also in the file's name, so that a body, whatever it contains, is never
taken for a record when damage makes a reader search for the next one. Everything in a head but its state is under one checksum that starts from the marker; each block
of a body has its own, in the head. Each starts from the record's salt plus the block's number, so that a whole block of another place is noticed, too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from isal.isal_zlib import crc32

BLOCK_BYTES: Final = 64 * 1024
"""What one checksum covers: the least that is read for a range of a body. 64 KiB take 1 us to check, and a body of 5 GiB has 320 KiB of checksums."""

LIVE: Final = b"\x5a\xc3\x96\x0f"
DEAD: Final = b"\xa5\x3c\x69\xf0"
"""Each bit differs, so that no small damage brings a removed record back; anything else is damage."""

_STATES = (LIVE, DEAD)

INDEX: Final = b"\xf0\x69\x3c\xa5"
"""In the place of a state: no record, but the index of the records before it, behind which there is nothing more (`segment_index.py`)."""

STATE_OFFSET: Final = 8
"""Of the state in a head, which is the one field that is overwritten in place."""

MARKER_BYTES: Final = 8
SALT_MASK: Final = 0xFFFFFFFF
"""A salt is what a checksum of 32 bits starts from."""
LARGEST_HEAD_BYTES: Final = 1 << 20

_HEAD: Final = struct.Struct("<8s4sIQQQIIIII")
_HEAD_FIELDS_OFFSET: Final = MARKER_BYTES + len(LIVE) + 4
_LOCATOR: Final = struct.Struct("<8sQII")
LOCATOR_BYTES: Final = _LOCATOR.size

HEAD_BYTES: Final = _HEAD.size
"""Of a head without epoch, key, metadata and checksums."""

LARGEST_BODY_BYTES: Final = (LARGEST_HEAD_BYTES // 4 - BLOCK_BYTES // 4) * BLOCK_BYTES
"""15 GiB: its checksums leave 64 KiB of the largest head to the key and the metadata."""

_WINDOW_BYTES: Final = 128 * 1024
_SMALL_WINDOW_BYTES: Final = 4096
_FILE_NAME: Final = re.compile(r"([0-9a-f]{9})-([0-9a-f]{16})\.(segment|body)")


class RecordHead(NamedTuple):
    """What a record says of itself."""

    is_live: bool
    sequence: int
    """Grows with each commit: of two records of one key the higher one is the newer."""
    stamp: int
    body_length: int
    salt: int
    epoch_id: bytes
    key: bytes
    metadata: bytes
    checksums: bytes
    """Four bytes for each block of the body."""

    @property
    def length(self) -> int:
        """Of the head itself."""
        return HEAD_BYTES + len(self.epoch_id) + len(self.key) + len(self.metadata) + len(self.checksums)

    @property
    def record_length(self) -> int:
        """Of head and body where they follow each other."""
        return self.length + self.body_length


class FileName(NamedTuple):
    """A file of the store: `segment` has many records, heads before bodies; `body` one, with its head behind it and a locator before it."""

    number: int
    marker: bytes
    is_body: bool

    def __str__(self) -> str:
        return f"{self.number:09x}-{self.marker.hex()}.{'body' if self.is_body else 'segment'}"


def parse_file_name(name: str) -> FileName | None:
    """None: not a file of the store."""
    match = _FILE_NAME.fullmatch(name)
    return match and FileName(int(match[1], 16), bytes.fromhex(match[2]), match[3] == "body")


def block_checksum(block: bytes | bytearray | memoryview, salt: int, number: int) -> int:
    """Of block `number` of a body."""
    return crc32(block, (salt + number) & SALT_MASK)


def block_count(body_length: int) -> int:
    """Blocks in a body of that length."""
    return -(-body_length // BLOCK_BYTES)


def encode_head(head: RecordHead, marker: bytes) -> bytes:
    """A live head for the file with that marker."""
    fields = _HEAD.pack(
        marker,
        LIVE,
        0,
        head.sequence,
        head.stamp,
        head.body_length,
        head.salt,
        len(head.key),
        len(head.metadata),
        len(head.checksums),
        len(head.epoch_id),
    )
    tail = b"".join((fields[_HEAD_FIELDS_OFFSET:], head.epoch_id, head.key, head.metadata, head.checksums))
    return b"".join((marker, LIVE, crc32(tail, crc32(marker)).to_bytes(4, "little"), tail))


def head_length(data: bytes, at: int, marker: bytes) -> int | None:
    """How long the head at `at` says it is; None when it is no head."""
    if len(data) - at < HEAD_BYTES:
        return None
    found, _, _, _, _, body_length, _, key, metadata, checksums, epoch = _HEAD.unpack_from(data, at)
    length = HEAD_BYTES + epoch + key + metadata + checksums
    if found != marker or length > LARGEST_HEAD_BYTES or body_length > LARGEST_BODY_BYTES:
        return None
    return length if checksums == 4 * block_count(body_length) else None


def decode_head(data: bytes, at: int, marker: bytes) -> RecordHead | None:
    """The head at `at`; None when it is damaged or incomplete."""
    if len(data) - at < HEAD_BYTES:
        return None
    fields = _HEAD.unpack_from(data, at)
    found, state, checksum, sequence, stamp, body_length, salt, key, metadata, checksums, epoch = fields
    key_at = at + HEAD_BYTES + epoch
    metadata_at = key_at + key
    checksums_at = metadata_at + metadata
    end = checksums_at + checksums
    if found != marker or end > len(data) or state not in _STATES or checksums != 4 * block_count(body_length):
        return None
    if checksum != crc32(memoryview(data)[at + _HEAD_FIELDS_OFFSET : end], crc32(marker)):
        return None
    return RecordHead(
        state == LIVE,
        sequence,
        stamp,
        body_length,
        salt,
        data[at + HEAD_BYTES : key_at],
        data[key_at:metadata_at],
        data[metadata_at:checksums_at],
        data[checksums_at:end],
    )


def encode_locator(head_offset: int, length: int, marker: bytes) -> bytes:
    """The beginning of a `body` file: where its head is."""
    fields = _LOCATOR.pack(marker, head_offset, length, 0)[:-4]
    return fields + crc32(fields).to_bytes(4, "little")


def decode_locator(data: bytes, marker: bytes) -> tuple[int, int] | None:
    """Offset and length of the head; None when damaged."""
    if len(data) < LOCATOR_BYTES:
        return None
    found, head_offset, length, checksum = _LOCATOR.unpack_from(data)
    if found != marker or checksum != crc32(data[: LOCATOR_BYTES - 4]) or length > LARGEST_HEAD_BYTES:
        return None
    return head_offset, length


class ScannedRecord(NamedTuple):
    """A record in a segment, or None for a stretch that is damaged; `end` is where it ends."""

    offset: int
    head: RecordHead | None
    end: int


ReadAt = Callable[[int, int], bytes]
"""(length, offset) -> at most so many bytes, less at the end of the file."""


def walk_segment(read: ReadAt, size: int, marker: bytes) -> Iterator[ScannedRecord]:
    """All records in a segment of `size` bytes, up to its index. Where bodies are large only heads are read; past damage the next true head is searched for."""
    offset, base, window, window_bytes = 0, 0, b"", _WINDOW_BYTES
    while offset < size:
        head = decode_head(window, offset - base, marker)
        if head is None and base + len(window) < size:
            base, window = offset, _read_head(read, offset, window_bytes, marker)
            head = decode_head(window, 0, marker)
        if (
            head is None
            and window.startswith(INDEX, offset - base + MARKER_BYTES)
            and window.startswith(marker, offset - base)
        ):
            return
        end = offset + head.record_length if head is not None else size + 1
        if end > size:
            if base + len(window) < size:
                base, window = offset, read(size - offset, offset)
                size = min(size, base + len(window))
            head, end = None, base + _next_head(window, offset - base, marker)
        yield ScannedRecord(offset, head, end)
        window_bytes = _SMALL_WINDOW_BYTES if end - offset > _WINDOW_BYTES // 4 else _WINDOW_BYTES
        offset = end


def _read_head(read: ReadAt, offset: int, window_bytes: int, marker: bytes) -> bytes:
    """A window that holds the whole head at `offset` if there is one."""
    window = read(window_bytes, offset)
    length = head_length(window, 0, marker)
    return read(length, offset) if length is not None and length > len(window) else window


def _next_head(window: bytes, at: int, marker: bytes) -> int:
    """Where the next whole head is behind position `at`; the end when there is none."""
    found = window.find(marker, at + 1)
    while found >= 0 and decode_head(window, found, marker) is None:
        found = window.find(marker, found + 1)
    return found if found >= 0 else len(window)
