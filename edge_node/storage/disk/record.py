"""A record as the owner of the store sees it, and its body on the way from the disk.

Rules that live here. No byte of a block is handed out before the block's checksum was found right. What is handed out is the copy that was checked, out of reach of
whoever writes to the file; or, to a socket, a stretch of blocks that were proven before in the same state of the file (`proof.py`): the state is looked at before the
bytes leave and after, and the end of each range is a copy in any case, so that no answer is whole before all its bytes are known to be right.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, NoReturn

from edge_node.storage.disk.errors import DiskCorruptionError
from edge_node.storage.disk.files import OpenFile
from edge_node.storage.disk.format import BLOCK_BYTES, RecordHead, block_checksum
from edge_node.storage.disk.mapping import WINDOW_BYTES
from edge_node.storage.disk.proof import FileState, Proof

BLOCKS_IN_A_READ: Final = 4
"""256 KiB a piece: a tenth less processor time for a large body than 64 KiB (docs/disk-format.md)."""

LARGEST_MAPPED_BYTES: Final = 2 * 1024 * 1024
"""A piece: what a sender gives one viewer before others have their turn (`delivery/body_sender.py`)."""


HELD_BACK_BYTES: Final = 4096
"""The end of a range, which is copied after all before it were sent and the file was found unchanged."""


class RecordSummary(NamedTuple):
    """What an owner needs to know of each record when it starts."""

    key: bytes
    metadata: bytes
    stamp: int
    epoch_id: bytes
    length: int


class BodyLocation(NamedTuple):
    """Where a body begins, and what of it was read with the head."""

    file: OpenFile
    offset: int
    read_ahead: bytes
    proof: Proof | None
    """None: the body shares its file with others, and is never mapped."""


class DiskBody:
    """A body; readable as long as somebody holds it, also when its record has left the store."""

    __slots__ = ("_head", "_place", "_report_damage")

    def __init__(self, head: RecordHead, place: BodyLocation, report_damage: Callable[[], None]) -> None:
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
            before = self._state() if self._place.proof is not None else None
            piece = self._checked(block, self._read(start, piece_end - start, buffer), piece_end - start)
            if before is not None and self._place.proof is not None:
                until = -(-piece_end // BLOCK_BYTES)
                self._place.proof.add(block, until, before, self._place.file.now_ns())
            yield piece[at - start : end - start]
            at = piece_end

    def sendable_pieces(self, first: int, last: int, buffer: memoryview) -> Iterator[memoryview | MappedBytes]:
        """The bytes from `first` to `last`: checked pieces as of `chunks`, and stretches of the mapped file where all blocks are proven."""
        end = min(last + 1, self.length)
        at, is_mapped = first, False
        while at < end - HELD_BACK_BYTES:
            until = self._end_of_mapped(at, end)
            if until > at:
                is_mapped = until == end
                until = min(until, end - HELD_BACK_BYTES)
                yield MappedBytes(self, at, until - at)
                at = until
                continue
            start = at // BLOCK_BYTES * BLOCK_BYTES
            until = min(start + len(buffer) // BLOCK_BYTES * BLOCK_BYTES, end)
            yield from self.chunks(at, until - 1, buffer)
            at = until
        if is_mapped:
            yield memoryview(self.copy_proven(at, end - at))
        elif at < end:
            yield from self.chunks(at, end - 1, buffer)

    def write_mapped(self, descriptor: int, first: int, length: int, *, is_fresh: bool) -> int:
        """Give proven bytes to a descriptor; how many it took. DiskCorruptionError when the file is not in the state of the proof, or was not afterwards.

        Fresh: they were taken just now, so that the state was looked at.
        """
        file, proof = self._place.file, self._place.proof
        assert proof is not None
        if not is_fresh and not self._is_unchanged(proof):
            self._lose(first, length)
        try:
            written = file.write_mapped(descriptor, self._place.offset + first, length)
        except OSError as error:
            if error.errno == errno.EFAULT or not self._is_unchanged(proof):
                self._lose(first, length)
            raise
        if not self._is_unchanged(proof):
            self._lose(first, length)
        return written

    def copy_proven(self, first: int, length: int) -> bytes:
        """Proven bytes, read; DiskCorruptionError as above."""
        proof = self._place.proof
        assert proof is not None
        try:
            data = self._place.file.read(length, self._place.offset + first)
        except OSError:
            data = b""
        if len(data) < length or not self._is_unchanged(proof):
            self._lose(first, length)
        return data

    def _end_of_mapped(self, at: int, limit: int) -> int:
        """To which position, at most `limit`, the bytes from `at` on may be sent from the mapping; `at` itself: none of them."""
        file, offset, _, proof = self._place
        if proof is None or proof.state is None:
            return at
        if not file.is_in(proof.state):
            proof.forget()
            return at
        until = min(
            limit, at + LARGEST_MAPPED_BYTES, (offset + at) // WINDOW_BYTES * WINDOW_BYTES + WINDOW_BYTES - offset
        )
        proven = proof.end_of_proven(at // BLOCK_BYTES, -(-until // BLOCK_BYTES))
        until = min(until, proven * BLOCK_BYTES)
        return until if until > at and file.may_map(offset + at, proof.state.length) else at

    def _is_unchanged(self, proof: Proof) -> bool:
        return proof.state is not None and self._place.file.is_in(proof.state)

    def _state(self) -> FileState | None:
        try:
            return self._place.file.state()
        except OSError:
            return None

    def _lose(self, first: int, length: int) -> NoReturn:
        self._report_damage()
        raise DiskCorruptionError(f"the file of bytes {first} to {first + length} of a body was changed")

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


class MappedBytes:
    """A proven stretch of a body, to be given to a socket."""

    __slots__ = ("_body", "_first", "length")

    def __init__(self, body: DiskBody, first: int, length: int) -> None:
        self._body = body
        self._first = first
        self.length = length

    def write_to(self, descriptor: int, first: int) -> int:
        """How many of the bytes from position `first` on it took; OSError: none. DiskCorruptionError: the file was changed. From 0 on: right after it was taken."""
        return self._body.write_mapped(descriptor, self._first + first, self.length - first, is_fresh=first == 0)

    def copy(self, first: int, length: int) -> bytes:
        """These bytes; DiskCorruptionError: the file was changed."""
        return self._body.copy_proven(self._first + first, length)


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
