"""What the options of `cdnlab regress` say. Tiny, so that the command line starts at once."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import UsageError

COMPARISONS: Final = Path("comparisons")
"""Apart from runs: what has no history is not the `latest` of these."""
BUILDS: Final = COMPARISONS / "builds"
LOOPBACK: Final = "127.93.0.0/16"
"""Of one of the two labs that are up at once; the other one has the next /16."""


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
    loopback: str = LOOPBACK

    @property
    def loopbacks(self) -> tuple[str, str]:
        """Of both labs. UsageError when it is no /16 of 127.0.0.0/8 that another one follows."""
        found = re.fullmatch(r"127\.(\d{1,3})\.0\.0/16", self.loopback)
        if not found or not 0 <= int(found[1]) < 255:
            raise UsageError(
                f"{self.loopback!r}: give a /16 from 127.0.0.0/16 to 127.254.0.0/16; the next one is taken, too"
            )
        return self.loopback, f"127.{int(found[1]) + 1}.0.0/16"
