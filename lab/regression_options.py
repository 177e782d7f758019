"""What the options of `cdnlab regress` say. Tiny, so that the command line starts at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUILDS: Final = Path("runs/builds")
LOOPBACKS: Final = ("127.93.0.0/16", "127.94.0.0/16")
"""Of the two labs that are up at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is to be compared, and where."""

    seconds: float
    """Of times, with starting and ending labs; 0: counters only."""
    resolution: float
    """The smallest relative slow-down that must not be missed."""
    most_sessions: int
    builds: Path
    """Where commits are unpacked."""
    loopbacks: tuple[str, str] = LOOPBACKS
