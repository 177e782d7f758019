"""A failing run cut down to the shortest schedule that still fails (Zeller's delta debugging), and told as a story. Deterministic: the same seed gives the same story."""

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.plan import REGIONALS, Event, Plan
from tests.simulation.scenario import PRODUCT, Parts, Simulation
from tests.simulation.world import Direction

MOST_RUNS = 3_000
"""A run takes some milliseconds; what is not found to be needless after so many stays."""


class Shrinker:
    """Looks for a shorter plan that fails as well."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._runs_left = MOST_RUNS

    def shortest(self, plan: Plan) -> Plan:
        """Of which no event can be left out, and no condition made simpler. ValueError for a plan that does not fail."""
        failed_at = self._failed_at(plan)
        if failed_at is None:
            raise ValueError(f"seed {plan.seed} does not fail")
        plan = replace(plan, events=tuple(event for event in plan.events if event.at <= failed_at))
        shorter: Plan | None = plan
        while shorter is not None:
            plan = self._with_fewer_events(shorter)
            shorter = next((each for each in _simpler(plan) if self._failed_at(each) is not None), None)
        return plan

    def _with_fewer_events(self, plan: Plan) -> Plan:
        """Leave out parts, of half the events first and of one at last."""
        length = max(1, len(plan.events) // 2)
        while True:
            found = self._without_a_part(plan, length)
            if found is not None:
                plan = found
            elif length == 1:
                return plan
            else:
                length = max(1, length // 2)

    def _without_a_part(self, plan: Plan, length: int) -> Plan | None:
        """Everything that can be left out in parts of this length, in one go from the end; None: nothing can."""
        found = None
        for start in reversed(range(0, len(plan.events), length)):
            events = plan.events[:start] + plan.events[start + length :]
            shorter = replace(plan, events=events)
            if self._failed_at(shorter) is not None:
                plan = found = shorter
        return found

    def _failed_at(self, plan: Plan) -> float | None:
        if self._runs_left <= 0:
            return None
        self._runs_left -= 1
        with Simulation(plan, self._parts) as simulation:
            return simulation.world.now if simulation.run() else None


def _simpler(plan: Plan) -> Iterator[Plan]:
    """Plans with one condition that is more usual, or one event that is shorter."""
    conditions = plan.conditions
    for simpler in (
        replace(conditions, stall_probability=0.0),
        replace(conditions, is_origin_failing=False),
        conditions if _is_about(REGIONALS[1], plan) else replace(conditions, regionals=REGIONALS[:1]),
        replace(conditions, is_everybody_mute=False),
        replace(conditions, is_fenced=True),
    ):
        if simpler != conditions:
            yield replace(plan, conditions=simpler)
    for number, event in enumerate(plan.events):
        for ways in _fewer_ways(event):
            events = (*plan.events[:number], replace(event, cut=ways), *plan.events[number + 1 :])
            yield replace(plan, events=events)


def _is_about(process: str, plan: Plan) -> bool:
    """Whether anything happens to it."""
    return any(event.subject == process or any(process in way for way in event.cut) for event in plan.events)


def _fewer_ways(event: Event) -> Iterator[tuple[Direction, ...]]:
    """A partition without one of its directions."""
    if len(event.cut) > 1:
        for number in range(len(event.cut)):
            yield (*event.cut[:number], *event.cut[number + 1 :])


def story(plan: Plan, parts: Parts = PRODUCT) -> str:
    """What happens in a run, line by line: who said what, which fault, what receipts promised and what a viewer saw."""
    with Simulation(plan, parts, is_told=True) as simulation:
        simulation.run()
        told = simulation.world.story or []
    schedule = "\n".join(f"{event.at:9.4f}  {event}" for event in plan.events)
    return f"seed {plan.seed}, {plan.conditions}\n\nThe schedule:\n{schedule}\n\nWhat happens:\n" + "\n".join(told)


def shortest_story(plan: Plan, parts: Parts = PRODUCT) -> str:
    """Of the shortest plan that fails as this one does."""
    return story(Shrinker(parts).shortest(plan), parts)
