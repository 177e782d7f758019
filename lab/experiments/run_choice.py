"""How a run is chosen: which lab, which folder; from options of the command line or, under `chaos run`, from the environment."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from lab.errors import UsageError
from lab.experiments.run import Run, RunFolder
from lab.experiments.run_record import RunRecord, write_record
from lab.history.raw_files import held
from lab.history.run_folders import make_run_directory, new_run_directory
from lab.run_options import RunOptions
from lab.runner import Runner
from lab.scenarios.fitting import check_fits
from lab.scenarios.reader import parse_scenario
from lab.scenarios.scenario import Scenario
from lab.terminal import make_console
from lab.topology.model import Topology
from lab.topology.reader import find_topology

_DEFAULT_STATE: Final = ".cdnlab"
"""As of every command."""
_NOT_OF_A_NAME: Final = re.compile(r"[^a-z0-9]+")


def choice_of_environment(environment: Mapping[str, str], here: Path) -> RunOptions:
    """CDNLAB_STATE, CDNLAB_RUNNER, CDNLAB_RUN."""
    runner = environment.get("CDNLAB_RUNNER", Runner.PROCESSES.value)
    if runner not in [each.value for each in Runner]:
        raise UsageError(f"CDNLAB_RUNNER is one of {', '.join(each.value for each in Runner)}, not {runner!r}")
    directory = environment.get("CDNLAB_RUN")
    state_dir = here / environment.get("CDNLAB_STATE", _DEFAULT_STATE)
    return RunOptions(state_dir, Path(directory) if directory else None, Runner(runner))


def scenario_of(experiment: Mapping[str, Any]) -> Scenario:
    """Of an experiment that Chaos Toolkit has read; named after its title."""
    name = _NOT_OF_A_NAME.sub("-", str(experiment.get("title", "experiment")).lower()).strip("-")[:40]
    document = {key: value for key, value in experiment.items() if key != "dry"}  # Chaos Toolkit's own, of no YAML type
    return parse_scenario(yaml.safe_dump(document), Path(f"{name}.yaml"))


def check_choice(scenario: Scenario, choice: RunOptions) -> Topology:
    """The topology that it would be run on; UsageError when that is none, or when the scenario does not fit it."""
    seed = scenario.seed if choice.seed is None else choice.seed
    topology = find_topology(replace(choice.topology, name=choice.topology.name or scenario.topology, seed=seed))
    check_fits(scenario, topology)
    return topology


def make_run(scenario: Scenario, choice: RunOptions, console: Console | None = None) -> Run:
    """A run that has not begun; its folder is there. `console`: where it says what happens, instead of standard output."""
    topology = check_choice(scenario, choice)
    directory = choice.directory or new_run_directory(scenario.name)
    make_run_directory(directory)
    with held(directory):  # what a run that goes on has written there is its own
        write_record(directory, RunRecord(scenario.name, str(scenario.source), scenario.document, choice))
    folder = RunFolder(directory, choice.state_dir)
    return Run(scenario, topology, choice.runner, folder, console or make_console(), choice.duration_seconds)
