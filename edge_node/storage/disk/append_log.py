"""The segment that is being written: records wait in memory until a batch is worth a write.

Rules that live here. What waits is bounded. A batch that the disk takes only in part costs the records that are not whole in the file; the segment is cut there and
never written to again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from edge_node.storage.disk.disk_budget import DiskBudget, DiskStatistics
from edge_node.storage.disk.format import DEAD, STATE_OFFSET, RecordHead, encode_head
from edge_node.storage.disk.segment_index import index_length
from edge_node.storage.disk.segments import Segment, Segments

MOST_WAITING_BYTES: Final = 256 * 1024

Sealed = Callable[[Segment, int], None]
"""Told of a segment to which nothing will be appended any more, and for how many bytes there has to be room beside its index."""

LostRecord = Callable[[int, Segment, int], None]
"""(key hash, segment, offset) of a record that could not be written."""


class AppendLog:
    """Appends records to the youngest segment."""

    def __init__(
        self,
        segments: Segments,
        budget: DiskBudget,
        statistics: DiskStatistics,
        lost_record: LostRecord,
        sealed: Sealed,
    ) -> None:
        self._segments = segments
        self._budget = budget
        self._statistics = statistics
        self._lost_record = lost_record
        self._sealed = sealed
        self._active: Segment | None = None
        self._waiting = bytearray()
        self._waiting_records: list[tuple[int, int, int]] = []

    def append(self, head: RecordHead, body: Sequence[bytes], key_hash: int, *, is_noted: bool) -> tuple[Segment, int]:
        """Where the record is now; OSError when there is no file to be had. The caller has made room."""
        length = head.record_length
        active = self._active
        if active is not None:
            whole_length = active.length + length + index_length(len(active.offsets) + 1)
            if whole_length > self._budget.segment_bytes:
                self.seal(length)
        if self._active is None:
            self._active = self._segments.create()
        segment, offset = self._active, self._active.length
        self._waiting += encode_head(head, segment.name.marker)
        for part in body:
            self._waiting += part
        self._segments.grow(segment, length)
        self._waiting_records.append((key_hash, offset, offset + length))
        segment.note_record(key_hash, offset, is_noted=is_noted)
        return segment, offset

    def flush_when_full(self) -> None:
        """Bound what waits."""
        if len(self._waiting) >= MOST_WAITING_BYTES:
            self.flush()

    def is_active(self, segment: Segment) -> bool:
        """Whether more will be appended to it."""
        return segment is self._active

    def is_waiting(self, segment: Segment, offset: int) -> bool:
        """Whether the record there is in memory only."""
        return segment is self._active and offset >= segment.length - len(self._waiting)

    def mark_dead(self, offset: int) -> None:
        """Of a record that waits: it is written as a removed one."""
        assert self._active is not None
        at = offset - (self._active.length - len(self._waiting)) + STATE_OFFSET
        self._waiting[at : at + len(DEAD)] = DEAD

    def flush(self) -> None:
        """Write what waits. What the disk does not take is reported as lost."""
        segment = self._active
        if segment is None or not self._waiting:
            return
        start = segment.length - len(self._waiting)
        written = self._write(segment, start)
        records, length = self._waiting_records, len(self._waiting)
        self._waiting, self._waiting_records = bytearray(), []
        if written < length:
            self._cut(segment, start + written, records)

    def seal(self, room: int = 0) -> None:
        """Write what waits, and the index unless that would take of the room for so many bytes more, and begin a new segment with the next record."""
        self.flush()
        sealed, self._active = self._active, None
        if sealed is None:
            return
        if sealed.record_count == 0:
            self._segments.discard(sealed)
        else:
            self._sealed(sealed, room)

    def forget(self) -> None:
        """All segments are gone, also this one."""
        self._active, self._waiting, self._waiting_records = None, bytearray(), []

    def _write(self, segment: Segment, offset: int) -> int:
        """How many bytes of those that wait are in the file."""
        view, written = memoryview(self._waiting), 0
        try:
            file = self._segments.open(segment)
            while written < len(view):
                written += file.write(view[written:], offset + written)
        except OSError:
            self._statistics.write_errors += 1
        return written

    def _cut(self, segment: Segment, written_end: int, records: list[tuple[int, int, int]]) -> None:
        """Give up what is not whole."""
        whole_end = max((end for _, _, end in records if end <= written_end), default=records[0][1])
        with contextlib.suppress(OSError):  # the next start cuts a torn end off, too
            self._segments.open(segment).truncate(whole_end)
        self._segments.grow(segment, whole_end - segment.length)
        self._active = None
        for key_hash, offset, end in records:
            if end > whole_end:
                self._lost_record(key_hash, segment, offset)
        if segment.record_count == 0:
            self._segments.discard(segment)
