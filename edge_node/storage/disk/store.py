"""The disk store: records that survive the process. Where they are is `record_catalog.py`'s, the bytes are `format.py`'s, files `segments.py`'s.

Rules that live here.

- An unfinished write is no record. What is replaced is forgotten before its replacement can be found at a start.
- Nothing raises for a disk that refuses, or for damage: it is counted, and the record is not there. The two exceptions: a body that turns out to be damaged while it is
  being read (`DiskCorruptionError`), and a removal that cannot be made to last (`DiskRemovalError`: the owner must stop using the folder).
- Records of before a restart of the machine are invalid (`boot_id.py`).

Everything is synchronous and made for an event loop: a call does a bounded amount of work (docs/disk-format.md has the measurements).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from edge_node.storage.disk.boot_id import is_same_boot, record_boot, record_clean_end
from edge_node.storage.disk.disk_budget import DiskBudget, DiskStatistics
from edge_node.storage.disk.errors import DiskStoreError
from edge_node.storage.disk.files import DiskFiles, FolderLock, OpenFile
from edge_node.storage.disk.format import (
    HEAD_BYTES,
    LARGEST_BODY_BYTES,
    LARGEST_HEAD_BYTES,
    LOCATOR_BYTES,
    SALT_MASK,
    RecordHead,
    block_count,
    encode_head,
    encode_locator,
)
from edge_node.storage.disk.key_hash import KeyHash, new_modulus
from edge_node.storage.disk.proof import Proof
from edge_node.storage.disk.record import BodyLocation, DiskBody, DiskRecord, RecordSummary, summary_of
from edge_node.storage.disk.record_catalog import IsNoted, RecordCatalog, RecordLocation, read_head
from edge_node.storage.disk.recovery import Recovery, found_in, modulus_in
from edge_node.storage.disk.segments import Segment, Segments
from edge_node.storage.disk.writer import BodyChecksums, BodyFile, DiskWriter, RecordMetadata

LARGEST_SMALL_RECORD_BYTES: Final = 256 * 1024
"""Larger ones get a file of their own: they are not copied, and they leave one by one."""


def _is_not_noted(metadata: bytes) -> bool:
    del metadata
    return False


class DiskStore:
    """Records in a folder that belongs to this process alone, under a byte budget."""

    def __init__(
        self,
        folder: Path,
        capacity_bytes: int,
        boot_id: str,
        files: DiskFiles | None = None,
        is_noted: IsNoted = _is_not_noted,
    ) -> None:
        """Opens, and recovers what is there; DiskStoreError when the folder cannot be used, ValueError for a capacity that is too small."""
        self._is_noted = is_noted
        self.statistics = DiskStatistics(capacity_bytes)
        self._budget = DiskBudget(self.statistics)
        self.largest_body_bytes = min(self._budget.largest_body_bytes, LARGEST_BODY_BYTES)
        self._largest_small_bytes = min(LARGEST_SMALL_RECORD_BYTES, self._budget.largest_record_bytes)
        self._folder = folder
        self._boot_id = boot_id
        self._files = files or DiskFiles()
        self._is_open = False
        self._salt = int.from_bytes(os.urandom(4), "little")
        try:
            self._open()
        except OSError as error:
            raise DiskStoreError(f"{folder} cannot be used: {error}") from error

    def lookup(self, key: bytes) -> DiskRecord | None:
        """The record, its head checked; counts as a use."""
        key_hash = self._key_hash.of(key)
        place = self._catalog.find(key_hash)
        file = self._open_file(place) if place is not None else None
        if place is None or file is None:
            return None
        found = read_head(file, place)
        if found is None:
            self._catalog.report_damage(key_hash, place)
            return None
        if (
            not found.head.is_live
        ):  # removed by a process that ended before it could mark that in the index of the file, too
            self._catalog.forget(key_hash)
            return None
        if found.head.key != key:
            return None
        self._catalog.mark_used(key_hash, place)
        offset = LOCATOR_BYTES if place.segment.name.is_body else place.offset + found.head.length
        body_place = BodyLocation(file, offset, found.body_start, _proof_of(place.segment, found.head))
        return DiskRecord(
            found.head, DiskBody(found.head, body_place, partial(self._catalog.report_damage, key_hash, place))
        )

    def records(self) -> Iterator[RecordSummary]:
        """All of them, oldest file first; to be read before anything is written or removed."""
        return self._records_in(self._segments.all())

    def noted_records(self) -> Iterator[RecordSummary]:
        """The same of those that were to be noted; files that have none are not read."""
        segments = [segment for segment in self._segments.all() if 1 in segment.noted]
        return (summary for summary in self._records_in(segments) if self._is_noted(summary.metadata))

    def _records_in(self, segments: Sequence[Segment]) -> Iterator[RecordSummary]:
        self.flush()
        for segment in segments:
            file = self._open_file(RecordLocation(segment, 0))
            for found in found_in(segment, file) if file is not None else ():
                head, place = found.head, RecordLocation(segment, found.offset)
                if head is not None and head.is_live and self._catalog.is_at(self._key_hash.of(head.key), place):
                    yield summary_of(head)

    def open_writer(self, key: bytes, expected_length: int | None) -> DiskWriter | None:
        """Begin a body of `expected_length` bytes (None: unknown); None when it is too large to be admitted."""
        if expected_length is not None and expected_length > self.largest_body_bytes:
            self.refuse()
            return None
        return DiskWriter(self, key)

    def remove(self, key: bytes) -> None:
        """Forget the record, if there is one: not even kill -9 brings it back once this has returned."""
        self._catalog.forget(self._key_hash.of(key))

    def clear(self) -> None:
        """Forget all records, as durably; bodies that are still arriving keep their room."""
        self._catalog.clear()

    def flush(self) -> None:
        """Write what waits, and go on with what `clear` began. To be called now and then: what waits is lost with the process."""
        self._catalog.flush()
        self._segments.sweep()

    def close(self) -> None:
        """Write what waits and close the folder. Bodies that are still held stay readable. Allowed twice; nothing else is allowed after it."""
        if not self._is_open:
            return
        self._is_open = False
        self._catalog.seal()
        while self._segments.sweep():
            pass
        self._segments.close()
        record_clean_end(self._folder, self._boot_id)
        self._lock.release()

    # What a writer asks for (writer.WritersHost).

    def is_small(self, labels_length: int, body_length: int) -> bool:
        """See WriterBackend."""
        return HEAD_BYTES + labels_length + 4 * block_count(body_length) + body_length <= self._largest_small_bytes

    def refuse(self) -> None:
        """See WriterBackend."""
        self.statistics.refused_bodies += 1

    def new_salt(self) -> int:
        """See WriterBackend."""
        self._salt = (self._salt + block_count(self.largest_body_bytes) + 1) & SALT_MASK
        return self._salt

    def begin_body(self) -> BodyFile | None:
        """See WriterBackend."""
        try:
            return BodyFile(*self._segments.create_body())
        except OSError:
            self.statistics.write_errors += 1
            return None

    def write_body(self, file: OpenFile, data: bytes | memoryview, offset: int) -> bool:
        """See WriterBackend."""
        if not self._catalog.make_room(len(data)):
            self.refuse()
            return False
        try:
            file.write_all(data, offset)
        except OSError:
            self.statistics.write_errors += 1
            return False
        self._budget.take(len(data))
        return True

    def drop_body(self, body: BodyFile, length: int) -> None:
        """See WriterBackend."""
        self._segments.drop_body(body.name, length)

    def put_small(self, labels: RecordMetadata, body: BodyChecksums, parts: Sequence[bytes]) -> bool:
        """See WriterBackend."""
        head = self._head_of(labels, body)
        if not self._catalog.make_room(head.record_length):
            self.refuse()
            return False
        key_hash = self._key_hash.of(labels.key)
        self._catalog.forget(key_hash)
        return self._catalog.append(key_hash, head, parts)

    def put_large(self, labels: RecordMetadata, body: BodyChecksums, place: BodyFile) -> bool:
        """See WriterBackend."""
        head = self._head_of(labels, body)
        head_offset = LOCATOR_BYTES + body.length
        if head.length > LARGEST_HEAD_BYTES:
            self.refuse()
            return False
        if not self.write_body(place.file, encode_head(head, place.name.marker), head_offset):
            return False
        self._catalog.forget(self._key_hash.of(labels.key))
        if self._keep_body(place, head, head_offset):
            return True
        self._budget.release(head.length)
        return False

    def _keep_body(self, place: BodyFile, head: RecordHead, head_offset: int) -> bool:
        segment = Segment(place.name, head_offset + head.length)
        segment.head_offset = head_offset
        try:
            place.file.write_all(encode_locator(head_offset, head.length, place.name.marker), 0)
            self._segments.keep_body(segment, place.file)
        except OSError:
            self.statistics.write_errors += 1
            return False
        self._catalog.add(self._key_hash.of(head.key), RecordLocation(segment, 0), head)
        return True

    def _head_of(self, labels: RecordMetadata, body: BodyChecksums) -> RecordHead:
        self._sequence += 1
        return RecordHead(
            True,
            self._sequence,
            labels.stamp,
            body.length,
            body.salt,
            labels.epoch_id,
            labels.key,
            labels.metadata,
            body.checksums,
        )

    def _open_file(self, place: RecordLocation) -> OpenFile | None:
        try:
            return self._segments.open(place.segment)
        except FileNotFoundError:
            self._catalog.report_missing(place.segment)
        except OSError:
            self.statistics.read_errors += 1
        return None

    def _open(self) -> None:
        self._files.make_folder(self._folder)
        self._lock = FolderLock(self._folder / "lock")
        try:
            self._segments = Segments(self._folder, self._budget, self._files)
            self._segments.remove_leftovers()
            if not is_same_boot(self._folder, self._boot_id):
                self._segments.remove_all_files()
                record_boot(self._folder, self._boot_id)
            self._recover()
            self._catalog.make_room(0)
            self._is_open = True
        except BaseException:
            self._lock.release()
            raise

    def _recover(self) -> None:
        found = self._segments.found()
        self._key_hash = KeyHash(modulus_in(self._segments, found) or new_modulus())
        modulus = self._key_hash.modulus
        self._catalog = RecordCatalog(self._segments, self._budget, self.statistics, modulus, self._is_noted)
        Recovery(self._segments, self._catalog, self.statistics, self._key_hash).run(found)
        self._sequence = self._catalog.highest_sequence


def _proof_of(segment: Segment, head: RecordHead) -> Proof | None:
    """What is known of the blocks of a body that has a file of its own."""
    if segment.name.is_body and segment.proof is None:
        segment.proof = Proof(block_count(head.body_length))
    return segment.proof
