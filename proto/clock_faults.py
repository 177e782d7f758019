"""The clocks of a process, which can be told to be wrong where faults are allowed: the one place where a program gets the functions that it asks for the time.

A process that allows no faults is given the functions of the system themselves, so it pays nothing. Leases of faults go by the true clock (`fault_port.py`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proto.clock_course import ClockCourse
from proto.fault_port import FaultPort
from proto.host_clock import HostClock, host_seconds
from proto.injected_faults import FaultKind, FaultParameter, ValueKind
from proto.moments import NANOSECONDS_PER_SECOND, Moment

MOST_OFFSET_SECONDS: Final = 100.0 * 365 * 86_400
LEAST_RATE: Final = -0.9
"""A clock that runs at a tenth of its speed; at -1 it would stand still, and whatever waits for it for ever."""
MOST_RATE: Final = 100.0

CLOCK_OFFSET: Final = "clock-offset"
CLOCK_DRIFT: Final = "clock-drift"
OFFSET_KIND: Final = FaultKind(
    CLOCK_OFFSET, (FaultParameter("by", ValueKind.NUMBER, -MOST_OFFSET_SECONDS, MOST_OFFSET_SECONDS),)
)
DRIFT_KIND: Final = FaultKind(CLOCK_DRIFT, (FaultParameter("rate", ValueKind.NUMBER, LEAST_RATE, MOST_RATE),))


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is, and how much of it has passed."""

    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    steady: Callable[[], float] = host_seconds
    """Seconds of the host's clock."""


class _WrongClocks:
    """The clocks of a process that allows faults; right for as long as there are none."""

    def __init__(self, faults: FaultPort, true: Clocks) -> None:
        self._faults = faults
        self._true_wall, self._true_steady = true.wall, true.steady
        self._course: ClockCourse | None = None
        """None: no fault has been injected yet. They are asked several times for each request, also in labs where nothing is wrong."""
        faults.when_changed(CLOCK_OFFSET, self._set)
        faults.when_changed(CLOCK_DRIFT, self._tune)

    def wall(self) -> float:
        course = self._course
        return self._true_wall() if course is None else course.wall(self._true_wall(), self._true_steady())

    def steady(self) -> float:
        course = self._course
        return self._true_steady() if course is None else course.steady(self._true_steady())

    def _set(self) -> None:
        fault = self._faults.in_force(CLOCK_OFFSET)
        self._course = (self._course or ClockCourse()).with_offset(
            0.0 if fault is None else float(fault.parameters["by"])
        )

    def _tune(self) -> None:
        fault = self._faults.in_force(CLOCK_DRIFT)
        self._course = (self._course or ClockCourse()).with_rate(
            0.0 if fault is None else float(fault.parameters["rate"]), self._true_steady()
        )


def clocks_of(faults: FaultPort | None, true: Clocks | None = None) -> Clocks:
    """Of this process. Without `true` they are the system's."""
    true = true or Clocks()
    if faults is None:
        return true
    wrong = _WrongClocks(faults, true)
    return Clocks(wrong.wall, wrong.steady)


class DriftingHostClock(HostClock):
    """A HostClock that drifts where it is told to. Its wall times follow from its one anchor, so that setting the wall clock changes none of them."""

    def __init__(self, faults: FaultPort) -> None:
        super().__init__()
        self._steady = clocks_of(faults).steady

    def __call__(self) -> float:
        """See HostClock."""
        return self._steady()

    def now(self) -> Moment:
        """See HostClock."""
        return Moment(self.anchor.boot_id, round(self._steady() * NANOSECONDS_PER_SECOND))
