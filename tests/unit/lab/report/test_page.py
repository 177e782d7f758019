"""The report of a run: drawn from deterministic synthetic runs, whole and with pieces missing."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lab.history.reader import HISTORY_FOLDER, history_of
from lab.history.run_files import read_run
from lab.history.schema import TABLES
from lab.report.data.axis import axis_of
from lab.report.data.history_curves import curves_of_history
from lab.report.writer import write_report
from tests.recorded_runs import CUT_LINK, FAILURES, ZERO_NS, write_recorded_run
from tests.recorded_runs import KILLED as EDGE_KILLED

START = 1_795_000_000
REGIONS = {"ap-northeast-1": 9.0, "eu-central-1": 3.0, "us-east-1": 2.0}
NODES = [
    ("control-plane", "control_plane", "us-east-1", ""),
    ("dns-1", "dns_router", "us-east-1", ""),
    ("fra-edge-1", "edge", "eu-central-1", "FRA56-P1"),
    ("fra-edge-2", "edge", "eu-central-1", "FRA56-P1"),
    ("fra-regional-1", "regional", "eu-central-1", "FRA56-P1"),
    ("iad-edge-1", "edge", "us-east-1", "IAD89-P1"),
    ("iad-edge-2", "edge", "us-east-1", "IAD89-P1"),
    ("iad-regional-1", "regional", "us-east-1", "IAD89-P1"),
    ("nrt-edge-1", "edge", "ap-northeast-1", "NRT57-P1"),
    ("nrt-edge-2", "edge", "ap-northeast-1", "NRT57-P1"),
    ("origin-1", "origin", "us-east-1", ""),
    ("origin-2", "origin", "us-east-1", ""),
]
REQUESTS = 100_000
"""Of the run with a history."""
KILLED, KILLED_AT, STARTED_AT = "fra-edge-1", 18, 25


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def load_lines(rng: Random, duration: int) -> list[dict[str, Any]]:
    lines = []
    for second in range(duration):
        warm = 1 - math.exp(-second / 5)
        for region, base in REGIONS.items():
            requests = int(180 * min(1, (second + 1) / 3) + rng.gauss(0, 12) + 40 * math.sin(second / 4))
            misses = int(requests * (0.5 * (1 - warm) + 0.03 + (0.08 if second in (14, 15) else 0)))
            p50 = base * (1 + 2 * (1 - warm)) * rng.uniform(0.9, 1.1)
            latency = {"p50": p50, "p95": p50 * 4, "p99": p50 * 9, "max": p50 * 14}
            failed = 2 if (second, region) == (KILLED_AT, "eu-central-1") else 0
            results = {"Hit": requests - misses - failed, "Miss": misses, "RefreshHit": 3, "Error": 0}
            lines.append(
                {"time": START + second, "region": region, "profile": "mixed", "requests": requests, "failures": failed}
                | {"bytes": requests * 5200, "latency_ms": latency, "results": results, "users": 12, "stalls": 0}
            )
    return lines


def metrics_lines(rng: Random, duration: int) -> list[dict[str, Any]]:
    lines, totals = [], {node: {"hit": 0, "miss": 0, "refresh_hit": 0, "pass": 0} for node, *_ in NODES}
    for second in range(duration):
        warm = 1 - math.exp(-second / 5)
        for node, role, _region, pop in NODES:
            is_up = not (node == KILLED and KILLED_AT <= second < STARTED_AT)
            if second == STARTED_AT and node == KILLED:
                totals[node] = dict.fromkeys(totals[node], 0)  # counters of a new process
            share = {"edge": 0.55 + 0.4 * warm, "regional": 0.3 + 0.45 * warm}.get(role, 0.0)
            if is_up and role in ("edge", "regional"):
                requests = int(90 * rng.uniform(0.9, 1.1))
                totals[node]["hit"] += int(requests * share)
                totals[node]["miss"] += requests - int(requests * share)
            lines.append(
                {"time": START + second + 0.2, "node": node, "role": role, "pop": pop, "up": is_up}
                | {"requests": dict(totals[node]), "bytes_sent": 1, "origin_fetches": totals[node]["miss"] // 3}
                | {"store_bytes": 0, "applied_index": 7}
            )
    return lines


def receipt() -> dict[str, Any]:
    nodes = [
        {
            "id": node,
            "state": "acknowledged",
            "acknowledged_at": "2026-11-18T10:53:34Z",
            "seconds": 0.004 + 0.0031 * number,
        }
        | {"left_out_since": None}
        for number, (node, role, *_) in enumerate(NODES)
        if role in ("edge", "regional", "dns_router") and node != "nrt-edge-2"
    ]
    left_out = {"id": "nrt-edge-2", "state": "left_out", "acknowledged_at": None, "seconds": None}
    return {
        "invalidation_id": "I2EXAMPLE7",
        "distribution_id": "E1EXAMPLE",
        "index": 9,
        "paths": ["/bucket/news/*"],
        "issued_at": "2026-11-18T10:53:34.000Z",
        "status": "Completed",
        "completed_at": "2026-11-18T10:53:34.038Z",
        "nodes": [*nodes, left_out | {"left_out_since": "2026-11-18T10:53:30Z"}],
    }


def summary() -> dict[str, Any]:
    checks = [
        {"name": "freshness", "outcome": "valid", "statement": "No viewer saw the old object after its receipt.",
         "evidence": ["1,204 probes of 6 edges; 611 began after the receipt, all saw version 2"]},
        {"name": "failures", "outcome": "invalid", "statement": "No viewer saw an error.",
         "evidence": ["2 failures, <script>alert(1)</script>"]},
        {"name": "routing", "outcome": "unknown", "statement": "The killed edge left DNS answers in time.", "evidence": []},
    ]  # fmt: skip
    nodes = [
        {"id": node, "role": role, "region": region, "pop": pop, "http": f"127.16.1.{number}:8080"}
        for number, (node, role, region, pop) in enumerate(NODES)
    ]
    return {"profile": "mixed", "users": 36, "topology_name": "three-regions", "nodes": nodes} | {
        "verdict": {"outcome": "invalid", "checks": checks}
    }


def write_synthetic_run(directory: Path, duration: int = 32) -> Path:
    """A run like that of `make lab`, the same at every call."""
    rng = Random(7)
    directory.mkdir(parents=True, exist_ok=True)
    events = [
        (12.4, "origin_change", "news/front.json", "origin-1 has version 2 of news/front.json"),
        (12.6, "invalidation", "I2EXAMPLE7", "/bucket/news/* invalidated as I2EXAMPLE7"),
        (12.7, "receipt", "I2EXAMPLE7", "I2EXAMPLE7 completed by 8 nodes in 38 ms"),
        (KILLED_AT, "kill", KILLED, "fra-edge-1 killed with SIGKILL"),
        (STARTED_AT, "start", KILLED, "fra-edge-1 started again"),
    ]
    write_lines(directory / "load.jsonl", load_lines(rng, duration))
    write_lines(directory / "metrics.jsonl", metrics_lines(rng, duration))
    write_lines(
        directory / "events.jsonl",
        [{"time": START + at, "kind": kind, "subject": subject, "text": words} for at, kind, subject, words in events],
    )
    failure = {"time": START + 18.1, "region": "eu-central-1", "url": "/pages/3.html", "address": "127.16.0.3"}
    write_lines(directory / "failures.jsonl", [failure | {"error": "closed before the end <b>of the response</b>"}] * 2)
    (directory / "receipts.json").write_text(json.dumps([receipt()]), encoding="utf-8")
    (directory / "summary.json").write_text(json.dumps(summary()), encoding="utf-8")
    return directory


class Page(HTMLParser):
    """What a browser would load, and what a person would read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.references: list[str] = []
        self.elements: list[str] = []
        self.words: list[str] = []
        self.ids: set[str] = set()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                self.references.append(f"{tag} {name}={value}")
            if name == "id" and value:
                self.ids.add(value)

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def data(self) -> dict[str, Any]:
        """What the drawings are told."""
        match = re.search(r"<script type='application/json' id='data'>(.*?)</script>", self.source, re.DOTALL)
        assert match is not None
        data: dict[str, Any] = json.loads(match.group(1))
        return data

    def series(self, panel: str) -> dict[str, list[float | None]]:
        """The curves of a panel of the timeline, by name."""
        found = next(each for each in self.data["timeline"]["panels"] if each["id"] == panel)
        return {each["name"]: each["values"] for each in found["series"]}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(write_synthetic_run(tmp_path_factory.mktemp("runs") / "synthetic")))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Of a run with a history, and with nothing else but what the lab says of it."""
    return Page(write_report(write_recorded_run(tmp_path_factory.mktemp("runs") / "recorded", REQUESTS)))


def test_loads_nothing_from_outside(report: Page) -> None:
    assert [each for each in report.references if "href=#" not in each and "href=data:," not in each] == []
    style = re.search(r"<style>(.*?)</style>", report.source, re.DOTALL)
    assert style is not None
    assert "@import" not in style.group(1)
    assert "url(" not in style.group(1)
    script = report.source.split("<script>")[-1]
    assert not re.search(r"\bimport\b|\bfetch\(|XMLHttpRequest|https://", script)


def test_every_anchor_of_the_navigation_is_there(report: Page) -> None:
    anchors = [each.partition("href=#")[2] for each in report.references if "href=#" in each]
    assert anchors
    assert set(anchors) <= report.ids


def test_a_run_without_a_history_has_every_curve_from_its_files(report: Page) -> None:
    panels = [panel["id"] for panel in report.data["timeline"]["panels"]]
    latency = ["latency-p50", "latency-p95", "latency-p99"]
    assert panels == ["requests", "results", "hit-ratio", "origin-fetches", "errors", *latency]
    assert set(report.series("latency-p99")) == set(REGIONS)
    assert report.series("errors")["eu-central-1"][KILLED_AT] == 2
    assert [(mark["number"], mark["began"]) for mark in report.data["timeline"]["marks"]][3:] == [(4, 18.0), (5, 25.0)]
    outage = [(band["label"], band["began"], band["ended"]) for band in report.data["timeline"]["bands"]]
    assert outage == [(f"{KILLED} down", KILLED_AT + 0.2, STARTED_AT + 0.2)]
    assert report.data["world"] is None, "nobody wrote down where it was"


def test_a_history_gives_exact_percentiles_and_counts(tmp_path: Path) -> None:
    """Ten requests of one second: the second slowest tenth is between the two slowest."""
    requests = [
        {"id": str(number), "region": "us-east-1", "intended_ns": ZERO_NS, "ended_ns": ZERO_NS + number * 10_000_000}
        | {"x_cache": "Hit from cloudfront" if number < 8 else "Miss from cloudfront"}
        | {"error": "reset" if number == 10 else None}
        for number in range(1, 11)
    ]
    history = history_of({"requests": requests})
    axis = axis_of(read_run(tmp_path), history)
    curves = curves_of_history(history, axis)
    history.close()
    assert [series.name for series in curves.results] == ["Hit", "Miss", "failed"]
    assert [series.values[0] for series in curves.results] == [7, 2, 1]
    assert [round(curves.latency[name][0].values[0] or 0, 6) for name in ("p50", "p95", "p99")] == [55.0, 95.5, 99.1]
    assert curves.hit_ratio == ()


def test_traffic_of_the_map_adds_up_in_every_phase(recorded: Page) -> None:
    whole, before, kill, cut = recorded.data["world"]["phases"]
    assert [phase["label"] for phase in (whole, before)] == ["Whole run", "Before"]
    assert kill["label"] == f"kill {EDGE_KILLED}"
    assert cut["label"] == f"cut {CUT_LINK}"

    def count(phase: dict[str, Any], hop: str, name: str = "requests") -> int:
        return sum(flow[name] for flow in phase["flows"] if flow["hop"] == hop)

    assert count(whole, "edge") == REQUESTS
    assert count(whole, "edge", "errors") == FAILURES == count(kill, "edge", "errors")
    assert count(before, "edge") == REQUESTS // 3 + 1, "a third of the time"
    assert 0 < count(whole, "origin") < count(whole, "regional") < count(whole, "edge")
    served = {name: load["requests"] for name, load in whole["loads"].items()}
    assert sum(load for name, load in served.items() if name.startswith("edge@")) == REQUESTS - FAILURES
    assert sum(load for name, load in served.items() if name.startswith("regional@")) == count(whole, "regional")
    assert kill["faulted"] == {EDGE_KILLED: "kill"}
    arc = next(flow for flow in cut["flows"] if flow["link"] == CUT_LINK)
    assert arc["delay"] == {"asked": 40.0, "measured": 40.62}, "both ways together"


def test_a_hundred_thousand_requests_are_a_small_page(recorded: Page) -> None:
    assert len(recorded.source) < 400_000


def test_marks_faults_and_invalidations_of_a_history_are_on_the_axis(recorded: Page) -> None:
    timeline = recorded.data["timeline"]
    assert len(timeline["marks"]) == 30
    assert [(band["lane"], band["began"], band["ended"]) for band in timeline["bands"][:3]] == [
        ("fault", 20.0, 35.2),
        ("fault", 40.0, timeline["duration"]),
        ("invalidation", 10.0, 10.4),
    ]
    assert "write news/3.txt" in {mark["label"] for mark in timeline["marks"]}


def test_evidence_has_the_way_of_its_request(recorded: Page) -> None:
    assert recorded.text.count("got version 1 after the receipt for version 2") == 1
    assert "A viewer in us-west-2 asked for GET" in recorded.text
    assert "AbC_<x>" in recorded.text
    assert "and 58 more, which are in the history" in recorded.text
    assert recorded.text.index("Nobody got content older") < recorded.text.index("Every body was whole"), (
        "what is broken first"
    )


def test_errors_and_receipts_come_from_the_history(recorded: Page) -> None:
    assert recorded.text.count("connection reset") == FAILURES
    assert "I0: complete in 400 ms · /bucket/news/*" in recorded.text


def test_a_history_of_which_nothing_is_known_but_that_it_was_is_drawn_as_well(tmp_path: Path) -> None:
    """A row may be NULL in every column but the one that makes it a row."""
    folder = tmp_path / "run" / HISTORY_FOLDER
    folder.mkdir(parents=True)
    history = history_of({table.name: [{}, {table.columns[0].name: 1}] for table in TABLES})
    for table in TABLES:
        history.connection.execute(f"COPY {table.name} TO '{folder / table.name}.parquet'")
    history.close()
    assert "Made by cdnlab" in Page(write_report(folder.parent)).text


def test_says_how_to_do_it_again_and_how_to_ask(recorded: Page) -> None:
    assert "cdnlab run edge-loss --seed 7" in recorded.text
    assert 'cdnlab query recorded "SELECT' in recorded.text


def test_the_failover_table_has_five_times_and_what_viewers_saw(recorded: Page) -> None:
    assert "5.02 s 5.03 s 5.20 s 0.11 s 0.00 s" in recorded.text, "in a row"
    assert f"the lease of {EDGE_KILLED} ended" in recorded.text
    assert "dns-1 was the last of 1 to follow" in recorded.text
    assert "40 (1.4%)" in recorded.text
    assert "edge-iad89-p1-2 (2,778)" in recorded.text


def test_says_the_verdict_with_its_evidence(report: Page) -> None:
    assert "✗ Invalid" in report.text
    assert "No viewer saw the old object after its receipt." in report.text
    assert "all saw version 2" in report.text


def test_text_of_a_run_stays_text(report: Page) -> None:
    assert "<script>alert(1)</script>" in report.text
    assert "closed before the end <b>of the response</b>" in report.text
    assert report.elements.count("script") == 2


def test_lists_receipt_nodes_and_failures(report: Page) -> None:
    for node, *_ in NODES:
        assert node in report.text
    assert "left out since 2026-11-18T10:53:30Z" in report.text
    assert "/pages/3.html" in report.text
    assert "38.0" in report.text  # milliseconds from issue to completion


@pytest.mark.parametrize(
    "missing",
    ["load.jsonl", "failures.jsonl", "events.jsonl", "receipts.json", "metrics.jsonl", "summary.json"],
)
def test_a_missing_piece_is_left_out(tmp_path: Path, missing: str) -> None:
    run = write_synthetic_run(tmp_path / "run")
    (run / missing).unlink()
    page = Page(write_report(run))
    assert ("Unknown" in page.text) == (missing == "summary.json")
    assert ("Invalidation receipts" in page.text) == (missing != "receipts.json")
    assert ("edge hit ratio" in page.text) == (missing not in ("metrics.jsonl", "load.jsonl"))


def test_an_empty_run_has_no_verdict_and_no_drawings(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path))
    assert page.data == {"world": None, "timeline": None}
    assert "no verdict" in page.text


def test_a_run_that_was_cut_short_is_read_up_to_the_cut(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run")
    path = run / "load.jsonl"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-40], encoding="utf-8")
    (run / "summary.json").write_text('{"verdict"', encoding="utf-8")
    assert len(read_run(run).load) == whole.count("\n") - 1
    assert set(Page(write_report(run)).series("requests")) == set(REGIONS)


def test_a_run_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run at"):
        write_report(tmp_path / "nothing")
