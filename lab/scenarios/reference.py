"""The scenarios that ship as a table, for docs/scenarios.md: `python -m lab.scenarios.reference` prints what belongs between its markers."""

from collections.abc import Iterator
from pathlib import Path

from lab.durations import format_duration
from lab.scenarios.reader import find_scenario
from lab.scenarios.scenario import Scenario
from lab.scenarios.shipped import FOLDER, shipped_scenarios

BEGIN, END = "<!-- scenarios: generated -->", "<!-- end of scenarios -->"


def render() -> str:
    """A row for each, in the order of the alphabet."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "| Name | Title | Topology | Viewers come for | Tags |"
    yield "|---|---|---|---|---|"
    for name in shipped_scenarios():
        yield _row(find_scenario(name))


def _row(scenario: Scenario) -> str:
    cells = (
        f"`{scenario.name}`",
        scenario.title,
        f"`{_topology_of(scenario)}`",
        format_duration(scenario.duration_seconds),
        ", ".join(scenario.tags),
    )
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _topology_of(scenario: Scenario) -> str:
    """A shipped one by its name; a file beside the scenarios as it is named there."""
    path = Path(scenario.topology)
    return str(path.relative_to(FOLDER)) if path.is_relative_to(FOLDER) else scenario.topology


if __name__ == "__main__":
    print(render())
