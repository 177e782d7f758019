"""The text that Prometheus reads of a node, judged by the official client's own writer and parser."""

import math

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as OfficialMetric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from edge_node.exposition import Metric, render

VALUES = (
    0, 1, -1, 0.1, -0.5, 123456, 1234567, 1000000, 10**12, 123456789.125, 2**53, 1e16, 1e22, 1.5e-7, -12345678.5, True,
    math.inf, -math.inf, math.nan,
)  # fmt: skip
LABELS = ("plain", "", 'a "quoted" word', "back\\slash", "two\nlines", "Grüße")


class Official:
    """What the official client is given."""

    def __init__(self, *families: OfficialMetric) -> None:
        self._families = families

    def collect(self) -> tuple[OfficialMetric, ...]:
        return self._families


def official(*families: OfficialMetric) -> bytes:
    registry = CollectorRegistry()
    registry.register(Official(*families))
    return generate_latest(registry)


@pytest.mark.parametrize("value", VALUES)
def test_a_number_is_written_as_the_official_client_writes_it(value: float) -> None:
    family = Metric("g", "A gauge.", "gauge")
    family.add((), value)
    assert render([family]) == official(GaugeMetricFamily("g", "A gauge.", value=value))


@pytest.mark.parametrize("label", LABELS)
def test_labels_and_help_texts_are_escaped_as_the_official_client_does(label: str) -> None:
    family, theirs = Metric("c", label, "counter", ("b", "a")), CounterMetricFamily("c", label, labels=("b", "a"))
    for each, add in ((1, "x"), (2, "y")):
        family.add((label, add), each)
        theirs.add_metric((label, add), each)
    assert render([family]) == official(theirs)


def test_a_histogram_has_buckets_count_and_sum_in_the_official_order() -> None:
    buckets = [("0.001", 3), ("0.5", 4_000_000), ("+Inf", 5_000_001)]
    family, theirs = (
        Metric("h", "A histogram.", "histogram", ("result",)),
        HistogramMetricFamily("h", "A histogram.", labels=("result",)),
    )
    for result in ("hit", "miss"):
        family.add_histogram((result,), buckets, 12.25)
        theirs.add_metric((result,), buckets, 12.25)
    assert render([family]) == official(theirs)


def test_several_families_and_one_without_samples_are_read_back_by_the_official_parser() -> None:
    counter, empty = Metric("cdn_things", "Things.", "counter", ("kind",)), Metric("cdn_none", "None.", "gauge", ("a",))
    counter.add(("x",), 5)
    (things, none) = text_string_to_metric_families(render([counter, empty]).decode())
    assert (things.name, things.type, things.samples[0].value) == ("cdn_things", "counter", 5)
    assert (none.name, none.samples) == ("cdn_none", [])


def test_labels_without_a_value_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Metric("c", "A counter.", "counter", ("a", "b")).add(("x",), 1)
