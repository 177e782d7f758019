"""`make lab`: the whole laboratory in about a minute, with a verdict at the end.

Brings the lab up, creates a distribution, lets quickstart_run.py send viewers and break things, judges what was seen,
writes `summary.json` and the report, and takes the lab down, whatever happened in between.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from lab.checkers.quickstart import (
    check_departure,
    check_failures,
    check_freshness,
    check_patience,
    check_return,
    check_tiers,
)
from lab.checkers.verdict import Check, Outcome, verdict
from lab.clients.management_api import ManagementApi
from lab.cluster.interface import Cluster
from lab.cluster.runners import BRING_UP
from lab.errors import LabError
from lab.experiments.demo_site import Wanted
from lab.experiments.links import LINKS_FILE, check_before_run
from lab.experiments.quickstart_distribution import create_distribution
from lab.experiments.quickstart_run import QuickStartRun, Stage
from lab.history.observations import Failure
from lab.history.run_files import RunData, read_run, region_lines, region_totals, tier_totals
from lab.interrupts import uninterrupted
from lab.report.live import LiveTable
from lab.report.writer import write_report
from lab.terminal import make_console
from lab.topology.layout import Role

PROFILE = "mixed"
EXIT_STATUS = {Outcome.VALID: 0, Outcome.INVALID: 1, Outcome.UNKNOWN: 2}
RUN_FILES = (
    *("load.jsonl", "failures.jsonl", "load_totals.json", "events.jsonl", "receipts.json", "metrics.jsonl"),
    *("probes.jsonl", "clocks.jsonl", "summary.json", "report.html", LINKS_FILE),
)
# What a node said is evidence, but the lab's folder goes when the lab does.
KEPT_LOG_LINES = 2_000
_MARKS = {Outcome.VALID: "[green]✓[/]", Outcome.INVALID: "[red]✗[/]", Outcome.UNKNOWN: "[yellow]?[/]"}
_STYLES = {Outcome.VALID: "bold green", Outcome.INVALID: "bold red", Outcome.UNKNOWN: "bold yellow"}


def run_quickstart(wanted: Wanted, run_directory: Path, duration_seconds: float = 30) -> int:
    """Exit status 0 valid, 1 invalid, 2 unknown; LabError when the lab did not do what it was asked."""
    console = make_console()
    _make_empty(run_directory)
    console.print(f"bringing up {wanted.topology.name}", highlight=False)
    lab = BRING_UP[wanted.runner](wanted.topology, wanted.state_dir, lambda text: console.print(text, style="dim"))
    try:
        outcome = run_on(lab, run_directory, duration_seconds, console)
    finally:
        with uninterrupted():
            _keep_logs(lab, run_directory)
            stopped = lab.take_down()
            ended = f"{stopped.stopped} {stopped.what} ended in {stopped.seconds:.1f} s"
            console.print(ended, style="dim", highlight=False)
    return EXIT_STATUS[outcome]


def _make_empty(run_directory: Path) -> None:
    """A run folder may be used again; what the run before left there must not be judged with this one."""
    run_directory.mkdir(parents=True, exist_ok=True)
    for name in RUN_FILES:
        (run_directory / name).unlink(missing_ok=True)


def run_on(lab: Cluster, run_directory: Path, duration_seconds: float, console: Console) -> Outcome:
    """The quick start on a lab that is up; leaves a whole run folder with its report."""
    stage = Stage.of(lab)
    check_before_run(lab, run_directory, lambda line: console.print(line, highlight=False, soft_wrap=True))
    with ManagementApi(lab.status().api) as api:
        console.print(f"{len(stage.nodes)} nodes are live; creating a distribution", highlight=False)
        distribution = create_distribution(api, stage.of_role(Role.ORIGIN)[0].reached_at)
        api.wait_deployed(distribution.id)
        url = f"http://{distribution.domain_name}:{stage.facts.viewer_port}/"
        console.print(f"{url} is deployed; viewers come for {duration_seconds:g} s", soft_wrap=True, highlight=False)
        run = QuickStartRun(stage, lab, api, distribution, run_directory, duration_seconds)
        _execute(run, run_directory, console)
    checks = judge(run, read_run(run_directory))
    _write_summary(run_directory, stage, checks)
    report = write_report(run_directory)
    _print_summary(console, read_run(run_directory), checks, report)
    return verdict(checks)


def _execute(run: QuickStartRun, run_directory: Path, console: Console) -> None:
    """What was seen is written down also after a failure, for it may be what explains it."""
    try:
        with LiveTable(console) as live:
            asyncio.run(run.run(live, PROFILE))
    except BaseExceptionGroup as group:
        raise _first_reason(group) from group
    finally:
        receipts = json.dumps(run.account.receipts, indent=2) + "\n"
        (run_directory / "receipts.json").write_text(receipts, encoding="utf-8")
        run.probe.write(run_directory / "probes.jsonl")


def _first_reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Tasks fail in groups; a person wants the one reason that ended the others."""
    first = group.exceptions[0]
    return _first_reason(first) if isinstance(first, BaseExceptionGroup) else first


def _keep_logs(lab: Cluster, run_directory: Path) -> None:
    """As far as there is a lab to ask: what went wrong before must not be hidden by this."""
    directory = run_directory / "logs"
    directory.mkdir(exist_ok=True)
    with suppress(LabError):
        for each in lab.status().nodes:
            lines = lab.logs(each.node.id, KEPT_LOG_LINES)
            (directory / f"{each.node.id}.log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def judge(run: QuickStartRun, data: RunData) -> list[Check]:
    """Every promise of the quick start, against what was seen."""
    account = run.account
    totals = region_totals(data)
    requests = sum(int(total["requests"]) for total in totals.values())
    return [
        check_freshness(run.probe.sightings, account.promises),
        check_failures(requests, failures_of(data), account.outage),
        check_patience(totals, float(data.totals.get("standstill_seconds", 0.0))),
        check_departure(run.dns_probe.answers, account.outage),
        check_return(account.outage, account.returned),
        check_tiers(tier_totals(data)),
    ]


def failures_of(data: RunData) -> list[Failure]:
    """What viewers saw, with its moments."""
    return [
        Failure(
            began_at=data.failure_moment(failure, "began_monotonic_ns"),
            at=data.failure_moment(failure, "monotonic_ns"),
            region=str(failure.get("region", "")),
            url=str(failure.get("url", "")),
            address=str(failure.get("address", "")),
            error=str(failure["error"]),
        )
        for failure in data.failures
    ]


def _write_summary(run_directory: Path, stage: Stage, checks: Sequence[Check]) -> None:
    nodes = [
        {"id": node.id, "role": node.role.value, "region": node.region, "pop": node.pop, "http": node.reached_at}
        for node in stage.nodes
    ]
    summary = {
        "topology_name": stage.facts.topology,
        "profile": PROFILE,
        "users": stage.facts.users,
        "nodes": nodes,
        "verdict": {"outcome": str(verdict(checks)), "checks": [check.to_json() for check in checks]},
    }
    (run_directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _print_summary(console: Console, data: RunData, checks: Sequence[Check], report: Path) -> None:
    console.print()
    for line in region_lines(data):
        console.print(line, highlight=False)
    console.print()
    for check in checks:
        console.print(f"{_MARKS[check.outcome]} {check.statement}", soft_wrap=True, highlight=False)
        for line in check.evidence:
            console.print(f"    {line}", style="dim", soft_wrap=True, highlight=False, markup=False)
    outcome = verdict(checks)
    console.print(f"\nVerdict: {outcome}", style=_STYLES[outcome], highlight=False)
    console.print(f"Report:  {report}", soft_wrap=True, highlight=False)
