"""Whether the load was as it was meant to be: a generator that is late asks late, and what viewers then wait for is the machine that makes the load.

Latency counts from the intended start, so a limit that was kept in spite of it is kept; that one was broken says nothing. But viewers without a rate drop what is older
than MAXIMUM_LAG_SECONDS (loadtests/workload.py): of a generator that was later than that nobody knows what it did not ask.
"""

from dataclasses import dataclass

from lab.checkers.judgement import NANOSECONDS
from lab.history.reader import History
from loadtests.workload import MAXIMUM_LAG_SECONDS

LATE_SECONDS = 0.1
"""Below it a busy laptop is as ever."""
MOST_OF_ITS_TIME = 0.02
"""Share of its seconds in which a generator may have been late and still counts as on time."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Of the generators of a run that fell behind."""

    told: str = ""
    """Why latencies of this run say nothing; empty: the load came when it was meant to, or nobody said otherwise."""
    is_bounded: bool = True
    """Nothing that was meant to be asked was dropped for it."""


def lateness(history: History) -> Lateness:
    """Of all generators together."""
    # Who stands still for seconds says so once, in one row.
    rows = history.records(
        """WITH spans AS (SELECT node, late_ns, greatest(late_ns, 1000000000) / 1e9 AS seconds FROM lateness)
        SELECT node, sum(seconds) AS seconds, sum(seconds) FILTER (late_ns > $1) AS late, max(late_ns) / 1e6 AS longest_ms FROM spans
        GROUP BY node HAVING sum(seconds) FILTER (late_ns > $1) > $2 * sum(seconds) ORDER BY longest_ms DESC, node""",
        [LATE_SECONDS * NANOSECONDS, MOST_OF_ITS_TIME],
    )
    told = [
        f"{row['node']} fell behind: late by up to {row['longest_ms']:,.0f} ms, "
        f"and by more than {LATE_SECONDS * 1000:g} ms in {row['late']:.0f} of {row['seconds']:.0f} seconds"
        for row in rows
    ]
    longest_seconds = max((row["longest_ms"] / 1_000 for row in rows), default=0.0)
    return Lateness("; ".join(told), longest_seconds < MAXIMUM_LAG_SECONDS)
