"""Memory over disk: what is found in memory is answered at once, what is only on disk is found there, and both are written.

Rules that live here.

- Every whole entry goes to disk when it is committed, so that a killed process restarts with it. Bodies that memory does not admit are on disk alone, and answered from
  there piece by piece.
- An entry that is found on disk comes back to memory if it is small.
- An entry of which only parts are there is kept in memory alone, and so is one that a 304 has confirmed, unless it is small: after a restart the older header section is
  found, which is validated again. The stamp on disk is then older than that in memory, which can only invalidate more (DESIGN section 4, rule 2).
- What memory keeps of an entry whose body is on disk holds no file open: the body is looked up with each use, and what the disk has evicted is gone from memory too.
- Removing removes both. Each record carries the epoch of the node's log; one of another epoch is none (DESIGN section 4, rule 9).
"""

import logging
from collections.abc import Callable, Iterator
from typing import Final

from edge_node.caching.entry import Entry, parse_field_lines
from edge_node.caching.entry_codec import UnknownLayoutError, decode_entry, encode_entry
from edge_node.caching.key import CacheKey
from edge_node.caching.stored_body import Body, BodyLostError, LentPiece, PartialStoredBody, Piece
from edge_node.storage.disk.errors import DiskCorruptionError, DiskRemovalError
from edge_node.storage.disk.record import DiskBody, DiskRecord, MappedBytes
from edge_node.storage.disk.store import DiskStore
from edge_node.storage.disk.writer import DiskWriter
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.storage.memory import MemoryStore, MemoryWriter

LARGEST_PROMOTED_BODY_BYTES: Final = 1024 * 1024
"""Larger bodies are answered from disk each time: reading them at once would hold up everybody else."""
LARGEST_REWRITTEN_BODY_BYTES: Final = 65_536
"""A confirmed entry is written to disk again up to this size of its body."""

logger = logging.getLogger(__name__)


class DiskEntryBody:
    """A body on disk, as an entry has it."""

    __slots__ = ("_body",)

    def __init__(self, body: DiskBody) -> None:
        self._body = body

    @property
    def length(self) -> int:
        """Of the whole body."""
        return self._body.length

    @property
    def memory_bytes(self) -> int:
        """None of it is in memory."""
        return 0

    def holds(self, first: int, last: int) -> bool:
        """It is whole."""
        return 0 <= first <= last < self.length

    def pieces(self, first: int, last: int, buffer: memoryview | None = None) -> Iterator[Piece]:
        """Read and checked as they are taken."""
        try:
            yield from self._body.chunks(first, last, buffer)
        except DiskCorruptionError as error:
            raise BodyLostError from error

    def sendable_pieces(self, first: int, last: int, buffer: memoryview) -> Iterator[Piece | LentPiece]:
        """Checked as they are taken; those that were before are lent from the file."""
        try:
            for piece in self._body.sendable_pieces(first, last, buffer):
                yield LentBytes(piece) if isinstance(piece, MappedBytes) else piece
        except DiskCorruptionError as error:
            raise BodyLostError from error


class LentBytes:
    """A stretch of a body on disk, as a sender has it."""

    __slots__ = ("_mapped", "length")

    def __init__(self, mapped: MappedBytes) -> None:
        self._mapped = mapped
        self.length = mapped.length

    def write_to(self, descriptor: int, first: int) -> int:
        """See LentPiece."""
        try:
            return self._mapped.write_to(descriptor, first)
        except DiskCorruptionError as error:
            raise BodyLostError from error

    def copy(self, first: int, length: int) -> bytes:
        """See LentPiece."""
        try:
            return self._mapped.copy(first, length)
        except DiskCorruptionError as error:
            raise BodyLostError from error


class BodyElsewhere:
    """The body of an entry in memory whose bytes are in its record on disk."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    @property
    def memory_bytes(self) -> int:
        """None of it is in memory."""
        return 0

    def holds(self, first: int, last: int) -> bool:
        """It is whole."""
        return 0 <= first <= last < self.length

    def pieces(self, first: int, last: int, buffer: memoryview | None = None) -> Iterator[Piece]:
        """Only `TieredStore.lookup` can give them."""
        del first, last, buffer
        raise BodyLostError

    def sendable_pieces(self, first: int, last: int, buffer: memoryview) -> Iterator[Piece | LentPiece]:
        """Nor these."""
        del first, last, buffer
        raise BodyLostError


class TieredWriter:
    """Room for one body: in memory, as long as it fits there."""

    def __init__(
        self, store: "TieredStore", key: CacheKey, in_memory: MemoryWriter | None, on_disk: DiskWriter | None
    ) -> None:
        self._store = store
        self._key = key
        self._in_memory = in_memory
        self._on_disk = on_disk
        self._chunks: list[bytes] = []
        self._has_body = False
        """The disk has taken some of it."""
        self.keeps_chunks = in_memory is not None

    def add(self, chunk: bytes) -> bool:
        """Take more. A body that outgrows memory goes to disk from its beginning."""
        if self._in_memory is not None:
            if self._in_memory.add(chunk):
                self._chunks.append(chunk)
                return True
            return self._move_to_disk(chunk)
        self._has_body = True
        return self._on_disk is not None and self._on_disk.write(chunk)

    def admits(self, length: int) -> bool:
        """What is put together is put together in memory."""
        return self._in_memory is None or self._in_memory.admits(length)

    def commit(self, entry: Entry) -> None:
        """Find it from now on."""
        if self._in_memory is not None:
            is_on_disk = isinstance(entry.body, DiskEntryBody)
            self._in_memory.commit(_with_body(entry, BodyElsewhere(entry.length)) if is_on_disk else entry)
            if self._chunks or entry.length <= LARGEST_REWRITTEN_BODY_BYTES:
                self._store.write_through(entry)
        elif self._on_disk is not None and self._has_body and not isinstance(entry.body, PartialStoredBody):
            self._store.commit_on_disk(entry, self._on_disk)
        elif self._on_disk is not None:  # the entry brings its body
            self._on_disk.abort()
            self._store.write_through(entry)
        self._in_memory, self._on_disk = None, None
        self._chunks.clear()

    def abort(self) -> None:
        """Give everything back."""
        if self._in_memory is not None:
            self._in_memory.abort()
        if self._on_disk is not None:
            self._on_disk.abort()
        self._in_memory, self._on_disk = None, None
        self._chunks.clear()

    def _move_to_disk(self, chunk: bytes) -> bool:
        self._in_memory = None
        self._has_body = True
        self._on_disk = self._store.open_disk_writer(self._key, None)
        self.keeps_chunks = False
        chunks, self._chunks = self._chunks, []
        return self._on_disk is not None and all(self._on_disk.write(piece) for piece in (*chunks, chunk))


class TieredStore:
    """Entries in memory and on disk."""

    def __init__(
        self, memory: MemoryStore, disk: DiskStore, template: EntryTemplates, epoch_id: Callable[[], bytes]
    ) -> None:
        self._memory = memory
        self._disk: DiskStore | None = disk
        """None once it could not be changed: from then on there is memory alone."""
        self._template = template
        self._epoch_id = epoch_id
        self.statistics = memory.statistics
        self.peek = memory.peek
        self.touch = memory.touch
        self.touch_only_counts = memory.touch_only_counts

    # -- storage.protocol.Store

    def lookup(self, key: CacheKey) -> Entry | None:
        """The entry for a key, from memory or else from disk; counts as a use."""
        entry = self._memory.lookup(key)
        if entry is not None and not isinstance(entry.body, BodyElsewhere):
            return entry
        try:
            return self._find_on_disk(key) if entry is None else self._find_body(entry)
        except DiskRemovalError as error:
            self._give_up_disk(error)
            return None

    def open_writer(self, key: CacheKey, expected_length: int | None) -> TieredWriter | None:
        """A writer in memory if the body may fit there, else on disk."""
        in_memory = self._memory.open_writer(key, expected_length)
        on_disk = self.open_disk_writer(key, expected_length) if in_memory is None else None
        if in_memory is None and on_disk is None:
            return None
        return TieredWriter(self, key, in_memory, on_disk)

    def remove(self, key: CacheKey) -> None:
        """Forget the entry in both."""
        self._memory.remove(key)
        self._remove_on_disk(key)

    def clear(self) -> None:
        """Forget all entries in both."""
        self._memory.clear()
        self._change_disk(lambda disk: disk.clear())

    # -- what its writers ask for

    def open_disk_writer(self, key: CacheKey, expected_length: int | None) -> DiskWriter | None:
        """A writer for a body that memory does not take."""
        return self._disk.open_writer(key, expected_length) if self._disk is not None else None

    def write_through(self, entry: Entry) -> None:
        """Keep an entry of memory on disk, too."""
        self._change_disk(lambda disk: self._write_whole(disk, entry))

    def _write_whole(self, disk: DiskStore, entry: Entry) -> None:
        body = entry.body
        writer = disk.open_writer(entry.key, entry.length) if not isinstance(body, PartialStoredBody) else None
        if writer is None:
            disk.remove(entry.key)
            return
        pieces = (entry.block[entry.body_start :],) if body is None else body.pieces(0, body.length - 1)
        if all(writer.write(piece) for piece in pieces):
            writer.commit(encode_entry(entry), entry.stamp, self._epoch_id())

    def commit_on_disk(self, entry: Entry, writer: DiskWriter) -> None:
        """Keep an entry whose body the disk has taken."""
        self._memory.remove(entry.key)
        self._change_disk(lambda _: writer.commit(encode_entry(entry), entry.stamp, self._epoch_id()))

    # -- what the node asks for

    def flush(self) -> None:
        """Write what waits to be written."""
        self._change_disk(lambda disk: disk.flush())

    def close(self) -> None:
        """Write everything and close the folder."""
        self._change_disk(lambda disk: disk.close())

    def strict_keys(self) -> Iterator[CacheKey]:
        """The keys on disk of entries that behaviors with the RFCs' rules have stored: what the index of variants has to know at the start."""
        for summary in self._disk.noted_records() if self._disk is not None else ():
            yield summary.key

    # -- inside

    def _find_on_disk(self, key: CacheKey) -> Entry | None:
        record = self._disk.lookup(key) if self._disk is not None else None
        if record is None:
            return None
        entry = self._read(key, record) if record.epoch_id == self._epoch_id() else None
        if entry is None:
            self._remove_on_disk(key)
            return None
        if record.length <= min(LARGEST_PROMOTED_BODY_BYTES, self._memory.largest_body_bytes):
            self._memory.put(entry)
        return entry

    def _find_body(self, entry: Entry) -> Entry | None:
        """An entry of memory with its body, if that is still on disk."""
        record = self._disk.lookup(entry.key) if self._disk is not None else None
        if record is None or record.epoch_id != self._epoch_id() or record.length != entry.length:
            self._memory.remove(entry.key)
            return None
        return _with_body(entry, DiskEntryBody(record.body))

    def _read(self, key: CacheKey, record: DiskRecord) -> Entry | None:
        """The entry of a record; None when it is not of this version of the program, or damaged."""
        try:
            decoded = decode_entry(record.metadata)
            content_type = dict(parse_field_lines(decoded.field_lines)).get(b"content-type", b"")
            template = self._template.of(
                decoded.status, decoded.reason, content_type, decoded.cache_metadata, is_strict=decoded.is_strict
            )
            lines = decoded.field_lines + b"\r\n"
            if record.length <= LARGEST_PROMOTED_BODY_BYTES:
                entry = Entry(key, b"".join((lines, *record.body.chunks())), None, template, record.stamp)
            else:
                entry = Entry(key, lines, DiskEntryBody(record.body), template, record.stamp)
        except (UnknownLayoutError, DiskCorruptionError):
            return None
        entry.age_base = decoded.age_base
        return entry

    def _remove_on_disk(self, key: CacheKey) -> None:
        self._change_disk(lambda disk: disk.remove(key))

    def _change_disk(self, change: Callable[[DiskStore], object]) -> None:
        """Do something that marks or removes records; where the disk does not let that happen, nothing on it can be believed any more."""
        if self._disk is None:
            return
        try:
            change(self._disk)
        except DiskRemovalError as error:
            self._give_up_disk(error)

    def _give_up_disk(self, error: DiskRemovalError) -> None:
        logger.error("the disk tier is not used any more, since what has to go from it does not: %s", error)
        self._disk = None


def _with_body(entry: Entry, body: Body) -> Entry:
    """The same entry with its body from somewhere else."""
    other = Entry(entry.key, entry.block, body, entry.template, entry.stamp)
    other.age_base, other.retry_at = entry.age_base, entry.retry_at
    return other
