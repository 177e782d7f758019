"""Whether the agent's work goes on, in virtual time: steps may be slow, and a step that never ends shows."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

from lab.agent.events import Events
from lab.agent.lab_clock import LabClock
from lab.agent.pulse import LONGEST_STEP_SECONDS, Pulse
from lab.agent.service import Seen, Service
from lab.cluster.interface import Cluster
from proto.moments import ClockAnchor


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_slow_step_is_no_standstill_and_one_that_never_ends_is() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    for _ in range(100):
        clock.seconds += LONGEST_STEP_SECONDS - 1
        assert pulse.is_there
        pulse.moved()
    clock.seconds += LONGEST_STEP_SECONDS
    assert not pulse.is_there
    pulse.moved()
    assert pulse.is_there, "it goes on after all"


def has_pulse(pulse: Pulse) -> bool:
    """Asked anew each time."""
    return pulse.is_there


class SlowKeeper:
    """Of a lab in which something is always due."""

    next_due = 0.0
    leases = ()

    def __init__(self, heal_due: Callable[[], None]) -> None:
        self.heal_due = heal_due


class StandingLab:
    is_up = True


NO_CLOCK = LabClock(cast(Cluster, StandingLab()), Path("nowhere"))
"""Nobody has moved it."""


async def test_the_pulse_ends_with_a_thread_that_is_stuck_although_the_loop_goes_on() -> None:
    clock, at_work, free = Clock(), threading.Event(), threading.Event()

    def stuck() -> None:
        at_work.set()
        free.wait(10)

    pulse = Pulse(clock)
    service = Service(
        SlowKeeper(stuck),  # type: ignore[arg-type]  # as much of a keeper as the loop needs
        Seen(StandingLab(), "small", ClockAnchor("", 0, 0)),  # type: ignore[arg-type]
        Events(),
        pulse,
        NO_CLOCK,
    )
    keeping = asyncio.create_task(service.keep(clock))
    assert await asyncio.to_thread(at_work.wait, 10)
    assert has_pulse(pulse)
    clock.seconds += LONGEST_STEP_SECONDS
    await asyncio.sleep(0)
    assert not has_pulse(pulse) and not keeping.done()
    at_work.clear()
    free.set()
    assert await asyncio.to_thread(at_work.wait, 10), "the next round"
    assert has_pulse(pulse)
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_an_idle_agent_has_a_pulse() -> None:
    clock, rounds = Clock(), threading.Semaphore(0)
    pulse = Pulse(clock)
    keeper, seen = SlowKeeper(rounds.release), Seen(StandingLab(), "small", ClockAnchor("", 0, 0))  # type: ignore[arg-type]
    service = Service(keeper, seen, Events(), pulse, NO_CLOCK)  # type: ignore[arg-type]
    keeping = asyncio.create_task(service.keep(clock))
    for _ in range(3):
        clock.seconds += LONGEST_STEP_SECONDS
        for _ in range(2):  # the second round began after the clock was moved
            assert await asyncio.to_thread(rounds.acquire, True, 10)
        assert has_pulse(pulse)
    keeping.cancel()
    await asyncio.wait([keeping])
