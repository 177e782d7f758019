"""`cdnlab quickstart`, which `make lab` runs."""

from pathlib import Path

from lab.commands.runs import new_run_directory
from lab.experiments.quickstart import run_quickstart
from lab.interrupts import interruptible


def run(
    *,
    topology: Path | None,
    duration_seconds: float,
    run_directory: Path | None,
    state_dir: Path,
    loopback: str | None,
) -> int:
    directory = run_directory or new_run_directory("quickstart")
    with interruptible():
        return run_quickstart(topology, state_dir, directory, duration_seconds, loopback)
