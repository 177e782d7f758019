"""The section of a report that puts what was predicted beside what was measured."""

from lab.report.data.predicted import Forecast, PredictedValue
from lab.report.markup import NOTHING, Markup, element, section, table, text


def prediction_section(forecast: Forecast | None) -> Markup:
    """Nothing for a run of which no requests were recorded."""
    if forecast is None:
        return NOTHING
    if forecast.unknown:
        return section("prediction", "Prediction", "", [element("p", text(f"Unknown: {forecast.unknown}."))])
    note = (
        "The run's own requests, in their order, each at the edge that answered it, through simulated tiers with the edge nodes' eviction and freshness code: "
        "caches empty at the beginning, fills in no time (docs/prediction.md)."
    )
    rows = [[text(cell) for cell in _cells(value)] for value in forecast.values]
    return section(
        "prediction",
        "Prediction",
        note,
        [table(["what", "predicted", "measured", "difference"], rows, frozenset({1, 2, 3}))],
    )


def _cells(value: PredictedValue) -> tuple[str, ...]:
    if value.predicted is None or value.measured is None:
        return (value.name, _words(value.predicted, value), _words(value.measured, value), "–")
    off = value.measured - value.predicted
    difference = f"{off * 100:+.2f} points" if value.is_ratio else f"{off:+,.0f}"
    return (value.name, _words(value.predicted, value), _words(value.measured, value), difference)


def _words(number: float | None, value: PredictedValue) -> str:
    if number is None:
        return "–"
    return f"{number:.2%}" if value.is_ratio else f"{number:,.0f}"
