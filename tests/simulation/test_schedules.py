"""Schedules that have shown mistakes, or show planted ones that hardly any seed does: the product keeps its promises in them, and without the mend it does not."""

from collections.abc import Sequence

import pytest

from edge_node.control.journal import InvalidationJournal
from tests.simulation.plan import PLANE, Conditions, Event, Plan, directions
from tests.simulation.planted import PLANTED, SHOWN_BY_SCHEDULE
from tests.simulation.scenario import PRODUCT, Parts, Simulation

DICE = range(12)
FEWER_DICE = range(3)
"""With the product's shells, which take longer."""


def looks(first: float, last: float) -> list[Event]:
    """Ten a second."""
    return [Event(first + number / 10, "look") for number in range(round((last - first) * 10))]


def cut_off(at: float, nodes: Sequence[str], seconds: float, ways: str = "both") -> Event:
    """From the control plane."""
    return Event(at, "partition", "", seconds, cut=directions(nodes, [PLANE], ways))


A_GAP_THAT_THE_CONTROL_PLANE_DOES_NOT_SEE = [
    cut_off(2.5, ["edge-1"], 20.0),
    cut_off(4.0, ["edge-2", "regional-1"], 4.0, "back"),
    *looks(2.0, 2.1),
    Event(7.9, "change", "/a", 0.0, "/a"),
    *looks(7.0, 10.0),
]
"""Whoever edge-1 asks has had no lease for two seconds, while all its heartbeats arrived; a moment later it has one again."""

A_RESTART_BEFORE_THE_OTHERS_HAVE_RENEWED = [
    *looks(0.5, 14.0),
    cut_off(3.0, ["edge-1"], 20.0),
    Event(10.0, "node_crash", "edge-1", 0.05),
    Event(10.85, "change", "/a", 0.0, "/a"),
]
"""What edge-1 hears first is older than itself."""

A_DIRECTORY_THAT_NAMES_NOBODY_ELSE = [
    *looks(1.0, 19.0),
    cut_off(3.0, ["edge-2", "regional-1"], 6.0),
    cut_off(8.9, ["edge-1"], 20.0),
    Event(15.5, "change", "/a", 0.0, "/a"),
]
"""The others are without a lease when edge-1 is cut off, and have one again a moment later."""

A_DISK_THAT_IS_FULL_UNTIL_THE_PROCESS_IS_KILLED = [
    *looks(1.0, 7.0),
    Event(3.0, "disk_full", "edge-1", 1.0, "and the process is killed"),
    Event(3.9, "change", "/a", 0.0, "/a"),
    Event(3.99, "cut_off", "edge-1", 1.5),
]
"""Entry 1 is applied and acknowledged, and not in the journal."""

SCHEDULES = {
    "rule 7: skips what it cannot write": A_DISK_THAT_IS_FULL_UNTIL_THE_PROCESS_IS_KILLED,
    "rule 10: asks the newest directory only": A_DIRECTORY_THAT_NAMES_NOBODY_ELSE,
    "rule 10: never says that its lease ran out": A_GAP_THAT_THE_CONTROL_PLANE_DOES_NOT_SEE,
    "rule 10: decides before others must have renewed": A_RESTART_BEFORE_THE_OTHERS_HAVE_RENEWED,
}


def failures(schedule: list[Event], parts: Parts, *, has_shells: bool = False) -> int:
    events = tuple(sorted(schedule, key=lambda event: event.at))
    is_fenced = parts.in_nodes.journal is InvalidationJournal  # rule 10 would hide a mistake of the journal
    conditions = Conditions(is_fenced=is_fenced, duration_seconds=20.0, has_shells=has_shells)
    return sum(_fails(Plan(dice, conditions, events), parts) for dice in (FEWER_DICE if has_shells else DICE))


def _fails(plan: Plan, parts: Parts) -> bool:
    with Simulation(plan, parts) as simulation:
        return bool(simulation.run())


@pytest.mark.parametrize("bug", SCHEDULES)
def test_the_product_keeps_its_promises_where_a_mistake_does_not(bug: str) -> None:
    assert failures(SCHEDULES[bug], PRODUCT) == 0
    assert failures(SCHEDULES[bug], PRODUCT, has_shells=True) == 0
    assert failures(SCHEDULES[bug], PLANTED[bug]) > len(DICE) / 4


def test_what_no_seed_shows_a_schedule_does() -> None:
    assert SCHEDULES.keys() & PLANTED.keys() >= SHOWN_BY_SCHEDULE
