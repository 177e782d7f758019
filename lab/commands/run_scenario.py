"""`cdnlab run SCENARIO`: an experiment from its file to its verdict."""

import json
from pathlib import Path

from lab.checkers.verdict import Outcome
from lab.experiments.chaos.play import check_experiment, play
from lab.experiments.run_choice import check_choice, make_run
from lab.interrupts import interruptible
from lab.run_options import RunOptions
from lab.scenarios.plan import print_plan
from lab.scenarios.reader import find_scenario
from lab.terminal import make_console

EXIT_STATUS = {Outcome.VALID: 0, Outcome.INVALID: 1, Outcome.UNKNOWN: 2}
EXIT_INTERRUPTED = 130


def run(*, wanted: str, options: RunOptions, is_plan: bool) -> int:
    """0 when the verdict is what the scenario expects, else 1 (invalid) or 2 (unknown)."""
    scenario = find_scenario(wanted)
    check_experiment(scenario.document)
    if is_plan:
        check_choice(scenario, options)
        print_plan(make_console(), scenario, options)
        return 0
    begun = make_run(scenario, options)
    with interruptible():
        journal = play(begun)
    path: Path = begun.directory / "journal.json"
    path.write_text(json.dumps(journal, indent=2, default=str) + "\n", encoding="utf-8")
    if begun.trouble is not None:
        raise begun.trouble
    outcome = Outcome(journal["cdnlab"]["outcome"])
    if journal["status"] == "interrupted" and not begun.timeline.stop_reason:
        return EXIT_INTERRUPTED
    return 0 if outcome is scenario.expects else EXIT_STATUS[outcome] or 1
