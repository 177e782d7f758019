"""Clocks that are off: how they run, that a steady one never goes back, and that a program without faults has the system's own."""

import time
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.clock_course import ClockCourse
from proto.clock_faults import (
    CLOCK_DRIFT,
    CLOCK_OFFSET,
    DRIFT_KIND,
    LEAST_RATE,
    MOST_RATE,
    OFFSET_KIND,
    Clocks,
    DriftingHostClock,
    clocks_of,
)
from proto.fault_port import FaultPort
from proto.host_clock import host_seconds
from tests.fault_builders import Faults, StoodClock

WALL = 1_800_000_000.0


def test_a_clock_that_is_right() -> None:
    assert ClockCourse().steady(5.0) == 5.0 and ClockCourse().wall(WALL, 5.0) == WALL


def test_setting_the_wall_clock_leaves_the_steady_one() -> None:
    course = ClockCourse().with_offset(-3_600.0)
    assert course.wall(WALL, 5.0) == WALL - 3_600 and course.steady(5.0) == 5.0
    assert course.with_offset(0.0).wall(WALL, 5.0) == WALL


def test_a_drift_moves_both_and_is_over_as_if_the_wall_clock_had_been_set_right() -> None:
    course = ClockCourse().with_rate(0.5, 100.0)
    assert (course.steady(110.0), course.wall(WALL, 110.0)) == (115.0, WALL + 5)
    course = course.with_rate(0.0, 110.0)
    assert (course.steady(120.0), course.wall(WALL, 120.0)) == (125.0, WALL)


async def test_what_the_true_clock_said_can_be_told_of_what_a_wrong_one_said() -> None:
    true, faults, read = StoodClock(), Faults([DRIFT_KIND, OFFSET_KIND]), []
    clocks = clocks_of(faults.port, Clocks(lambda: WALL, true))
    for rate in (None, 0.5, None, -0.9, 40.0, None):
        fault = None if rate is None else faults.begin(CLOCK_DRIFT, rate=rate)
        for _ in range(3):
            true.now += 7.0
            read.append((true.now, clocks.steady()))
        if fault is not None:
            faults.end(fault)
    assert [clocks.true_steady(said) for _, said in read] == pytest.approx([now for now, _ in read])
    assert Clocks().true_steady(5.0) == 5.0


@given(
    st.lists(st.tuples(st.floats(LEAST_RATE, MOST_RATE), st.floats(0.001, 1_000)), max_size=8),
    st.floats(-1e9, 1e9),
)
def test_a_steady_clock_never_goes_back(changes: list[tuple[float, float]], offset: float) -> None:
    course, now = ClockCourse(), 50.0
    said = course.steady(now)
    for rate, seconds in changes:
        course = course.with_rate(rate, now).with_offset(offset)
        assert course.steady(now) == pytest.approx(said)
        for part in (0.25, 0.5, 1.0):
            after = course.steady(now + part * seconds)
            assert after > said
            said = after
        now += seconds


def test_without_faults_the_functions_are_the_systems_own() -> None:
    clocks = clocks_of(None)
    assert clocks == Clocks(time.time, host_seconds)
    clocks.put_ahead(86_400.0)
    assert clocks.wall is time.time


def test_the_lab_s_clock_moves_the_wall_clock_and_no_other() -> None:
    true = Clocks(lambda: WALL, lambda: 10.0)
    clocks = clocks_of(FaultPort(()), true)
    wall = clocks.wall
    assert (wall(), clocks.steady()) == (WALL, 10.0)
    clocks.put_ahead(86_400.0)
    assert (wall(), clocks.steady()) == (WALL + 86_400, 10.0), "who was given the function before it moved, too"
    clocks.put_ahead(0.0)
    assert wall() == WALL, "another log has another clock"


@pytest.mark.parametrize("order", list(permutations(("ahead", "offset", "drift"))))
async def test_a_clock_that_is_ahead_can_be_wrong_as_well(order: tuple[str, ...]) -> None:
    faults, steady = Faults((OFFSET_KIND, DRIFT_KIND)), StoodClock(10.0)
    clocks = clocks_of(faults.port, Clocks(lambda: WALL, steady))
    begun = []
    for what in order:
        match what:
            case "ahead":
                clocks.put_ahead(86_400.0)
            case "offset":
                begun.append(faults.begin(CLOCK_OFFSET, by=-60))
            case _:
                begun.append(faults.begin(CLOCK_DRIFT, rate=1))
    steady.now = 12.0
    assert (clocks.wall(), clocks.steady()) == (WALL + 86_400 - 58, 14.0)
    for each in begun:
        faults.end(each)
    assert clocks.wall() == WALL + 86_400


async def test_faults_begin_and_end_at_once() -> None:
    faults, steady = Faults((OFFSET_KIND, DRIFT_KIND)), StoodClock(10.0)
    clocks = clocks_of(faults.port, Clocks(lambda: WALL, steady))
    offset = faults.begin(CLOCK_OFFSET, by=-60)
    drift = faults.begin(CLOCK_DRIFT, rate=1)
    steady.now = 12.0
    assert (clocks.steady(), clocks.wall()) == (14.0, WALL - 58)
    faults.end(offset)
    faults.end(drift)
    steady.now = 13.0
    assert (clocks.steady(), clocks.wall()) == (15.0, WALL)


async def test_the_clock_of_a_control_plane_drifts_in_seconds_and_in_moments() -> None:
    faults = Faults((DRIFT_KIND,))
    clock = DriftingHostClock(faults.port)
    assert clock() == pytest.approx(host_seconds(), abs=1.0)
    faults.begin(CLOCK_DRIFT, rate=100)
    before, true_before = clock(), host_seconds()
    while host_seconds() < true_before + 0.02:
        pass
    assert clock() - before >= 100 * 0.02
    assert clock.now().monotonic_ns / 1e9 == pytest.approx(clock(), abs=1.0)
    assert clock.now().boot_id == clock.anchor.boot_id
