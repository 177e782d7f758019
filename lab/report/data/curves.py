"""What is drawn over the time of a run: one value for each step of the axis, None where there is nothing to say. From load.jsonl and metrics.jsonl."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.history.run_files import (
    RunData,
    hit_ratio_by_tier,
    latency_by_region,
    origin_fetches,
    traffic_by_region,
    traffic_by_result,
)
from lab.report.data.axis import Axis

PERCENTILES = ("p50", "p95", "p99")
RESULTS = ("Hit", "RefreshHit", "Miss", "Redirect", "Error", "failed")
"""As X-Cache has them, in the order in which they are stacked; `failed` had no answer that could be used."""


@dataclass(frozen=True, slots=True)
class Series:
    """One curve."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """All curves of a run. Rates are of a second, latencies milliseconds, ratios between 0 and 1. Empty: not known of this run."""

    requests: tuple[Series, ...] = ()
    results: tuple[Series, ...] = ()
    hit_ratio: tuple[Series, ...] = ()
    origin_fetches: tuple[Series, ...] = ()
    errors: tuple[Series, ...] = ()
    latency: Mapping[str, tuple[Series, ...]] = field(default_factory=dict)
    """By percentile."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a curve, before it is laid on the axis."""

    step: int
    name: str
    value: float


def series_of(points: Iterable[Point], axis: Axis, missing: float | None) -> tuple[Series, ...]:
    """A curve for each name, in alphabetical order; `missing` where there is no point."""
    curves: dict[str, list[float | None]] = {}
    for point in points:
        values = curves.setdefault(point.name, [missing] * axis.steps)
        if 0 <= point.step < axis.steps:
            values[point.step] = point.value
    return tuple(Series(name, tuple(curves[name])) for name in sorted(curves))


def in_order_of_results(series: Iterable[Series]) -> tuple[Series, ...]:
    """The ones without any request left out."""
    rank = {name: number for number, name in enumerate(RESULTS)}
    seen = (each for each in series if any(each.values))
    return tuple(sorted(seen, key=lambda each: rank.get(each.name, len(rank))))


def curves_of_files(run: RunData, axis: Axis) -> Curves:
    """Of a run without a history."""
    shift = run.first_time - axis.zero_ns / 1e9

    def points(records: Iterable[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str], value: str) -> Any:
        return (
            Point(int((each["second"] + shift) // axis.step_seconds), name(each), float(each[value]))
            for each in records
        )

    latency = latency_by_region(run)
    return Curves(
        requests=series_of(points(traffic_by_region(run), lambda each: each["region"], "rate"), axis, 0.0),
        results=in_order_of_results(
            series_of(points(traffic_by_result(run), lambda each: each["result"], "rate"), axis, 0.0)
        ),
        hit_ratio=series_of(points(hit_ratio_by_tier(run), lambda each: each["tier"], "ratio"), axis, None),
        origin_fetches=series_of(points(origin_fetches(run), lambda _: "all nodes", "rate"), axis, 0.0),
        errors=series_of(_errors(run, axis), axis, 0.0),
        latency={
            percentile: series_of(
                points(
                    [each for each in latency if each["percentile"] == percentile],
                    lambda each: each["region"],
                    "milliseconds",
                ),
                axis,
                None,
            )
            for percentile in PERCENTILES
        },
    )


def _errors(run: RunData, axis: Axis) -> list[Point]:
    """Failures a second that viewers saw, by region."""
    sums: dict[tuple[str, int], float] = {}
    for line in run.load:
        step = int((float(line["time"]) - axis.zero_ns / 1e9) // axis.step_seconds)
        key = (str(line["region"]), step)
        sums[key] = sums.get(key, 0.0) + float(line.get("failures", 0)) / axis.step_seconds
    return [Point(step, region, value) for (region, step), value in sums.items()]
