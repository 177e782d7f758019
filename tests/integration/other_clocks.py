"""`python other_clocks.py [--boot-id-file FILE] MODULE FLAGS...`: a program whose wall clock somebody sets by hours, either way, twenty times a second; and, if
wanted, one that runs in another machine. By path, so that a lab can start it from anywhere."""

import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

from proto import host_clock

STEPS_SECONDS = (3 * 3_600, -5 * 3_600, 70, -24 * 3_600, 9 * 3_600)
"""Never none: a program that asked once is wrong too."""
STEP_INTERVAL_SECONDS = 0.05
SMALLEST_STEP_SECONDS = 60


def set_wall_clock_again_and_again() -> None:
    """From now on, in this process."""
    time.time = _stepping(time.time)
    time.time_ns = _stepping_ns(time.time_ns)


def _step_seconds() -> int:
    return STEPS_SECONDS[int(time.monotonic() / STEP_INTERVAL_SECONDS) % len(STEPS_SECONDS)]


def _stepping(wall: Callable[[], float]) -> Callable[[], float]:
    return lambda: wall() + _step_seconds()


def _stepping_ns(wall_ns: Callable[[], int]) -> Callable[[], int]:
    return lambda: wall_ns() + _step_seconds() * 1_000_000_000


def main(arguments: list[str]) -> None:
    if arguments[0] == "--boot-id-file":
        host_clock.BOOT_ID_FILE = Path(arguments[1])
        arguments = arguments[2:]
    set_wall_clock_again_and_again()
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, where programs have namesakes
    main(sys.argv[1:])
