"""What a journal of Chaos Toolkit comes to: nothing that was not done, or not watched, counts for good."""

from typing import Any

import pytest

from lab.checkers.verdict import Outcome, verdict
from lab.experiments.journal_checks import journal_checks, was_played


def activity(status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {"activity": {"name": "a step", "tolerance": True}, "status": status} | more


def journal(status: str = "completed", run: Any = (), before: Any = True, after: Any = True) -> dict[str, Any]:
    def state(is_met: Any) -> Any:
        return None if is_met is None else {"steady_state_met": is_met, "probes": [activity(output=is_met)]}

    return {
        "status": status,
        "run": list(run),
        "rollbacks": [],
        "steady_states": {"before": state(before), "after": state(after)},
    }


RAISED = [
    "Traceback (most recent call last):\n",
    "chaoslib.exceptions.ActivityFailed: lab.errors.LabError: edge-1 is gone: for good\n",
]


@pytest.mark.parametrize(
    ("made", "outcome", "evidence"),
    [
        (journal(run=[activity()]), Outcome.VALID, ""),
        (journal(run=[activity("failed", exception=RAISED)]), Outcome.UNKNOWN, "a step: edge-1 is gone: for good"),
        (journal(run=[{"activity": {"name": "a step"}}]), Outcome.UNKNOWN, "a step: it did not end"),
        (journal(before=False, after=None), Outcome.UNKNOWN, "it was not begun"),
        (journal(after=False), Outcome.INVALID, "a step: it was False, and should be True"),
        (journal("interrupted", after=None), Outcome.UNKNOWN, "it was cut off"),
        (journal("aborted", before=None, after=None), Outcome.UNKNOWN, "it was cut off"),
        ({"status": "completed"}, Outcome.VALID, ""),
    ],
)
def test_of_the_method_and_the_steady_state(made: dict[str, Any], outcome: Outcome, evidence: str) -> None:
    checks = journal_checks(made, "", "")
    assert verdict(checks) is outcome
    told = "\n".join(line for check in checks for line in check.evidence)
    assert evidence in told and bool(evidence) == bool(told)


def test_a_stop_rule_breaks_a_promise_and_a_witness_that_fell_silent_leaves_doubt() -> None:
    assert verdict(journal_checks(journal("interrupted"), "failures > 3", "")) is Outcome.INVALID
    assert verdict(journal_checks(journal(), "", "no room on the disk")) is Outcome.UNKNOWN


def test_viewers_are_waited_for_only_when_the_method_was_played() -> None:
    assert was_played(journal()) and was_played(journal(after=False)) and was_played(journal("failed"))
    assert not (was_played(journal("interrupted")) or was_played(journal(before=False)))
