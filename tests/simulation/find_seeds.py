"""Looks up, for each planted bug, the first seed that shows it, and prints the table `SHOWN_BY` of planted.py: `python -m tests.simulation.find_seeds`.

To be run after each change of the simulation that moves what seeds mean. Bugs that are named as arguments are looked up alone.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.planted import PLANTED
from tests.simulation.search import first_failing_seed, quiet

SEEDS = 2000
OFTEN = 60
"""Bugs that show within so many seeds need no line: they are found as quickly without."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bug", nargs="*", help="a part of the name of a planted bug; all of them by default")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many are searched (%(default)s)")
    parser.add_argument("--processes", type=int, default=None, help="as many as there are cores by default")
    chosen = parser.parse_args(arguments)
    bugs = [bug for bug in PLANTED if not chosen.bug or any(part in bug for part in chosen.bug)]
    print("SHOWN_BY: dict[str, int] = {", flush=True)
    with ProcessPoolExecutor(chosen.processes, initializer=quiet) as pool:
        for bug, seed in zip(bugs, pool.map(first_failing_seed, bugs, [chosen.seeds] * len(bugs)), strict=True):
            if seed is None:
                print(f"    # not found in {chosen.seeds} seeds: {bug}", flush=True)
            elif seed >= OFTEN:
                print(f'    "{bug}": {seed},', flush=True)
    print("}")


if __name__ == "__main__":
    main()
