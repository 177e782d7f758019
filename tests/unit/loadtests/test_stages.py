"""How many users there are when, and what is wrong with stages."""

import pytest

from loadtests.stages import Stage, StageError, peak_users, read_stages, users_at

CROWD = read_stages(
    [{"at_seconds": 0, "users": 10}, {"at_seconds": 10, "users": 60}, {"at_seconds": 20, "users": 0, "ramp": True}]
)


@pytest.mark.parametrize(
    ("seconds", "users"), [(0, 10), (9.99, 10), (10, 60), (15, 30), (19.99, 0), (20, 0), (1_000, 0), (12, 48)]
)
def test_stages_are_steps_or_straight_lines(seconds: float, users: int) -> None:
    assert users_at(CROWD, seconds) == users


def test_the_peak_is_that_of_any_stage() -> None:
    assert peak_users(CROWD) == 60


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ("10", "must be a list"),
        ([7], "stage 1: must be an object"),
        ([{"users": 1}], "stage 1: at_seconds is missing"),
        ([{"at_seconds": 0, "users": 1, "until": 5}], "unknown: until"),
        ([{"at_seconds": 0, "users": 1.5}], "users must be a whole number from 0 to 100000, not 1.5"),
        ([{"at_seconds": 0, "users": True}], "not True"),
        ([{"at_seconds": "0", "users": 1}], "at_seconds must be a number"),
        ([{"at_seconds": float("nan"), "users": 1}], "not nan"),
        ([{"at_seconds": 0, "users": 1, "ramp": "yes"}], "ramp must be true or false"),
        ([{"at_seconds": 1, "users": 1}], "the first stage must be at_seconds 0"),
        ([{"at_seconds": 0, "users": 1, "ramp": True}], "nothing to ramp from"),
        ([{"at_seconds": 0, "users": 1}, {"at_seconds": 0, "users": 2}], "in order of time"),
        ([{"at_seconds": 0, "users": 0}], "no stage has a user"),
        ([{"at_seconds": n, "users": 1} for n in range(1_001)], "too many"),
    ],
)
def test_stages_that_cannot_be_say_why(stages: object, says: str) -> None:
    with pytest.raises(StageError, match=says):
        read_stages(stages)


def test_all_stages_are_looked_at_before_anything_is_said() -> None:
    with pytest.raises(StageError) as raised:
        read_stages([{"at_seconds": -1, "users": -1}, {"at_seconds": 5}])
    for problem in ("stage 1: at_seconds", "users must be", "stage 2: users is missing"):
        assert problem in str(raised.value)


def test_a_stage_survives_json() -> None:
    assert read_stages([each.to_json() for each in CROWD]) == CROWD
    assert Stage(0, 5).to_json() == {"at_seconds": 0, "users": 5}
