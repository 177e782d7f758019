"""What a run's folder says of how it was made, so that it can be made again: `scenario.yaml`, the file as it was run, and `run.json`, the options."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lab.errors import UsageError
from lab.run_options import RunOptions
from lab.runner import Runner
from lab.topology.choice import TopologyChoice

SCENARIO_FILE: Final = "scenario.yaml"
OPTIONS_FILE: Final = "run.json"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that was made."""

    name: str
    source: str
    """Where its file was."""
    document: Mapping[str, Any]
    options: RunOptions


def write_record(directory: Path, record: RunRecord) -> None:
    """Before anything is begun."""
    text = yaml.safe_dump(dict(record.document), sort_keys=False, allow_unicode=True, width=150)
    (directory / SCENARIO_FILE).write_text(text, encoding="utf-8")
    options = record.options
    document = {
        "scenario": record.name,
        "source": record.source,
        "runner": options.runner.value,
        "topology": options.topology.name,
        "loopback": options.topology.loopback,
        "relays": options.topology.has_relays,
        "duration_seconds": options.duration_seconds,
        "seed": options.seed,
    }
    (directory / OPTIONS_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read_record(directory: Path, state_dir: Path) -> RunRecord:
    """UsageError for a folder that no run of a scenario has left."""
    try:
        document = yaml.safe_load((directory / SCENARIO_FILE).read_text(encoding="utf-8"))
        options = json.loads((directory / OPTIONS_FILE).read_text(encoding="utf-8"))
        if not isinstance(document, dict) or not isinstance(options, dict):
            raise ValueError(f"{SCENARIO_FILE} and {OPTIONS_FILE} are not what a run has written")
        return RunRecord(
            str(options["scenario"]),
            str(options["source"]),
            document,
            RunOptions(
                state_dir,
                None,
                Runner(options["runner"]),
                TopologyChoice(options["topology"], options["loopback"], options["relays"]),
                options["duration_seconds"],
                options["seed"],
            ),
        )
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        raise UsageError(f"{directory} is no run of a scenario: {error}") from error


def command_of(record: RunRecord, seed: int | None) -> str:
    """That makes such a run again, with this seed of its lab."""
    options = record.options
    words = ["cdnlab run", record.name if Path(record.source).parent.name == "scenarios" else record.source]
    if options.runner is not Runner.PROCESSES:
        words.append(f"--runner {options.runner.value}")
    if options.topology.name:
        words.append(f"--topology {options.topology.name}")
    if options.duration_seconds:
        words.append(f"--duration {options.duration_seconds:g}")
    if options.topology.has_relays is False:
        words.append("--no-relays")
    if seed is not None:
        words.append(f"--seed {seed}")
    return " ".join(words)
