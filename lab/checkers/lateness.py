"""Whether the load was as it was meant to be: a generator that is late asks late, and what viewers then wait for is the machine that makes the load.

Latency counts from the intended start, so a limit that was kept in spite of it is kept. That one was broken says nothing.
"""

from lab.checkers.judgement import NANOSECONDS
from lab.history.reader import History

LATE_SECONDS = 0.1
"""Below it a busy laptop is as ever."""
MOST_OF_ITS_TIME = 0.02
"""Share of its seconds in which a generator may have been late and still counts as on time."""


def lateness(history: History) -> str:
    """Why latencies of this run say nothing; empty: the load came when it was meant to, or nobody said otherwise."""
    rows = history.records(
        """SELECT node, count(*) AS seconds, count(*) FILTER (late_ns > ?) AS late, max(late_ns) / 1e6 AS longest_ms FROM lateness
        GROUP BY node HAVING count(*) FILTER (late_ns > ?) > ? * count(*) ORDER BY longest_ms DESC, node""",
        [LATE_SECONDS * NANOSECONDS, LATE_SECONDS * NANOSECONDS, MOST_OF_ITS_TIME],
    )
    told = [
        f"{row['node']} fell behind: late by up to {row['longest_ms']:,.0f} ms, and by more than {LATE_SECONDS * 1000:g} ms in {row['late']} of {row['seconds']} seconds"
        for row in rows
    ]
    return "; ".join(told)
