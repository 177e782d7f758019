"""Moments of a host's one steady clock, comparable between its processes, and what they are for people: decision 29. Pure; `host_clock.py` reads the clock.

A moment is a number of nanoseconds that nobody sets, since some point in the past which is the same for all processes of one boot of one host. Two moments of one boot
are compared as integers. Of different boots, or of a boot that is not known, nothing is known about which was first: that is an error, and never a guess from wall
clocks, which step. Wall time is for people only. It is derived from an anchor, which each process takes once and records beside its moments.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NANOSECONDS_PER_SECOND = 1_000_000_000


class DifferentClocksError(Exception):
    """Two moments that cannot be compared; the message says why."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was, on the clock of one boot of one host; `boot_id` is empty where it is not known."""

    boot_id: str
    monotonic_ns: int

    def nanoseconds_since(self, other: "Moment") -> int:
        """Negative when this moment was first. DifferentClocksError when that cannot be known."""
        if self.boot_id != other.boot_id:
            raise DifferentClocksError(
                f"one is of boot {self.boot_id or 'unknown'}, the other of boot {other.boot_id or 'unknown'}"
            )
        if not self.boot_id:
            raise DifferentClocksError("it is not known of which boot they are")
        return self.monotonic_ns - other.monotonic_ns

    def seconds_since(self, other: "Moment") -> float:
        """The same in seconds, for bounds and for people."""
        return self.nanoseconds_since(other) / NANOSECONDS_PER_SECOND

    def is_after(self, other: "Moment") -> bool:
        """Strictly. DifferentClocksError when that cannot be known."""
        return self.nanoseconds_since(other) > 0


@dataclass(frozen=True, slots=True)
class ClockAnchor:
    """What the wall clock of a process said at one moment: taken once, so that a step of the wall clock moves nothing that the process says afterwards."""

    boot_id: str
    wall_ns: int
    """Nanoseconds since the epoch."""
    monotonic_ns: int

    def moment(self, seconds: float) -> Moment:
        """Of so many seconds of this clock. Exact for as long as a float holds nanoseconds (52 days after a boot), and to two of them for a year."""
        return Moment(self.boot_id, round(seconds * NANOSECONDS_PER_SECOND))

    def wall_seconds(self, seconds: float) -> float:
        """Seconds since the epoch, for people, of so many seconds of this clock."""
        return seconds + (self.wall_ns - self.monotonic_ns) / NANOSECONDS_PER_SECOND

    def ahead_by(self, seconds: float) -> "ClockAnchor":
        """The same moment, by a wall clock that says so much more."""
        return ClockAnchor(self.boot_id, self.wall_ns + round(seconds * NANOSECONDS_PER_SECOND), self.monotonic_ns)

    def shares_base_with(self, other: "ClockAnchor") -> bool:
        """Whether seconds of the one are seconds of the other."""
        return self == other or self.boot_id == other.boot_id != ""

    def seconds_of(self, other: "ClockAnchor", seconds: float) -> float:
        """What so many seconds of another clock are on this one. Of another boot that is a guess by way of wall time: for people, and never for a verdict."""
        if self.shares_base_with(other):
            return seconds
        return other.wall_seconds(seconds) - (self.wall_ns - self.monotonic_ns) / NANOSECONDS_PER_SECOND

    def to_json(self) -> dict[str, Any]:
        """As receipts, `/status` and the files of a run have it (docs/contracts.md)."""
        return asdict(self)


SECONDS_SINCE_EPOCH = ClockAnchor("", 0, 0)
"""Of what was written down as seconds since the epoch, by nobody knows which clock."""


def read_anchor(document: object) -> ClockAnchor | None:
    """From its JSON form; None for what is none, such as a record of before there were anchors."""
    match document:
        case {"boot_id": str(boot_id), "wall_ns": int(wall_ns), "monotonic_ns": int(monotonic_ns)}:
            return ClockAnchor(boot_id, wall_ns, monotonic_ns)
        case _:
            return None


def read_moment(clock: object, record: Mapping[str, Any], name: str) -> Moment:
    """The moment `NAME_monotonic_ns` of a record, by the anchor that goes with it. Where either is missing, a moment that can be compared with none."""
    anchor, monotonic_ns = read_anchor(clock), record.get(f"{name}_monotonic_ns")
    return Moment(anchor.boot_id, monotonic_ns) if anchor and isinstance(monotonic_ns, int) else Moment("", 0)
