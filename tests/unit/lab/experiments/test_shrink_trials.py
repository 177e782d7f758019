"""What counts as failing again, and an experiment that stands by itself, in `cdnlab shrink`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import UsageError
from lab.experiments.run_record import RunRecord
from lab.experiments.shrink_trials import Came, failure_of, standing_alone
from lab.experiments.shrinking import extension_of
from lab.run_options import RunOptions
from lab.topology.choice import TopologyChoice
from tests.unit.lab.scenarios.scenario_texts import document


def summary(**outcomes: str) -> dict[str, Any]:
    checks = [{"name": name, "outcome": outcome} for name, outcome in outcomes.items()]
    return {"scenario": {"seed": 7}, "verdict": {"checks": checks}}


FAILED = summary(steps="valid", errors="invalid", bodies="invalid", staleness="unknown")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "summary.json").write_text(json.dumps(FAILED))
    return tmp_path


@pytest.mark.parametrize(
    ("outcomes", "came"),
    [
        ({"steps": "valid", "errors": "invalid", "bodies": "invalid"}, Came.FAILS),
        ({"steps": "valid", "errors": "invalid", "bodies": "valid"}, Came.HOLDS),
        ({"steps": "valid", "errors": "invalid"}, Came.HOLDS),
        ({"steps": "valid", "errors": "unknown", "bodies": "unknown"}, Came.HOLDS),
        ({"steps": "unknown", "errors": "invalid", "bodies": "invalid"}, Came.UNDONE),
    ],
)
def test_all_that_failed_must_fail_again_and_every_step_be_done(
    run: Path, outcomes: dict[str, str], came: Came
) -> None:
    assert failure_of(run, ()).came(summary(**outcomes)) is came


def test_one_check_may_be_chosen_if_it_failed(run: Path) -> None:
    assert failure_of(run, ["bodies"]).came(summary(steps="valid", bodies="invalid", errors="valid")) is Came.FAILS
    with pytest.raises(UsageError, match="did not break staleness, but errors, bodies"):
        failure_of(run, ["bodies", "staleness"])


def test_a_run_whose_steps_were_not_all_done_may_fail_so_again(run: Path) -> None:
    (run / "summary.json").write_text(json.dumps(summary(steps="unknown", stop="invalid")))
    assert failure_of(run, ()).came(summary(steps="unknown", stop="invalid")) is Came.FAILS


def test_what_is_no_run_or_did_not_fail_is_refused(run: Path) -> None:
    for text, says in (
        (json.dumps(summary(steps="valid")), "has not failed"),
        ("{}", "has no verdict"),
        ("[]", "has no verdict"),
    ):
        (run / "summary.json").write_text(text)
        with pytest.raises(UsageError, match=says):
            failure_of(run, ())


def test_the_file_needs_neither_the_options_nor_the_folder_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    source = str(tmp_path / "scenario.yaml")
    record = RunRecord("mine", source, document(topology="mine.yaml"), RunOptions(tmp_path))
    assert extension_of(standing_alone(record, 7))["topology"] == str(tmp_path / "mine.yaml")
    assert extension_of(standing_alone(record, 7))["seed"] == 7
    other = replace(record, options=RunOptions(tmp_path, topology=TopologyChoice("tiny")))
    assert extension_of(standing_alone(other, None))["topology"] == "tiny"
    assert "seed" not in extension_of(standing_alone(other, None))
