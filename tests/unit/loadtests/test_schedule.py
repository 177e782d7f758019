"""When users are meant to ask so that all of them together make so many requests a second."""

from itertools import pairwise

import pytest

from loadtests.schedule import Slots, slots_of


def starts(slots: Slots, until: float) -> list[float]:
    """Of a user that is never late."""
    found = [slots.first(slots.began_at)]
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
    early = starts(slots, 140.0)
    late = slots.first(117.3)
    assert any(late == pytest.approx(each) for each in early)
    assert 117.3 <= late < 117.3 + slots.interval_seconds


def test_a_late_user_misses_none_of_its_slots_however_late_it_is() -> None:
    """Whoever answered 50 seconds late makes 50 requests late, and each of them counts from its slot."""
    slots = Slots(0.0, 1.0, 0.25)
    asked = [10.25]
    while asked[-1] < 60.0:
        asked.append(slots.after(asked[-1]))
    assert asked == [10.25 + number for number in range(51)]
