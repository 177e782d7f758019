"""`cdnlab load PROFILE`: viewers for the lab that is up, and the report of what they saw."""

from pathlib import Path

from lab.cluster.finding import find_lab
from lab.commands.runs import new_run_directory
from lab.errors import UsageError
from lab.experiments.load import PROFILES, run_load
from lab.history.run_files import read_run, region_lines
from lab.interrupts import interruptible
from lab.report.writer import write_report


def run(
    *, profile: str, duration_seconds: float, users: int | None, run_directory: Path | None, state_dir: Path
) -> int:
    if profile not in PROFILES:
        raise UsageError(f"no profile {profile!r}: there are {', '.join(PROFILES)}")
    lab = find_lab(state_dir)
    facts = lab.facts
    viewers = users or facts.users
    if not viewers:
        raise UsageError(
            f"topology {facts.topology} has no populations: nobody to send; see `populations` in docs/topology.md"
        )
    directory = run_directory or new_run_directory(profile)
    with interruptible():
        exit_status = run_load(lab, profile, duration_seconds, viewers, directory)
    report = write_report(directory)
    print("\n".join([*region_lines(read_run(directory)), f"report: {report}"]))
    return exit_status
