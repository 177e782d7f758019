"""The failover table: for each fault how long it took until it was detected, decided, known everywhere, over for viewers, and made good in the caches.

Read from `failover` of summary.json, which lab/checkers/failover.py worked out; a time that there is not says why.
"""

from collections.abc import Mapping
from typing import Any

from lab.history.run_files import Record
from lab.report.markup import NOTHING, Markup, element, fold, join, section, table, text
from lab.report.numbers import milliseconds, percent

STAGES = {
    "detected": "detected",
    "decided": "decided",
    "propagated": "propagated",
    "viewers_well": "viewers well",
    "cache_refilled": "cache refilled",
}
MOST_FAULTS = 40
MOST_PLACES = 3
_NOTE = (
    "Seconds since the fault was injected: until somebody noticed, until it was decided to do without, until the last router followed, "
    "until the last request began that failed, and until caches answered as much as before. A dash: there is no such time. "
    "Each fault opens to what was seen, and to what viewers saw meanwhile."
)


def failover_section(summary: Record) -> Markup:
    entries = [each for each in summary.get("failover") or [] if isinstance(each, Mapping)]
    columns = ["fault", *STAGES.values()]
    rows = [[text(_name(each)), *(text(_seconds(_part(each, name))) for name in STAGES)] for each in entries]
    listing = table(columns, rows, frozenset(range(1, len(columns))))
    return section("failover", "Failover", _NOTE, [listing, *(_details(each) for each in entries[:MOST_FAULTS])])


def _name(entry: Mapping[str, Any]) -> str:
    places = ", ".join(str(place) for place in entry.get("places") or [])
    return f"{entry.get('fault', '')} {places}".strip()


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    stage = entry.get(name)
    return stage if isinstance(stage, Mapping) else {}


def _seconds(stage: Mapping[str, Any]) -> str:
    value = stage.get("seconds")
    return "–" if value is None else f"{float(value):.2f} s"


def _details(entry: Mapping[str, Any]) -> Markup:
    stages = join([_stages(entry), _regions(entry)])
    return fold(text(_name(entry)), stages)


def _stages(entry: Mapping[str, Any]) -> Markup:
    """On one scale, so that what took longest is seen."""
    longest = max((float(_part(entry, name).get("seconds") or 0) for name in STAGES), default=0.0)
    rows = [
        [
            text(title),
            text(_seconds(_part(entry, name))),
            _meter(_part(entry, name), longest),
            text(_part(entry, name).get("says", "")),
        ]
        for name, title in STAGES.items()
    ]
    return table(["", "after", "", "what was seen"], rows, frozenset({1}))


def _meter(stage: Mapping[str, Any], longest: float) -> Markup:
    if not stage.get("seconds") or not longest:
        return NOTHING
    width = float(stage["seconds"]) / longest * 100
    return element("span", element("span", NOTHING, "meter", {"style": f"width:{width:.1f}%"}), "scale")


def _regions(entry: Mapping[str, Any]) -> Markup:
    """What viewers of each region saw while it was in force, and how it was before and after."""
    regions = [each for each in entry.get("regions") or [] if isinstance(each, Mapping)]
    columns = ["viewers in", "requests", "failed", "failed after", "p95 ms before", "during", "after", "well after"]
    rows = [
        [
            element("code", text(each.get("region", ""))),
            text(f"{int(_part(each, 'during').get('requests') or 0):,}"),
            _failed(_part(each, "during")),
            _failed(_part(each, "after")),
            *(text(milliseconds(_part(each, period).get("p95_ms"))) for period in ("before", "during", "after")),
            text(_seconds({"seconds": each.get("well_seconds")})),
            _answered_by(each),
        ]
        for each in regions
    ]
    return table([*columns, "answered by"], rows, frozenset(range(1, len(columns))))


def _failed(period: Mapping[str, Any]) -> Markup:
    requests, failures = int(period.get("requests") or 0), int(period.get("failures") or 0)
    share = f" ({percent(failures / requests)})" if failures and requests else ""
    return element("span", text(f"{failures:,}{share}"), "missed" if failures else "")


def _answered_by(region: Mapping[str, Any]) -> Markup:
    """The most frequent of them."""
    places = [f"{place} ({count:,})" for place, count in region.get("went_to") or []]
    more = ", ..." if len(places) > MOST_PLACES else ""
    return element("span", text(", ".join(places[:MOST_PLACES]) + more), "keep")
