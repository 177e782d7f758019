"""`cdnlab load-plan`: what Locust has to be told of the lab that is up, to be run by hand with one of the profiles (docs/load.md)."""

from pathlib import Path

from lab.cluster.finding import find_lab
from lab.commands.load import check_populations
from lab.experiments.load import plan_for


def run(*, state_dir: Path) -> int:
    lab = find_lab(state_dir)
    check_populations(lab)
    print(plan_for(lab, None).to_json(), end="")
    return 0
