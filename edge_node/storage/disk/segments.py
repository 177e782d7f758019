"""The files that hold records: which there are, oldest first, and how one comes and goes. Which record is where is `store.py`'s; the room they take is counted here.

The folder holds `records/`, `arriving/` (bodies that are not whole yet: nothing in it survives a start) and, while a cleared store is being swept, `discarded-N/`.
Moving a folder or a file from one to the other is the one step that makes it be, or not be, a part of the store.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from pathlib import Path
from typing import Final

from edge_node.storage.disk.disk_budget import DiskBudget
from edge_node.storage.disk.errors import DiskRemovalError
from edge_node.storage.disk.files import DiskFiles, OpenFile, OpenFiles
from edge_node.storage.disk.format import DEAD, MARKER_BYTES, STATE_OFFSET, FileName, parse_file_name
from edge_node.storage.disk.proof import Proof
from edge_node.storage.disk.segment_index import SegmentIndex, encode_index, state_offset

FILES_SWEPT_IN_A_STEP: Final = 64
"""Removing a file takes 10 to 50 us."""

DISCARDED: Final = "discarded-"


class Segment:
    """A file with records: many (a segment) or one (a body)."""

    __slots__ = (
        "drained_count",
        "head_offset",
        "index_offset",
        "key_hashes",
        "length",
        "name",
        "noted",
        "offsets",
        "proof",
        "record_count",
        "was_used",
    )

    def __init__(self, name: FileName, length: int = 0) -> None:
        self.name = name
        self.length = length
        """With what waits to be written at its end."""
        self.head_offset = 0
        """Of a body's head, which is behind it."""
        self.key_hashes = array("q")
        """Of all records that were ever put here; whether one is still here is in the store's index."""
        self.offsets = array("I")
        """Of the same records."""
        self.noted = bytearray()
        """Of each of them whether it is noted: 1 or 0."""
        self.index_offset = 0
        """Where the index in the file is, of just these records; 0: there is none."""
        self.record_count = 0
        """Those that are still here."""
        self.drained_count = 0
        """How many of `key_hashes` were looked at since it began to leave."""
        self.proof: Proof | None = None
        """Which blocks of a body were found right; None before its first answer."""
        self.was_used = False
        """A body, since it was written or last spared; for the others the index knows of each record."""

    def note_record(self, key_hash: int, offset: int, *, is_noted: bool) -> None:
        """One more, behind all others."""
        self.key_hashes.append(key_hash)
        self.offsets.append(offset)
        self.noted.append(is_noted)
        self.record_count += 1


class Segments:
    """All of them, and the folder they are in."""

    def __init__(self, folder: Path, budget: DiskBudget, files: DiskFiles) -> None:
        self._folder = folder
        self._records = folder / "records"
        self._arriving = folder / "arriving"
        self._budget = budget
        self._files = files
        self._open_files = OpenFiles(files)
        self._by_number: OrderedDict[int, Segment] = OrderedDict()
        self._to_sweep: deque[tuple[Path, int]] = deque()
        self._next_number = 1
        self.total_bytes = 0
        """That can be had by letting everything go."""
        for path in (self._records, self._arriving):
            files.make_folder(path)

    def get(self, number: int) -> Segment | None:
        """By number."""
        return self._by_number.get(number)

    def all(self) -> list[Segment]:
        """Oldest first."""
        return list(self._by_number.values())

    def oldest(self) -> Segment | None:
        """The next to leave."""
        return next(iter(self._by_number.values()), None)

    def readmit(self, segment: Segment) -> None:
        """Make it the youngest."""
        self._by_number.move_to_end(segment.name.number)

    def open(self, segment: Segment) -> OpenFile:
        """Its file; OSError when that is gone or cannot be opened."""
        return self._open_files.get(segment.name.number, self._records, segment.name)

    def found(self) -> list[Segment]:
        """What an earlier process left, oldest first; the caller adds what it finds good."""
        found: list[Segment] = []
        names = ((parse_file_name(name), size) for name, size in self._files.list_folder(self._records))
        for name, size in names:
            if name is not None:
                self._next_number = max(self._next_number, name.number + 1)
                self._budget.take(size)
                found.append(Segment(name, size))
        return found

    def create(self) -> Segment:
        """A new empty segment; OSError when there cannot be one."""
        segment = Segment(self._new_name(is_body=False))
        self._open_files.add(segment.name.number, self._create_file(self._records / str(segment.name)))
        self.add(segment)
        return segment

    def add(self, segment: Segment) -> None:
        """As the youngest."""
        self._by_number[segment.name.number] = segment
        self.total_bytes += segment.length

    def grow(self, segment: Segment, length: int) -> None:
        """Count bytes at its end; negative: bytes that did not come to be."""
        segment.length += length
        self.total_bytes += length
        self._budget.take(length)

    def create_body(self) -> tuple[FileName, OpenFile]:
        """A file for a body that arrives; OSError when there cannot be one."""
        name = self._new_name(is_body=True)
        return name, self._create_file(self._arriving / str(name))

    def keep_body(self, segment: Segment, file: OpenFile) -> None:
        """The body is whole: it becomes a part of the store, or OSError."""
        self._files.rename(self._arriving / str(segment.name), self._records / str(segment.name))
        self._open_files.add(segment.name.number, file)
        self.add(segment)

    def drop_body(self, name: FileName, length: int) -> None:
        """A body that will not become whole; what cannot be removed now is removed at the next start, and its room stays taken."""
        with contextlib.suppress(OSError):
            self._files.unlink(self._arriving / str(name))
            self._budget.release(length)

    def mark_dead(self, segment: Segment, offset: int) -> bool:
        """So that the record at `offset` is not found again, ever; False when it cannot be done."""
        try:
            file = self.open(segment)
            file.write_all(DEAD, offset + STATE_OFFSET)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        if segment.index_offset:
            with contextlib.suppress(OSError):  # the record's own state is what counts
                file.write_all(DEAD, _state_offset(segment, offset))
        return True

    def write_index(self, segment: Segment, index: SegmentIndex) -> None:
        """At the end of a segment to which nothing will be appended; none where the disk refuses."""
        data, end = encode_index(index, segment.name.marker, segment.length), segment.length
        try:
            file = self.open(segment)
            file.write_all(data, end)
        except OSError:
            with contextlib.suppress(OSError):
                self.open(segment).truncate(end)
            return
        self.grow(segment, len(data))
        segment.index_offset = end

    def discard(self, segment: Segment) -> None:
        """Its records are gone for good. Its room is free when nobody reads it any more."""
        if self._by_number.pop(segment.name.number, None) is not None:
            self.total_bytes -= segment.length
        self._remove_file(segment, self._records / str(segment.name))

    def discard_all(self) -> None:
        """The same of all, in one step; the files themselves are removed by `sweep`."""
        discarded = self._folder / f"{DISCARDED}{self._take_number():x}"
        segments = self.all()
        try:
            self._files.rename(self._records, discarded)
        except OSError:
            for segment in segments:
                self.discard(segment)
            return
        self._by_number.clear()
        self.total_bytes = 0
        for segment in segments:
            self._to_sweep.append((discarded / str(segment.name), self._release_length(segment)))
        with contextlib.suppress(OSError):
            self._files.make_folder(self._records)
        self.sweep()

    def sweep(self) -> bool:
        """Remove some files of a cleared store; False when none is left."""
        for _ in range(min(FILES_SWEPT_IN_A_STEP, len(self._to_sweep))):
            path, length = self._to_sweep.popleft()
            with contextlib.suppress(OSError):
                self._files.unlink(path)
            self._budget.release(length)
            if not self._to_sweep or self._to_sweep[0][0].parent != path.parent:
                with contextlib.suppress(OSError):
                    self._files.remove_folder(path.parent)
        return bool(self._to_sweep)

    def remove_all_files(self) -> None:
        """Of an earlier process: nothing of it is to be trusted. Before anything is found or written."""
        for name, _ in self._files.list_folder(self._records):
            if parse_file_name(name) is not None:
                self._files.unlink(self._records / name)

    def remove_leftovers(self) -> None:
        """Of an earlier process: bodies that never became whole, and what was cleared."""
        discarded = [
            self._folder / name for name in self._files.list_folders(self._folder) if name.startswith(DISCARDED)
        ]
        for folder in (self._arriving, *discarded):
            for name, _ in self._files.list_folder(folder):
                self._files.unlink(folder / name)
        for folder in discarded:
            self._files.remove_folder(folder)

    def close(self) -> None:
        """Close all files that nobody reads."""
        self._open_files.close()

    def _remove_file(self, segment: Segment, path: Path) -> None:
        try:
            self._files.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._empty_file(segment, error)
        self._budget.release(self._release_length(segment))

    def _empty_file(self, segment: Segment, reason: OSError) -> None:
        """Where a folder refuses, the file itself may not."""
        try:
            self.open(segment).truncate(0)
        except FileNotFoundError:
            return
        except OSError:
            raise DiskRemovalError(f"{segment.name} cannot be removed or emptied") from reason

    def _release_length(self, segment: Segment) -> int:
        """What is free as soon as the file is removed: all of it, unless somebody reads it; then it is free when the last reader is done."""
        file = self._open_files.forget(segment.name.number)
        if file is None:
            return segment.length
        budget, length = self._budget, segment.length
        file.call_when_closed(lambda: budget.release(length))
        return 0

    def _new_name(self, *, is_body: bool) -> FileName:
        return FileName(self._take_number(), os.urandom(MARKER_BYTES), is_body)

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _create_file(self, path: Path) -> OpenFile:
        try:
            return self._open_files.hold(self._files.create(path))
        except FileNotFoundError:  # somebody removed the folder
            self._files.make_folder(path.parent)
            return self._open_files.hold(self._files.create(path))


def _state_offset(segment: Segment, offset: int) -> int:
    """Of the record at `offset`, in the index of its file."""
    return state_offset(segment.index_offset, len(segment.offsets), bisect_left(segment.offsets, offset))
