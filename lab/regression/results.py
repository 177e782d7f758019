"""What a comparison came to, in words, as checks with a verdict, and as files: `regression.json`, `junit.xml`, `summary.md`, `counters-1.json`, `counters-2.json`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lab.checkers.verdict import Check, Outcome
from lab.regression.comparison import Compared, counts_document
from lab.regression.counters import CounterFinding
from lab.regression.times import Change, TimeFinding
from lab.report.ci_files import JudgedRun, junit_document, markdown_summary

_OUTCOMES: Final = {
    Change.WORSE: Outcome.INVALID,
    Change.BETTER: Outcome.VALID,
    Change.EQUAL: Outcome.VALID,
    Change.UNKNOWN: Outcome.UNKNOWN,
}


def checks_of(compared: Compared) -> list[Check]:
    """One for each counter that differs or is unsteady, one for all that are equal, one for each time."""
    differing = [each for each in compared.counters if each.change is not Change.EQUAL]
    equal = len(compared.counters) - len(differing)
    summary = Check("counters", Outcome.VALID, f"{equal} counters are equal.")
    return [summary, *map(_counter_check, differing), *map(_time_check, compared.times)]


def _counter_check(finding: CounterFinding) -> Check:
    says = f"{finding.workload}: {finding.counter.says} ({finding.counter.name})"
    told = f"{_values(finding.first)} became {_values(finding.second)}"
    doubt = () if finding.is_steady else ("runs of one subject differ among themselves",)
    return Check(finding.name, _OUTCOMES[finding.change], f"{says}: {told}.", (finding.change.value, *doubt))


def _values(values: tuple[float, ...]) -> str:
    return ", ".join(f"{each:g}" if each % 1 else f"{each:.0f}" for each in sorted(set(values)))


def _time_check(finding: TimeFinding) -> Check:
    return Check(
        finding.figure.name, _OUTCOMES[finding.change], f"{finding.figure.says}: {finding.change}.", (told_of(finding),)
    )


def told_of(finding: TimeFinding) -> str:
    """`+5.1 % (99 % interval +4.2 to +6.0 %), p 0.0002, 16 sessions; a change of 1.3 % would have been found`."""
    return (
        f"{_percent(finding.effect)} (99 % interval {_percent(finding.interval.low)} to {_percent(finding.interval.high)}), "
        f"p {finding.p:.2g}, {finding.sessions} sessions; {_seen(finding.could_see)}"
    )


def _seen(change: float) -> str:
    return (
        "no change would have been found in so few sessions"
        if math.isinf(change)
        else f"a change of {change:.1%} would have been found"
    )


def _percent(change: float) -> str:
    return "unbounded" if math.isinf(change) else f"{change:+.1%}"


def document(compared: Compared) -> dict[str, Any]:
    """`regression.json`: a stable interface, docs/regression.md lists its keys. Infinite is null."""
    return {
        "first": compared.first,
        "second": compared.second,
        "outcome": str(outcome_of(compared)),
        "remarks": compared.remarks,
        "counters": [
            {
                "workload": each.workload,
                "name": each.counter.name,
                "change": str(each.change),
                "first": each.first,
                "second": each.second,
                "is_steady": each.is_steady,
            }
            for each in compared.counters
        ],
        "times": [_time_document(each) for each in compared.times],
        "sessions": compared.sessions,
    }


def _time_document(finding: TimeFinding) -> dict[str, Any]:
    return {
        "name": finding.figure.name,
        "change": str(finding.change),
        "effect": finding.effect,
        "interval": [_finite(finding.interval.low), _finite(finding.interval.high)],
        "p": finding.p,
        "could_see": _finite(finding.could_see),
        "sessions": finding.sessions,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def outcome_of(compared: Compared) -> Outcome:
    """Invalid: something became worse. Unknown: something could not be told, and nothing became worse."""
    outcomes = {each.outcome for each in checks_of(compared)}
    return next((each for each in (Outcome.INVALID, Outcome.UNKNOWN) if each in outcomes), Outcome.VALID)


def write_results(compared: Compared, folder: Path) -> None:
    """All files; see above."""
    title = f"{compared.first} against {compared.second}"
    run = JudgedRun("regression", title, Outcome.VALID, checks_of(compared), "; ".join(compared.remarks))
    texts = {
        "regression.json": json.dumps(document(compared), indent=2) + "\n",
        "junit.xml": junit_document(run),
        "summary.md": markdown_summary(run),
        **{
            f"counters-{number}.json": json.dumps(counts_document(counts), indent=2, sort_keys=True) + "\n"
            for number, counts in enumerate(compared.counts, start=1)
        },
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def lines_of(compared: Compared) -> Iterator[str]:
    """For people: what differs first, then times."""
    for check in checks_of(compared):
        mark = {Outcome.VALID: "✓", Outcome.INVALID: "✗", Outcome.UNKNOWN: "?"}[check.outcome]
        yield f"{mark} {check.statement}"
        yield from (f"    {each}" for each in check.evidence)
    yield from compared.remarks
    unsteady = [each.name for each in compared.counters if not each.is_steady]
    if unsteady:
        yield f"not steady from run to run, and judged only where no run of one is like one of the other: {', '.join(unsteady)}"
