"""Figures of a run that goes on, against sums over the same lines that are as slow and plain as can be."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from lab.scenarios.figures import FIGURES, RunFigures
from tests.depth import examples

S = 1_000_000_000
REGIONS = ("eu", "us")
Line = dict[str, Any]


def load_line(second: int, region: str, requests: int, failures: int = 0, p95_ms: float = 0.0) -> Line:
    return {
        "monotonic_ns": second * S, "region": region, "requests": requests, "failures": failures, "latency_ms": {"p95": p95_ms},
    }  # fmt: skip


def sample(node: str, role: str, *, up: bool = True, **requests: int) -> Line:
    return {"node": node, "role": role, "up": up} | ({"requests": requests} if up else {})


def drawn_load(rng: random.Random, seconds: int) -> list[Line]:
    lines = []
    for second in range(100, 100 + seconds):
        for region in REGIONS:
            requests = rng.choice([0, 0, rng.randrange(1, 50)])
            lines.append(load_line(second, region, requests, rng.randrange(requests + 1), rng.randrange(1, 900)))
    return lines


def expected(lines: list[Line], region: str, now: float) -> dict[str, float | None]:
    """By the words of docs/scenarios.md: the seconds that are over, of the last 3 s before the one in which lines are written."""
    window = [line for line in lines if now - 4 <= line["monotonic_ns"] / S]
    mine = [line for line in window if not region or line["region"] == region]
    requests = sum(line["requests"] for line in mine)
    failures = sum(line["failures"] for line in mine)
    seconds = len({line["monotonic_ns"] for line in window})
    return {
        "requests_per_second": requests / seconds if mine else None,
        "error_ratio": failures / requests if requests else None,
        "p95": max((line["latency_ms"]["p95"] / 1000 for line in mine if line["requests"]), default=None),
        "requests": float(sum(line["requests"] for line in lines)),
        "failures": float(sum(line["failures"] for line in lines)),
    }


@pytest.mark.parametrize("seed", range(examples(5)))
def test_figures_of_viewers_are_those_of_the_newest_seconds(seed: int) -> None:
    rng = random.Random(seed)
    figures, given = RunFigures(), []
    for line in drawn_load(rng, 12):
        figures.add_load([line])
        given.append(line)
        now = line["monotonic_ns"] / S + rng.random() * 6
        for region in ("", *REGIONS, "nowhere"):
            told = {name: figures.value(name, region, now) for name in expected(given, region, now)}
            assert told == expected(given, region, now)


def test_a_steady_rate_is_told_as_it_is_however_late_lines_are_written() -> None:
    figures = RunFigures()
    for second in range(100, 110):
        figures.add_load([load_line(second, region, 30) for region in REGIONS])
        for late in (2.0, 2.5, 2.9):  # the line of a second is written about a second after its end
            assert figures.value("requests_per_second", "", second + late) == 60
            assert figures.value("requests_per_second", "eu", second + late) == 30


def test_nobody_came_is_no_figure_and_zero_is_one() -> None:
    figures = RunFigures()
    for name in FIGURES:
        assert figures.value(name, "", 100) == (0 if name in ("requests", "failures") else None)
    figures.add_load([load_line(100, "eu", 0)])
    assert figures.value("requests_per_second", "eu", 102) == 0
    assert figures.value("error_ratio", "eu", 102) is None
    assert figures.value("p95", "eu", 102) is None
    assert figures.value("requests_per_second", "eu", 110) is None


def test_the_hit_ratio_is_of_what_was_answered_in_the_window_by_nodes_of_the_tier() -> None:
    figures = RunFigures()
    for at in range(9):  # only the newest four samples count: three seconds
        old = 1000 if at >= 3 else 0
        figures.add_sample(sample("edge-1", "edge", hit=old + 8 * at, miss=2 * at, error=500 * at))
        figures.add_sample(sample("edge-2", "edge", refresh_hit=1 * at, miss=3 * at))
        figures.add_sample(sample("regional-1", "regional", hit=at, miss=3 * at))
        figures.add_sample(sample("origin-1", "origin", hit=at))
    assert figures.value("hit_ratio", "", 0) == (24 + 3) / (30 + 12)
    assert figures.value("hit_ratio", "regional", 0) == 1 / 4
    figures.add_sample(sample("edge-1", "edge", up=False))
    assert figures.value("hit_ratio", "edge", 0) == 3 / 12
    assert (figures.value("live_nodes", "", 0), figures.value("down_nodes", "", 0)) == (3, 1)
    for _ in range(3):
        figures.add_sample(sample("edge-1", "edge", up=False))
    figures.add_sample(sample("edge-1", "edge", hit=0, miss=7))  # begins to count anew
    assert figures.value("hit_ratio", "edge", 0) == 3 / 12
    assert figures.value("hit_ratio", "nobody", 0) is None


def test_a_node_that_began_to_count_anew_takes_nothing_away_from_others() -> None:
    figures = RunFigures()
    for hits, misses in ((900, 90), (1, 93)):  # started again between two samples
        figures.add_sample(sample("edge-1", "edge", hit=hits, miss=misses))
    for hits in (0, 9):
        figures.add_sample(sample("edge-2", "edge", hit=hits, miss=0))
    assert figures.value("hit_ratio", "edge", 0) == 9 / 12


def test_a_node_is_named_in_as_many_regions_as_routers_name_it() -> None:
    figures = RunFigures(named={"eu": frozenset({"edge-1", "edge-2"}), "us": frozenset({"edge-2"})})
    named: Callable[[str], float | None] = lambda node: figures.value("named", node, 0)  # noqa: E731
    assert (named("edge-1"), named("edge-2"), named("edge-3")) == (1, 2, 0)


def test_what_is_kept_of_a_long_run_is_bounded() -> None:
    figures = RunFigures()
    for second in range(10_000):
        figures.add_load([load_line(second, "eu", 1)])
        figures.add_sample(sample("edge-1", "edge", hit=second))
    assert len(figures.load) <= 600
    assert len(figures.samples["edge-1"]) == 4
    assert figures.value("requests", "", 0) == 10_000


def test_fetches_from_origins_are_those_of_the_newest_sample_in_which_a_node_was_up() -> None:
    figures = RunFigures()
    figures.add_sample(sample("edge-1", "edge", up=False))
    assert figures.value("origin_fetches", "", 100) is None
    for node, fetches in (("edge-1", 3), ("edge-1", 5), ("edge-2", 2)):
        figures.add_sample(sample(node, "edge") | {"origin_fetches": fetches})
    figures.add_sample(sample("edge-2", "edge", up=False))
    assert figures.value("origin_fetches", "", 100) == 7
