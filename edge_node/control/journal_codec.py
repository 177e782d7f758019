"""The bytes of the invalidation journal: how what an InvalidationLog knows is written down, and how it is read again (DESIGN section 4, rule 7).

A journal is a mark of fixed size and then frames. The mark says how many bytes count: a frame counts once the mark covers it, so an append that was cut off
leaves bytes that nobody reads, and a file that is shorter than its mark is known to be damaged. The first frame is the base, followed by what was known of each
distribution when the journal was begun; then one frame for each entry of the log, without a gap.

Where the bytes are kept and when they are written is the business of `control/journal.py`.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from edge_node.caching.invalidation_index import DistributionInvalidations, InvalidationLog
from edge_node.storage.node_state import InvalidatedPaths
from proto.log_position import LogPosition

_MAGIC = b"CDNINV03"
_MARK = struct.Struct("<8sQI")
"""Magic, length that counts, checksum of both."""
_FRAME = struct.Struct("<II")
"""Length of the payload, its checksum."""
_HEAD = struct.Struct("<BQ16s")
"""Kind, index, digest of the log's history up to it; zeros for an empty one."""
_BASE = struct.Struct("<Q16sQ")
"""Index and digest of the configuration, epoch."""
_NO_DIGEST = bytes(16)
_COUNT = struct.Struct("<I")
_FLOOR = struct.Struct("<Q")

MARK_BYTES = _MARK.size


class JournalError(Exception):
    """The journal cannot be relied on; the message says why."""


class _Kind(IntEnum):
    BASE = 1
    DISTRIBUTION = 2
    ENTRY = 3
    CONFIGURATION = 4


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What the journal remembers of an entry of the log."""

    at: LogPosition
    invalidated: Sequence[InvalidatedPaths] = ()
    removed_distribution_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class JournalIdentity:
    """What a journal belongs to; it is of no use beside anything else."""

    configuration: LogPosition
    """Of the snapshot on disk."""
    boot_id: str
    """Of the machine: writes to files reach the disk some time later, and what a power loss took is not seen in them."""


# -- what is written


def mark(length: int) -> bytes:
    """The first bytes of a journal of which `length` bytes count."""
    return _MARK.pack(_MAGIC, length, zlib.crc32(_MARK.pack(_MAGIC, length, 0)))


def entry_record(entry: JournalEntry) -> bytes:
    """An entry that changes nothing of the configuration."""
    return _frame(_head(_Kind.ENTRY, entry.at) + _entry_body(entry))


def configuration_record(entry: JournalEntry) -> bytes:
    """An entry that changes the configuration: it is applied once the files on disk are of its index or a later one."""
    return _frame(_head(_Kind.CONFIGURATION, entry.at) + _entry_body(entry))


def whole_journal(origin: JournalIdentity, log: InvalidationLog) -> bytes:
    """A journal that begins with all that `log` knows."""
    configuration = origin.configuration
    base = _BASE.pack(configuration.index, configuration.digest, log.epoch)
    names = _strings((configuration.log_id, origin.boot_id))
    frames = [_frame(_HEAD.pack(_Kind.BASE, log.applied_index, log.digest) + base + names)]
    frames.extend(_distribution_frame(*known) for known in log.distributions.items())
    return b"".join((mark(MARK_BYTES + sum(map(len, frames))), *frames))


def _entry_body(entry: JournalEntry) -> bytes:
    """The distributions that are gone, then each invalidation: distribution and paths."""
    invalidated = (_strings((each.distribution_id, *each.paths)) for each in entry.invalidated)
    return b"".join((_strings(entry.removed_distribution_ids), _COUNT.pack(len(entry.invalidated)), *invalidated))


def _head(kind: _Kind, at: LogPosition) -> bytes:
    return _HEAD.pack(kind, at.index, at.digest)


def _distribution_frame(distribution_id: str, paths: DistributionInvalidations) -> bytes:
    head = (
        _HEAD.pack(_Kind.DISTRIBUTION, paths.newest, _NO_DIGEST)
        + _FLOOR.pack(paths.floor)
        + _strings((distribution_id,))
    )
    indexes = (*paths.exact.values(), *paths.prefixes.values())
    return _frame(
        b"".join(
            (head, _strings(paths.exact), _strings(paths.prefixes), struct.pack(f"<{len(indexes)}Q", *indexes)),
        )
    )


def _frame(payload: bytes) -> bytes:
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _strings(texts: Iterable[str]) -> bytes:
    """Their number, their lengths, and the texts: quick to write and to read however many there are."""
    encoded = [text.encode() for text in texts]
    lengths = [len(text) for text in encoded]
    return b"".join((struct.pack(f"<I{len(lengths)}I", len(lengths), *lengths), *encoded))


# -- what is read


def replayed(journal: bytes, origin: JournalIdentity) -> tuple[InvalidationLog, int]:
    """What the journal knows, and how many of its bytes count. Raises JournalError when it is damaged or belongs to something else."""
    length = _counted_length(journal)
    payloads = _payloads(journal, length)
    try:
        return _replayed(payloads, origin), length
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise JournalError(f"a record that none has written: {error}") from error


def _counted_length(journal: bytes) -> int:
    if len(journal) < MARK_BYTES:
        raise JournalError("it is shorter than its mark")
    _, length, _ = _MARK.unpack_from(journal)
    if journal[:MARK_BYTES] != mark(length):
        raise JournalError("its mark is damaged")
    if length > len(journal):
        raise JournalError(f"{length - len(journal)} bytes of it are missing")
    return int(length)


def _payloads(journal: bytes, end: int) -> Iterator[bytes]:
    at = MARK_BYTES
    while at < end:
        if at + _FRAME.size > end:
            raise JournalError("its last frame is cut off")
        length, checksum = _FRAME.unpack_from(journal, at)
        at += _FRAME.size
        payload = journal[at : at + length]
        at += length
        if at > end or zlib.crc32(payload) != checksum:
            raise JournalError("a frame of it is damaged")
        yield payload


@dataclass(frozen=True, slots=True)
class _Record:
    """One frame after the base."""

    kind: int
    index: int
    digest: bytes
    payload: bytes

    @classmethod
    def read(cls, payload: bytes) -> "_Record":
        kind, index, digest = _HEAD.unpack_from(payload)
        return cls(kind, index, _without_zeros(digest), payload)


def _replayed(payloads: Iterator[bytes], origin: JournalIdentity) -> InvalidationLog:
    """A change of the configuration is meant first, and done once the snapshot is written. Whether it was, what follows says: the entry after it, or one in its place."""
    log, configuration = _read_base(next(payloads, b""), origin)
    meant: _Record | None = None
    for record in map(_Record.read, payloads):
        if record.kind == _Kind.DISTRIBUTION:
            log.put_distribution(*_read_distribution(record.payload, record.index))
            continue
        if meant is not None and record.index != meant.index:
            configuration = _configured(log, meant)
        meant = None
        if record.index != log.applied_index + 1:
            raise JournalError(f"entry {record.index} after {log.applied_index}")
        match record.kind:
            case _Kind.CONFIGURATION:
                meant = record
            case _Kind.ENTRY:
                _apply(log, record)
            case _:
                raise JournalError(f"a record of unknown kind {record.kind}")
    if meant is not None and meant.index <= origin.configuration.index:
        configuration = _configured(log, meant)
    if configuration != (origin.configuration.index, origin.configuration.digest):
        raise JournalError(f"configuration {configuration[0]} beside a snapshot at {origin.configuration.index}")
    return log


def _configured(log: InvalidationLog, record: _Record) -> tuple[int, bytes]:
    """The configuration that was written then."""
    _apply(log, record)
    return record.index, record.digest


def _apply(log: InvalidationLog, record: _Record) -> None:
    removed, at = _read_strings(record.payload, _HEAD.size)
    for distribution_id in removed:
        log.forget_distribution(distribution_id)
    (count,) = _COUNT.unpack_from(record.payload, at)
    at += _COUNT.size
    for _ in range(count):
        (distribution_id, *paths), at = _read_strings(record.payload, at)
        log.append(record.index, distribution_id, paths)
    log.advance(record.index)
    log.put_digest(record.digest)


def _read_base(payload: bytes, origin: JournalIdentity) -> tuple[InvalidationLog, tuple[int, bytes]]:
    """What was known when the journal was begun, and the index and digest of the configuration then."""
    kind, applied_index, digest = _HEAD.unpack_from(payload)
    configuration_index, configuration_digest, epoch = _BASE.unpack_from(payload, _HEAD.size)
    (log_id, boot_id), _ = _read_strings(payload, _HEAD.size + _BASE.size)
    if kind != _Kind.BASE:
        raise JournalError("it does not begin with a base")
    if log_id != origin.configuration.log_id:
        raise JournalError(f"it is of log {log_id!r} beside a snapshot of {origin.configuration.log_id!r}")
    if not boot_id or boot_id != origin.boot_id:
        raise JournalError("the machine has been started anew, and what had not reached the disk is lost")
    log = InvalidationLog(applied_index)
    log.epoch = epoch
    log.put_digest(_without_zeros(digest))
    return log, (configuration_index, _without_zeros(configuration_digest))


def _without_zeros(digest: bytes) -> bytes:
    return b"" if digest == _NO_DIGEST else digest


def _read_distribution(payload: bytes, newest: int) -> tuple[str, DistributionInvalidations]:
    (floor,) = _FLOOR.unpack_from(payload, _HEAD.size)
    (distribution_id,), at = _read_strings(payload, _HEAD.size + _FLOOR.size)
    exact, at = _read_strings(payload, at)
    prefixes, at = _read_strings(payload, at)
    indexes = struct.unpack_from(f"<{len(exact) + len(prefixes)}Q", payload, at)
    of_exact = dict(zip(exact, indexes, strict=False))
    of_prefixes = dict(zip(prefixes, indexes[len(exact) :], strict=True))
    return distribution_id, DistributionInvalidations.of(newest, floor, of_exact, of_prefixes)


def _read_strings(payload: bytes, at: int) -> tuple[list[str], int]:
    (count,) = _COUNT.unpack_from(payload, at)
    at += _COUNT.size
    lengths = struct.unpack_from(f"<{count}I", payload, at)
    at += count * _COUNT.size
    texts = []
    for length in lengths:
        texts.append(payload[at : at + length].decode())
        at += length
    return texts, at
