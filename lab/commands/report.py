"""`cdnlab report RUN`: the report of a run, written again from what the run left."""

from pathlib import Path

from lab.errors import LabError, UsageError
from lab.history.run_folders import find_run
from lab.report.writer import write_report

MARKS = ("load.jsonl", "summary.json")
"""Each run leaves one of them; in any other folder nothing is written."""


def run(*, run: str) -> int:
    directory: Path = find_run(run)
    if not any((directory / name).exists() for name in MARKS):
        raise UsageError(f"{directory} is no run: it has neither {' nor '.join(MARKS)}")
    try:
        report = write_report(directory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # whatever stands in its files
        raise LabError(f"{directory} does not hold a whole run: {error}") from error
    print(report)
    return 0
