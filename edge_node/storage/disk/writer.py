"""A body on its way to the disk. Small ones wait in memory and share a segment; larger ones go to a file of their own as they arrive.

Whoever opened a writer commits or aborts it; one that is dropped counts as aborted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from edge_node.storage.disk.files import OpenFile
from edge_node.storage.disk.format import BLOCK_BYTES, LOCATOR_BYTES, FileName, block_checksum

PIECE_BYTES: Final = 4 * BLOCK_BYTES
"""Written at once; also the largest body that waits in memory for its end."""


class RecordMetadata(NamedTuple):
    """What comes with a body when it is whole."""

    key: bytes
    metadata: bytes
    stamp: int
    epoch_id: bytes


class BodyFile(NamedTuple):
    """A file of its own for one body; `length` is what is written so far, with the room for the locator."""

    name: FileName
    file: OpenFile


class BodyChecksums(NamedTuple):
    """Length, checksums and the salt that they start from."""

    length: int
    checksums: bytes
    salt: int


class WriterBackend(Protocol):
    """What a writer needs of its store. None of it raises for a disk that refuses: False or None, counted."""

    largest_body_bytes: int

    def is_small(self, labels_length: int, body_length: int) -> bool:
        """Whether the record goes into a segment."""

    def refuse(self) -> None:
        """Count a body that was given up for want of room."""

    def new_salt(self) -> int:
        """For the checksums of one body."""

    def begin_body(self) -> BodyFile | None:
        """A file of its own."""

    def write_body(self, file: OpenFile, data: bytes | memoryview, offset: int) -> bool:
        """Make room and write."""

    def drop_body(self, body: BodyFile, length: int) -> None:
        """Remove the file of a body that will not be whole."""

    def put_small(self, labels: RecordMetadata, body: BodyChecksums, parts: Sequence[bytes]) -> bool:
        """Store a record with the body in memory."""

    def put_large(self, labels: RecordMetadata, body: BodyChecksums, place: BodyFile) -> bool:
        """Store a record with the body in the file; False: the file is to be dropped."""


class DiskWriter:
    """Takes one body."""

    __slots__ = (
        "_checksums",
        "_file",
        "_host",
        "_is_open",
        "_key",
        "_length",
        "_parts",
        "_salt",
        "_waiting",
        "_written",
    )

    def __init__(self, host: WriterBackend, key: bytes) -> None:
        self._host = host
        self._key = key
        self._salt = host.new_salt()
        self._is_open = True
        self._length = 0
        self._parts: list[bytes] = []
        self._waiting = 0
        self._checksums = bytearray()
        self._file: BodyFile | None = None
        self._written = 0

    def write(self, chunk: bytes | bytearray | memoryview) -> bool:
        """Take more; False: no room, too large, or the disk refuses, and the writer is aborted."""
        if not self._is_open:
            return False
        self._length += len(chunk)
        if self._length > self._host.largest_body_bytes:
            self._host.refuse()
            self.abort()
            return False
        self._parts.append(bytes(chunk))
        self._waiting += len(chunk)
        return self._waiting < PIECE_BYTES or self._write_blocks()

    def commit(self, metadata: bytes, stamp: int, epoch_id: bytes = b"") -> bool:
        """The body is whole: from now on `lookup` finds the record. False: the disk refused it or the writer was aborted; what was under the key may be gone, too."""
        if not self._is_open:
            return False
        labels = RecordMetadata(self._key, metadata, stamp, epoch_id)
        is_stored = self._commit_small(labels) if self._is_small(labels) else self._commit_large(labels)
        if is_stored:
            self._is_open, self._file = False, None
            self._parts.clear()
        self.abort()
        return is_stored

    def abort(self) -> None:
        """Give everything back. Allowed at any time, also twice."""
        if self._is_open:
            self._is_open = False
            self._parts.clear()
            if self._file is not None:
                self._host.drop_body(self._file, self._written)
                self._file = None

    def __del__(self) -> None:
        self.abort()

    def _is_small(self, labels: RecordMetadata) -> bool:
        labels_length = len(labels.key) + len(labels.metadata) + len(labels.epoch_id)
        return self._file is None and self._host.is_small(labels_length, self._length)

    def _commit_small(self, labels: RecordMetadata) -> bool:
        body = b"".join(self._parts)
        self._add_checksums(memoryview(body))
        return self._host.put_small(labels, self._arrived(), (body,))

    def _commit_large(self, labels: RecordMetadata) -> bool:
        if not self._write_blocks(is_end=True):
            return False
        assert self._file is not None
        return self._host.put_large(labels, self._arrived(), self._file)

    def _arrived(self) -> BodyChecksums:
        return BodyChecksums(self._length, bytes(self._checksums), self._salt)

    def _write_blocks(self, *, is_end: bool = False) -> bool:
        """Write the whole blocks that wait; at the end also the last, shorter one."""
        data = memoryview(b"".join(self._parts))
        length = len(data) if is_end else len(data) // BLOCK_BYTES * BLOCK_BYTES
        self._parts, self._waiting = [bytes(data[length:])], len(data) - length
        self._add_checksums(data[:length])
        if self._begin() and self._append(data[:length]):
            return True
        self.abort()
        return False

    def _begin(self) -> bool:
        if self._file is None:
            self._file = self._host.begin_body()
            return self._file is not None and self._append(memoryview(bytes(LOCATOR_BYTES)))
        return True

    def _append(self, data: memoryview) -> bool:
        assert self._file is not None
        is_written = self._host.write_body(self._file.file, data, self._written)
        self._written += len(data) if is_written else 0
        return is_written

    def _add_checksums(self, data: memoryview) -> None:
        for at in range(0, len(data), BLOCK_BYTES):
            number = len(self._checksums) // 4
            self._checksums += block_checksum(data[at : at + BLOCK_BYTES], self._salt, number).to_bytes(4, "little")
