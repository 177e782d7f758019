"""Whether the agent's work goes on. Whoever does it says so after each step; the watchdog is told that the agent is alive only as long as that is so (guarding.py).

The clock that is asked stands still while the machine sleeps: no sleep is a step that takes long.
"""

import time
from collections.abc import Callable

LONGEST_STEP_SECONDS = 180.0
"""The slowest step that is still one: something done to one container, of which the engine may take 30 s for each of six calls."""


class Pulse:
    """Set by the loop and by the keeper's thread, read by the loop."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._moved_at = now()

    def moved(self) -> None:
        """A step is done, or begins."""
        self._moved_at = self._now()

    @property
    def is_there(self) -> bool:
        return self._now() - self._moved_at < LONGEST_STEP_SECONDS
