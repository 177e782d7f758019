"""The report of a run: one HTML page that says what was promised, what happened, and shows the evidence.

`write_report(run_directory)` reads what the run left (history/run_files.py), draws it (plots.py) and sets it (page.py).
This module decides what a reader gets to see and in which order: the verdict first, then figures, then the pictures.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.history.run_files import (
    Record,
    RunData,
    hit_ratio_by_tier,
    latency_by_region,
    node_timeline,
    origin_fetches,
    read_run,
    region_totals,
    tier_totals,
    traffic_by_region,
    traffic_by_result,
)
from lab.report import plots
from lab.report.page import Markup, Plots, element, join, page, section, table, text
from proto.moments import NANOSECONDS_PER_SECOND

MAXIMUM_LISTED_FAILURES = 100

_MARKS = {"valid": "✓", "invalid": "✗", "unknown": "?"}
_HEADLINES = {"valid": "Valid", "invalid": "Invalid", "unknown": "Unknown"}


def write_report(run_directory: Path) -> Path:
    """`report.html` in the run's folder. Pieces that the run did not leave are left out."""
    path = run_directory / "report.html"
    path.write_text(render(read_run(run_directory)), encoding="utf-8")
    return path


def render(run: RunData) -> str:
    drawings = Plots()
    timeline = plots.event_timeline(run.events, run.first_time, run.last_time)
    body = [
        _header(run),
        _checks(run),
        _figures(run),
        _events(run),
        _traffic(run, drawings, timeline),
        _hit_ratio(run, drawings, timeline),
        _latency(run, drawings, timeline),
        _receipts(run, drawings),
        _nodes(run, drawings, timeline),
        _links(run),
        _failures(run),
        element(
            "footer", text("Made by cdnlab from the files beside this page. Nothing in it is loaded from elsewhere.")
        ),
    ]
    return page(f"cdnlab run {run.name}", body, drawings)


def _header(run: RunData) -> Markup:
    outcome = _outcome(run.summary.get("verdict", {}))
    facts = [_when(run.began_at)] if run.first_time else []
    facts.append(f"{run.last_time - run.first_time:.0f} s")
    facts += [str(run.summary[name]) for name in ("profile", "topology_name") if run.summary.get(name)]
    if run.summary.get("users"):
        facts.append(f"{run.summary['users']} users")
    title = element(
        "div",
        [
            element("p", text("cdnlab run"), "kicker"),
            element("h1", text(run.name)),
            element("p", text(" · ".join(facts)), "note"),
        ],
    )
    verdict = element("div", text(f"{_MARKS[outcome]} {_HEADLINES[outcome]}"), f"verdict {outcome}")
    return element("header", [title, verdict])


def _outcome(record: Mapping[str, Any]) -> str:
    outcome = str(record.get("outcome", "unknown"))
    return outcome if outcome in _MARKS else "unknown"


def _when(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")


def _checks(run: RunData) -> Markup:
    """What was promised, whether it held, and what shows it."""
    checks = run.summary.get("verdict", {}).get("checks", [])
    if not checks:
        return element("p", text("No checks were made in this run, so it has no verdict."), "note")
    return element("ul", [_check(check) for check in checks], "card checks")


def _check(check: Record) -> Markup:
    outcome = _outcome(check)
    evidence = [element("li", text(line)) for line in check.get("evidence", [])]
    statement = element("div", [text(check.get("statement", "")), element("ul", evidence) if evidence else Markup("")])
    return element("li", [element("span", text(_MARKS[outcome]), f"mark {outcome}"), statement])


def _figures(run: RunData) -> Markup:
    totals = region_totals(run)
    if not totals:
        return Markup("")
    requests = sum(total["requests"] for total in totals.values())
    failures = sum(total["failures"] for total in totals.values())
    peak = _peak_rate(run)
    figures = [
        _figure("requests", f"{requests:,}"),
        _figure("failures", f"{failures:,}"),
        _figure("peak rate", f"{peak:,.0f}", "/ s"),
    ]
    figures += [
        _figure(f"{tier} hit ratio", f"{hits / total * 100:.1f}", "%")
        for tier, (hits, total) in sorted(tier_totals(run).items())
        if total
    ]
    slowest = max((total["latency_ms"].get("p95", 0.0) for total in totals.values()), default=0.0)
    figures.append(_figure("p95, slowest region", _milliseconds(slowest), "ms"))
    receipts = [_receipt_seconds(receipt) for receipt in run.receipts]
    known = [seconds for seconds in receipts if seconds is not None]
    if known:
        figures.append(_figure("invalidation to receipt", _milliseconds(max(known) * 1000), "ms"))
    return element("div", figures, "figures")


def _figure(name: str, value: str, unit: str = "") -> Markup:
    suffix = element("small", text(unit)) if unit else Markup("")
    figure = element("div", [text(value), suffix], "figure")
    return element("div", [element("div", text(name), "figure-name"), figure], "card")


def _peak_rate(run: RunData) -> float:
    rates: dict[int, float] = {}
    for point in traffic_by_region(run):
        rates[point["second"]] = rates.get(point["second"], 0.0) + point["rate"]
    return max(rates.values(), default=0.0)


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _events(run: RunData) -> Markup:
    items = [
        element(
            "li",
            [
                element("b", text(number)),
                element("time", text(f"{float(event['time']) - run.first_time:.1f} s  ")),
                text(event.get("text") or f"{event['kind']} {event.get('subject', '')}"),
            ],
        )
        for number, event in enumerate(run.events, start=1)
    ]
    listing = element("ol", items, "events") if items else Markup("")
    return section("What was done", "The numbers mark the same moments in every plot below.", [listing])


def _traffic(run: RunData, drawings: Plots, timeline: plots.Timeline) -> Markup:
    if not run.load:
        return Markup("")
    order = {result: rank for rank, result in enumerate(plots.RESULT_COLORS)}
    by_result = [{**point, "rank": order.get(point["result"], len(order))} for point in traffic_by_result(run)]
    by_region = plots.area_over_time(traffic_by_region(run), "region", timeline)
    by_word = plots.area_over_time(by_result, "result", timeline, plots.RESULT_COLORS)
    placed = [
        drawings.place("Requests by region of the viewers", by_region),
        drawings.place("Requests by result", by_word),
    ]
    note = "As viewers saw it: requests completed in each second, and what the X-Cache header of the edge said of them."
    return section("Traffic", note, [element("div", placed, "plots")])


def _hit_ratio(run: RunData, drawings: Plots, timeline: plots.Timeline) -> Markup:
    ratios = hit_ratio_by_tier(run)
    if not ratios:
        return Markup("")
    placed = [
        drawings.place("Hit ratio by tier", plots.lines_over_time(ratios, "tier", "ratio", timeline, plots.TIER_COLORS))
    ]
    fetches = origin_fetches(run)
    if fetches:
        placed.append(
            drawings.place("Fetches from the origins", plots.rate_over_time(fetches, "fetches / s", timeline))
        )
    note = (
        "From the counters of the nodes: cacheable requests answered from a cache, as a share of all cacheable requests "
        "that reached the tier. A regional cache sees only what its edges missed."
    )
    return section("Hit ratio", note, [element("div", placed, "plots")])


def _latency(run: RunData, drawings: Plots, timeline: plots.Timeline) -> Markup:
    points = latency_by_region(run)
    highest = max((point["milliseconds"] for point in points), default=0.0)
    placed = []
    for region in run.regions:
        own = [point for point in points if point["region"] == region]
        placed.append(drawings.place(region, plots.latency_over_time(own, timeline, highest)))
    note = "Milliseconds from the moment at which a viewer meant to send a request until the last byte of its response."
    return section(
        "Latency", note, [_latency_table(run), element("div", placed, "plots small") if placed else Markup("")]
    )


def _latency_table(run: RunData) -> Markup:
    totals = region_totals(run)
    is_worst = any(total.get("is_worst") for total in totals.values())
    columns = ["region", "requests", "failures", "MB", "p50 ms", "p95 ms", "p99 ms", "max ms", "hit", "stalls"]
    if is_worst:
        columns[4:7] = [f"worst second's {name}" for name in columns[4:7]]
    rows = [[element("code", text(region)), *_latency_cells(total)] for region, total in sorted(totals.items())]
    return table(columns, rows, frozenset(range(1, len(columns))))


def _latency_cells(total: Record) -> list[Markup]:
    latency, results = total.get("latency_ms", {}), total.get("results", {})
    counted = sum(results.values())
    hits = results.get("Hit", 0) + results.get("RefreshHit", 0)
    cells = [f"{total['requests']:,}", f"{total['failures']:,}", f"{total.get('bytes', 0) / 1e6:,.1f}"]
    cells += [_milliseconds(float(latency.get(name, 0.0))) for name in ("p50", "p95", "p99", "max")]
    cells += [f"{hits / counted:.1%}" if counted else "–", str(total.get("stalls", 0))]
    return [text(cell) for cell in cells]


def _receipts(run: RunData, drawings: Plots) -> Markup:
    roles = {str(node.get("id")): str(node.get("role", "")) for node in run.summary.get("nodes", [])}
    parts = [_receipt(receipt, roles, drawings) for receipt in run.receipts]
    note = (
        "An invalidation is complete when every node with a live lease has applied it and said so. Nodes without a lease "
        "are left out of DNS answers, and catch up before they come back."
    )
    return section("Invalidation receipts", note, parts)


def _receipt_seconds(receipt: Record) -> float | None:
    """From issue to completion, as the control plane's clock had it; of a receipt without a clock, by its wall times; else the slowest node."""
    issued_ns, completed_ns = receipt.get("issued_monotonic_ns"), receipt.get("completed_monotonic_ns")
    if issued_ns is not None and completed_ns is not None:
        return float(completed_ns - issued_ns) / NANOSECONDS_PER_SECOND
    issued, completed = _parse_time(receipt.get("issued_at")), _parse_time(receipt.get("completed_at"))
    if issued is not None and completed is not None and "clock" not in receipt:
        return (completed - issued).total_seconds()
    seconds = [float(node["seconds"]) for node in receipt.get("nodes", []) if node.get("seconds") is not None]
    return max(seconds, default=None)


def _parse_time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None


def _receipt(receipt: Record, roles: Mapping[str, str], drawings: Plots) -> Markup:
    nodes = receipt.get("nodes", [])
    bars = [
        {"node": node["id"], "role": roles.get(node["id"], "node"), "milliseconds": float(node["seconds"]) * 1000}
        for node in nodes
        if node.get("seconds") is not None
    ]
    seconds = _receipt_seconds(receipt)
    taken = f" in {_milliseconds(seconds * 1000)} ms" if seconds is not None else ""
    title = f"{receipt.get('invalidation_id', 'invalidation')}: {receipt.get('status', 'unknown')}{taken}"
    paths = ", ".join(str(path) for path in receipt.get("paths", []))
    facts = f"{title} · {paths} · log index {receipt.get('index', '?')}"
    drawing = drawings.place(facts, plots.receipt_bars(bars)) if bars else element("h3", text(facts))
    rows = [
        [
            element("code", text(node.get("id", ""))),
            text(str(node.get("state", "")).replace("_", " ")),
            _acknowledged(node),
        ]
        for node in nodes
    ]
    rows_table = table(["node", "state", "acknowledged"], rows)
    return element("div", [drawing, rows_table], "plots")


def _acknowledged(node: Record) -> Markup:
    if node.get("seconds") is not None:
        return text(f"{node.get('acknowledged_at', '')}, after {float(node['seconds']) * 1000:.1f} ms")
    return text(f"left out since {node['left_out_since']}" if node.get("left_out_since") else "not yet")


def _nodes(run: RunData, drawings: Plots, timeline: plots.Timeline) -> Markup:
    states = node_timeline(run)
    placed = [drawings.place("Answering on their admin ports", plots.node_bars(states, timeline))] if states else []
    known = run.summary.get("nodes", [])
    rows = [
        [element("code", text(node.get("id", "")))]
        + [text(str(node.get(name) or "–").replace("_", " ")) for name in ("role", "region", "pop", "http")]
        for node in known
    ]
    topology = table(["node", "role", "region", "POP", "address"], rows)
    return section("Nodes", "", [join(element("div", part, "plots") for part in placed), topology])


def _links(run: RunData) -> Markup:
    """How far the places were from each other, as the relays measured it before the run."""
    trips: dict[str, list[Record]] = {}
    for each in run.links:
        if each.get("what") == "delay":
            trips.setdefault(str(each["link"]), []).append(each)
    rows = [
        [
            text(link.replace("--", " – ")),
            text(f"{_both_ways(ways, 'asked')} ms"),
            text(f"{_both_ways(ways, 'measured')} ms"),
        ]
        for link, ways in trips.items()
    ]
    if not rows:
        return Markup("")
    note = "Round trips between the places, both ways together, measured before the run."
    return section("Distance", note, [table(["link", "asked", "measured"], rows)])


def _both_ways(ways: Sequence[Record], name: str) -> str:
    values = [way.get(name) for way in ways]
    return "–" if None in values else f"{sum(float(value) for value in values if value is not None):.1f}"


def _failures(run: RunData) -> Markup:
    rows = [
        [
            text(f"{float(failure['time']) - run.first_time:.2f} s"),
            text(failure.get("region", "")),
            element("code", text(failure.get("url", ""))),
            element("code", text(failure.get("address", ""))),
            text(failure.get("error", "")),
        ]
        for failure in run.failures[:MAXIMUM_LISTED_FAILURES]
    ]
    total = len(run.failures)
    note = f"The first {MAXIMUM_LISTED_FAILURES} of {total:,}." if total > MAXIMUM_LISTED_FAILURES else ""
    listing = table(["at", "region", "URL", "address", "error"], rows)
    if not rows and run.load:
        listing = element("p", text("No viewer saw an error."), "note")
    return section("Failures that viewers saw", note, [listing])
