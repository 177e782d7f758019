"""When a user's requests are meant to start if all users together make so many a second: open arrivals. Pure.

`constant`: each user has slots a fixed time apart, at its own place in between: numbers in a row are spread by the golden ratio, so that however many users there are,
their slots are nearly even. `poisson`: the gaps of each user are exponential, so all of them together arrive as independent people do, and now and then in clumps: a
service that keeps up with constant arrivals of one rate may queue at random ones of the same.

A user that a slow answer has kept misses none of its slots: latency counts from the slot, however long ago that was, and nothing is forgiven.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

CONSTANT: Final = "constant"
POISSON: Final = "poisson"
ARRIVALS: Final = (CONSTANT, POISSON)
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class Slots(Protocol):
    """The intended starts of one user, in seconds of the clock by which users wait."""

    def first(self, now: float) -> float:
        """The first one that is not over yet."""

    def after(self, previous: float) -> float:
        """The one that follows, also when it is long over."""


@dataclass(frozen=True, slots=True)
class EvenSlots:
    """A fixed time apart."""

    began_at: float
    """When the run began."""
    interval_seconds: float
    phase_seconds: float

    def first(self, now: float) -> float:
        """See Slots."""
        start = self.began_at + self.phase_seconds
        return start + max(0, math.ceil((now - start) / self.interval_seconds)) * self.interval_seconds

    def after(self, previous: float) -> float:
        """See Slots."""
        return previous + self.interval_seconds


@dataclass(frozen=True, slots=True)
class RandomSlots:
    """Gaps without a memory: what has been says nothing of what comes, so that whoever begins later is as anybody else."""

    mean_seconds: float
    rng: Random
    """The user's own, for nothing but this."""

    def first(self, now: float) -> float:
        """See Slots."""
        return self.after(now)

    def after(self, previous: float) -> float:
        """See Slots."""
        return previous + self.rng.expovariate(1 / self.mean_seconds)


def slots_of(number: int, users: int, rate: float, began_at: float) -> EvenSlots:
    """Constant ones of user `number` (from 0), when `users` together make `rate` requests a second."""
    interval_seconds = users / rate
    return EvenSlots(began_at, interval_seconds, number * _GOLDEN_RATIO % 1 * interval_seconds)


def random_slots_of(users: int, rate: float, rng: Random) -> RandomSlots:
    """Poisson ones of one of `users`, who together make `rate` requests a second in the mean."""
    return RandomSlots(users / rate, rng)
