"""`cdnlab regress A B`: two builds side by side, and a verdict."""

import json
from pathlib import Path

from lab.checkers.verdict import Outcome
from lab.history.run_folders import make_run_directory, new_run_directory
from lab.interrupts import interruptible
from lab.regression.comparison import Comparison, side_of
from lab.regression.results import document, lines_of, outcome_of, write_results
from lab.regression.subject import parse_subject
from lab.regression_options import COMPARISONS, Wanted
from lab.terminal import make_console

_EXIT_STATUS = {Outcome.VALID: 0, Outcome.INVALID: 1, Outcome.UNKNOWN: 2}
_WORDS = {
    Outcome.VALID: "equal or better",
    Outcome.INVALID: "a regression",
    Outcome.UNKNOWN: "unknown: this could not be told",
}


def run(*, first: str, second: str, wanted: Wanted, run_directory: Path | None, is_json: bool) -> int:
    """0: equal or better; 1: a regression; 2: unknown."""
    console = make_console(is_for_people=not is_json)
    _ = wanted.loopbacks  # a UsageError comes before anything is unpacked
    sides = [side_of(parse_subject(each), wanted.builds) for each in (first, second)]
    directory = run_directory or new_run_directory("regress", COMPARISONS)
    comparison = Comparison(sides[0], sides[1], wanted, lambda text: console.print(text, style="dim", markup=False))
    make_run_directory(directory)
    console.print(f"{sides[0].label} against {sides[1].label}", markup=False)
    with interruptible():
        compared = comparison.run()
    write_results(compared, directory)
    outcome = outcome_of(compared)
    if is_json:
        print(json.dumps(document(compared), indent=2))
    else:
        console.print("\n".join(lines_of(compared)), markup=False)
        console.print(f"{_WORDS[outcome]}; all of it in {directory}", markup=False)
    return _EXIT_STATUS[outcome]
