"""The index at the end of a segment that is full: which records are in it, so that a start reads 16 bytes of each and not the record. Pure.

Rules that live here. An index is a hint, never a promise: whoever looks a record up reads its head, checks it, and believes its state. It is written once, when nothing
will be appended to the segment any more; only states are overwritten, after that of the record itself. It has a locator behind it, at the very end of the file. An index
in which anything is odd is none: then the records are walked.

    marker (8), INDEX (4), checksum (4), modulus (8), highest sequence (8), count (4), hashes (8 each), offsets (4 each), states (4 each), locator (24)

The checksum is the CRC-32 of everything from the modulus to the last offset, starting from that of the marker. States are outside of it; each is one of three words, any
two of which differ in 16 bits at least.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Final, NamedTuple

from isal.isal_zlib import crc32

from edge_node.storage.disk.format import (
    DEAD,
    INDEX,
    LIVE,
    LOCATOR_BYTES,
    ReadAt,
    decode_locator,
    encode_locator,
)
from edge_node.storage.disk.key_hash import is_modulus

NOTED: Final = b"\x0f\x96\xc3\x5a"
"""Live, and of those that the owner wants to be told of at a start."""

_HEAD: Final = struct.Struct("<8s4sI")
_SUM: Final = struct.Struct("<QQI")
_FIXED_BYTES: Final = _HEAD.size + _SUM.size
_ENTRY_BYTES: Final = 8 + 4 + 4
_TAIL_READ_BYTES: Final = 32 * 1024
"""Read at once from the end of a file: mostly all of its index."""
_LIVE, _NOTED, _DEAD = (int.from_bytes(word, "little") for word in (LIVE, NOTED, DEAD))
_IS_LITTLE: Final = sys.byteorder == "little"


class SegmentIndex(NamedTuple):
    """What is in a segment."""

    modulus: int
    """Of the hashes."""
    highest_sequence: int
    """At least that of each record."""
    key_hashes: array[int]
    offsets: array[int]
    """Ascending."""
    states: array[int]

    @property
    def are_all_live(self) -> bool:
        """And none is noted."""
        return self.states.count(_LIVE) == len(self.states)

    def live(self) -> list[bool]:
        """Of each record."""
        return [state != _DEAD for state in self.states]

    def noted(self) -> bytearray:
        """Of each record: 1 or 0."""
        return bytearray(state == _NOTED for state in self.states)


def index_length(count: int) -> int:
    """Bytes of the index of so many records, with its locator."""
    return _FIXED_BYTES + _ENTRY_BYTES * count + LOCATOR_BYTES


def state_offset(index_offset: int, count: int, position: int) -> int:
    """In the file, of the state of the record at that position in an index of `count` records."""
    return index_offset + _FIXED_BYTES + 12 * count + 4 * position


def state_words(live: list[bool], noted: bytearray) -> array[int]:
    """The states of records."""
    return array(
        "I",
        [(_NOTED if is_noted else _LIVE) if is_live else _DEAD for is_live, is_noted in zip(live, noted, strict=True)],
    )


def encode_index(index: SegmentIndex, marker: bytes, offset: int) -> bytes:
    """The bytes to be appended to the segment with that marker at `offset`."""
    summed = b"".join(
        (
            _SUM.pack(index.modulus, index.highest_sequence, len(index.offsets)),
            _to_bytes(index.key_hashes),
            _to_bytes(index.offsets),
        )
    )
    head = _HEAD.pack(marker, INDEX, crc32(summed, crc32(marker)))
    length = index_length(len(index.offsets)) - LOCATOR_BYTES
    return b"".join((head, summed, _to_bytes(index.states), encode_locator(offset, length, marker)))


def read_index(read: ReadAt, file_bytes: int, marker: bytes) -> tuple[SegmentIndex, int] | None:
    """The index of a segment of that size, and its offset; None when it has none, or one that cannot be believed."""
    tail_offset = max(0, file_bytes - _TAIL_READ_BYTES)
    tail = read(file_bytes - tail_offset, tail_offset)
    if len(tail) != file_bytes - tail_offset:
        return None
    place = decode_locator(tail[-LOCATOR_BYTES:], marker)
    if place is None or place[0] + place[1] + LOCATOR_BYTES != file_bytes:
        return None
    offset, length = place
    before = read(tail_offset - offset, offset) if offset < tail_offset else b""
    data = before + tail[max(0, offset - tail_offset) : -LOCATOR_BYTES]
    index = decode_index(data, marker, offset) if len(data) == length else None
    return index and (index, offset)


def decode_index(data: bytes, marker: bytes, offset: int) -> SegmentIndex | None:
    """What was encoded for that offset; None when anything is odd."""
    if len(data) < _FIXED_BYTES:
        return None
    found, word, checksum = _HEAD.unpack_from(data)
    modulus, sequence, count = _SUM.unpack_from(data, _HEAD.size)
    states_at = _FIXED_BYTES + 12 * count
    if found != marker or word != INDEX or len(data) != states_at + 4 * count or not is_modulus(modulus):
        return None
    if checksum != crc32(memoryview(data)[_HEAD.size : states_at], crc32(marker)):
        return None
    offsets_at = _FIXED_BYTES + 8 * count
    hashes, offsets = _to_array("q", data[_FIXED_BYTES:offsets_at]), _to_array("I", data[offsets_at:states_at])
    states = _to_array("I", data[states_at:])
    known = states.count(_LIVE) + states.count(_NOTED) + states.count(_DEAD)
    if known != count or (count and offsets[-1] >= offset):
        return None
    return SegmentIndex(modulus, sequence, hashes, offsets, states)


def _to_bytes(numbers: array[int]) -> bytes:
    if _IS_LITTLE:
        return numbers.tobytes()
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped.tobytes()


def _to_array(kind: str, data: bytes) -> array[int]:
    numbers = array(kind, data)
    if not _IS_LITTLE:
        numbers.byteswap()
    return numbers
