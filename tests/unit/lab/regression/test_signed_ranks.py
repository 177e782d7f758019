"""The rank test against every choice of signs, one by one; the estimate and its interval against what they are defined by."""

import itertools
import math
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.regression.signed_ranks import estimate, interval, is_large, p_greater, p_less

DIFFERENCES = st.lists(st.integers(-20, 20), min_size=1, max_size=9)


def ranks_of(magnitudes: list[float]) -> list[float]:
    """By counting: how many are smaller, and half of those that are equal."""
    return [
        sum(other < each for other in magnitudes) + (sum(other == each for other in magnitudes) + 1) / 2
        for each in magnitudes
    ]


def p_by_counting(differences: list[float]) -> float:
    """The share of all choices of signs with as large a sum of positive ranks."""
    present = [each for each in differences if each]
    ranks = ranks_of([abs(each) for each in present])
    seen = sum(rank for rank, each in zip(ranks, present, strict=True) if each > 0)
    choices = list(itertools.product((0, 1), repeat=len(present)))
    return sum(sum(itertools.compress(ranks, signs)) >= seen for signs in choices) / len(choices)


@given(DIFFERENCES)
def test_p_is_the_share_of_all_signs_that_say_as_much(differences: list[float]) -> None:
    assert p_greater(differences) == pytest.approx(p_by_counting(differences))
    assert p_less(differences) == pytest.approx(p_by_counting([-each for each in differences]))


def test_ten_of_one_sign_are_one_in_a_thousand() -> None:
    assert p_greater([0.1 * number for number in range(1, 11)]) == 1 / 1024
    assert p_greater([]) == p_greater([0.0, 0.0]) == 1.0


def test_many_pairs_are_judged_by_the_normal_approximation() -> None:
    rng = Random(1)
    many = [rng.gauss(0.2, 1) for _ in range(61)]
    assert p_greater(many) == pytest.approx(p_greater(many[:60]), abs=0.05)
    assert 1 - p_greater(many) == pytest.approx(p_less(many), abs=0.002)
    assert p_greater([1.0 + number for number in range(200)]) < 1e-12


@given(DIFFERENCES)
def test_the_estimate_is_the_median_of_all_means_of_two(differences: list[float]) -> None:
    pairs = itertools.combinations_with_replacement(differences, 2)
    assert estimate(differences) == pytest.approx(median((one + other) / 2 for one, other in pairs))


@pytest.mark.parametrize("seed", range(12))
def test_the_interval_has_all_shifts_that_the_test_does_not_refuse(seed: int) -> None:
    rng = Random(seed)
    differences = [rng.gauss(0, 1) for _ in range(8)]
    found = interval(differences, 0.95)
    for _ in range(10):
        shift = rng.uniform(min(differences) - 0.5, max(differences) + 0.5)
        moved = [each - shift for each in differences]
        is_refused = min(p_by_counting(moved), p_by_counting([-each for each in moved])) <= 0.025
        assert (found.low <= shift <= found.high) is not is_refused


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("level", [0.05, 0.00125])
def test_without_ties_the_fast_test_says_the_same(seed: int, level: float) -> None:
    rng = Random(seed)
    differences = [rng.gauss(seed / 20, 1) for _ in range(4 + seed % 20)]
    assert is_large(differences, level) is (p_greater(differences) <= level)


def test_too_few_differences_say_nothing() -> None:
    assert interval([1.0, 2.0, 3.0], 0.99) == interval([5.0], 0.5).__class__(-math.inf, math.inf)


def test_an_interval_of_many_has_the_true_shift_as_often_as_it_says() -> None:
    rng = Random(7)
    held = 0
    for _ in range(300):
        found = interval([rng.gauss(0.03, 0.02) for _ in range(16)], 0.99)
        held += found.low <= 0.03 <= found.high
    assert held >= 300 * 0.99 - 3 * math.sqrt(300 * 0.99 * 0.01)
