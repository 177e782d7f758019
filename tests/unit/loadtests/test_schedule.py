"""When users are meant to ask so that all of them together make so many requests a second."""

import statistics
from itertools import pairwise
from random import Random

import pytest

from loadtests.schedule import EvenSlots, Slots, random_slots_of, slots_of


def starts(slots: Slots, until: float, began_at: float = 1_000.0) -> list[float]:
    """Of a user that is never late."""
    found = [slots.first(began_at)]
    while found[-1] < until:
        found.append(slots.after(found[-1]))
    return found[:-1]


@pytest.mark.parametrize(("users", "rate"), [(1, 3.0), (10, 100.0), (37, 20.0), (64, 400.0)])
def test_all_users_together_make_the_rate_and_in_no_clumps(users: int, rate: float) -> None:
    seconds = 40.0
    merged = sorted(
        start for number in range(users) for start in starts(slots_of(number, users, rate, 1_000.0), 1_000.0 + seconds)
    )
    assert len(merged) == pytest.approx(seconds * rate, abs=users)
    widest = max(after - before for before, after in pairwise(merged))
    assert widest < 2 / rate


def test_a_user_that_comes_later_has_the_slots_that_it_would_have_had() -> None:
    slots = slots_of(3, 10, 5.0, 100.0)
    early = starts(slots, 140.0, 100.0)
    late = slots.first(117.3)
    assert any(late == pytest.approx(each) for each in early)
    assert 117.3 <= late < 117.3 + slots.interval_seconds


def test_a_late_user_misses_none_of_its_slots_however_late_it_is() -> None:
    """Whoever answered 50 seconds late makes 50 requests late, and each of them counts from its slot."""
    slots = EvenSlots(0.0, 1.0, 0.25)
    asked = [10.25]
    while asked[-1] < 60.0:
        asked.append(slots.after(asked[-1]))
    assert asked == [10.25 + number for number in range(51)]


def counts(users: int, rate: float, seconds: int) -> list[int]:
    """Random arrivals of all users together, in each second."""
    counted = [0] * seconds
    for number in range(users):
        for start in starts(random_slots_of(users, rate, Random(f"seed/{number}")), seconds, 0.0):
            counted[int(start)] += 1
    return counted


@pytest.mark.parametrize(("users", "rate"), [(1, 20.0), (10, 20.0), (200, 20.0)])
def test_random_arrivals_have_the_rate_and_the_spread_of_a_poisson_process(users: int, rate: float) -> None:
    """Counts of seconds have their mean as variance; of even slots the variance is next to nothing."""
    counted = counts(users, rate, 2_000)
    mean, spread = statistics.fmean(counted), statistics.variance(counted)
    assert mean == pytest.approx(rate, rel=0.02)  # four standard deviations
    assert spread == pytest.approx(rate, rel=0.15)


def test_random_arrivals_repeat_with_their_seed_and_no_two_users_have_the_same() -> None:
    first, again, other = (starts(random_slots_of(5, 10.0, Random(seed)), 50.0, 0.0) for seed in ("a", "a", "b"))
    assert first == again and len(set(first) & set(other)) == 0
