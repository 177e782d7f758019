"""Moments of the host's clock: what can be compared, and what is only for people."""

import json

import pytest

from proto.moments import SECONDS_SINCE_EPOCH, ClockAnchor, DifferentClocksError, Moment, read_anchor, read_moment

ANCHOR = ClockAnchor("boot-1", wall_ns=1_800_000_000_000_000_000, monotonic_ns=5_000_000_000)


def test_moments_of_one_boot_are_compared_to_the_nanosecond() -> None:
    receipt = Moment("boot-1", 2**60)
    assert Moment("boot-1", 2**60 + 1).is_after(receipt)
    assert not receipt.is_after(receipt)
    assert receipt.nanoseconds_since(Moment("boot-1", 2**60 + 1)) == -1
    assert Moment("boot-1", 2**60 + 1_500_000_000).seconds_since(receipt) == 1.5


@pytest.mark.parametrize(("one", "other"), [("boot-1", "boot-2"), ("boot-1", ""), ("", "boot-1"), ("", "")])
def test_of_two_boots_or_unknown_ones_nobody_says_which_was_first(one: str, other: str) -> None:
    with pytest.raises(DifferentClocksError):
        Moment(one, 1).is_after(Moment(other, 2))


@pytest.mark.parametrize("nanoseconds", [1, 999_999_999, 3_600_000_000_001, 4_000_000_000_000_003])
def test_seconds_of_the_clock_become_the_nanoseconds_that_they_were(nanoseconds: int) -> None:
    assert ANCHOR.moment(nanoseconds / 1e9) == Moment("boot-1", nanoseconds)


def test_wall_time_follows_from_the_anchor_alone() -> None:
    assert ANCHOR.wall_seconds(5.0) == 1_800_000_000.0
    assert ANCHOR.wall_seconds(65.25) == 1_800_000_060.25
    assert SECONDS_SINCE_EPOCH.wall_seconds(1_234.5) == 1_234.5


def test_seconds_of_another_process_of_the_boot_are_ones_own_whatever_its_wall_clock_said() -> None:
    stepped = ClockAnchor("boot-1", wall_ns=ANCHOR.wall_ns - 7_200_000_000_000, monotonic_ns=9_000_000_000)
    assert ANCHOR.shares_base_with(stepped) and ANCHOR.seconds_of(stepped, 12.5) == 12.5


def test_seconds_of_another_boot_go_by_wall_time_for_people() -> None:
    before = ClockAnchor("boot-0", wall_ns=ANCHOR.wall_ns - 60_000_000_000, monotonic_ns=900_000_000_000)
    assert not ANCHOR.shares_base_with(before)
    assert ANCHOR.seconds_of(before, 910.0) == pytest.approx(5.0 - 50.0)
    unknown = ClockAnchor("", 1, 1)
    assert not unknown.shares_base_with(ClockAnchor("", 2, 2)) and unknown.shares_base_with(ClockAnchor("", 1, 1))


def test_an_anchor_is_read_as_it_was_written() -> None:
    assert read_anchor(json.loads(json.dumps(ANCHOR.to_json()))) == ANCHOR
    nonsenses: tuple[object, ...] = (None, [], {}, {"boot_id": "b", "wall_ns": "1", "monotonic_ns": 2})
    for nonsense in nonsenses:
        assert read_anchor(nonsense) is None


def test_a_moment_without_its_clock_is_compared_with_nothing() -> None:
    record = {"completed_monotonic_ns": 7, "issued_monotonic_ns": None}
    assert read_moment(ANCHOR.to_json(), record, "completed") == Moment("boot-1", 7)
    for clock, name in ((None, "completed"), (ANCHOR.to_json(), "issued"), (ANCHOR.to_json(), "other")):
        with pytest.raises(DifferentClocksError):
            read_moment(clock, record, name).is_after(Moment("boot-1", 1))
