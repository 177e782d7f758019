"""The end of a report: what the run had to reach, how it is done again, and how its history is asked."""

import shlex
from collections.abc import Mapping

from lab.history.run_files import Record
from lab.report.markup import NOTHING, Markup, element, fold, join, section, table, text
from lab.report.view import RunView

_QUESTIONS = (
    (
        "slowest requests",
        "SELECT id, region, path, (ended_ns - intended_ns) / 1e6 AS ms FROM viewer_requests ORDER BY ms DESC LIMIT 10",
    ),
    (
        "errors by region and edge",
        "SELECT region, address, error, count(*) FROM viewer_requests WHERE error IS NOT NULL GROUP BY ALL ORDER BY 4 DESC",
    ),
    (
        "results by node and reason",
        "SELECT node, result, reason, count(*) FROM served GROUP BY ALL ORDER BY node, 4 DESC",
    ),
)


def scenario_section(view: RunView) -> Markup:
    summary, scenario = view.run.summary, scenario_of(view.run.summary)
    parts, gates = [], scenario.get("gates")
    if isinstance(gates, dict | list) and gates:
        listed = gates.items() if isinstance(gates, dict) else enumerate(gates, start=1)
        parts.append(
            table(["gate", "asked for"], [[element("code", text(name)), text(_plain(value))] for name, value in listed])
        )
    seed = scenario.get("seed", summary.get("seed"))
    command = _command(scenario, seed)
    again = (
        element("div", [element("h3", text("Again")), element("pre", text(command))], "card") if command else NOTHING
    )
    return section("repeat", "Scenario", "", [*parts, again, _questions(view)])


def scenario_of(summary: Record) -> dict[str, object]:
    """What summary.json says of the scenario: title, description, seed, gates, ..."""
    scenario = summary.get("scenario")
    return dict(scenario) if isinstance(scenario, dict) else {}


def _command(scenario: Mapping[str, object], seed: object) -> str:
    """`command` of the scenario where it says how it was begun. Empty: nobody knows."""
    given = scenario.get("command")
    if given:
        return str(given)
    name = scenario.get("file") or scenario.get("name")
    if not name:
        return ""
    words = ["cdnlab", "run", str(name)] + ([] if seed is None else ["--seed", str(seed)])
    return shlex.join(words)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return str(value)


def _questions(view: RunView) -> Markup:
    """Only of a run that has something to ask."""
    if not view.has_history:
        return NOTHING
    run = shlex.quote(view.run.name)
    asked = [
        join([element("p", text(what), "soft"), element("pre", text(f'cdnlab query {run} "{question}"'))])
        for what, question in _QUESTIONS
    ]
    return fold(text("Ask the history of this run"), element("div", asked, "inside"))
