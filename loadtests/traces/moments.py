"""Moments as traces have them: seconds, or ISO 8601. Pure."""

import math
from datetime import UTC, datetime


def seconds_of(text: str) -> float:
    """Seconds as a number, or since 1970 of a date and time of ISO 8601, which is UTC unless it says otherwise. ValueError for neither."""
    try:
        seconds = float(text)
    except ValueError:
        return iso_seconds(text)
    if not math.isfinite(seconds):
        raise ValueError(f"time must be a finite number of seconds, not {text[:40]!r}")
    return seconds


def iso_seconds(text: str) -> float:
    """Since 1970. ValueError for what is no date and time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"time must be seconds or ISO 8601 such as 2026-11-30T18:00:00.250Z, not {text[:40]!r}"
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
