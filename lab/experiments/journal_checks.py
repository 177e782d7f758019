"""What the journal of Chaos Toolkit says of a run, as checks: a scenario that was not played as it is written has no valid verdict. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lab.checkers.verdict import Check, Outcome

_CUT_OFF: Final = ("interrupted", "aborted")
Activity = Mapping[str, Any]


def was_played(journal: Mapping[str, Any]) -> bool:
    """Whether the method was begun and came to its end: the hypothesis was met before it, and nothing has cut it off."""
    return journal.get("status") not in _CUT_OFF and _is_met(journal, "before") is not False


def journal_checks(journal: Mapping[str, Any], stop_reason: str, watch_trouble: str) -> list[Check]:
    """Of the method, of the steady state, of stop rules and of who watched. `stop_reason` and `watch_trouble` are empty when all went well."""
    checks = [_steps(journal), *_steady_state(journal)]
    if stop_reason:
        checks.append(Check("stop", Outcome.INVALID, "No stop rule ends the run.", (stop_reason,)))
    if watch_trouble:
        statement = "Everything was watched to the end."
        checks.append(Check("watching", Outcome.UNKNOWN, statement, (f"nobody watched any more: {watch_trouble}",)))
    return checks


def _steps(journal: Mapping[str, Any]) -> Check:
    """Unknown when one was not done: what the scenario is about has not happened."""
    failed = [each for each in _activities(journal) if each.get("status") != "succeeded"]
    evidence = [f"{_name(each)}: {_reason(each)}" for each in failed]
    if not was_played(journal):
        evidence.append("it was cut off" if journal.get("status") in _CUT_OFF else "it was not begun")
    outcome = Outcome.UNKNOWN if evidence else Outcome.VALID
    return Check("steps", outcome, "Every step of the scenario was done.", tuple(evidence))


def _steady_state(journal: Mapping[str, Any]) -> Iterator[Check]:
    """Of a lab that never was as it should be nothing is known; one that is not so any more has broken the promise."""
    for when, outcome in (("before", Outcome.UNKNOWN), ("after", Outcome.INVALID)):
        is_met = _is_met(journal, when)
        if is_met is None:
            continue
        title = f"The steady state is met {when} the method."
        evidence = () if is_met else (_unmet(journal["steady_states"][when]["probes"]),)
        yield Check(f"steady_state_{when}", Outcome.VALID if is_met else outcome, title, evidence)


def _is_met(journal: Mapping[str, Any], when: str) -> bool | None:
    """None when it was not looked at."""
    state = (journal.get("steady_states") or {}).get(when)
    return None if not state else state.get("steady_state_met")


def _unmet(probes: Sequence[Activity]) -> str:
    last = probes[-1]
    if last.get("status") != "succeeded":
        return f"{_name(last)}: {_reason(last)}"
    return f"{_name(last)}: it was {last.get('output')!r}, and should be {last['activity'].get('tolerance')!r}"


def _activities(journal: Mapping[str, Any]) -> list[Activity]:
    return [*(journal.get("run") or ()), *(journal.get("rollbacks") or ())]


def _name(activity: Activity) -> str:
    return str(activity.get("activity", {}).get("name", "an activity"))


def _reason(activity: Activity) -> str:
    """The last line of what was raised, without the names of classes."""
    lines = [
        line.strip() for part in activity.get("exception") or () for line in str(part).splitlines() if line.strip()
    ]
    words = lines[-1] if lines else "it did not end"
    while (
        (head := words.partition(": "))[1] and head[0].replace(".", "").isidentifier() and head[0][-5:] in _ERROR_ENDS
    ):
        words = head[2]
    return words


_ERROR_ENDS: Final = ("Error", "ailed")
"""Of ActivityFailed, NotInTimeError and the like."""
