"""Rounds of scenarios: each again and again, and how often it came to which verdict. One that flakes is a bug, of the scenario or of the product.

    python -m tests.integration.lab.scenario_rounds --rounds 20 edge-loss pop-loss
    python -m tests.integration.lab.scenario_rounds --runner docker --tag ci

Runs that do not come to the expected verdict keep their folders, below `--keep`; of the others nothing is left.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.runner import Runner
from lab.scenarios.reader import find_scenario
from lab.scenarios.shipped import shipped_scenarios
from tests.integration.lab.experiments.shipped_runs import Ended, run_scenario

MOST_ROUNDS: Final = 1000


def rounds_of(name: str, rounds: int, runner: Runner, loopback: str, keep: Path) -> list[Ended]:
    """Says each that is not as expected at once."""
    ended = []
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(prefix="cdnlab-rounds-") as folder:
            one = run_scenario(name, runner, Path(folder), loopback)
            run = Path(folder, "run")
            if not one.is_as_expected:
                print(f"round {number} of {one}", flush=True)
                if run.exists():
                    shutil.copytree(run, keep / f"{name}-{runner.value}-{number}", dirs_exist_ok=True)
        ended.append(one)
    return ended


def line_of(ended: Sequence[Ended]) -> str:
    """A row of the table."""
    outcomes = Counter(each.outcome or "no verdict" for each in ended)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    seconds = [each.seconds for each in ended]
    wrong = sum(not each.is_as_expected for each in ended)
    mark = f"{wrong} NOT AS EXPECTED" if wrong else "as expected"
    return f"{ended[0].name:<40} {len(ended):>4}  {told:<28} {statistics.median(seconds):>5.0f} s {max(seconds):>5.0f} s  {mark}"


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 when every run came to its expected verdict, 1 when one did not, 2 for what makes no sense."""
    parser = argparse.ArgumentParser(prog="scenario_rounds", description="Shipped scenarios, again and again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all that ship without it")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help=f"of each, up to {MOST_ROUNDS}")
    parser.add_argument("--runner", type=Runner, default=Runner.PROCESSES, choices=list(Runner))
    parser.add_argument("--tag", default="", help="only those with this tag")
    parser.add_argument("--loopback", default="127.58.0.0/16", metavar="CIDR")
    parser.add_argument("--keep", type=Path, default=Path("runs/scenario-rounds"), metavar="DIR")
    given = parser.parse_args(words)
    if not 1 <= given.rounds <= MOST_ROUNDS:
        parser.error(f"--rounds must be from 1 to {MOST_ROUNDS}")
    if unknown := [name for name in given.names if name not in shipped_scenarios()]:
        parser.error(f"no scenario {unknown[0]!r} ships: there are {', '.join(shipped_scenarios())}")
    names = [name for name in given.names or shipped_scenarios() if given.tag in ("", *find_scenario(name).tags)]
    if not names:
        parser.error(f"no scenario has the tag {given.tag!r}")
    all_ended = []
    for name in names:
        ended = rounds_of(name, given.rounds, given.runner, given.loopback, given.keep)
        print(line_of(ended), flush=True)
        all_ended += ended
    return int(any(not each.is_as_expected for each in all_ended))


if __name__ == "__main__":
    sys.exit(main())
