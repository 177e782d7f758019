"""The plots of a report as Vega-Lite specifications, made with Vega-Altair.

Each function takes plain records (history/run_files.py) and returns a specification without a size or colours of its own
beyond its scales: the page gives width, fonts and the light or dark configuration. Time is seconds since the run began.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

Records = Sequence[Mapping[str, Any]]
Specification = dict[str, Any]

# Okabe and Ito's colours, told apart by every eye and on white as on near-black.
REGION_COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7bd4", "#a3a02b"]
RESULT_COLORS = {
    "Hit": "#2a9d74",
    "RefreshHit": "#7fc8a9",
    "Miss": "#e0a030",
    "Redirect": "#8a9bb0",
    "Error": "#d1495b",
    "failed": "#8f1d2c",
}
TIER_COLORS = {"edge": "#0072b2", "regional": "#e69f00"}
PERCENTILE_COLORS = {"p50": "#2a9d74", "p95": "#e0a030", "p99": "#d1495b"}
STATE_COLORS = {"up": "#2a9d74", "down": "#d1495b"}

# Room that one letter of an event's label takes, and the width for which rows are planned; narrower plots show numbers.
_LETTER_PIXELS = 6.2
_WIDE_PIXELS = 1040
_LABEL_PIXELS_MINIMUM = 620
_ROW_PIXELS = 14
_MAXIMUM_ROWS = 3
# Events this share of the run apart, a few pixels, are one moment.
_MOMENT_SHARE = 0.012


@dataclass(frozen=True, slots=True)
class Timeline:
    """What all plots over time share: how long the run took, and the marks of its events."""

    duration_seconds: float
    marks: Records


def event_timeline(events: Records, first_time: float, last_time: float) -> Timeline:
    """Events numbered in order; those of one moment share a mark, in a row where its label runs into no other."""
    duration = max(last_time - first_time, 1.0)
    free_from = [0.0] * _MAXIMUM_ROWS
    marks = []
    for first, moment in _moments(events, duration * _MOMENT_SHARE):
        last = first + len(moment) - 1
        number = str(first) if len(moment) == 1 else f"{first}–{last}"
        label = f"{number} {_label(moment)}"
        second = float(moment[0]["time"]) - first_time
        x = second / duration * _WIDE_PIXELS
        row = next((row for row, free in enumerate(free_from) if free <= x), free_from.index(min(free_from)))
        free_from[row] = x + len(label) * _LETTER_PIXELS + 8
        text = "; ".join(_text(event) for event in moment)
        marks.append({"second": second, "number": number, "label": label, "row": row, "text": text})
    return Timeline(duration, marks)


def _moments(events: Records, span_seconds: float) -> list[tuple[int, list[Mapping[str, Any]]]]:
    """Events that begin within the span of the first of them, each group with the number of that first one."""
    moments: list[tuple[int, list[Mapping[str, Any]]]] = []
    for number, event in enumerate(events, start=1):
        if moments and float(event["time"]) - float(moments[-1][1][0]["time"]) <= span_seconds:
            moments[-1][1].append(event)
        else:
            moments.append((number, [event]))
    return moments


def _label(moment: Records) -> str:
    """The subject is named when there is one event; of several, what happened is enough."""
    if len(moment) == 1:
        return f"{_kind(moment[0])} {moment[0].get('subject', '')}".strip()
    return ", ".join(_kind(event) for event in moment)


def _kind(event: Mapping[str, Any]) -> str:
    return str(event["kind"]).replace("_", " ")


def _text(event: Mapping[str, Any]) -> str:
    return str(event.get("text") or f"{_kind(event)} {event.get('subject', '')}")


def area_over_time(
    records: Records, by: str, timeline: Timeline, colors: Mapping[str, str] | None = None
) -> Specification:
    """Requests a second, stacked."""
    area = (
        alt.Chart(alt.Data(values=list(records)))
        .mark_area(interpolate="step-after", opacity=0.85)
        .encode(
            x=_seconds_axis(timeline),
            y=alt.Y("rate:Q", title="requests / s", stack="zero"),
            color=_color(by, records, colors),
            order=alt.Order("rank:Q") if any("rank" in record for record in records) else alt.Order(f"{by}:N"),
            tooltip=[alt.Tooltip("second:Q", title="second"), f"{by}:N", alt.Tooltip("rate:Q", format=".1f")],
        )
    )
    return _with_events(area, timeline)


def lines_over_time(
    records: Records, by: str, value: str, timeline: Timeline, colors: Mapping[str, str]
) -> Specification:
    """Shares between 0 and 1, one line each."""
    line = (
        alt.Chart(alt.Data(values=list(records)))
        .mark_line(interpolate="monotone", strokeWidth=2, clip=True)
        .encode(
            x=_seconds_axis(timeline),
            y=alt.Y(f"{value}:Q", title="hit ratio", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=_color(by, records, colors, "stroke"),
            tooltip=[alt.Tooltip("second:Q"), f"{by}:N", alt.Tooltip(f"{value}:Q", format=".1%")],
        )
    )
    return _with_events(line, timeline)


def rate_over_time(records: Records, title: str, timeline: Timeline) -> Specification:
    """One rate as bars, a second wide."""
    bars = (
        alt.Chart(alt.Data(values=list(records)))
        .mark_area(interpolate="step-after", opacity=0.75, color="#8c7bd4")
        .encode(
            x=_seconds_axis(timeline),
            y=alt.Y("rate:Q", title=title),
            tooltip=[alt.Tooltip("second:Q"), alt.Tooltip("rate:Q", format=".1f")],
        )
    )
    return _with_events(bars, timeline)


def latency_over_time(records: Records, timeline: Timeline, highest_milliseconds: float) -> Specification:
    """Percentiles of one region; logarithmic and on the same scale for every region, so that plots compare."""
    domain = [0.5, max(highest_milliseconds, 10.0)]
    line = (
        alt.Chart(alt.Data(values=list(records)))
        .mark_line(interpolate="monotone", strokeWidth=1.8, clip=True)
        .encode(
            x=_seconds_axis(timeline),
            y=alt.Y(
                "milliseconds:Q",
                title="ms",
                scale=alt.Scale(type="log", domain=domain, clamp=True),
                axis=alt.Axis(values=_decades(domain[1]), format="~s"),
            ),
            color=_color("percentile", records, PERCENTILE_COLORS, "stroke"),
            tooltip=[alt.Tooltip("second:Q"), "percentile:N", alt.Tooltip("milliseconds:Q", format=".2f")],
        )
    )
    return _with_events(line, timeline, height=170)


def receipt_bars(records: Records) -> Specification:
    """Milliseconds from issue to acknowledgement, node by node, the slowest last."""
    base = alt.Chart(alt.Data(values=list(records))).encode(
        y=alt.Y("node:N", sort=alt.EncodingSortField("milliseconds"), title=None),
        x=alt.X(
            "milliseconds:Q",
            title="ms from issue to acknowledgement",
            axis=alt.Axis(tickCount=alt.ExprRef("ceil(width / 90)")),
        ),
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.62}).encode(
        color=alt.Color("role:N", title=None, scale=_scale(records, "role", None), legend=alt.Legend(orient="top")),
        tooltip=["node:N", "role:N", alt.Tooltip("milliseconds:Q", format=".1f")],
    )
    labels = base.mark_text(align="left", dx=5, fontSize=11).encode(text=alt.Text("milliseconds:Q", format=".1f"))
    return _finish(alt.layer(bars, labels), height=26 * max(len(records), 1))


def node_bars(records: Records, timeline: Timeline) -> Specification:
    """When each node answered its admin port."""
    nodes = len({record["node"] for record in records})
    bars = (
        alt.Chart(alt.Data(values=list(records)))
        .mark_bar(height={"band": 0.56}, cornerRadius=2)
        .encode(
            x=_seconds_axis(timeline, "since"),
            x2="until:Q",
            y=alt.Y("node:N", title=None, axis=alt.Axis(ticks=False, domain=False)),
            color=_color("state", records, STATE_COLORS),
            tooltip=["node:N", "state:N", alt.Tooltip("since:Q", format=".1f"), alt.Tooltip("until:Q", format=".1f")],
        )
    )
    return _with_events(bars, timeline, height=22 * max(nodes, 1))


def _seconds_axis(timeline: Timeline, field: str = "second") -> Any:
    axis = alt.Axis(grid=False, tickMinStep=1, tickCount=alt.ExprRef("ceil(width / 70)"))
    return alt.X(
        f"{field}:Q", title="seconds", axis=axis, scale=alt.Scale(domain=[0, timeline.duration_seconds], nice=False)
    )


def _color(field: str, records: Records, colors: Mapping[str, str] | None, symbol: str = "square") -> Any:
    legend = alt.Legend(orient="bottom", symbolType=symbol, symbolStrokeWidth=2.5 if symbol == "stroke" else 0)
    return alt.Color(f"{field}:N", title=None, scale=_scale(records, field, colors), legend=legend)


def _scale(records: Records, field: str, colors: Mapping[str, str] | None) -> Any:
    """The same value has the same colour in every plot, whichever others are there."""
    present = {str(record[field]) for record in records}
    if colors is None:
        domain = sorted(present)
        return alt.Scale(
            domain=domain, range=[REGION_COLORS[index % len(REGION_COLORS)] for index in range(len(domain))]
        )
    domain = [value for value in colors if value in present]
    return alt.Scale(domain=domain, range=[colors[value] for value in domain])


def _decades(highest: float) -> list[float]:
    values = [1.0]
    while values[-1] * 10 <= highest:
        values.append(values[-1] * 10)
    return values


def _with_events(chart: Any, timeline: Timeline, height: int = 220) -> Specification:
    if not timeline.marks:
        return _finish(chart, height)
    events = alt.Chart(alt.Data(values=list(timeline.marks))).encode(x="second:Q", tooltip=["text:N"])
    rules = events.mark_rule(strokeDash=[4, 3], strokeWidth=1.2, opacity=0.75)
    labels = events.mark_text(
        align="left",
        baseline="bottom",
        dx=alt.expr(f"width > {_LABEL_PIXELS_MINIMUM} && datum.second > 0 ? 2 : -3"),
        y=alt.expr(f"-4 - {_ROW_PIXELS} * datum.row"),
        text=alt.expr(f"width > {_LABEL_PIXELS_MINIMUM} ? datum.label : datum.number"),
        fontSize=10.5,
    )
    return _finish(alt.layer(chart, rules, labels), height)


def _finish(chart: Any, height: int) -> Specification:
    """Without $schema: the page says that it is Vega-Lite, and nothing in it names an address."""
    specification: Specification = chart.properties(width="container", height=height).to_dict()
    specification.pop("$schema", None)
    specification.pop("config", None)
    return specification
