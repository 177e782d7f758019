"""Which clock the times in a row are of: the anchor of the process that wrote them down, as JSON (decision 29). Rows outlive boots, and a backup takes them elsewhere."""

import json

from proto.moments import SECONDS_SINCE_EPOCH, ClockAnchor, read_anchor


def write_clock(anchor: ClockAnchor) -> str:
    """As a column has it."""
    return json.dumps(anchor.to_json(), separators=(",", ":"))


def read_clock(column: str | None) -> ClockAnchor:
    """From its column; rows of before there were such columns have seconds since the epoch."""
    return read_anchor(json.loads(column or "null")) or SECONDS_SINCE_EPOCH


def foreign_clock(column: str | None, own: ClockAnchor) -> ClockAnchor | None:
    """Of a row that another boot has written; None: its seconds are seconds of this process's clock."""
    recorded = read_clock(column)
    return None if own.shares_base_with(recorded) else recorded


def time_on(anchor: ClockAnchor, now: float, seconds: float, column: str | None) -> float:
    """A time of a row on this process's clock. One of another boot is a guess, for people, and not later than now."""
    recorded = read_clock(column)
    return seconds if anchor.shares_base_with(recorded) else min(now, anchor.seconds_of(recorded, seconds))
