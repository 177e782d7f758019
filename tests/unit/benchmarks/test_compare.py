"""Two builds of the edge side by side: whose code is run, what the bounds of a median are, and what is said of 3 percent."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers.compare import (
    Checkout,
    Comparison,
    by_round,
    code_of,
    comparison,
    median_interval,
    parts,
    verdict,
)
from benchmarks.peers.processes import BenchmarkError
from edge_node.code_loader import COMPILED, SOURCE


@pytest.mark.parametrize(
    ("count", "low", "high", "probability"),
    [(6, 1.0, 6.0, 0.96875), (15, 4.0, 12.0, 0.96484), (20, 6.0, 15.0, 0.95861)],
)
def test_the_bounds_of_a_median_are_those_of_the_sign_test(
    count: int, low: float, high: float, probability: float
) -> None:
    """As tables of the binomial distribution have them."""
    found = median_interval([float(number) for number in range(count, 0, -1)])
    assert found[:2] == (low, high)
    assert found[2] == pytest.approx(probability, abs=1e-5)


def test_too_few_values_give_the_extremes_and_say_how_little_that_is() -> None:
    assert median_interval([2.0]) == (2.0, 2.0, 0.0)
    assert median_interval([1.0, 3.0, 2.0]) == (1.0, 3.0, 0.75)


def test_the_true_median_lies_in_the_interval_as_often_as_is_said() -> None:
    rng = random.Random(5)
    trials, inside, least = 4_000, 0, 1.0
    for _ in range(trials):
        low, high, least = median_interval([rng.lognormvariate(0.0, 1.0) for _ in range(15)])
        inside += low <= 1.0 <= high
    assert inside / trials == pytest.approx(least, abs=0.01)


@pytest.mark.parametrize(
    ("ratios", "is_cost", "expected"),
    [
        ([0.98, 0.99, 1.0, 1.0, 1.01, 1.02], False, "shown"),
        ([0.90, 0.91, 0.92, 0.93, 0.94, 0.96], False, "MISSED"),
        ([0.90, 0.99, 1.0, 1.0, 1.01, 1.02], False, "not decided, more rounds"),
        ([0.98, 0.99, 1.0, 1.0, 1.01, 1.02], True, "shown"),
        ([1.04, 1.05, 1.06, 1.06, 1.07, 1.08], True, "MISSED"),
        ([0.80, 1.0, 1.0, 1.0, 1.0, 1.04], True, "not decided, more rounds"),
    ],
)
def test_three_percent_are_shown_only_if_the_whole_interval_says_so(
    ratios: list[float], is_cost: bool, expected: str
) -> None:
    assert verdict(ratios, is_cost).endswith(f"at most 3%: {expected}")


def test_five_rounds_are_too_few_for_a_verdict() -> None:
    assert "TOO FEW ROUNDS" in verdict([1.0] * 5)


def test_rounds_are_divided_among_pairs_of_processes_and_none_is_lost() -> None:
    assert parts(15) == [range(5), range(5, 10), range(10, 15)]
    assert parts(2) == [range(1), range(1, 2)]
    for rounds in range(1, 30):
        assert [number for part in parts(rounds) for number in part] == list(range(rounds))
        assert all(parts(rounds))


def test_a_ratio_is_ours_by_the_others_of_the_same_round() -> None:
    assert by_round({"edge": [2.0, 3.0], "other": [1.0, 6.0]}) == [2.0, 0.5]


def tree(folder: Path, text: str = "") -> Checkout:
    package = folder / "edge_node"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text)
    return Checkout(folder)


def test_the_code_of_the_other_checkout_is_run_and_not_the_one_that_is_installed(tmp_path: Path) -> None:
    checkout = tree(tmp_path / "with a space", "WHOSE = 'the other one'")
    checkout.check()
    command = [
        *checkout.before(SOURCE),
        sys.executable,
        "-c",
        "import edge_node, os; print(edge_node.WHOSE, os.environ['CDNLAB_EDGE_CODE'])",
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "the other one source\n"


def test_a_folder_without_an_edge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="has no edge of its own"):
        comparison(tmp_path)


def test_both_are_compiled_only_where_both_can_be(tmp_path: Path) -> None:
    """What each says of itself when it is told to run compiled modules: it is imported, or it is not."""
    compiled, source = (
        tree(tmp_path / "a"),
        tree(tmp_path / "b", "import os\nassert os.environ['CDNLAB_EDGE_CODE'] == 'source'"),
    )
    assert code_of(compiled, compiled, "") == COMPILED
    assert code_of(compiled, source, "") == code_of(source, compiled, "") == SOURCE
    assert code_of(compiled, compiled, SOURCE) == SOURCE
    with pytest.raises(BenchmarkError, match="no compiled modules"):
        code_of(compiled, source, COMPILED)


def test_the_results_say_which_trees_were_compared(tmp_path: Path) -> None:
    trees = tree(tmp_path / "a"), tree(tmp_path / "b")
    facts = Comparison(*trees, SOURCE).facts()
    assert facts.keys() == {"edge", "other"}
    assert str(tmp_path / "b") in facts["other"] and facts["other"].endswith("source")
