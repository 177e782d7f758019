"""`cdnlab report RUN`: the report of a run, written again from what the run left."""

from pathlib import Path

from lab.commands.runs import find_run
from lab.errors import LabError
from lab.report.writer import write_report


def run(*, run: str) -> int:
    directory: Path = find_run(run)
    try:
        print(write_report(directory))
    except (OSError, ValueError, KeyError) as error:
        raise LabError(f"{directory} does not hold a whole run: {error}") from error
    return 0
