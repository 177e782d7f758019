"""docs/scenarios.md names every step, probe, figure, gate, key and shipped scenario that there is, and no other; its example is a scenario."""

import re
from pathlib import Path

from lab.checkers.gates import GATE_FIGURES
from lab.experiments.chaos.play import check_experiment
from lab.scenarios.figures import FIGURES
from lab.scenarios.probe_arguments import PROBES
from lab.scenarios.reader import parse_scenario
from lab.scenarios.reference import BEGIN, END, render
from lab.scenarios.shipped import shipped_scenarios
from lab.scenarios.steps import STEPS

PAGE = (Path(__file__).parents[4] / "docs" / "scenarios.md").read_text(encoding="utf-8")


def rows(first_column: str) -> dict[str, list[str]]:
    """Of the table with that heading: the cells behind each name."""
    table = PAGE.split(f"| {first_column} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {line[0].strip("`"): line[1:] for line in cells}


def test_every_table_is_that_of_the_code() -> None:
    assert set(rows("Step")) == set(STEPS)
    assert set(rows("Probe")) == set(PROBES)
    assert {name: cells[0] for name, cells in rows("Figure").items()} == {
        name: each.place for name, each in FIGURES.items()
    }
    assert {name: cells[0] for name, cells in rows("Gate").items()} == {
        name: each.place for name, each in GATE_FIGURES.items()
    }


def test_every_scenario_that_ships_is_listed_as_it_is() -> None:
    between = PAGE.split(BEGIN)[1].split(END)[0].strip()
    assert between == render(), "run python -m lab.scenarios.reference and put what it prints between the markers"
    assert sorted(rows("Scenario")) == list(shipped_scenarios())


def test_the_example_is_a_scenario() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    read = parse_scenario(example[1], Path("example.yaml"))
    check_experiment(read.document)
    assert len(read.steps) == 4
