"""The rule for times, on sessions that were recorded: how often it cries wolf, and what it finds.

`sessions.json` has sessions of one build against itself. Which of the two labs is called the first is chance, so a comparison is drawn with random signs.
"""

import json
import math
from pathlib import Path
from random import Random

import pytest

from lab.regression.times import TIME_FIGURES, Change, TimeFinding, is_worse, judge_times

RECORDED = [dict(each) for each in json.loads(Path(__file__).with_name("sessions.json").read_text())]
PRIMARY = ("hit.processor", "miss.processor")


def drawn(rng: Random, sessions: int, slower: float = 0.0, names: tuple[str, ...] = ()) -> list[dict[str, float]]:
    """A comparison out of recorded sessions; `slower`: the second subject by this share, in these figures."""
    chosen = []
    for _ in range(sessions):
        sign, one = rng.choice((-1, 1)), rng.choice(RECORDED)
        chosen.append(
            {name: sign * value + (math.log1p(slower) if name in names else 0) for name, value in one.items()}
        )
    return chosen


def findings(sessions: list[dict[str, float]], resolution: float = 0.05) -> dict[str, TimeFinding]:
    return {each.figure.name: each for each in judge_times(sessions, resolution)}


def is_alarm(sessions: list[dict[str, float]]) -> bool:
    """Whether any figure is worse."""
    return any(is_worse(figure, [each[figure.name] for each in sessions]) for figure in TIME_FIGURES)


def test_a_build_against_itself_is_a_regression_in_at_most_one_of_a_hundred_comparisons() -> None:
    rng = Random(1)
    assert sum(is_alarm(drawn(rng, 12)) for _ in range(300)) <= 3


@pytest.mark.parametrize(("slower", "sessions"), [(0.05, 12), (0.02, 40)])
def test_a_slow_down_is_found_in_95_of_100_comparisons(slower: float, sessions: int) -> None:
    rng = Random(2)
    hits = TIME_FIGURES[0]
    drawings = (drawn(rng, sessions, slower, PRIMARY) for _ in range(100))
    assert sum(is_worse(hits, [each[hits.name] for each in one]) for one in drawings) >= 95


def test_a_build_that_is_faster_is_better() -> None:
    found = findings(drawn(Random(3), 20, -0.1, PRIMARY))
    assert {found[name].change for name in PRIMARY} == {Change.BETTER}
    assert found["hit.processor"].effect == pytest.approx(-0.1, abs=0.03)


def test_what_could_not_have_been_seen_is_unknown_and_not_equal() -> None:
    few = findings(drawn(Random(4), 3))
    assert {few[name].change for name in PRIMARY} == {Change.UNKNOWN}
    assert few["hit.processor"].could_see == math.inf
    many = findings(drawn(Random(4), 40))
    assert {many[name].change for name in PRIMARY} == {Change.EQUAL}
    assert many["hit.processor"].could_see <= 0.05


def test_a_change_below_the_minimum_is_none_however_sure_it_is() -> None:
    steady = [{figure.name: math.log1p(0.005) for figure in TIME_FIGURES}] * 20
    assert {each.change for each in judge_times(steady, 0.05)} == {Change.EQUAL}


def test_the_same_sessions_say_the_same() -> None:
    sessions = drawn(Random(5), 10)
    assert judge_times(sessions, 0.05) == judge_times(sessions, 0.05)
