"""The report of a run: one HTML page that says what was promised, what happened, and shows the evidence.

`write_report(run_directory)` reads what the run left: its files (history/run_files.py) and, where there is one, its history. This module decides in which
order a reader gets to see it: the verdict first, then the pictures, then the figures.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lab.errors import LabError
from lab.history.reader import open_history
from lab.history.run_files import read_run
from lab.report.data.predicted import Forecast, forecast_of
from lab.report.drawings import timeline_document, world_document
from lab.report.failovers import failover_section
from lab.report.figures import (
    errors_section,
    figures,
    load_section,
    nodes_section,
    traffic_table,
)
from lab.report.markup import NOTHING, Markup, element, fold, section, text
from lab.report.page import page
from lab.report.predictions import prediction_section
from lab.report.receipts import receipts_section
from lab.report.repeating import scenario_of, scenario_section
from lab.report.verdicts import verdict_pill, verdict_section
from lab.report.view import RunView, view_of

MOST_MARKS_AT_ONCE = 12
"""More are listed behind a click."""
_SECTIONS = {
    "verdict": "Verdict",
    "world": "World",
    "timeline": "Timeline",
    "failover": "Failover",
    "load": "Load",
    "prediction": "Prediction",
    "receipts": "Receipts",
    "nodes": "Nodes",
    "failures": "Failures",
    "repeat": "Scenario",
}


def write_report(run_directory: Path) -> Path:
    """`report.html` in the run's folder. Pieces that the run did not leave are left out. FileNotFoundError when there is no such folder."""
    run = read_run(run_directory)
    history = open_history(run_directory)
    try:
        page_of_run = render(view_of(run, history), forecast_of(run, history, run_directory))
    except duckdb.Error as error:
        raise LabError(f"the history of {run_directory} is damaged: {str(error).partition(chr(10))[0]}") from error
    finally:
        history.close()
    path = run_directory / "report.html"
    path.write_text(page_of_run, encoding="utf-8")
    return path


def render(view: RunView, forecast: Forecast | None = None) -> str:
    world, timeline = world_document(view), timeline_document(view)
    summary = view.run.summary
    sections = [
        verdict_section(summary),
        _world(view, has_map=world is not None),
        _timeline(view) if timeline else NOTHING,
        failover_section(summary),
        load_section(view),
        prediction_section(forecast),
        receipts_section(view.receipts),
        nodes_section(view),
        errors_section(view),
        scenario_section(view),
    ]
    made_by = "Made by cdnlab from the files beside this page. Nothing in it is loaded from elsewhere."
    verdict, *others = sections
    body = [_header(view), _navigation(sections), verdict, figures(view), *others, element("footer", text(made_by))]
    return page(f"cdnlab run {view.run.name}", body, {"world": world, "timeline": timeline})


def _header(view: RunView) -> Markup:
    summary = view.run.summary
    scenario = scenario_of(summary)
    facts = [_when(view.began_at)] if view.began_at else []
    facts.append(f"{view.axis.duration_seconds:.0f} s")
    facts += [str(summary[name]) for name in ("profile", "topology_name") if summary.get(name)]
    if summary.get("users"):
        facts.append(f"{summary['users']} users")
    if scenario.get("seed") is not None:
        facts.append(f"seed {scenario['seed']}")
    description = scenario.get("description")
    title = element(
        "div",
        [
            element("p", text(f"cdnlab run {view.run.name}" if scenario.get("title") else "cdnlab run"), "kicker"),
            element("h1", text(scenario.get("title") or view.run.name)),
            element("p", text(" · ".join(facts)), "note"),
            element("p", text(description), "lead") if description else NOTHING,
        ],
    )
    return element("header", [title, verdict_pill(summary)])


def _when(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")


def _navigation(sections: Iterable[Markup]) -> Markup:
    """To what is there."""
    names = [name for name, part in zip(_SECTIONS, sections, strict=True) if part]
    return element("nav", [element("a", text(_SECTIONS[name]), attributes={"href": f"#{name}"}) for name in names])


def _drawing(name: str, css_class: str) -> Markup:
    return element("div", NOTHING, f"card {css_class}", {"id": f"{name}-drawing"})


def _world(view: RunView, *, has_map: bool) -> Markup:
    """Of a run that does not say where it was, only what is known between its places."""
    if not has_map:
        return section("world", "Distance", "", [traffic_table(view)])
    counted = (
        "Arcs are as wide as the requests a second that went over them."
        if view.has_history
        else "This run has no history, so nobody knows what went over which link: lines are the links between the regions."
    )
    note = f"{counted} Touch or point at a place or an arc for its figures; red rings are nodes with a fault, or that did not answer."
    return section("world", "World", note, [_drawing("world", "map"), traffic_table(view)])


def _timeline(view: RunView) -> Markup:
    items = [
        element(
            "li",
            [
                element("b", text(mark.number), attributes={"style": f"background:var(--{mark.lane})"}),
                element("time", text(f"{mark.began:.1f} s")),
                text(mark.text),
            ],
        )
        for mark in view.marks
    ]
    listing = element("ol", items, "done") if items else NOTHING
    if len(items) > MOST_MARKS_AT_ONCE:
        listing = fold(text(f"All {len(items)} marks in words"), element("div", listing, "inside"))
    percentiles = (
        "exact percentiles of what ended in each step"
        if view.has_history
        else "percentiles of each second, of the worst second where steps are longer"
    )
    note = (
        f"Seconds since the run began, in steps of {view.axis.step_seconds} s. Numbers mark the same moments everywhere, and shaded stretches are faults. "
        f"Drag over a stretch to see it closer. Latency is from when a viewer meant to ask until the last byte; {percentiles}."
    )
    return section("timeline", "Timeline", note, [_drawing("timeline", "panels"), listing])
