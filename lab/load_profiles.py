"""The profiles of viewers, by the names that the command line has for them, and what `cdnlab load` was asked for.

Here and not beside what they do, so that help and completion are instant.
"""

from dataclasses import dataclass

PROFILES = (
    *("website", "api", "video", "download", "mixed"),
    *("objects", "flash-crowd", "cache-busting", "slow-readers", "conditional"),
)


@dataclass(frozen=True, slots=True)
class LoadChoice:
    """As it was typed: nothing of it is checked."""

    profile: str
    duration_seconds: float
    users: int | None
    rate: float | None
    arrivals: str
    options: str
    """A JSON object, or nothing."""
