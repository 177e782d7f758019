"""Several loads of a run: when each begins in a longer or shorter run, and that none is left whatever happens."""

import threading
from typing import Any

import pytest

from lab.experiments.load import LoadError, LoadUntilTold
from lab.experiments.run_loads import Loads, scaled
from lab.scenarios.load_entry import LoadEntry
from loadtests.stages import Stage

SECONDS = 10.0
LONG_AFTER = 3600.0


@pytest.mark.parametrize("by", [0.25, 1.0, 4.0])
def test_a_load_is_stretched_with_its_stages(by: float) -> None:
    stages = (Stage(0.0, 5), Stage(20.0, 60, ramp=True))
    entry = LoadEntry("crowd", "objects", begins_seconds=8.0, lasts_seconds=40.0, stages=stages)
    made = scaled(entry, by)
    assert (made.begins_seconds, made.lasts_seconds, made.ends_seconds) == (8 * by, 40 * by, 48 * by)
    assert made.stages == (Stage(0.0, 5), Stage(20.0 * by, 60, ramp=True))


def test_a_load_is_never_shorter_than_it_may_be() -> None:
    assert scaled(LoadEntry("short", "objects", lasts_seconds=2.0), 0.1).lasts_seconds == 1.0


class FakeRun:
    """A load generator that goes on until it is stopped."""

    def __init__(self, *, starts: bool = True) -> None:
        self._starts = starts
        self.began, self.is_running, self.stopped = threading.Event(), False, 0

    def start(self) -> None:
        if not self._starts:
            raise LoadError("no load generator")
        self.is_running = True
        self.began.set()

    def stop(self) -> None:
        self.is_running, self.stopped = False, self.stopped + 1

    def wait(self) -> None:
        if self.is_running:
            raise LoadError("it did not run to its end")


class FakeUntilTold(LoadUntilTold):
    """One that never ends by itself."""

    def __init__(self) -> None:
        self.was_told = False

    def start(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def is_running(self) -> bool:
        return not self.was_told

    def end(self) -> int:
        self.was_told = True
        return 0


def loads(*runs: tuple[float, Any]) -> Loads:
    return Loads(runs, ())


def test_each_begins_at_its_time_and_the_run_goes_on_until_the_last_is_over() -> None:
    now, soon = FakeRun(), FakeRun()
    with loads((0.0, now), (0.001, soon)) as running:
        assert now.is_running
        assert soon.began.wait(SECONDS)
        now.is_running = False
        assert running.is_running
        with pytest.raises(LoadError, match="did not run to its end"):
            running.end()
        soon.is_running = False
        running.end()
    assert not running.is_running


def test_who_goes_on_until_told_keeps_no_run_from_its_end_and_is_told_then() -> None:
    forever = FakeUntilTold()
    with loads((0.0, forever)) as running:
        assert (running.is_running, forever.was_told) == (False, False)
        running.end()
        assert forever.was_told


def test_what_has_not_begun_by_the_end_never_does() -> None:
    now, late = FakeRun(), FakeRun()
    made = loads((0.0, now), (LONG_AFTER, late))
    with made:
        now.is_running = False
        assert made.is_running
    assert (made.is_running, late.began.is_set()) == (False, False)


def test_one_that_does_not_start_ends_the_others() -> None:
    good, bad, late = FakeRun(), FakeRun(starts=False), FakeRun()
    made = loads((0.0, good), (0.0, bad), (LONG_AFTER, late))
    with pytest.raises(LoadError, match="no load generator"):
        made.__enter__()
    assert (good.is_running, good.stopped, made.is_running) == (False, 1, False)
