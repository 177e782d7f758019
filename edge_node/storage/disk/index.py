"""Where each record is, in one int a key: about 120 bytes of memory a record with everything.

A location is the file's number (36 bits), an offset (23 bits) and whether the record was used: an int of 32 bytes. The keys are in the files only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SHARDS: Final = 256
"""A dictionary that grows is copied in one go: many small ones keep each of these pauses below a millisecond (a single one took 15 ms at 260,000 records)."""

NUMBER_SHIFT: Final = 24
USED: Final = 1


def location(number: int, offset: int) -> int:
    """Of a record that was not used yet."""
    return number << NUMBER_SHIFT | offset << 1


def offset_of(place: int) -> int:
    """In its file."""
    return (place & (1 << NUMBER_SHIFT) - 1) >> 1


class RecordIndex:
    """Locations by key hash."""

    __slots__ = ("_shards",)

    def __init__(self) -> None:
        self._shards: tuple[dict[int, int], ...] = tuple({} for _ in range(SHARDS))

    def get(self, key_hash: int) -> int | None:
        """None: no such record."""
        return self._shards[key_hash % SHARDS].get(key_hash)

    def put(self, key_hash: int, place: int) -> None:
        """Insert or replace."""
        self._shards[key_hash % SHARDS][key_hash] = place

    def put_new(self, key_hash: int, place: int) -> bool:
        """Insert; False when there is one already, which stays."""
        shard = self._shards[key_hash % SHARDS]
        if key_hash in shard:
            return False
        shard[key_hash] = place
        return True

    def put_all_new(self, key_hashes: Sequence[int], number: int, offsets: Sequence[int]) -> list[tuple[int, int]]:
        """Insert all records of a file; those (key hash, offset) are left out of which there is one already."""
        shards, base = self._shards, number << NUMBER_SHIFT
        left_out: list[tuple[int, int]] = []
        for key_hash, offset in zip(key_hashes, offsets, strict=True):
            shard = shards[key_hash % SHARDS]
            if key_hash in shard:
                left_out.append((key_hash, offset))
            else:
                shard[key_hash] = base | offset << 1
        return left_out

    def pop(self, key_hash: int) -> int | None:
        """Take out."""
        return self._shards[key_hash % SHARDS].pop(key_hash, None)

    def clear(self) -> None:
        """Take all out."""
        for shard in self._shards:
            shard.clear()

    def __len__(self) -> int:
        return sum(map(len, self._shards))
