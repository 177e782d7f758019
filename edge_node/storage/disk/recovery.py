"""What an earlier process left, found when the store is opened.

Rules that live here. Heads are checked, bodies when they are read. Of two records of one key the newer one stays, and the other is marked as removed, so that it does
not come back when the newer one is removed later. The torn end of a segment is cut off. A file in which nothing is good is removed.
"""

from __future__ import annotations

import contextlib

from edge_node.storage.disk.catalogue import Catalogue, Place, read_head
from edge_node.storage.disk.files import OpenFile
from edge_node.storage.disk.format import LOCATOR_BYTES, Found, RecordHead, decode_head, decode_locator, walk_segment
from edge_node.storage.disk.index import hash_of
from edge_node.storage.disk.segments import Segment, Segments
from edge_node.storage.disk.space import LARGEST_SEGMENT_BYTES, DiskStatistics

_DAMAGE = Found(0, None, 0)


def found_in(segment: Segment, file: OpenFile) -> list[Found]:
    """Everything in a file, removed records too. A file that cannot be read is damage."""
    try:
        if segment.name.is_body:
            return [_found_in_body(segment, file)]
        return list(walk_segment(file.read, min(segment.length, LARGEST_SEGMENT_BYTES), segment.name.marker))
    except OSError:
        return [_DAMAGE]


class Recovery:
    """Fills a catalogue from the files."""

    def __init__(self, segments: Segments, catalogue: Catalogue, statistics: DiskStatistics) -> None:
        self._segments = segments
        self._catalogue = catalogue
        self._statistics = statistics
        self.highest_sequence = 0

    def run(self) -> None:
        """Once, before anything is written."""
        for segment in self._segments.found():
            self._segments.add(segment)
            self._take_in(segment)
        self._statistics.recovered_records = self._statistics.records

    def _take_in(self, segment: Segment) -> None:
        for offset, head, _ in self._read(segment):
            if head is None:
                self._statistics.corrupt_records += 1
                continue
            if head.sequence > self.highest_sequence:
                self.highest_sequence = head.sequence
            is_added = not head.is_live or self._catalogue.add(hash_of(head.key), segment, offset)
            if not is_added and not self._decide_between(Place(segment, offset), head):
                return
        if segment.record_count == 0:
            self._segments.discard(segment)

    def _read(self, segment: Segment) -> list[Found]:
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

    def _decide_between(self, place: Place, head: RecordHead) -> bool:
        """This record and the one that is known by its key; False when this file had to go, since a record in it could not be marked."""
        key_hash = hash_of(head.key)
        other = self._catalogue.find(key_hash)
        is_newer = other is None or self._sequence_at(other) < head.sequence
        if is_newer:
            self._catalogue.forget(key_hash)
        else:
            self._catalogue.mark_removed(place)
        is_there = self._segments.get(place.segment.name.number) is place.segment
        if is_newer and is_there:
            self._catalogue.add(key_hash, *place)
        return is_there

    def _sequence_at(self, place: Place) -> int:
        try:
            found = read_head(self._segments.open(place.segment), place)
        except OSError:
            return -1
        return found.head.sequence if found is not None else -1


def _found_in_body(segment: Segment, file: OpenFile) -> Found:
    marker = segment.name.marker
    place = decode_locator(file.read(LOCATOR_BYTES, 0), marker)
    if place is None:
        return _DAMAGE
    offset, length = place
    head = decode_head(file.read(length, offset), 0, marker)
    if head is None or offset != LOCATOR_BYTES + head.body_length:
        return _DAMAGE
    segment.head_offset = offset
    return Found(0, head, segment.length)


def _whole_length(segment: Segment, found: list[Found]) -> int:
    """Where the last record of a segment ends: what is behind it is the torn end of a write, or as good as that."""
    ends = (record.end for record in reversed(found) if record.head is not None)
    return segment.length if segment.name.is_body else next(ends, segment.length)
