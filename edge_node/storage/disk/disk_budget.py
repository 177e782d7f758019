"""The byte budget and what the store counts."""

from dataclasses import dataclass
from typing import Final

LARGEST_SEGMENT_BYTES: Final = 2 * 1024 * 1024
"""A GiB is 512 files; letting one go is the longest step there is, 2 to 4 ms with records of 1 KiB."""

SMALLEST_SEGMENT_BYTES: Final = 16 * 1024
SEGMENTS_IN_CAPACITY: Final = 256
"""A full store is between one and three segments short of its capacity: 1.2 %."""

SMALLEST_CAPACITY_BYTES: Final = SMALLEST_SEGMENT_BYTES * SEGMENTS_IN_CAPACITY
"""4 MiB: below that the budget could not be kept to within 2 %."""

LARGEST_SHARE_OF_CAPACITY: Final = 4
"""A body larger than a quarter of the capacity is not admitted: it would push out too much for one object."""

HOUSEKEEPING_BYTES: Final = 1024
"""The files beside the records: the lock and the boot id."""


@dataclass(slots=True)
class DiskStatistics:
    """Totals and levels for the metrics."""

    capacity_bytes: int = 0
    used_bytes: int = 0
    """On the disk and waiting to be written, with files that left the store while they were being read."""
    records: int = 0
    recovered_records: int = 0
    """Found when the store was opened."""
    evictions: int = 0
    copied_records: int = 0
    """Used since they were written, and therefore written again when the oldest segment left."""
    corrupt_records: int = 0
    """Lost to damage: a wrong checksum, a truncated or missing file, the torn end of a file after a crash."""
    write_errors: int = 0
    """Writes that failed, as on a full disk."""
    read_errors: int = 0
    """Reads that failed and are no proof of damage, such as for want of descriptors."""
    lost_records: int = 0
    """Undamaged records given up with their file, since a removed one among them could not be marked."""
    refused_bodies: int = 0
    """Too large, or no room beside other bodies that were arriving."""


class DiskBudget:
    """How much of the capacity is taken; counts into `statistics.used_bytes`. Between the two limits the oldest files are left step by step, at the upper one at once."""

    __slots__ = ("_early_limit_bytes", "_limit_bytes", "_statistics", "segment_bytes")

    def __init__(self, statistics: DiskStatistics) -> None:
        capacity = statistics.capacity_bytes
        if capacity < SMALLEST_CAPACITY_BYTES:
            raise ValueError(f"a disk store needs at least {SMALLEST_CAPACITY_BYTES} bytes, not {capacity}")
        self._statistics = statistics
        self.segment_bytes = min(LARGEST_SEGMENT_BYTES, capacity // SEGMENTS_IN_CAPACITY)
        self._limit_bytes = capacity - HOUSEKEEPING_BYTES
        self._early_limit_bytes = capacity - 2 * self.segment_bytes

    @property
    def largest_record_bytes(self) -> int:
        """Of a record in a segment."""
        return self.segment_bytes // 2

    @property
    def largest_body_bytes(self) -> int:
        """That is admitted."""
        return self._statistics.capacity_bytes // LARGEST_SHARE_OF_CAPACITY

    def has_room(self, length: int) -> bool:
        """For so many more bytes."""
        return self._statistics.used_bytes + length <= self._limit_bytes

    def has_room_to_spare(self, length: int) -> bool:
        """The same, and for the records that are copied while the oldest file leaves."""
        return self._statistics.used_bytes + length <= self._early_limit_bytes

    def take(self, length: int) -> None:
        """Count them."""
        self._statistics.used_bytes += length

    def release(self, length: int) -> None:
        """They are gone from the disk."""
        self._statistics.used_bytes -= length
