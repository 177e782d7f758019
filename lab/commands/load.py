"""`cdnlab load PROFILE`: viewers for the lab that is up, and the report of what they saw."""

import json
from dataclasses import replace
from pathlib import Path

from lab.cluster.finding import find_lab
from lab.cluster.interface import Cluster
from lab.commands.chosen_load import entry_of
from lab.errors import UsageError
from lab.experiments.load import run_load
from lab.history.run_files import read_run, region_lines, region_totals
from lab.history.run_folders import make_run_directory, new_run_directory
from lab.interrupts import interruptible
from lab.load_profiles import PROFILES, LoadChoice
from lab.report.writer import write_report


def run(*, wanted: LoadChoice, run_directory: Path | None, is_json: bool, state_dir: Path) -> int:
    profile = wanted.profile
    if profile not in PROFILES:
        raise UsageError(f"no profile {profile!r}: there are {', '.join(PROFILES)}")
    entry = entry_of(wanted)
    lab = find_lab(state_dir)
    check_populations(lab)
    viewers = wanted.users or lab.facts.users
    directory = run_directory or new_run_directory(profile)
    make_run_directory(directory)
    with interruptible():
        exit_status = run_load(lab, replace(entry, users=viewers), directory)
    report = write_report(directory)
    data = read_run(directory)
    if is_json:
        told = {"profile": profile, "users": viewers, "run": str(directory), "report": str(report)}
        print(json.dumps({**told, "regions": region_totals(data)}, indent=2))
    else:
        print("\n".join([*region_lines(data), f"report: {report}"]))
    return exit_status


def check_populations(lab: Cluster) -> None:
    """UsageError when the topology has no viewers."""
    facts = lab.facts
    if not facts.populations:
        raise UsageError(
            f"topology {facts.topology} has no populations: nobody to send; see `populations` in docs/topology.md"
        )
