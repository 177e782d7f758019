"""How many bytes of all connections wait in this process, and who reads nothing while there are too many."""

from typing import Final, Protocol

RESUME_SHARE: Final = 0.9


class WaitsForMemory(Protocol):
    """A stream that reads nothing for now."""

    def memory_is_there(self) -> None:
        """Read on."""


class MemoryBudget:
    """Reading stops when it is used up, so that it is overdrawn by one read of each connection at most."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._waiting: dict[WaitsForMemory, None] = {}
        self.used_bytes = 0

    @property
    def is_used_up(self) -> bool:
        """Nobody may read."""
        return self.used_bytes >= self._most_bytes

    def add(self, count: int) -> None:
        """So many more wait, or less."""
        self.used_bytes += count
        if self._waiting and self.used_bytes <= self._most_bytes * RESUME_SHARE:
            waiting, self._waiting = self._waiting, {}
            for stream in waiting:
                stream.memory_is_there()

    def wait(self, stream: WaitsForMemory) -> None:
        """Its `memory_is_there` is called when there is room again."""
        self._waiting[stream] = None

    def leave(self, stream: WaitsForMemory) -> None:
        """It does not wait any more."""
        self._waiting.pop(stream, None)
