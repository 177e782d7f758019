"""What the recorder reads of an exposition; prometheus_client's own output and parser are the measure."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lab.history.recorder import Sample, parse_samples, seconds_until_next_scrape, summarize


def exposition() -> str:
    registry = CollectorRegistry()
    requests = Counter("cdn_requests", "Requests.", ["result", "reason"], registry=registry)
    requests.labels("hit", "fresh").inc(7)
    requests.labels("hit", 'odd "quoted\\ }').inc(2)
    requests.labels("miss", "absent").inc(3)
    transferred = Counter("cdn_transferred_bytes", "Bytes.", ["peer", "direction"], registry=registry)
    transferred.labels("viewer", "sent").inc(1_000_000_000)
    transferred.labels("origin", "sent").inc(5)
    fetches = Counter("cdn_upstream_fetches", "Fetches.", ["tier"], registry=registry)
    fetches.labels("origin").inc(4)
    fetches.labels("regional").inc(9)
    Gauge("cdn_store_bytes", "Bytes.", registry=registry).set(1.5e6)
    Gauge("cdn_store_bytes_other", "Another name that begins alike.", registry=registry).set(1)
    Gauge("cdn_applied_index", "Index.", registry=registry).set(12)
    return generate_latest(registry).decode()


def test_samples_are_those_of_the_reference_parser() -> None:
    wanted = {sample.name for sample in parse_samples(exposition())}
    reference = [
        Sample(sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(exposition())
        for sample in family.samples
        if sample.name in wanted
    ]
    own = list(parse_samples(exposition()))
    assert [(each.name, each.value) for each in own] == [(each.name, each.value) for each in reference]
    assert [each.labels.get("result") for each in own] == [each.labels.get("result") for each in reference]


def test_a_line_of_metrics() -> None:
    assert summarize(parse_samples(exposition())) == {
        "requests": {"hit": 9, "miss": 3},
        "bytes_sent": 1_000_000_000,
        "origin_fetches": 4,
        "store_bytes": 1_500_000,
        "applied_index": 12,
    }


@pytest.mark.parametrize(("now", "wait"), [(10.0, 0.5), (10.2, 0.3), (10.5, 1.0), (10.45, 1.05), (10.52, 0.98)])
def test_scrapes_are_due_in_the_middle_of_a_second(now: float, wait: float) -> None:
    assert seconds_until_next_scrape(now) == pytest.approx(wait)


def test_nothing_gives_zeros() -> None:
    assert summarize(parse_samples("")) == {
        "requests": {},
        "bytes_sent": 0,
        "origin_fetches": 0,
        "store_bytes": 0,
        "applied_index": 0,
    }
