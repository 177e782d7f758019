"""What a scenario would do, and when, without doing it."""

from rich.console import Console

from lab.checkers.catalogue import choose
from lab.run_options import RunOptions
from lab.scenarios.scenario import Scenario
from lab.scenarios.steps import stretched
from loadtests.schedule import POISSON


def print_plan(console: Console, scenario: Scenario, choice: RunOptions) -> None:
    """For people."""
    for line in plan_lines(scenario, choice.duration_seconds):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def plan_lines(scenario: Scenario, duration_seconds: float | None) -> list[str]:
    """A line for each thing, in the order of the file."""
    lasts = duration_seconds or scenario.duration_seconds
    scale = lasts / scenario.duration_seconds
    lines = [scenario.title, "", *scenario.description.strip().splitlines(), ""]
    lines.append(f"topology {scenario.topology}, {lasts:g} s of viewers, expected to be {scenario.expects}")
    for load in scenario.loads:
        many = (
            f"{load.rate:g} requests/s{' at random times' if load.arrivals == POISSON else ''}"
            if load.rate
            else f"{load.users} users"
            if load.users
            else "the topology's users"
        )
        lines.append(f"  load {load.name}: {load.profile}, {many}, {', '.join(load.regions) or 'all regions'}")
    for named in scenario.steps:
        due = named.step.due
        at = "then" if due.at_seconds is None else f"{due.at_seconds * scale:g} s"
        when = "" if due.condition is None else f" when {due.condition} (within {due.within_seconds:g} s)"
        lines.append(
            f"  {at:>7}{when}: {named.name}: {stretched(named.step, scale)}{' (in the background)' if named.is_background else ''}"
        )
    lines += [f"  stops when {rule}" for rule in scenario.stops]
    lines += [f"  checks {choice.name}" for choice in choose(scenario.checkers)[0]]
    lines += [f"  gate {gate}" for gate in scenario.gates]
    return lines
