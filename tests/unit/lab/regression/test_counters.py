"""What counters are made of metrics, and what differences mean."""

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.regression.counters import BY_NAME, compare_counts, counts_of, gains
from lab.regression.lab_under_test import _label
from lab.regression.times import Change

EDGE = """
cdn_requests_total{result="hit",reason="fresh"} 10
cdn_requests_total{result="hit",reason="stale"} 1
cdn_requests_total{result="miss",reason="absent"} 4
cdn_upstream_fetches_total{tier="regional"} 4
cdn_upstream_fetches_total{tier="origin"} 2
cdn_sync_messages_total{direction="received",kind="entry"} 3
cdn_sync_messages_total{direction="received",kind="lease"} 99
"""


def samples(text: str) -> Mapping[str, float]:
    families = text_string_to_metric_families(text)
    return {_label(each.name, each.labels): each.value for family in families for each in family.samples}


def test_counters_are_what_metrics_gained_over_all_nodes_of_a_role() -> None:
    before = {"e1": samples('cdn_requests_total{result="hit",reason="fresh"} 7\n'), "e2": {}}
    after = {"e1": samples(EDGE), "e2": samples('cdn_requests_total{result="hit",reason="fresh"} 5\n')}
    counts = counts_of(gains(before, after, {"e1": "edge", "e2": "edge"}))
    assert counts["edge.hits"] == 3 + 1 + 5
    assert (counts["edge.misses"], counts["regional.fetches"], counts["log.messages"]) == (4, 4, 3)


def test_what_a_build_does_not_tell_is_not_compared() -> None:
    counts = counts_of(gains({"e1": {}}, {"e1": samples("cdn_collapsed_requests_total 1\n")}, {"e1": "edge"}))
    assert counts == {"edge.collapsed": 1}
    assert compare_counts("w", [counts, counts], [{"origin.fetches": 1.0}] * 2) == []


@pytest.mark.parametrize(
    ("name", "first", "second", "change", "is_steady"),
    [
        ("origin.fetches", (10_000, 10_000), (10_000, 10_000), Change.EQUAL, True),
        ("origin.fetches", (10_000, 10_000), (10_001, 10_001), Change.WORSE, True),
        ("origin.fetches", (10_001, 10_001), (10_000, 10_000), Change.BETTER, True),
        ("edge.hits", (10, 10), (9, 9), Change.WORSE, True),
        ("edge.hits", (9, 9), (10, 10), Change.BETTER, True),
        ("viewer.bytes", (10, 10), (9, 9), Change.WORSE, True),  # neither is better: they must not differ
        ("origin.fetches", (10, 11), (11, 10), Change.EQUAL, False),
        ("origin.fetches", (10, 11), (12, 13), Change.UNKNOWN, False),
        ("origin.fetches", (10, 10), (11, 12), Change.UNKNOWN, False),
        ("log.bytes", (3_347, 3_350), (3_349, 3_349), Change.EQUAL, True),
        ("log.bytes", (3_347, 3_350), (3_449, 3_449), Change.WORSE, True),
        ("log.bytes", (0, 0), (0, 0), Change.EQUAL, True),
        ("edge.system_calls", (4.01, 4.03), (5.02, 5.03), Change.WORSE, True),
    ],
)
def test_equal_means_equal_and_a_difference_is_a_finding(
    name: str, first: tuple[float, ...], second: tuple[float, ...], change: Change, is_steady: bool
) -> None:
    (found,) = compare_counts("w", [{name: each} for each in first], [{name: each} for each in second])
    assert (found.change, found.is_steady, found.counter) == (change, is_steady, BY_NAME[name])
