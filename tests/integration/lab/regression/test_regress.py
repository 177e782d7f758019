"""`cdnlab regress` between real builds: a copy of this checkout with a change that is known, and copies without any."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab.regression.changed_builds import ROOT, forgetful, slower
from tests.integration.lab_harness import CommandLine

MINUTES = 60.0
HIT_SECONDS = 10e-6
"""What a hit costs here, about; the estimate that is asserted has room for that."""


def regress(first: Path, second: Path, run: Path, *options: str, seconds: float) -> tuple[int, dict[str, Any]]:
    """Exit status, and what `regression.json` says."""
    words = ("regress", str(first), str(second), "--run", str(run), "--loopback", "127.66.0.0/16", *options)
    running = CommandLine(run.parent).start(*words)
    try:
        said, complained = running.communicate(timeout=seconds)
    finally:
        running.terminate()  # takes both labs down
        running.wait()
    assert (run / "regression.json").exists(), said + complained
    return running.returncode, json.loads((run / "regression.json").read_text())


@pytest.mark.scenarios
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_response_that_is_forgotten_in_ten_thousand_requests_is_found(tmp_path: Path) -> None:
    status, told = regress(ROOT, forgetful(tmp_path / "build"), tmp_path / "run", "--counters", seconds=280)
    found = {(each["workload"], each["name"]): each for each in told["counters"]}
    fetches = found[("popularity", "origin.fetches")]
    assert (status, told["outcome"], fetches["change"]) == (1, "invalid", "worse")
    assert fetches["second"][0] - fetches["first"][0] == 1 and fetches["is_steady"]
    assert found[("revalidation", "origin.fetches")]["change"] == "equal"
    assert "origin.fetches" in (tmp_path / "run" / "summary.md").read_text()


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_hit_that_costs_five_percent_more_is_found_within_five_minutes(tmp_path: Path) -> None:
    slow = slower(tmp_path / "build", 0.05 * HIT_SECONDS)
    status, told = regress(ROOT, slow, tmp_path / "run", "--minutes", "4", seconds=8 * MINUTES)
    hits = next(each for each in told["times"] if each["name"] == "hit.processor")
    assert (status, hits["change"]) == (1, "worse")
    assert math.isclose(
        hits["effect"], 0.05, abs_tol=0.04
    )  # how long a loop takes differs that much from one minute to the next


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_twenty_comparisons_of_a_build_with_itself_find_nothing(tmp_path: Path) -> None:
    for number in range(20):
        run = tmp_path / f"run-{number}"
        status, told = regress(ROOT, ROOT, run, "--minutes", "4", seconds=8 * MINUTES)
        assert status != 1, [each for each in (*told["counters"], *told["times"]) if each["change"] == "worse"]
