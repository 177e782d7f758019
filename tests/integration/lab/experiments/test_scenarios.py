"""Scenarios that are run for every change, on processes: each must end with the verdict that it expects, and leave nothing behind."""

import os
from pathlib import Path

import pytest

from lab.runner import Runner
from tests.integration.lab.experiments.shipped_runs import CI_TAG, run_scenario, scenarios_with
from tests.integration.lab.left_behind import processes_of, sockets_in

pytestmark = [pytest.mark.timeout(300), pytest.mark.scenarios]

LOOPBACK = f"127.{100 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw')) % 16}.0.0/16"


@pytest.mark.parametrize("name", scenarios_with(CI_TAG))
def test_the_verdict_is_the_expected_one(name: str, tmp_path: Path) -> None:
    ended = run_scenario(name, Runner.PROCESSES, tmp_path, LOOPBACK)
    assert ended.is_as_expected, str(ended)
    assert processes_of(tmp_path) == [] and sockets_in(LOOPBACK) == []


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    """As it stands there, by somebody who has copied it."""
    page = (Path(__file__).parents[4] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    ended = run_scenario(str(path), Runner.PROCESSES, tmp_path, LOOPBACK)
    assert ended.is_as_expected, str(ended)
