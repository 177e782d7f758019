"""What a run comes to: its history judged by the scenario's checkers and gates, its summary and its report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from lab.checkers.catalogue import choose, judge
from lab.checkers.failover import failover_table
from lab.checkers.gates import judge_gates
from lab.checkers.lateness import Lateness, lateness
from lab.checkers.parameters import Value
from lab.checkers.verdict import Check, Outcome, verdict
from lab.experiments.journal_checks import journal_checks
from lab.experiments.run_record import command_of, read_record
from lab.history.reader import open_history
from lab.report.ci_files import JudgedRun, junit_document, markdown_summary
from lab.report.writer import write_report
from lab.scenarios.scenario import Scenario

TIMED_CHECKERS: Final = ("latency",)
TIMED_FIGURES: Final = ("p50", "p95", "p99")
"""What is about how long things take between the places: nothing is said of it over links that are not as they should be."""
_MARKS: Final = {Outcome.VALID: "[green]✓[/]", Outcome.INVALID: "[red]✗[/]", Outcome.UNKNOWN: "[yellow]?[/]"}
_STYLES: Final = {Outcome.VALID: "bold green", Outcome.INVALID: "bold red", Outcome.UNKNOWN: "bold yellow"}


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict, and where the report is."""

    outcome: Outcome
    checks: tuple[Check, ...]
    report: Path
    load_trouble: str = ""
    """The load was not as it was meant to be: why."""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """What is judged beside the history. Troubles and the reason of a stop are empty when all went well."""

    directory: Path
    scenario: Scenario
    seed: int | None
    lease_seconds: float
    place_document: Mapping[str, Any]
    links_trouble: str
    links_are_only_late: bool
    """That is all of their trouble: limits that were kept would be kept over right ones."""
    watch_trouble: str
    stop_reason: str
    trouble: str = ""
    """Why it did not come to its end."""
    left_out_lines: int = 0
    """Of the history: what stands there are no rows."""
    is_whole: bool = True
    """Whether every node was live in the end; true of a run that nobody waited for."""


def judge_run(run: EndedRun, journal: Mapping[str, Any]) -> Judged:
    """Of a run whose lab is gone."""
    history = open_history(run.directory)
    try:
        choices, _ = choose(run.scenario.checkers, checker_defaults(run.scenario, run.lease_seconds))
        judged = judge(history, choices)
        gates = judge_gates(history, run.scenario.gates)
        limits = {choice.name for choice in choices if choice.checker in TIMED_CHECKERS}
        timed = {str(gate): gate.sign in ("<", "<=") for gate in run.scenario.gates if gate.figure in TIMED_FIGURES}
        limits |= {name for name, is_limit in timed.items() if is_limit}
        late = lateness(history)
        checks = tuple(
            over_links(run, late_load(late, check, is_limit=check.name in limits), is_limit=check.name in limits)
            if check.name in limits | timed.keys()
            else check
            for check in (
                *journal_checks(journal, run.stop_reason, run.watch_trouble),
                *end_checks(run),
                *judged,
                *gates,
            )
        )
        failovers = [each.to_json() for each in failover_table(history)]
    finally:
        history.close()
    outcome = verdict(checks)
    summary = {
        **run.place_document,
        "scenario": {
            "name": run.scenario.name,
            "title": run.scenario.title,
            "description": run.scenario.description.strip(),
            "expects": run.scenario.expects.value,
            "seed": run.seed,
            "gates": [str(gate) for gate in run.scenario.gates],
            "command": command_of(read_record(run.directory, run.directory), run.seed),
            "stopped": run.stop_reason or None,
        },
        "load": {"trouble": late.told or None},
        "journal": {"status": journal.get("status"), "deviated": journal.get("deviated")},
        "failover": failovers,
        "verdict": {"outcome": outcome.value, "checks": [each.to_json() for each in checks]},
    }
    (run.directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    told = JudgedRun(run.scenario.name, run.scenario.title, run.scenario.expects, checks, late.told)
    (run.directory / "junit.xml").write_text(junit_document(told), encoding="utf-8")
    (run.directory / "summary.md").write_text(markdown_summary(told), encoding="utf-8")
    return Judged(outcome, checks, write_report(run.directory), late.told)


def end_checks(run: EndedRun) -> list[Check]:
    """What is wrong with how it ended, whatever was seen until then; nothing of a run that ended as it should."""
    checks = []
    if run.trouble:
        checks.append(Check("end", Outcome.UNKNOWN, "The run came to its end.", (run.trouble,)))
    if run.left_out_lines:
        lines = f"{run.left_out_lines:,} lines of the history cannot be read"
        checks.append(Check("history", Outcome.UNKNOWN, "The history is whole.", (lines,)))
    if not run.is_whole:
        nodes = "some did not answer although nothing was done to them any more"
        checks.append(Check("whole", Outcome.INVALID, "Every node is live in the end.", (nodes,)))
    return checks


def checker_defaults(scenario: Scenario, lease_seconds: float) -> dict[str, Value]:
    """Parameters of checkers that follow from the lab and from what the scenario configures."""
    with_cookies = [each.pattern for site in scenario.sites for each in site.behaviors if each.cache.cookies]
    return {"lease_seconds": lease_seconds, "not_collapsed": tuple(with_cookies)}


def over_links(run: EndedRun, check: Check, *, is_limit: bool) -> Check:
    """A check of how long things take, as it is to be told over the links of the run; `is_limit`: it says that they take no longer than something."""
    is_certain = is_limit and run.links_are_only_late and check.outcome is Outcome.VALID
    return check if not run.links_trouble or is_certain else unknown_because(check, run.links_trouble)


def late_load(late: Lateness, check: Check, *, is_limit: bool) -> Check:
    """The same of a load that fell behind: a limit that was kept is kept, since latency counts from when viewers meant to ask."""
    is_certain = is_limit and late.is_bounded and check.outcome is Outcome.VALID
    return check if not late.told or is_certain else unknown_because(check, late.told)


def unknown_because(check: Check, reason: str) -> Check:
    """Whatever was found."""
    return replace(check, outcome=Outcome.UNKNOWN, evidence=(reason, *check.evidence))


def print_verdict(console: Console, judged: Judged) -> None:
    """For people."""
    for check in judged.checks:
        console.print(f"{_MARKS[check.outcome]} {check.statement}", soft_wrap=True, highlight=False)
        for line in check.evidence:
            console.print(f"    {line}", style="dim", soft_wrap=True, highlight=False, markup=False)
    if judged.load_trouble:
        console.print(f"? {judged.load_trouble}", style="yellow", soft_wrap=True, highlight=False, markup=False)
    console.print(f"\nVerdict: {judged.outcome}", style=_STYLES[judged.outcome], highlight=False)
    console.print(f"Report:  {judged.report}", soft_wrap=True, highlight=False)
