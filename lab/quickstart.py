"""`make lab`: the whole laboratory in about a minute, with a verdict at the end.

Brings the lab up, creates a distribution, lets quickstart_run.py send viewers and break things, judges what was seen,
writes `summary.json` and the report, and takes the lab down, whatever happened in between.
"""

import asyncio
import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from rich.console import Console

from lab.live import LiveTable
from lab.load import LoadError
from lab.quickstart_checks import (
    Check,
    Outcome,
    check_departure,
    check_failures,
    check_freshness,
    check_return,
    check_tiers,
    verdict,
)
from lab.quickstart_distribution import ApiError, ManagementApi
from lab.quickstart_run import LabFacts, NodeControl, QuickStartRun, RunFailedError
from lab.recorder_http import ExchangeFailedError
from lab.report import write_report
from lab.report_run import RunData, read_run, region_totals, tier_totals

PROFILE = "mixed"
EXIT_STATUS = {Outcome.VALID: 0, Outcome.INVALID: 1, Outcome.UNKNOWN: 2}
# As a shell has it for a command that SIGINT ended.
EXIT_INTERRUPTED = 130
_MARKS = {Outcome.VALID: "[green]✓[/]", Outcome.INVALID: "[red]✗[/]", Outcome.UNKNOWN: "[yellow]?[/]"}
_STYLES = {Outcome.VALID: "bold green", Outcome.INVALID: "bold red", Outcome.UNKNOWN: "bold yellow"}


class RunningLab(NodeControl, Protocol):
    """A lab that is up: what it is, and hands on its nodes."""

    def facts(self) -> LabFacts: ...

    def api(self) -> dict[str, Any]:
        """The `api` member of `cdnlab status --json`."""


def run_on(lab: RunningLab, run_directory: Path, duration_seconds: float, console: Console) -> Outcome:
    """The quick start on a lab that is up; leaves a whole run folder with its report."""
    facts = lab.facts()
    api = ManagementApi(lab.api())
    try:
        console.print(f"{len(facts.nodes)} nodes are up; creating a distribution")
        distribution = api.create_distribution(facts.of_role("origin")[0].http)
        api.wait_deployed(distribution)
        console.print(f"http://{distribution.domain_name}:{facts.viewer_port}/ is deployed; sending viewers")
        run = QuickStartRun(facts, lab, api, distribution, run_directory, duration_seconds)
        try:
            with LiveTable(console) as live:
                asyncio.run(run.run(live, PROFILE))
        finally:
            _write_account(run, run_directory)
    finally:
        api.close()
    checks = judge(run, read_run(run_directory))
    _write_summary(run_directory, facts, checks)
    report = write_report(run_directory)
    _print_summary(console, read_run(run_directory), checks, report)
    return verdict(checks)


def judge(run: QuickStartRun, data: RunData) -> list[Check]:
    """Every promise of the quick start, against what was seen."""
    account = run.account
    requests = sum(int(total["requests"]) for total in region_totals(data).values())
    return [
        check_freshness(run.probe.sightings, account.promises),
        check_failures(requests, data.failures, account.outage),
        check_departure(run.dns_probe.answers, account.outage),
        check_return(account.outage, account.returned),
        check_tiers(tier_totals(data)),
    ]


def _write_account(run: QuickStartRun, run_directory: Path) -> None:
    """Also after a failure: what was seen until then may be what explains it."""
    receipts = json.dumps(run.account.receipts, indent=2) + "\n"
    (run_directory / "receipts.json").write_text(receipts, encoding="utf-8")
    run.probe.write(run_directory / "probes.jsonl")


def _write_summary(run_directory: Path, facts: LabFacts, checks: Sequence[Check]) -> None:
    nodes = [
        {"id": node.id, "role": node.role, "region": node.region, "pop": node.pop, "http": node.http or node.dns}
        for node in facts.nodes
    ]
    summary = {
        "topology_name": facts.topology_name,
        "profile": PROFILE,
        "users": facts.users,
        "nodes": nodes,
        "verdict": {"outcome": str(verdict(checks)), "checks": [check.to_json() for check in checks]},
    }
    (run_directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _print_summary(console: Console, data: RunData, checks: Sequence[Check], report: Path) -> None:
    console.print()
    for region, total in sorted(region_totals(data).items()):
        latency = "/".join(f"{total['latency_ms'].get(name, 0.0):.1f}" for name in ("p50", "p95", "p99"))
        requests, failures = total["requests"], total["failures"]
        console.print(
            f"{region:16} {requests:>8,} requests  {failures} failures  p50/p95/p99 {latency} ms", highlight=False
        )
    console.print()
    for check in checks:
        console.print(f"{_MARKS[check.outcome]} {check.statement}", soft_wrap=True, highlight=False)
        for line in check.evidence:
            console.print(f"    {line}", style="dim", soft_wrap=True, highlight=False, markup=False)
    outcome = verdict(checks)
    console.print(f"\nVerdict: {outcome}", style=_STYLES[outcome], highlight=False)
    console.print(f"Report:  {report}", soft_wrap=True, highlight=False)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that clean-up runs and nothing is left running."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def failure_text(error: BaseException) -> str:
    """One line for what ended the run; a group of tasks failed for its first reason."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
