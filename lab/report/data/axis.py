"""The one time axis of a report: seconds since the run began, in steps that a plot can show.

With clocks (clocks.jsonl) the seconds of a run's files are seconds of the host's steady clock, so they and the nanoseconds of a history have one zero.
"""

from dataclasses import dataclass

from lab.history.reader import History
from lab.history.run_files import MAXIMUM_POINTS, RunData
from proto.moments import NANOSECONDS_PER_SECOND

# Within one boot the files and the history of a run are of the same hour; what is further apart are clocks that cannot be compared.
_MOST_APART_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Axis:
    """From the first second of a run to its end."""

    zero_ns: int
    duration_seconds: float

    @property
    def step_seconds(self) -> int:
        """More points than a plot has pixels tell nothing."""
        return max(1, -(-int(self.duration_seconds) // MAXIMUM_POINTS))

    @property
    def steps(self) -> int:
        return int(self.duration_seconds // self.step_seconds) + 1

    def seconds(self, moment_ns: int) -> float:
        """Since the run began."""
        return round((moment_ns - self.zero_ns) / NANOSECONDS_PER_SECOND, 3)

    def moment_ns(self, seconds: float) -> int:
        return self.zero_ns + round(seconds * NANOSECONDS_PER_SECOND)


def axis_of(run: RunData, history: History) -> Axis:
    """Of both where they can be compared; else of the history, which is the better witness."""
    files = (run.first_time, run.last_time) if run.first_time else None
    recorded = _recorded(history)
    if recorded is None:
        first, last = files or (0.0, 0.0)
    elif files is None or abs(files[0] - recorded[0]) > _MOST_APART_SECONDS:
        first, last = recorded
    else:
        first, last = min(files[0], recorded[0]), max(files[1], recorded[1])
    return Axis(int(first) * NANOSECONDS_PER_SECOND, last - int(first))


def _recorded(history: History) -> tuple[float, float] | None:
    """From the first to the last that the history has of requests and marks."""
    first, last = history.rows(
        """SELECT min(began), max(ended) FROM (
             SELECT min(intended_ns) AS began, max(coalesce(ended_ns, intended_ns)) AS ended FROM requests
             UNION ALL SELECT min(began_ns), max(coalesce(ended_ns, began_ns)) FROM marks)"""
    )[0]
    return None if first is None else (first / NANOSECONDS_PER_SECOND, last / NANOSECONDS_PER_SECOND)
