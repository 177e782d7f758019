"""The text of metrics, beside Prometheus's own client for Python: what that writes and what it reads."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from proto.exposition import CounterFamily, Family, GaugeFamily, HistogramFamily, exposition

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_VALUES = st.floats(allow_nan=False) | st.integers(0, 1 << 60)
_ROWS = st.lists(st.tuples(st.tuples(_TEXTS, _TEXTS), _VALUES), max_size=4, unique_by=lambda row: row[0])


def theirs(family: Metric) -> str:
    class Only(Collector):
        def collect(self) -> list[Metric]:
            return [family]

    registry = CollectorRegistry()
    registry.register(Only())
    return generate_latest(registry).decode()


def read(text: str) -> list[Any]:
    """As Prometheus's client reads it."""
    return [
        (family.name, family.documentation, family.type, [(s.name, s.labels, s.value) for s in family.samples])
        for family in text_string_to_metric_families(text)
    ]


def ours(family: Family) -> str:
    return exposition([family]).decode()


@given(_TEXTS, _ROWS)
def test_counters_and_gauges_are_read_as_those_of_the_client(
    text: str, rows: list[tuple[tuple[str, str], float]]
) -> None:
    for own, other in ((CounterFamily, CounterMetricFamily), (GaugeFamily, GaugeMetricFamily)):
        family, metric = own("cdn_a", text, labels=("z", "b")), other("cdn_a", text, labels=("z", "b"))
        for labels, value in rows:
            family.add_metric(labels, value)
            metric.add_metric(labels, value)
        assert read(ours(family)) == read(theirs(metric))


@given(_TEXTS, st.lists(st.integers(0, 1 << 40), min_size=3, max_size=3), st.floats(0, 1e9))
def test_histograms_are_read_as_those_of_the_client(label: str, counts: list[int], total: float) -> None:
    buckets = list(zip(("0.1", "2.5", "+Inf"), sorted(counts), strict=True))
    family, metric = HistogramFamily("cdn_h", "h", labels=("r",)), HistogramMetricFamily("cdn_h", "h", labels=("r",))
    family.add_buckets((label,), buckets, total)
    metric.add_metric((label,), buckets, total)
    assert read(ours(family)) == read(theirs(metric))


def test_the_very_lines() -> None:
    counter = CounterFamily("cdn_requests", "Requests\nand \\ more.", labels=("result", "reason"))
    counter.add_metric(("hit", 'a "b"\\\n'), 3)
    text = exposition([counter, GaugeFamily("cdn_up", "Whether.", value=True), GaugeFamily("cdn_none", "Nothing.")])
    assert text.decode().splitlines() == [
        "# HELP cdn_requests_total Requests\\nand \\\\ more.",
        "# TYPE cdn_requests_total counter",
        'cdn_requests_total{reason="a \\"b\\"\\\\\\n",result="hit"} 3.0',
        "# HELP cdn_up Whether.",
        "# TYPE cdn_up gauge",
        "cdn_up 1.0",
        "# HELP cdn_none Nothing.",
        "# TYPE cdn_none gauge",
    ]


@pytest.mark.parametrize(("value", "written"), [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (0, "0.0")])
def test_numbers_that_go_reads(value: float, written: str) -> None:
    assert ours(GaugeFamily("a", "", value=value)).splitlines()[-1] == f"a {written}"


def test_labels_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        CounterFamily("a", "", labels=("x", "y")).add_metric(("only one",), 1)
    with pytest.raises(ValueError, match="a has labels"):
        GaugeFamily("a", "", value=1, labels=("x",))
