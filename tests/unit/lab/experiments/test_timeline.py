"""Waiting for a time or a condition, and what ends it: no test sleeps, time passes when somebody waits."""

import threading
from dataclasses import dataclass

import pytest

from lab.checkers.conditions import parse_condition
from lab.experiments.timeline import INTERRUPTED, RunStoppedError, Timeline
from lab.scenarios.figures import FIGURES
from lab.scenarios.steps import Due, Inject, Wait, stretched


@dataclass
class FakeEvent(threading.Event):
    """Who waits for it moves the clock."""

    now: float = 100.0

    def __post_init__(self) -> None:
        super().__init__()

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


def timeline(scale: float = 1.0) -> tuple[Timeline, FakeEvent]:
    event = FakeEvent()
    made = Timeline(lambda: event.now, scale, _stopped=event)
    made.begin()
    return made, event


CONDITION = parse_condition("requests >= 10", FIGURES)


def test_a_step_is_due_at_its_time_as_the_run_is_stretched() -> None:
    made, event = timeline(scale=2)
    assert made.wait_until_due(Due(5), lambda: False)
    assert event.now == pytest.approx(110)
    assert made.wait_until_due(Due(1), lambda: False), "a time that is over does not wait"
    assert event.now == pytest.approx(110)


def test_a_condition_is_waited_for_after_the_time_and_not_for_ever() -> None:
    made, event = timeline()
    assert made.wait_until_due(Due(2, CONDITION, 9), lambda: event.now >= 104)
    assert event.now == pytest.approx(104, abs=0.2)
    assert not made.wait_until_due(Due(None, CONDITION, 3), lambda: False)
    assert event.now == pytest.approx(107, abs=0.4)


@pytest.mark.parametrize("how", ["rule", "signal"])
def test_an_end_is_heard_by_all_that_wait_and_nothing_begins_any_more(how: str) -> None:
    made, _ = timeline()
    assert not made.is_over

    def end() -> bool:
        made.stop("the rule") if how == "rule" else made.interrupt()
        return False

    with pytest.raises(RunStoppedError, match="the rule" if how == "rule" else INTERRUPTED):
        made.wait_until_due(Due(None, CONDITION, 60), end)
    for due in (Due(), Due(500), Due(None, CONDITION)):
        with pytest.raises(RunStoppedError):
            made.wait_until_due(due, lambda: True)
    made.stop("another")
    assert made.stop_reason == ("the rule" if how == "rule" else "another")


def test_faults_are_stretched_within_their_bounds() -> None:
    def lease(seconds: float, scale: float) -> float:
        step = stretched(Inject(Due(), "kill", "x", seconds), scale)
        assert isinstance(step, Inject)
        return step.lease_seconds

    assert [lease(9, 1), lease(9, 2), lease(9, 0.01), lease(3000, 10)] == [9, 18, 1, 3600]
    assert stretched(Wait(Due(3)), 2) == Wait(Due(3))
