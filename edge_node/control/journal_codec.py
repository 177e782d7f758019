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

_MAGIC = b"CDNINV01"
_MARK = struct.Struct("<8sQI")
"""Magic, length that counts, checksum of both."""
_FRAME = struct.Struct("<II")
"""Length of the payload, its checksum."""
_HEAD = struct.Struct("<BQ")
"""Kind, index."""
_BASE = struct.Struct("<QQQ")
"""Floor, index of the configuration, epoch."""
_COUNT = struct.Struct("<I")
_FLOOR = struct.Struct("<Q")

MARK_BYTES = _MARK.size


class JournalError(Exception):
    """The journal cannot be relied on; the message says why."""


class _Kind(IntEnum):
    BASE = 1
    DISTRIBUTION = 2
    INVALIDATION = 3
    NOTHING = 4
    CONFIGURATION = 5
    REMOVAL = 6


_CONFIGURATIONS = (_Kind.CONFIGURATION, _Kind.REMOVAL)


@dataclass(frozen=True, slots=True)
class JournalIdentity:
    """What a journal belongs to; it is of no use beside anything else."""

    log_id: str
    configuration_index: int
    """Of the snapshot on disk."""
    boot_id: str
    """Of the machine: writes to files reach the disk some time later, and what a power loss took is not seen in them."""


# -- what is written


def mark(length: int) -> bytes:
    """The first bytes of a journal of which `length` bytes count."""
    return _MARK.pack(_MAGIC, length, zlib.crc32(_MARK.pack(_MAGIC, length, 0)))


def invalidation_record(index: int, distribution_id: str, paths: Sequence[str]) -> bytes:
    """The entry at `index` invalidates these paths."""
    return _frame(_HEAD.pack(_Kind.INVALIDATION, index) + _strings((distribution_id, *paths)))


def nothing_record(index: int) -> bytes:
    """The entry at `index` changes nothing here."""
    return _frame(_HEAD.pack(_Kind.NOTHING, index))


def configuration_record(index: int, removed_distribution_id: str = "") -> bytes:
    """The entry at `index` changes the configuration: it is applied once the snapshot on disk is of this index or a later one."""
    if removed_distribution_id:
        return _frame(_HEAD.pack(_Kind.REMOVAL, index) + _strings((removed_distribution_id,)))
    return _frame(_HEAD.pack(_Kind.CONFIGURATION, index))


def whole_journal(origin: JournalIdentity, log: InvalidationLog) -> bytes:
    """A journal that begins with all that `log` knows."""
    base = _BASE.pack(log.floor, origin.configuration_index, log.epoch) + _strings((origin.log_id, origin.boot_id))
    frames = [_frame(_HEAD.pack(_Kind.BASE, log.applied_index) + base)]
    frames.extend(_distribution_frame(*known) for known in log.distributions.items())
    return b"".join((mark(MARK_BYTES + sum(map(len, frames))), *frames))


def _distribution_frame(distribution_id: str, paths: DistributionInvalidations) -> bytes:
    head = _HEAD.pack(_Kind.DISTRIBUTION, paths.newest) + _FLOOR.pack(paths.floor) + _strings((distribution_id,))
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


def _replayed(payloads: Iterator[bytes], origin: JournalIdentity) -> InvalidationLog:
    log, configuration_index = _read_base(next(payloads, b""), origin)
    for payload in payloads:
        kind, index = _HEAD.unpack_from(payload)
        if kind == _Kind.DISTRIBUTION:
            log.put_distribution(*_read_distribution(payload, index))
            continue
        if index == configuration_index == log.applied_index and kind in _CONFIGURATIONS:
            continue  # meant once more, after the snapshot could not be written at first
        if index != log.applied_index + 1:
            raise JournalError(f"entry {index} after {log.applied_index}")
        match kind:
            case _Kind.INVALIDATION:
                (distribution_id, *paths), _ = _read_strings(payload, _HEAD.size)
                log.append(index, distribution_id, paths)
            case _Kind.NOTHING:
                log.advance(index)
            case _Kind.CONFIGURATION | _Kind.REMOVAL if index <= origin.configuration_index:
                if kind == _Kind.REMOVAL:
                    log.forget_distribution(_read_strings(payload, _HEAD.size)[0][0])
                configuration_index = index
                log.advance(index)
            case _Kind.CONFIGURATION | _Kind.REMOVAL:
                pass  # meant, and not done: the snapshot was not written
            case _:
                raise JournalError(f"a record of unknown kind {kind}")
    if configuration_index != origin.configuration_index:
        raise JournalError(f"configuration {configuration_index} beside a snapshot at {origin.configuration_index}")
    return log


def _read_base(payload: bytes, origin: JournalIdentity) -> tuple[InvalidationLog, int]:
    kind, applied_index = _HEAD.unpack_from(payload)
    floor, configuration_index, epoch = _BASE.unpack_from(payload, _HEAD.size)
    (log_id, boot_id), _ = _read_strings(payload, _HEAD.size + _BASE.size)
    if kind != _Kind.BASE:
        raise JournalError("it does not begin with a base")
    if log_id != origin.log_id:
        raise JournalError(f"it is of log {log_id!r} beside a snapshot of {origin.log_id!r}")
    if not boot_id or boot_id != origin.boot_id:
        raise JournalError("the machine has been started anew, and what had not reached the disk is lost")
    log = InvalidationLog(applied_index)
    log.floor, log.epoch = floor, epoch
    return log, configuration_index


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
