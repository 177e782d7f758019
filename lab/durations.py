"""How people write a duration, everywhere in the lab: `500ms`, `30s`, `1m30s`, `1d`. Pure."""

import math
import re

from lab.errors import UsageError

_PART_SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII)
_MOST_CHARACTERS = 2000


def parse_duration(text: str) -> float:
    """Seconds of `30s`, `1m30s`, `500ms`, `1d`; UsageError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()) or len(text) > _MOST_CHARACTERS:
        raise UsageError(f"{text[:40]!r} is no duration: write it as 500ms, 30s, 1m30s or 1d")
    seconds = sum(
        float(part) * scale for part, scale in zip(match.groups(), _PART_SECONDS.values(), strict=True) if part
    )
    if not math.isfinite(seconds):
        raise UsageError(f"{text[:40]!r} is too long")
    return seconds


def format_duration(seconds: float) -> str:
    """As `parse_duration` reads it, to the millisecond."""
    if not math.isfinite(seconds):
        return "any length"
    milliseconds = round(seconds * 1000)
    whole, rest = divmod(milliseconds, 1000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    counted = ((days, "d"), (hours, "h"), (minutes, "m"), (whole, "s"), (rest, "ms"))
    parts = [f"{count}{unit}" for count, unit in counted if count]
    return "".join(parts) or "0s"
