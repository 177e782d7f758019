"""`cdnlab quickstart`, which `make lab` runs."""

from pathlib import Path

from lab.commands.runs import make_run_directory, new_run_directory
from lab.experiments.demo_site import Wanted
from lab.experiments.quickstart import run_quickstart
from lab.interrupts import interruptible
from lab.runner import Runner
from lab.topology.choice import TopologyChoice
from lab.topology.reader import find_topology


def run(
    *,
    topology: TopologyChoice,
    runner: Runner,
    duration_seconds: float,
    run_directory: Path | None,
    state_dir: Path,
) -> int:
    directory = run_directory or new_run_directory("quickstart")
    parsed = find_topology(topology)
    make_run_directory(directory)
    with interruptible():
        return run_quickstart(Wanted(parsed, runner, state_dir), directory, duration_seconds)
