"""When a user's requests are meant to start if all users together make so many a second. Pure.

Each user has slots a fixed time apart, at its own place in between: numbers in a row are spread by the golden ratio,
so that however many users there are, their slots are nearly even. A user that a slow answer has kept misses none of its slots: latency counts from the
slot, however long ago that was, and nothing is forgiven.
"""

import math
from dataclasses import dataclass

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Slots:
    """The intended starts of one user."""

    began_at: float
    """When the run began, in seconds of any steady clock."""
    interval_seconds: float
    phase_seconds: float

    def first(self, now: float) -> float:
        """The first one that is not over yet."""
        start = self.began_at + self.phase_seconds
        return start + max(0, math.ceil((now - start) / self.interval_seconds)) * self.interval_seconds

    def after(self, previous: float) -> float:
        """The one that follows, also when it is long over."""
        return previous + self.interval_seconds


def slots_of(number: int, users: int, rate: float, began_at: float) -> Slots:
    """Of user `number` (from 0), when `users` together make `rate` requests a second."""
    interval_seconds = users / rate
    return Slots(began_at, interval_seconds, number * _GOLDEN_RATIO % 1 * interval_seconds)
