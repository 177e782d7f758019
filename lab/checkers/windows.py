"""Inside or outside of faults: the times at which at least one was in force, and requests that were under way in them.

A fault is in force from before anything was done until all of it was undone. Overlapping ones are one window.
"""

from dataclasses import dataclass
from typing import Any

from lab.history.reader import History

FOREVER = (1 << 63) - 1
Window = tuple[int, int]


def fault_windows(history: History, settle_seconds: float = 0.0) -> list[Window]:
    """In order and apart from each other, each longer by `settle_seconds` than its faults."""
    settle = round(settle_seconds * 1e9)
    rows = history.rows("SELECT began_ns, healed_ns FROM faults WHERE began_ns IS NOT NULL ORDER BY began_ns")
    windows: list[Window] = []
    for began, healed in rows:
        end = FOREVER if healed is None else healed + settle
        if windows and began <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(windows[-1][1], end))
        else:
            windows.append((began, end))
    return windows


ASKED = """
WITH viewers AS (
    SELECT id, request_id, region, path, address, status, x_cache, error, started_ns, ended_ns, first_byte_ns, coalesce(intended_ns, started_ns) AS intended_ns,
        error IS NOT NULL OR status IS NULL OR status >= 500 AS is_failed
    FROM requests WHERE profile IS DISTINCT FROM 'probe' AND ended_ns IS NOT NULL
)
"""
"""Requests of viewers that are over, without probes, as the table `viewers`: `is_failed` when one saw an error or a status from 500 on."""
_IN_WINDOWS = """
, windows AS (SELECT unnest(?::BIGINT[]) AS begin_ns, unnest(?::BIGINT[]) AS end_ns
), chosen AS (
    SELECT v.* FROM viewers v ASOF LEFT JOIN windows w ON v.ended_ns >= w.begin_ns WHERE coalesce(w.end_ns >= v.intended_ns, false) = ?
)
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The beginning of a question, which ends with the table `chosen`, and the values of its parameters."""

    question: str
    values: tuple[Any, ...] = ()


def chosen_requests(history: History, when: str, settle_seconds: float = 0.0) -> Chosen:
    """Of ASKED `all`, or those that were under way `outside_of_faults` or `inside_of_faults`."""
    if when == "all":
        return Chosen(ASKED + ", chosen AS (FROM viewers)\n")
    windows = fault_windows(history, settle_seconds)
    columns = ([begin for begin, _ in windows], [end for _, end in windows])
    return Chosen(ASKED + _IN_WINDOWS, (*columns, when == "inside_of_faults"))
