"""A record as the owner of the store sees it, and its body on the way from the disk.

Rule: no byte of a block is handed out before the block's checksum was found right. What is handed out is the copy that was
checked, out of reach of whoever writes to the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from edge_node.storage.disk.errors import DiskCorruptionError
from edge_node.storage.disk.files import OpenFile
from edge_node.storage.disk.format import BLOCK_BYTES, RecordHead, block_checksum

BLOCKS_IN_A_READ = 4
"""256 KiB a piece: a tenth less processor time for a large body than 64 KiB (docs/disk-format.md)."""


class RecordSummary(NamedTuple):
    """What an owner needs to know of each record when it starts."""

    key: bytes
    metadata: bytes
    stamp: int
    epoch_id: bytes
    length: int


class BodyPlace(NamedTuple):
    """Where a body begins, and what of it was read with the head."""

    file: OpenFile
    offset: int
    read_ahead: bytes


class DiskBody:
    """A body; readable as long as somebody holds it, also when its record has left the store."""

    __slots__ = ("_head", "_place", "_report_damage")

    def __init__(self, head: RecordHead, place: BodyPlace, report_damage: Callable[[], None]) -> None:
        self._head = head
        self._place = place
        self._report_damage = report_damage

    @property
    def length(self) -> int:
        """In bytes."""
        return self._head.body_length

    def chunks(self, first: int = 0, last: int | None = None, buffer: memoryview | None = None) -> Iterator[memoryview]:
        """The bytes from `first` to `last` (both included; None: to the end) in checked pieces of at most 256 KiB; DiskCorruptionError at the first damaged one.

        With a buffer (of one block at least) pieces are as large as the whole blocks that it has room for, and each lasts only until the buffer is used again.
        """
        most_blocks = BLOCKS_IN_A_READ if buffer is None else len(buffer) // BLOCK_BYTES
        end = self.length if last is None else min(last + 1, self.length)
        at = first
        while at < end:
            block = at // BLOCK_BYTES
            start = block * BLOCK_BYTES
            piece_end = min(start + most_blocks * BLOCK_BYTES, -(-end // BLOCK_BYTES) * BLOCK_BYTES, self.length)
            piece = self._checked(block, self._read(start, piece_end - start, buffer), piece_end - start)
            yield piece[at - start : end - start]
            at = piece_end

    def _checked(self, block: int, data: memoryview, length: int) -> memoryview:
        """What was read, if it is `length` bytes long and right from block number `block` on."""
        checksums, salt = self._head.checksums, self._head.salt
        is_right = len(data) == length
        for at in range(0, len(data), BLOCK_BYTES):
            number = block + at // BLOCK_BYTES
            expected = int.from_bytes(checksums[4 * number : 4 * number + 4], "little")
            is_right = is_right and block_checksum(data[at : at + BLOCK_BYTES], salt, number) == expected
        if not is_right:
            self._report_damage()
            start = block * BLOCK_BYTES
            raise DiskCorruptionError(f"bytes {start} to {start + length} of a body are damaged")
        return data

    def _read(self, start: int, length: int, buffer: memoryview | None) -> memoryview:
        ahead = self._place.read_ahead
        if start + length <= len(ahead):
            return memoryview(ahead)[start : start + length]
        offset = self._place.offset + start
        try:
            if buffer is not None:
                return self._place.file.read_into(buffer[:length], offset)
            return memoryview(self._place.file.read(length, offset))
        except OSError:
            return memoryview(b"")


class DiskRecord:
    """What `lookup` found; head and metadata are checked."""

    __slots__ = ("_head", "body")

    def __init__(self, head: RecordHead, body: DiskBody) -> None:
        self._head = head
        self.body = body

    @property
    def key(self) -> bytes:
        """What it was put under."""
        return self._head.key

    @property
    def metadata(self) -> bytes:
        """The owner's, as it was put."""
        return self._head.metadata

    @property
    def stamp(self) -> int:
        """Index in the log."""
        return self._head.stamp

    @property
    def epoch_id(self) -> bytes:
        """Identity of that log."""
        return self._head.epoch_id

    @property
    def length(self) -> int:
        """Of the body."""
        return self._head.body_length


def summary_of(head: RecordHead) -> RecordSummary:
    """Without the body."""
    return RecordSummary(head.key, head.metadata, head.stamp, head.epoch_id, head.body_length)
