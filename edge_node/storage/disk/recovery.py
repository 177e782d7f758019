"""What an earlier process left, found when the store is opened.

Rules that live here. A segment that has a good index is not read: its heads are checked when they are looked up. Of all others heads are checked, bodies when they are
read; they get the index that their process did not come to write. Of two records of one key the newer one stays, and the other is marked as removed, so that it does
not come back when the newer one is removed later. The torn end of a segment is cut off. A file in which nothing is good is removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from edge_node.storage.disk.disk_budget import LARGEST_SEGMENT_BYTES, DiskStatistics
from edge_node.storage.disk.files import OpenFile
from edge_node.storage.disk.format import (
    LOCATOR_BYTES,
    RecordHead,
    ScannedRecord,
    decode_head,
    decode_locator,
    walk_segment,
)
from edge_node.storage.disk.key_hash import KeyHash
from edge_node.storage.disk.record_catalog import RecordCatalog, RecordLocation, read_head
from edge_node.storage.disk.segment_index import SegmentIndex, read_index
from edge_node.storage.disk.segments import Segment, Segments

_DAMAGE: Final = ScannedRecord(0, None, 0)


def found_in(segment: Segment, file: OpenFile) -> list[ScannedRecord]:
    """Everything in a file, removed records too. A file that cannot be read is damage."""
    try:
        if segment.name.is_body:
            return [_found_in_body(segment, file)]
        return list(walk_segment(file.read, min(segment.length, LARGEST_SEGMENT_BYTES), segment.name.marker))
    except OSError:
        return [_DAMAGE]


def modulus_in(segments: Segments, found: Sequence[Segment]) -> int | None:
    """That of the first good index; None: there is none, and any will do."""
    for segment in found:
        index = _index_of(segments, segment)
        if index is not None:
            return index[0].modulus
    return None


def _index_of(segments: Segments, segment: Segment) -> tuple[SegmentIndex, int] | None:
    if segment.name.is_body or segment.length > LARGEST_SEGMENT_BYTES:
        return None
    try:
        return read_index(segments.open(segment).read, segment.length, segment.name.marker)
    except OSError:
        return None


class Recovery:
    """Fills a catalogue from the files."""

    def __init__(
        self, segments: Segments, catalog: RecordCatalog, statistics: DiskStatistics, key_hash: KeyHash
    ) -> None:
        self._segments = segments
        self._catalog = catalog
        self._statistics = statistics
        self._key_hash = key_hash
        self._walked: list[Segment] = []

    def run(self, found: Sequence[Segment]) -> None:
        """Once, before anything is written."""
        for segment in found:
            self._segments.add(segment)
            index = _index_of(self._segments, segment)
            if index is not None and index[0].modulus == self._key_hash.modulus:
                self._take_in_by_index(segment, *index)
            else:
                self._take_in(segment)
        self._statistics.recovered_records = self._statistics.records
        for segment in self._walked:
            self._catalog.index_segment(segment)

    def _take_in_by_index(self, segment: Segment, index: SegmentIndex, index_offset: int) -> None:
        for key_hash, offset in self._catalog.add_all(segment, index, index_offset):
            place = RecordLocation(segment, offset)
            head = self._head_at(place)
            if head is None:
                self._statistics.corrupt_records += 1
            if head is None or not head.is_live:  # the process ended before it could mark it in the index, too
                self._catalog.mark_removed(place)
            elif self._is_newest(place, head, key_hash):
                self._catalog.point_to(key_hash, place)
            if self._segments.get(segment.name.number) is not segment:
                return
        if segment.record_count == 0:
            self._segments.discard(segment)

    def _take_in(self, segment: Segment) -> None:
        for offset, head, _ in self._read(segment):
            if head is None:
                self._statistics.corrupt_records += 1
                continue
            key_hash, place = self._key_hash.of(head.key), RecordLocation(segment, offset)
            is_added = self._catalog.add(key_hash, place, head) if head.is_live else self._pass_over(head)
            if not is_added and self._is_newest(place, head, key_hash):
                self._catalog.add(key_hash, place, head)
            if self._segments.get(segment.name.number) is not segment:
                return
        if segment.record_count == 0:
            self._segments.discard(segment)
        elif not segment.name.is_body:
            self._walked.append(segment)

    def _pass_over(self, head: RecordHead) -> bool:
        """A removed record: its number is taken."""
        self._catalog.highest_sequence = max(self._catalog.highest_sequence, head.sequence)
        return True

    def _read(self, segment: Segment) -> list[ScannedRecord]:
        try:
            file = self._segments.open(segment)
        except OSError:
            return [_DAMAGE]
        found = found_in(segment, file)
        whole_length = _whole_length(segment, found)
        if whole_length < segment.length:
            with contextlib.suppress(OSError):
                file.truncate(whole_length)
                self._segments.grow(segment, whole_length - segment.length)
        return found

    def _is_newest(self, place: RecordLocation, head: RecordHead, key_hash: int) -> bool:
        """Whether this record is newer than the one that is known by its key, which is forgotten then. False: it is marked, or its file had to go for want of a mark."""
        other = self._catalog.find(key_hash)
        other_head = self._head_at(other) if other is not None else None
        if other_head is None or not other_head.is_live or other_head.sequence < head.sequence:
            self._catalog.forget(key_hash)
        else:
            self._catalog.mark_removed(place)
            return False
        return self._segments.get(place.segment.name.number) is place.segment

    def _head_at(self, place: RecordLocation) -> RecordHead | None:
        try:
            found = read_head(self._segments.open(place.segment), place)
        except OSError:
            return None
        return found.head if found is not None else None


def _found_in_body(segment: Segment, file: OpenFile) -> ScannedRecord:
    marker = segment.name.marker
    place = decode_locator(file.read(LOCATOR_BYTES, 0), marker)
    if place is None:
        return _DAMAGE
    offset, length = place
    head = decode_head(file.read(length, offset), 0, marker)
    if head is None or offset != LOCATOR_BYTES + head.body_length:
        return _DAMAGE
    segment.head_offset = offset
    return ScannedRecord(0, head, segment.length)


def _whole_length(segment: Segment, found: list[ScannedRecord]) -> int:
    """Where the last record of a segment ends: what is behind it is the torn end of a write, or as good as that."""
    ends = (record.end for record in reversed(found) if record.head is not None)
    return segment.length if segment.name.is_body else next(ends, segment.length)
