"""A run from its file to its verdict, by `cdnlab run` and by `chaos run`: they agree, whatever ends one leaves nothing, and nothing that goes wrong is swallowed."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaoslib.experiment import ensure_experiment_is_valid

from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import StateDir
from tests.integration.lab.experiments.scenario_runs import FIRST, Runs, ended, viewers_came, wait_until
from tests.integration.lab_harness import SLOT_OF_ONE_TEST, CommandLine, api_address, taken_down
from tests.unit.lab.scenarios.scenario_texts import action, probe

pytestmark = pytest.mark.slow
STATUSES = ("completed", "failed", "aborted", "interrupted")
AT_ONCE_SECONDS = 20.0
"""Far less than any step of these scenarios waits; ending a lab takes a second or two, on a busy machine more."""
INTERRUPTS = [
    pytest.param("cdnlab", signal.SIGINT),
    pytest.param("cdnlab", signal.SIGTERM, marks=pytest.mark.nightly),
    pytest.param("chaos", signal.SIGINT, marks=pytest.mark.nightly),
    pytest.param("chaos", signal.SIGTERM),
]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with taken_down(CommandLine(tmp_path)) as command:
        yield Runs(command)


def test_both_programs_come_to_one_verdict_on_a_promise_that_is_broken(runs: Runs) -> None:
    """The lab is not whole any more after the method: Chaos Toolkit calls it a deviation, the lab an invalid run."""
    kill = action("inject", fault="kill", target="role:edge/1", lease="60s")
    runs.write(FIRST, kill, action("wait", when="down_nodes == 1"), probes=(probe("lab_is_whole", within=0),))
    for program in ("cdnlab", "chaos"):
        status, output = runs.run(program)
        assert status == 1, output
        assert "Verdict: invalid" in output and "Traceback" not in output
        assert (runs.checks()["verdict"], runs.checks()["steady_state_after"]) == ("invalid", "invalid")
        journal = runs.journal(program)
        assert journal["deviated"] is True and journal["status"] in STATUSES
        assert journal["cdnlab"]["outcome"] == "invalid"
        assert [each["status"] for each in journal["run"]] == ["succeeded"] * 3
        ensure_experiment_is_valid(journal["experiment"])
        assert runs.left_behind() == []


def test_a_run_by_chaos_toolkit_is_valid_and_has_the_files_of_a_run(runs: Runs) -> None:
    runs.write(FIRST, action("invalidate", paths=["/bucket/news/*"]), gates=["failures == 0"])
    status, output = runs.run("chaos")
    assert status == 0 and "Verdict: valid" in output, output
    journal = runs.journal("chaos")
    assert (journal["status"], journal["deviated"], journal["cdnlab"]["outcome"]) == ("completed", False, "valid")
    assert journal["steady_states"]["before"]["steady_state_met"] is True
    assert journal["run"][1]["output"]["status"] == "Completed"
    for name in (
        "report.html",
        "summary.json",
        "scenario.yaml",
        "run.json",
        "history/requests.parquet",
        "logs/control-plane.log",
    ):
        assert (runs.folder / name).stat().st_size > 0
    assert runs.left_behind() == []


@pytest.mark.parametrize("program", ["cdnlab", pytest.param("chaos", marks=pytest.mark.nightly)])
def test_a_step_that_fails_leaves_the_verdict_unknown(runs: Runs, program: str) -> None:
    """What the scenario is about did not happen; the rest of it is done."""
    runs.write(action("wait", when="down_nodes == 1", within="0s", name="an edge is down"), FIRST)
    status, output = runs.run(program)
    assert status == (2 if program == "cdnlab" else 1), output
    assert "an edge is down: down_nodes == 1 did not hold within 0 s" in output
    assert "Verdict: unknown" in output
    assert runs.journal(program)["status"] == "failed"
    assert runs.left_behind() == []


@pytest.mark.parametrize("program", ["cdnlab", pytest.param("chaos", marks=pytest.mark.nightly)])
def test_a_lab_that_does_not_come_up_is_told_and_leaves_nothing(runs: Runs, program: str) -> None:
    """Somebody else has the port of its management API."""
    runs.write(FIRST)
    host, _, port = api_address(SLOT_OF_ONE_TEST).rpartition(":")
    with socket.create_server((host, int(port))):
        status, output = runs.run(program)
    assert status == 1, output
    assert port in output and "Traceback" not in output and "Verdict" not in output
    assert runs.journal(program)["status"] == "interrupted"
    assert runs.left_behind() == []


@pytest.mark.parametrize(("program", "number"), INTERRUPTS)
def test_an_interrupt_in_the_middle_leaves_nothing(runs: Runs, program: str, number: signal.Signals) -> None:
    """Steps wait for minutes, in the background and not; each of them ends at once, and Locust does."""
    late = action("wait", at="10m", background=True)
    runs.write(
        FIRST, late, late | {"name": "another"}, action("wait", when="down_nodes == 1", within="10m"), duration="11m"
    )
    with ended(runs.start(program)) as process:
        wait_until(viewers_came(runs), process)
        assert any("locust" in line for line in runs.left_behind())
        began = time.monotonic()
        process.send_signal(number)
        output, _ = process.communicate(timeout=40)
    assert time.monotonic() - began < AT_ONCE_SECONDS
    assert process.returncode == (130 if program == "cdnlab" else 1), output
    assert runs.journal(program)["status"] == "interrupted"
    assert runs.left_behind() == []


def test_a_stop_rule_ends_all_that_waits_and_the_verdict_is_invalid(runs: Runs) -> None:
    late = action("wait", at="10m", background=True)
    stop = [{"when": "requests >= 1", "lasting": "0s"}]
    runs.write(FIRST, late, action("wait", at="9m"), duration="11m", stop=stop)
    status, output = runs.run("cdnlab")
    assert status == 1, output
    assert "stopped by the rule requests >= 1" in output and "Verdict: invalid" in output
    assert (runs.checks()["stop"], runs.journal("cdnlab")["status"]) == ("invalid", "interrupted")
    assert runs.left_behind() == []


def test_down_ends_what_a_killed_run_has_left(runs: Runs) -> None:
    """kill -9 of the run: nobody takes the lab down but the next `down`, and Locust with it."""
    runs.write(FIRST, action("wait", at="10m"), duration="11m")
    with ended(runs.start("cdnlab")) as process:
        wait_until(viewers_came(runs), process)
        process.kill()
        process.wait(10)
    assert any("locust" in line for line in runs.left_behind())
    done = runs.command.run("down")
    assert done.status == 0, done.err
    assert runs.left_behind() == []


def test_a_lab_that_is_up_already_is_left_alone(runs: Runs) -> None:
    runs.write(FIRST)
    done = runs.command.run("up", "topology.yaml", "--detach", "--no-demo")
    assert done.status == 0, done.err
    for program in ("cdnlab", "chaos"):
        status, output = runs.run(program)
        assert status == 1 and "Traceback" not in output, output
        assert ProcessCluster.attach(StateDir(runs.command.state_dir).path).status().is_whole
