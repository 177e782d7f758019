"""What may be wrong with the database, and who is told of it."""

import logging
from dataclasses import dataclass

_logger = logging.getLogger("control-plane")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the database takes no writes, and since when (seconds of the process's clock)."""

    reason: str
    since: float


class LogGapError(Exception):
    """The log has been trimmed past what this process has read of it: it has to start over from what is committed."""


class StoreObserver:
    """Told of what a process writes: by default nobody is."""

    def committed(self) -> None:
        """The log has grown by a transaction of this process."""

    def failed(self, reason: str) -> None:
        """A write has failed, and none had before."""
        _logger.error("%s; until it takes writes, no first lease is granted and no receipt completed", reason)
