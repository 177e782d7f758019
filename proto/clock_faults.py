"""The clocks of a process, which can be told to be wrong, and to be ahead, where faults are allowed: the one place where a program gets the functions that it asks.

A process that allows no faults is given the functions of the system themselves, so it pays nothing. Leases of faults go by the true clock (`fault_port.py`). How far the
lab's clock is ahead (docs/time-travel.md) moves the wall clock alone, on top of whatever is wrong with it.
"""

import time
from collections import deque
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
REMEMBERED_COURSES: Final = 64
"""A request that began before so many changes of the rate has a wrong moment in the history."""
MOST_RATE: Final = 100.0

CLOCK_OFFSET: Final = "clock-offset"
CLOCK_DRIFT: Final = "clock-drift"
OFFSET_KIND: Final = FaultKind(
    CLOCK_OFFSET, (FaultParameter("by", ValueKind.NUMBER, -MOST_OFFSET_SECONDS, MOST_OFFSET_SECONDS),)
)
DRIFT_KIND: Final = FaultKind(CLOCK_DRIFT, (FaultParameter("rate", ValueKind.NUMBER, LEAST_RATE, MOST_RATE),))


def _stays(_ahead_seconds: float) -> None:
    """A clock that nobody moves."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is, and how much of it has passed."""

    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    steady: Callable[[], float] = host_seconds
    """Seconds of the host's clock."""
    true_steady: Callable[[float], float] = float
    """What the host's clock said, of what `steady` said then."""
    put_ahead: Callable[[float], None] = _stays
    """Has the wall clock say so many seconds more than the true one. Of a process that allows no faults nothing moves: its log has no such thing (`lab_clock.py`)."""


class _LabClocks:
    """The clocks of a process that allows faults; the true ones for as long as there are none and nobody has travelled."""

    def __init__(self, faults: FaultPort, true: Clocks) -> None:
        self._faults = faults
        self._true_wall, self._true_steady = true.wall, true.steady
        self._course: ClockCourse | None = None
        """None: no fault has been injected yet. They are asked several times for each request, also in labs where nothing is wrong."""
        self._courses: deque[ClockCourse] = deque(maxlen=REMEMBERED_COURSES)
        """How the clock has run, one behind the other."""
        self._ahead_seconds = 0.0
        self._read_wall = true.wall
        """Another function whenever something changes, so that nobody looks for it when a clock is read."""
        faults.when_changed(CLOCK_OFFSET, self._set)
        faults.when_changed(CLOCK_DRIFT, self._tune)

    def wall(self) -> float:
        return self._read_wall()

    def steady(self) -> float:
        course = self._course
        return self._true_steady() if course is None else course.steady(self._true_steady())

    def true_steady(self, steady: float) -> float:
        if self._course is None:
            return steady
        for course in reversed(self._courses):
            if steady >= course.steady(course.began_at):
                return course.true_steady(steady)
        return steady

    def put_ahead(self, ahead_seconds: float) -> None:
        self._ahead_seconds = ahead_seconds
        self._choose()

    def _set(self) -> None:
        fault = self._faults.in_force(CLOCK_OFFSET)
        self._course = (self._course or ClockCourse()).with_offset(
            0.0 if fault is None else float(fault.parameters["by"])
        )
        self._choose()

    def _tune(self) -> None:
        fault = self._faults.in_force(CLOCK_DRIFT)
        self._course = (self._course or ClockCourse()).with_rate(
            0.0 if fault is None else float(fault.parameters["rate"]), self._true_steady()
        )
        self._courses.append(self._course)
        self._choose()

    def _choose(self) -> None:
        true_wall, true_steady, course, ahead = self._true_wall, self._true_steady, self._course, self._ahead_seconds
        if course is not None:
            self._read_wall = lambda: course.wall(true_wall(), true_steady()) + ahead
        else:
            self._read_wall = (lambda: true_wall() + ahead) if ahead else true_wall


def clocks_of(faults: FaultPort | None, true: Clocks | None = None) -> Clocks:
    """Of this process. Without `true` they are the system's."""
    true = true or Clocks()
    if faults is None:
        return true
    moved = _LabClocks(faults, true)
    return Clocks(moved.wall, moved.steady, moved.true_steady, moved.put_ahead)


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
