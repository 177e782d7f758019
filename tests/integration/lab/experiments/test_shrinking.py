"""`cdnlab shrink` on a run that failed: the step that matters is what is left, in a file that can be run, also when somebody ends the search."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lab.experiments.scenario_runs import SECONDS, Runs, ended, wait_until, yaml_of
from tests.integration.lab_harness import CommandLine, environment, taken_down
from tests.unit.lab.scenarios.scenario_texts import action

pytestmark = pytest.mark.nightly
VIEWERS = [{"profile": "api", "users": 4, "rate": 20}]
IDLE = action("inject", name="idle", fault="log-duplicate", target="role:edge", lease="2s")
BAD = action("inject", name="bad", fault="http-status", target="origin-1", lease="30s", parameters={"path": "/api/"})


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with taken_down(CommandLine(tmp_path)) as command:
        yield Runs(command)


def test_what_matters_is_left_and_kept_when_the_search_is_interrupted(runs: Runs) -> None:
    runs.write(IDLE, BAD, load=VIEWERS, checkers=["errors"], probes=(), duration="2s")
    status, output = runs.run("cdnlab")
    assert status == 1 and runs.checks()["verdict"] == "invalid", output
    words = [sys.executable, "-m", "lab.cli", "shrink", "run", "--state", ".cdnlab"]
    process = subprocess.Popen(
        words, cwd=runs.command.folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    smallest = runs.folder / "shrink" / "smallest.yaml"
    with ended(process):
        wait_until(smallest.exists, process, SECONDS)
        wait_until((runs.folder / "shrink" / "03" / "output.txt").exists, process, SECONDS)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130 and "Traceback" not in output, output
    assert "  1  as it was" in output and "fails" in output and "became 1 step" in output, output
    assert [step["name"] for step in yaml_of(smallest)["method"]] == ["bad"]
    assert runs.left_behind() == []
    planned = runs.command.run("run", str(smallest), "--plan")
    assert planned.status == 0 and "http-status" in planned.out, planned.err
    assert json.loads((runs.folder / "shrink" / "02" / "summary.json").read_text())["verdict"]["outcome"] == "invalid"
