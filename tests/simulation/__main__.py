"""Searches as many seeds as there is time for, on all cores: `make simulate SEEDS=100000`.

What has been searched is printed as it goes on, so that a search that was stopped can go on from there (`--from`). A seed that fails is cut down and told as a story.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

from tests.simulation.plan import plan_of
from tests.simulation.search import Totals, quiet, quiet_meanwhile, runs
from tests.simulation.shrink import shortest_story

PORTION = 250
"""So many seeds are one piece of work."""
MOST_STORIES = 5


@dataclass(frozen=True, slots=True)
class Searched:
    """A portion of seeds."""

    first: int
    totals: Totals
    failing: tuple[int, ...]


def search(first: int, last: int) -> Searched:
    """All of them up to before the last."""
    totals, failing = Totals(), []
    for simulation in runs(range(first, last)):
        totals.add(simulation)
        if simulation.violations:
            failing.append(simulation.plan.seed)
    return Searched(first, totals, tuple(failing))


def search_all(pool: ProcessPoolExecutor, seeds: range, until: float) -> tuple[list[int], int]:
    """In order, until then at the latest: the seeds that fail, and from which on it has to be gone on with."""
    failing: list[int] = []
    portions = [range(first, min(first + PORTION, seeds.stop)) for first in seeds[::PORTION]]
    waiting: list[tuple[range, Future[Searched]]] = [
        (each, pool.submit(search, each.start, each.stop)) for each in portions
    ]
    for portion, future in waiting:
        try:
            searched = future.result(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError:
            pool.shutdown(cancel_futures=True)
            return failing, portion.start
        failing.extend(searched.failing)
        totals = searched.totals
        print(
            f"seeds {portion.start} to {portion.stop - 1}: {totals.receipts} receipts, {totals.answers} answers,"
            f" {totals.warm_starts} warm starts, {len(searched.failing)} failures",
            flush=True,
        )
    return failing, seeds.stop


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when no seed fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first one (%(default)s)")
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after so long (%(default)s)")
    parser.add_argument("--processes", type=int, default=None, help="as many as there are cores by default")
    chosen = parser.parse_args(arguments)
    with quiet_meanwhile():
        return _search(chosen)


def _search(chosen: argparse.Namespace) -> int:
    until = time.monotonic() + 60.0 * chosen.minutes
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    with ProcessPoolExecutor(chosen.processes, initializer=quiet) as pool:
        failing, searched_to = search_all(pool, seeds, until)
    for seed in failing[:MOST_STORIES]:
        print(f"\n{shortest_story(plan_of(seed))}")
    print(f"\nseeds {seeds.start} to {searched_to - 1}: {len(failing)} failures {failing or ''}".rstrip())
    if searched_to < seeds.stop:
        print(f"the time is over; go on with --from {searched_to} --seeds {seeds.stop - searched_to}")
    return 1 if failing else 0


if __name__ == "__main__":
    raise SystemExit(main())
