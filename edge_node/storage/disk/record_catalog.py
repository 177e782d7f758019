"""Which record is where, how one is forgotten for good, and which leave when room is needed.

Rules that live here.

- Files leave oldest first; a record that was looked up since it was written is written again at the young end. That is done in small steps before the room is needed;
  a step that comes too late copies nothing, so that a store in which everything is used makes room, too. A body with a file of its own is spared once instead.
- While a file is leaving, a record that was copied from it is in two files: to forget it is to mark both.
- A forgotten record is marked in its file at once: kill -9 at any moment brings nothing old back. Where it cannot be marked, its whole file goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Final, NamedTuple

from edge_node.storage.disk.append_log import AppendLog
from edge_node.storage.disk.disk_budget import DiskBudget, DiskStatistics
from edge_node.storage.disk.files import OpenFile
from edge_node.storage.disk.format import RecordHead, decode_head, head_length
from edge_node.storage.disk.index import NUMBER_SHIFT, USED, RecordIndex, location, offset_of
from edge_node.storage.disk.segment_index import SegmentIndex, index_length, state_words
from edge_node.storage.disk.segments import Segment, Segments

IsNoted = Callable[[bytes], bool]
"""Of a record's metadata: whether the owner wants to be told of the record at a start."""

HEAD_READ_BYTES: Final = 4096
"""Read at once: mostly all of the head, and the body when it is small."""

DRAINED_IN_A_STEP: Final = 64
"""Records looked at for each that is written, at least; copying one takes about 10 us."""

MOST_DRAINED_IN_A_STEP: Final = 512
"""The same where much is written at once."""

FILE_STEPS: Final = 8
"""A file that leaves or is spared counts as so many records."""


class RecordLocation(NamedTuple):
    """Where a record is."""

    segment: Segment
    offset: int


class ReadHead(NamedTuple):
    """A head, and what of the body was read with it when that follows."""

    head: RecordHead
    body_start: bytes


def read_head(file: OpenFile, place: RecordLocation) -> ReadHead | None:
    """None: damaged, or not there any more."""
    marker, is_body = place.segment.name.marker, place.segment.name.is_body
    offset = place.segment.head_offset if is_body else place.offset
    try:
        data = file.read(HEAD_READ_BYTES, offset)
        length = head_length(data, 0, marker)
        if length is not None and length > len(data):
            data = file.read(length, offset)
    except OSError:
        return None
    head = decode_head(data, 0, marker)
    return head and ReadHead(head, b"" if is_body else data[head.length : head.record_length])


class RecordCatalog:
    """The index in memory over the files."""

    def __init__(
        self, segments: Segments, budget: DiskBudget, statistics: DiskStatistics, modulus: int, is_noted: IsNoted
    ) -> None:
        self._modulus = modulus
        """Of the key hashes."""
        self._is_noted = is_noted
        self.highest_sequence = 0
        """Of all records that are or were here."""
        self._segments = segments
        self._budget = budget
        self._statistics = statistics
        self._log = AppendLog(segments, budget, statistics, self._give_up, self._write_index)
        self._index = RecordIndex()
        self._draining: Segment | None = None
        self._copied_from: dict[int, int] = {}
        """Offsets in `_draining` of records that were copied from it, by key hash."""
        self.flush = self._log.flush
        self.seal = self._log.seal

    def find(self, key_hash: int) -> RecordLocation | None:
        """Where the record is in a file; what waits to be written is written first."""
        found = self._index.get(key_hash)
        if found is None:
            return None
        segment = self._segments.get(found >> NUMBER_SHIFT)
        assert segment is not None, "a location outlived its file"
        place = RecordLocation(segment, offset_of(found))
        if self._log.is_waiting(*place):
            self._log.flush()
            return place if self.is_at(key_hash, place) else None
        return place

    def is_at(self, key_hash: int, place: RecordLocation) -> bool:
        """Whether the record of that key is there, and not elsewhere by now."""
        found = self._index.get(key_hash)
        return found is not None and found | USED == _location_of(place) | USED

    def mark_used(self, key_hash: int, place: RecordLocation) -> None:
        """It was looked up: worth keeping when its file leaves."""
        if place.segment.name.is_body:
            place.segment.was_used = True
        else:
            self._index.put(key_hash, _location_of(place) | USED)

    def append(self, key_hash: int, head: RecordHead, body: Sequence[bytes]) -> bool:
        """A record at the young end; False when the disk refuses it. The caller has made room and forgotten what was there."""
        try:
            is_noted = self._is_noted(head.metadata)
            place = RecordLocation(*self._log.append(head, body, key_hash, is_noted=is_noted))
        except OSError:
            self._statistics.write_errors += 1
            return False
        self._index.put(key_hash, _location_of(place))
        if head.sequence > self.highest_sequence:
            self.highest_sequence = head.sequence
        self._statistics.records += 1
        self._log.flush_when_full()
        return self.is_at(key_hash, place)

    def add(self, key_hash: int, place: RecordLocation, head: RecordHead) -> bool:
        """A record that is in a file already, behind those that are known of it; False when the key has another."""
        self.highest_sequence = max(self.highest_sequence, head.sequence)
        if not self._index.put_new(key_hash, _location_of(place)):
            return False
        place.segment.note_record(key_hash, place.offset, is_noted=self._is_noted(head.metadata))
        self._statistics.records += 1
        return True

    def add_all(self, segment: Segment, index: SegmentIndex, index_offset: int) -> list[tuple[int, int]]:
        """All live records of a segment; those (key hash, offset) are left out of whose key there is another."""
        self.highest_sequence = max(self.highest_sequence, index.highest_sequence)
        segment.key_hashes, segment.offsets, segment.noted = index.key_hashes, index.offsets, index.noted()
        segment.index_offset = index_offset
        hashes: Sequence[int] = index.key_hashes
        offsets: Sequence[int] = index.offsets
        if not index.are_all_live:
            live = index.live()
            hashes, offsets = list(compress(hashes, live)), list(compress(offsets, live))
        left_out = self._index.put_all_new(hashes, segment.name.number, offsets)
        segment.record_count = len(hashes) - len(left_out)
        self._statistics.records += segment.record_count
        return left_out

    def point_to(self, key_hash: int, place: RecordLocation) -> None:
        """A record that `add_all` left out takes the place of the other one, which is forgotten."""
        self._index.put(key_hash, _location_of(place))
        place.segment.record_count += 1
        self._statistics.records += 1

    def index_segment(self, segment: Segment) -> None:
        """Of an earlier process, which did not come to write its index: the next start has it."""
        if self._segments.get(segment.name.number) is segment:
            self._write_index(segment, 0)

    def forget(self, key_hash: int) -> None:
        """Durably, as soon as this returns; DiskRemovalError when that is impossible."""
        found = self._index.pop(key_hash)
        segment = self._segments.get(found >> NUMBER_SHIFT) if found is not None else None
        if found is not None and segment is not None:
            self._statistics.records -= 1
            segment.record_count -= 1
            self._erase(RecordLocation(segment, offset_of(found)))
        copied_from = self._copied_from.pop(key_hash, None)
        if copied_from is not None and self._draining is not None:
            self.mark_removed(RecordLocation(self._draining, copied_from))

    def mark_removed(self, place: RecordLocation) -> None:
        """A record that is in a file and in no index: not to be found at the next start either."""
        if not self._segments.mark_dead(*place):
            self._statistics.write_errors += 1
            self._statistics.lost_records += place.segment.record_count
            self._evict_segment(place.segment)

    def report_damage(self, key_hash: int, place: RecordLocation) -> None:
        """What was read there is not what was written."""
        self._statistics.corrupt_records += 1
        if self.is_at(key_hash, place):
            self.forget(key_hash)

    def report_missing(self, segment: Segment) -> None:
        """Somebody removed its file."""
        self._statistics.corrupt_records += segment.record_count
        self._evict_segment(segment)

    def make_room(self, length: int) -> bool:
        """For so many more bytes; False when even letting everything go would not do."""
        steps = DRAINED_IN_A_STEP
        while steps > 0 and not self._budget.has_room_to_spare(length):
            victim = self._segments.oldest()
            if victim is None or self._segments.sweep():
                break
            steps -= self._evict_gradually(victim, length)
        while not self._budget.has_room(length):
            if self._segments.sweep():
                continue
            victim = self._segments.oldest()
            if victim is None or not self._budget.has_room(length - self._segments.total_bytes):
                return False
            self._evict(victim)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._log.forget()
        self._end_draining()
        self._index.clear()
        self._statistics.records = 0
        self._segments.discard_all()

    def _write_index(self, segment: Segment, room: int) -> None:
        """An index is worth nothing but time: it is written where there is room for it."""
        if not self._budget.has_room(index_length(len(segment.offsets)) + room):
            return
        number, get = segment.name.number, self._index.get
        live = []
        for key_hash, offset in zip(segment.key_hashes, segment.offsets, strict=True):
            found = get(key_hash)
            live.append(found is not None and found | USED == location(number, offset) | USED)
        states = state_words(live, segment.noted)
        index = SegmentIndex(self._modulus, self.highest_sequence, segment.key_hashes, segment.offsets, states)
        self._segments.write_index(segment, index)

    def _erase(self, place: RecordLocation) -> None:
        segment, offset = place
        if segment.record_count == 0 and not self._log.is_active(segment):
            self._discard(segment)
        elif self._log.is_waiting(segment, offset):
            self._log.mark_dead(offset)
        else:
            self.mark_removed(place)

    def _evict_segment(self, segment: Segment) -> None:
        """Of a file with all that is in it."""
        if self._log.is_active(segment):
            self._log.forget()
        number, index = segment.name.number, self._index
        for key_hash in segment.key_hashes:
            found = index.get(key_hash)
            if found is not None and found >> NUMBER_SHIFT == number:
                index.pop(key_hash)
        self._statistics.records -= segment.record_count
        segment.record_count = 0
        self._discard(segment)

    def _discard(self, segment: Segment) -> None:
        if segment is self._draining:
            self._log.flush()
            self._end_draining()
        self._segments.discard(segment)

    def _evict_gradually(self, victim: Segment, length: int) -> int:
        """A step on the way of the oldest file out of the store; how many records it counts for."""
        if victim.name.is_body:
            if victim.was_used:
                victim.was_used = False
                self._segments.readmit(victim)
            else:
                self._evict(victim)
            return FILE_STEPS
        if victim is not self._draining:
            self._begin_draining(victim)
            return FILE_STEPS
        count = min(MOST_DRAINED_IN_A_STEP, max(DRAINED_IN_A_STEP, _records_in_twice(length, victim)))
        self._copy_used(victim, count)
        if victim.drained_count >= len(victim.key_hashes):
            self._evict(victim)
        return count

    def _begin_draining(self, victim: Segment) -> None:
        if self._log.is_active(victim):
            self._log.seal()
        self._end_draining()
        if self._segments.get(victim.name.number) is victim:  # sealing removes one in which nothing is left
            self._draining = victim

    def _end_draining(self) -> None:
        self._draining = None
        self._copied_from.clear()

    def _evict(self, victim: Segment) -> None:
        """Let a file go as it is. Copies are in their file before the originals are gone: a crash in between leaves two, of which the next start forgets one."""
        self._log.seal() if self._log.is_active(victim) else self._log.flush()
        if self._segments.get(victim.name.number) is victim:
            self._statistics.evictions += victim.record_count
            self._evict_segment(victim)

    def _copy_used(self, victim: Segment, count: int) -> None:
        start = victim.drained_count
        victim.drained_count += count
        number = victim.name.number
        for key_hash in victim.key_hashes[start : start + count]:
            found = self._index.get(key_hash)
            if found is not None and found >> NUMBER_SHIFT == number and found & USED:
                self._copy(key_hash, RecordLocation(victim, offset_of(found)))

    def _copy(self, key_hash: int, place: RecordLocation) -> None:
        """Where there is room and the record is good; else it leaves with its file."""
        try:
            file = self._segments.open(place.segment)
            found = read_head(file, place)
            if found is None or not found.head.is_live or not self._may_be_copied(found.head):
                return
            head = found.head
            is_noted = self._is_noted(head.metadata)
            body = file.read(head.body_length, place.offset + head.length)
            if len(body) < head.body_length:
                return
            copy = RecordLocation(*self._log.append(head, (body,), key_hash, is_noted=is_noted))
        except OSError:
            return
        self._index.put(key_hash, _location_of(copy))
        self._copied_from[key_hash] = place.offset
        place.segment.record_count -= 1
        self._statistics.copied_records += 1
        self._log.flush_when_full()

    def _may_be_copied(self, head: RecordHead) -> bool:
        length = head.record_length
        return length <= self._budget.largest_record_bytes and self._budget.has_room(length)

    def _give_up(self, key_hash: int, segment: Segment, offset: int) -> None:
        """A record that the disk did not take."""
        if self.is_at(key_hash, RecordLocation(segment, offset)):
            self._index.pop(key_hash)
            segment.record_count -= 1
            self._statistics.records -= 1
            self._statistics.lost_records += 1


def _records_in_twice(length: int, segment: Segment) -> int:
    """How many of the segment's records are as long as twice so many bytes: so it is empty before as much is written again."""
    return 2 * length * len(segment.key_hashes) // max(1, segment.length)


def _location_of(place: RecordLocation) -> int:
    return location(place.segment.name.number, place.offset)
