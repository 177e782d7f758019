"""The control of Chaos Toolkit, played by its own library: what goes wrong in it ends the experiment and is said, though the library swallows what controls raise."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from lab.checkers.verdict import Outcome
from lab.errors import LabError, UsageError
from lab.experiments.chaos.play import check_experiment, play
from lab.experiments.run import Run
from lab.experiments.timeline import RunStoppedError
from lab.scenarios.steps import Step
from tests.unit.lab.scenarios.scenario_texts import action, scenario


class FakeRun(Run):
    """A run without a lab. `wrong`: what is raised, by where."""

    def __init__(self, directory: Path, outcome: Outcome = Outcome.VALID, **wrong: BaseException) -> None:
        self.scenario = scenario(
            action("wait", name="one"), action("wait", name="two", background=True), action("wait")
        )
        self.directory, self.trouble = directory, None
        self.done: list[str] = []
        self._outcome, self._wrong = outcome, wrong

    def _look(self, where: str) -> None:
        self.done.append(where)
        if where in self._wrong:
            raise self._wrong[where]

    def begin(self) -> None:
        self._look("begin")

    def check_stop(self) -> None:
        self._look("check_stop")

    def do(self, step: Step) -> dict[str, Any]:
        self._look("do")
        return {"done": str(step)}

    def finish(self, journal: MutableMapping[str, Any]) -> Outcome:
        self._look("finish")
        return self._outcome


@pytest.mark.parametrize(
    ("outcome", "status", "deviated"),
    [(Outcome.VALID, "completed", False), (Outcome.INVALID, "completed", True), (Outcome.UNKNOWN, "failed", False)],
)
def test_the_journal_says_the_verdict(tmp_path: Path, outcome: Outcome, status: str, deviated: bool) -> None:
    run = FakeRun(tmp_path, outcome)
    journal = play(run)
    assert (journal["status"], journal["deviated"]) == (status, deviated)
    assert journal["cdnlab"] == {"run": str(tmp_path), "outcome": outcome.value}
    assert [each["output"] for each in journal["run"]] == [{"done": "waits"}] * 3
    assert run.done.count("do") == 3 and run.done[-1] == "finish"


@pytest.mark.parametrize("error", [LabError("no room"), RuntimeError("a mistake of ours")])
def test_a_lab_that_does_not_come_up_ends_the_experiment(tmp_path: Path, error: Exception) -> None:
    run = FakeRun(tmp_path, Outcome.UNKNOWN, begin=error)
    journal = play(run)
    assert (journal["status"], journal["run"]) == ("interrupted", [])
    assert run.done == ["begin", "finish"]
    assert str(error) in (tmp_path / "chaos.log").read_text()


def test_a_run_that_cannot_be_judged_is_no_success(tmp_path: Path) -> None:
    run = FakeRun(tmp_path, finish=RuntimeError("a mistake of ours"))
    journal = play(run)
    assert (journal["status"], journal["cdnlab"]["outcome"]) == ("failed", "unknown")
    assert isinstance(run.trouble, RuntimeError), "the command raises it"
    assert "Traceback" in (tmp_path / "chaos.log").read_text()


def test_nothing_is_done_once_the_run_is_over(tmp_path: Path) -> None:
    run = FakeRun(tmp_path, check_stop=RunStoppedError("the rule"))
    journal = play(run)
    assert journal["status"] == "interrupted" and "do" not in run.done and run.done[-1] == "finish"


def test_ctrl_c_in_the_middle_ends_in_order(tmp_path: Path) -> None:
    run = FakeRun(tmp_path, do=KeyboardInterrupt())
    assert play(run)["status"] == "interrupted"
    assert run.done[-1] == "finish"


def test_what_the_library_refuses_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UsageError, match="Chaos Toolkit refuses it"):
        check_experiment({"title": "x"})
