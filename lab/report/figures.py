"""The figures of a run: a row of cards, and the tables of load, traffic, nodes and failures."""

from lab.report.data.outages import Watched
from lab.report.data.totals import RegionTotal
from lab.report.markup import NOTHING, Markup, element, fold, section, table, text
from lab.report.numbers import megabytes, milliseconds, percent
from lab.report.view import RunView

MOST_FLOWS = 200


def figures(view: RunView) -> Markup:
    """Those that everybody asks for first."""
    if not view.regions:
        return NOTHING
    cards = [
        _figure("requests", f"{sum(each.requests for each in view.regions):,}"),
        _figure("errors", f"{sum(each.failures for each in view.regions):,}"),
        _figure("peak rate", f"{_peak_rate(view):,.0f}", "/ s"),
    ]
    cards += [
        _figure(f"{each.tier} hit ratio", f"{each.hits / each.requests * 100:.1f}", "%")
        for each in view.tiers
        if each.requests
    ]
    slowest = max((each.latency.get("p95", 0.0) for each in view.regions), default=0.0)
    cards.append(_figure("p95, slowest region", milliseconds(slowest), "ms"))
    known = [each.seconds for each in view.receipts if each.seconds is not None]
    if known:
        cards.append(_figure("slowest receipt", milliseconds(max(known) * 1000), "ms"))
    return element("div", cards, "figures")


def _figure(name: str, value: str, unit: str = "") -> Markup:
    suffix = element("small", text(unit)) if unit else NOTHING
    figure = element("div", [text(value), suffix], "figure")
    return element("div", [element("div", text(name), "figure-name"), figure], "card")


def _peak_rate(view: RunView) -> float:
    columns = zip(*(series.values for series in view.curves.requests), strict=True)
    return max((sum(value or 0.0 for value in column) for column in columns), default=0.0)


def load_section(view: RunView) -> Markup:
    """By region of the viewers."""
    is_worst = any(each.is_worst_second for each in view.regions)
    has_stalls = any(each.stalls is not None for each in view.regions)
    columns = ["region", "requests", "errors", "MB", "p50 ms", "p95 ms", "p99 ms", "max ms", "hit"]
    if is_worst:
        columns[4:7] = [f"worst second's {name}" for name in columns[4:7]]
    if has_stalls:
        columns.append("stalls")
    rows = [[element("code", text(each.region)), *_cells(each, has_stalls)] for each in view.regions]
    note = "As viewers saw it. A hit is what the edge's X-Cache called one, in its own cache or behind it."
    return section("load", "Load by region", note, [table(columns, rows, frozenset(range(1, len(columns))))])


def _cells(total: RegionTotal, has_stalls: bool) -> list[Markup]:
    cells = [f"{total.requests:,}", f"{total.failures:,}", megabytes(total.received_bytes)]
    cells += [milliseconds(total.latency.get(name)) for name in ("p50", "p95", "p99", "max")]
    cells.append(percent(total.hit_share))
    if has_stalls:
        cells.append("–" if total.stalls is None else str(total.stalls))
    return [text(cell) for cell in cells]


def traffic_table(view: RunView) -> Markup:
    """The figures of the map, and the distance of every link, for those who rather read."""
    names = {site.id: f"{site.role.replace('_', ' ')} {site.name}" for site in view.sites}
    flows = view.traffic[0].flows[:MOST_FLOWS] if view.traffic else ()
    rows = [
        [
            text(names.get(each.source, "elsewhere")),
            text(names.get(each.target, "elsewhere")),
            text(f"{each.requests:,}"),
            text(f"{each.errors:,}"),
            text(megabytes(each.received_bytes)),
        ]
        for each in flows
    ]
    traffic = table(["from", "to", "requests", "errors", "MB"], rows, frozenset({2, 3, 4}))
    trips = [
        [text(each.link.replace("--", " – ")), text(_trip(each.asked)), text(_trip(each.measured))]
        for each in view.distances
    ]
    distance = table(["link", "asked", "measured"], trips, frozenset({1, 2}))
    return Markup(
        fold(text("Traffic between places, over the whole run"), traffic)
        + fold(text("Distance: round trips of the links, asked for and measured before the run"), distance)
    )


def _trip(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def nodes_section(view: RunView) -> Markup:
    watched = {each.node: each for each in view.watched}
    rows = [
        [
            element("code", text(node.get("id", ""))),
            _track(watched.get(str(node.get("id"))), view.axis.duration_seconds),
            *(_kept(str(node.get(name) or "–").replace("_", " ")) for name in ("role", "region", "pop", "http")),
        ]
        for node in view.run.summary.get("nodes", [])
    ]
    columns = ["node", "answering", "role", "region", "POP", "address"]
    note = "The second column is the run from left to right: red where a node did not answer on its admin port, grey where nobody asked."
    return section("nodes", "Nodes", note, [table(columns, rows)])


def _kept(words: str) -> Markup:
    """On one line."""
    return element("span", text(words), "keep")


def _track(watched: Watched | None, duration: float) -> Markup:
    if watched is None:
        return element("span", NOTHING, "track blank")
    whole = max(duration, 1.0) / 100
    styles = [f"left:{began / whole:.2f}%;width:{(ended - began) / whole:.2f}%" for began, ended in watched.down]
    return element("span", [element("span", NOTHING, attributes={"style": style}) for style in styles], "track")


def errors_section(view: RunView) -> Markup:
    rows = [
        [
            text(f"{each.at:.2f} s"),
            text(each.region),
            element("code", text(each.url)),
            element("code", text(each.address)),
            text(each.error),
        ]
        for each in view.errors.first
    ]
    total = view.errors.total
    note = f"The first {len(rows)} of {total:,}." if total > len(rows) else ""
    listing = table(["at", "region", "URL", "address", "error"], rows)
    if not rows and view.regions:
        listing = element("p", text("No viewer saw an error."), "note")
    return section("failures", "Errors that viewers saw", note, [listing])
