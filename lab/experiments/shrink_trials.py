"""The experiments of `cdnlab shrink`: what must break again, the document in a form that stands by itself, and one run of a candidate.

A candidate fails when every check that counts is invalid again. One whose steps could not all be done does not: what it is about has not happened, as when a
step that is left out made what a later one waits for. Nor does one that is no experiment, or that does not fit its lab.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

from lab.checkers.verdict import Outcome
from lab.errors import LabError, UsageError
from lab.experiments.chaos.play import play
from lab.experiments.run_choice import make_run
from lab.experiments.run_record import RunRecord
from lab.experiments.shrinking import Document, extension_of, with_extension
from lab.run_options import RunOptions
from lab.scenarios.reader import parse_scenario
from lab.terminal import make_log_console

STEPS: Final = "steps"
"""The check that every step was done."""
OUTPUT_FILE: Final = "output.txt"


class Came(StrEnum):
    """What came of an experiment."""

    FAILS = "fails"
    HOLDS = "does not fail"
    UNDONE = "a step could not be done"
    NO_EXPERIMENT = "is no experiment"


@dataclass(frozen=True, slots=True)
class Failure:
    """How a run has failed."""

    checks: tuple[str, ...]
    """All of them must be invalid again."""
    was_played: bool
    """Every step was done; then so it must be again."""
    seed: int | None

    def came(self, summary: Mapping[str, Any]) -> Came:
        """Of a run with this summary."""
        outcomes = _outcomes(summary)
        if self.was_played and outcomes.get(STEPS) != Outcome.VALID:
            return Came.UNDONE
        return Came.FAILS if all(outcomes.get(each) == Outcome.INVALID for each in self.checks) else Came.HOLDS


def failure_of(directory: Path, wanted: Sequence[str]) -> Failure:
    """Of a run; `wanted` are names of checks, none: all that were invalid. UsageError when it has not failed so."""
    summary = read_summary(directory)
    outcomes = _outcomes(summary)
    invalid = tuple(name for name, outcome in outcomes.items() if outcome == Outcome.INVALID)
    if not invalid:
        raise UsageError(f"{directory} has not failed: its verdict is not {Outcome.INVALID.value}")
    if missing := [each for each in wanted if each not in invalid]:
        raise UsageError(f"{directory} did not break {', '.join(missing)}, but {', '.join(invalid)}")
    seed = summary.get("scenario", {}).get("seed")
    return Failure(tuple(wanted) or invalid, outcomes.get(STEPS) == Outcome.VALID, seed)


def read_summary(directory: Path) -> Mapping[str, Any]:
    """UsageError for a folder without a verdict."""
    try:
        summary: Mapping[str, Any] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        _outcomes(summary)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{directory} has no verdict: {error}") from error
    return summary


def _outcomes(summary: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["outcome"] for each in summary["verdict"]["checks"]}


def standing_alone(record: RunRecord, seed: int | None) -> Document:
    """The experiment of a run with the topology and the seed that it had, wherever its file will be."""
    wanted = record.options.topology.name
    name = wanted or extension_of(record.document).get("topology", "default")
    beside = Path(name) if wanted else Path(record.source).parent / name
    topology = str(beside.resolve()) if Path(name).suffix and beside.exists() else name
    return with_extension(record.document, {"topology": topology} | ({} if seed is None else {"seed": seed}))


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs candidates of one run."""

    record: RunRecord
    failure: Failure
    options: RunOptions

    def run(self, document: Document, folder: Path) -> Came:
        """KeyboardInterrupt when somebody ends it, and then nothing of its lab is left; LabError when no lab comes up."""
        folder.mkdir(parents=True)
        try:
            scenario = parse_scenario(yaml.safe_dump(dict(document)), Path(self.record.source))
        except UsageError:
            return Came.NO_EXPERIMENT
        with (folder / OUTPUT_FILE).open("w", encoding="utf-8") as output:
            try:
                begun = make_run(scenario, replace(self.options, directory=folder), make_log_console(output))
                journal = play(begun)
            except UsageError:
                return Came.NO_EXPERIMENT
        if begun.timeline.is_interrupted:
            raise KeyboardInterrupt
        if begun.trouble is not None and journal["status"] == "interrupted":
            raise LabError(f"an experiment could not be run: {begun.trouble}")
        return self.failure.came(read_summary(folder)) if begun.trouble is None else Came.UNDONE
