"""Reads the host's one steady clock, which all of its processes and containers share, and says of which boot it is: decision 29.

Linux: CLOCK_BOOTTIME. It is CLOCK_MONOTONIC, which goes on while the machine is suspended: a lease of a laptop that slept is over, as everybody else counts it. macOS:
CLOCK_MONOTONIC_RAW, which goes on there as well; elsewhere CLOCK_MONOTONIC. None of them is ever set. Timers of asyncio stand still in a suspend: they may only wake
whoever looks at this clock.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from proto.moments import NANOSECONDS_PER_SECOND, ClockAnchor, Moment

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")
_INITIAL_TIME_NAMESPACE = "time:[4026531834]"
"""PROC_TIME_INIT_INO of the kernel: the namespace whose clocks are the host's own."""
_ANCHOR_ATTEMPTS = 5


def _clock_number() -> int:
    names = ("CLOCK_MONOTONIC_RAW",) if sys.platform == "darwin" else ("CLOCK_BOOTTIME",)
    numbers: list[int] = [getattr(time, name) for name in (*names, "CLOCK_MONOTONIC") if hasattr(time, name)]
    return numbers[0]


host_seconds: Callable[[], float] = partial(time.clock_gettime, _clock_number())
"""Now, in seconds of the host's clock. As quick as time.monotonic, since it is asked several times for each request."""

host_nanoseconds: Callable[[], int] = partial(time.clock_gettime_ns, _clock_number())
"""The same in nanoseconds."""


def wall_nanoseconds() -> int:
    """Since the epoch, by a clock that is set and steps: only for an anchor."""
    return time.time_ns()


def read_boot_id() -> str:
    """Of this boot of the machine; empty where there is none to be had."""
    try:
        return BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return _session_of_macos() if sys.platform == "darwin" else ""


def read_clock_id() -> str:
    """Whose clock it is. A container has the host's, unless it has a time namespace of its own, which moves the clock by an offset; then that is named too."""
    boot_id = read_boot_id()
    try:
        namespace = os.readlink(_TIME_NAMESPACE)
    except OSError:
        return boot_id
    return f"{boot_id}/{namespace}" if boot_id and namespace != _INITIAL_TIME_NAMESPACE else boot_id


def take_anchor(wall: Callable[[], int] = wall_nanoseconds) -> ClockAnchor:
    """What the wall clock says now. Of some attempts the quickest: the process may be stopped between two looks."""
    looks = [_look_at_both(wall) for _ in range(_ANCHOR_ATTEMPTS)]
    before, wall_ns, after = min(looks, key=lambda look: look[2] - look[0])
    return ClockAnchor(read_clock_id(), wall_ns, (before + after) // 2)


def _look_at_both(wall: Callable[[], int]) -> tuple[int, int, int]:
    return host_nanoseconds(), wall(), host_nanoseconds()


class HostClock:
    """The clock of one process, with the one anchor that it records."""

    def __init__(self, wall: Callable[[], int] = wall_nanoseconds) -> None:
        self.anchor = take_anchor(wall)

    def __call__(self) -> float:
        """Now, in seconds of the host's clock."""
        return host_seconds()

    def now(self) -> Moment:
        """Now, exactly."""
        return Moment(self.anchor.boot_id, host_nanoseconds())

    def wall_seconds_at(self, moment: Moment) -> float:
        """Seconds since the epoch, for people, of a moment of this clock."""
        return self.anchor.wall_seconds(moment.monotonic_ns / NANOSECONDS_PER_SECOND)


def _session_of_macos() -> str:
    """Another one after each boot."""
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=2.0, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
