"""How many requests a second viewers get through the relays: `python -m benchmarks.wan_load [--seconds 20] [--users 200]`. Goal: 2,000 with Locust on one core.

The lab is `tiny` with its relays, the profile `website` a thousand times as fast as people, so that Locust or the lab is what bounds it. Locust is held to the last core,
the lab to the others; the same run straight at the edge, without relays, is done in turn.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from lab.cluster.processes import ProcessCluster
from lab.experiments.load import LOAD_FILE, LoadRun, plan_for
from lab.history.run_files import read_run, region_totals
from lab.topology.reader import read_topology, shipped_topology

LOOPBACK = "127.22.0.0/16"
PACE = 1000.0
GOAL = 2_000.0


def requests_a_second(folder: Path, seconds: float, users: int, *, has_relays: bool) -> tuple[float, int]:
    """And how many failures viewers saw."""
    topology = replace(read_topology(shipped_topology("tiny"), LOOPBACK), has_relays=has_relays)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    with ProcessCluster.up(topology, folder / "lab") as lab:
        run_directory = folder / ("relayed" if has_relays else "straight")
        run_directory.mkdir()
        plan = replace(plan_for(lab, run_directory / LOAD_FILE), pace=PACE)
        os.sched_setaffinity(0, cores[-1:])
        with LoadRun("website", plan, seconds, users, run_directory, lab.mark) as load:
            load.wait()
        os.sched_setaffinity(0, cores)
    totals = region_totals(read_run(run_directory)).values()
    rates = [sum(line["requests"] for line in second) for second in _by_second(run_directory)]
    return median(rates), sum(int(total["failures"]) for total in totals)


def _by_second(run_directory: Path) -> list[list[dict[str, int]]]:
    seconds: dict[float, list[dict[str, int]]] = {}
    for line in read_run(run_directory).load:
        seconds.setdefault(line["time"], []).append(dict(line))
    return [seconds[time] for time in sorted(seconds)][1:-1]  # the first and the last are not whole


def main() -> int:
    parser = argparse.ArgumentParser(description="Locust on one core, through the relays and straight")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    print(f"{'':12}{'requests/s':>12}{'failures':>10}")
    best = 0.0
    for _ in range(given.rounds):
        for has_relays in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                rate, failures = requests_a_second(Path(folder), given.seconds, given.users, has_relays=has_relays)
            print(f"{'relayed' if has_relays else 'straight':12}{rate:12,.0f}{failures:10}", flush=True)
            best = max(best, rate) if has_relays else best
    print(f"goal: {GOAL:,.0f} requests a second through the relays: {'reached' if best >= GOAL else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
