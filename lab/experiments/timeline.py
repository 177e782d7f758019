"""When the steps of a run begin: waiting for a time or a condition, which a stop rule, or an interruption, ends. Threads wait here; another one tells them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lab.errors import LabError
from lab.scenarios.steps import Due

_LOOK_SECONDS: Final = 0.1
"""How often a condition, and an interruption, is looked at; figures change twice a second."""


INTERRUPTED: Final = "the run was interrupted"


class RunStoppedError(LabError):
    """The run is over before its time; the message says which stop rule has ended it, or that somebody has."""


class NotInTimeError(LabError):
    """What a step waits for has not come."""


@dataclass(slots=True)
class Timeline:
    """`now` is the host's clock in seconds. Times of a scenario are multiplied by `scale` when a run takes longer or shorter than it says."""

    now: Callable[[], float]
    scale: float = 1.0
    began_at: float | None = None
    """When viewers came."""
    is_interrupted: bool = False
    _stopped: threading.Event = field(default_factory=threading.Event)
    _reason: str = ""

    def begin(self) -> None:
        self.began_at = self.now()

    @property
    def elapsed_seconds(self) -> float:
        """Since viewers came."""
        return 0.0 if self.began_at is None else self.now() - self.began_at

    def stop(self, reason: str) -> None:
        """Ends every waiting; the first reason counts."""
        self._reason = self._reason or reason
        self._stopped.set()

    def interrupt(self) -> None:
        """The same for Ctrl-C, which is nobody's rule. Safe in the handler of a signal: no lock is taken that its own thread may hold."""
        self.is_interrupted = True

    @property
    def stop_reason(self) -> str:
        """Which rule has stopped the run; empty: none has."""
        return self._reason

    @property
    def is_over(self) -> bool:
        """Whether a rule, or somebody, has ended the run."""
        return self.is_interrupted or self._stopped.is_set()

    def check_stop(self) -> None:
        """RunStoppedError once the run is over."""
        if self.is_over:
            raise RunStoppedError(self._reason or INTERRUPTED)

    def sleep(self, seconds: float) -> None:
        """RunStoppedError when the run is stopped meanwhile."""
        until = self.now() + max(0.0, seconds)
        while not self.is_over and (left := until - self.now()) > 0:
            self._stopped.wait(min(left, _LOOK_SECONDS))
        self.check_stop()

    def wait_until_due(self, due: Due, holds: Callable[[], bool]) -> bool:
        """False when its condition did not hold in time."""
        if due.at_seconds is not None and self.began_at is not None:
            self.sleep(self.began_at + due.at_seconds * self.scale - self.now())
        self.check_stop()
        if due.condition is None:
            return True
        deadline = self.now() + due.within_seconds
        while not holds():
            if self.now() >= deadline:
                return False
            self.sleep(_LOOK_SECONDS)
        return True
