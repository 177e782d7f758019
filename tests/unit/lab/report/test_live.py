"""The live table: what it makes of the newest records, and that it can be drawn."""

import io
from typing import Any

from rich.console import Console

from lab.report.live import LiveTable, LoadNow, Picture, hit_ratios, plain_line


def second(time: float, region: str, requests: int = 100, failures: int = 0) -> dict[str, Any]:
    results = {"Hit": 80, "Miss": 15, "RefreshHit": 5, "Error": 0}
    latency = {"p50": 1.5, "p95": 4.0, "p99": 9.0, "max": 20.0}
    return {
        "monotonic_ns": round(time * 1e9),
        "region": region,
        "requests": requests,
        "failures": failures,
        "users": 10,
    } | {
        "results": results,
        "latency_ms": latency,
    }


def scrape(role: str, up: bool = True, **requests: int) -> dict[str, Any]:
    return {"role": role, "up": up, "requests": requests}


def test_shows_the_newest_second_of_each_region_and_all_failures_so_far() -> None:
    load = LoadNow()
    load.add([second(100, "eu", failures=2), second(101, "eu", requests=120, failures=1), second(101, "us")])
    europe, america = load.regions(now=102.0)
    assert (europe.region, europe.rate, europe.failures_total, europe.p99) == ("eu", 120.0, 3, 9.0)
    assert (america.rate, america.hit_share, america.users) == (100.0, 0.85, 10)


def test_figures_that_are_old_are_not_shown_as_now() -> None:
    load = LoadNow()
    load.add([second(100, "eu", failures=2)])
    (europe,) = load.regions(now=120.0)
    assert (europe.rate, europe.hit_share, europe.users, europe.failures_total) == (0.0, None, 0, 2)


def test_hit_ratios_come_from_the_last_two_scrapes_of_nodes_that_answered_both() -> None:
    before = {
        "e1": scrape("edge", hit=100, miss=50),
        "e2": scrape("edge", up=False),
        "r1": scrape("regional", hit=10, miss=10),
        "o1": scrape("origin", origin=10),
    }
    latest = {
        "e1": scrape("edge", hit=160, refresh_hit=20, miss=70),
        "e2": scrape("edge", hit=500),  # came back: its counters say nothing about the last second
        "r1": scrape("regional", hit=10, miss=10),
        "o1": scrape("origin", origin=30),
    }
    latest["e1"]["requests"]["pass"] = 40  # straight to the origin: no question of a hit
    assert hit_ratios(latest, before) == (("edge", 0.8), ("regional", None))


PICTURE = Picture(
    elapsed_seconds=12.0,
    phase="caches warm up",
    regions=(),
    hit_ratios=(("edge", 0.91), ("regional", None)),
    nodes_alive=11,
    nodes_total=12,
    dead_nodes=("fra-edge-1",),
    events=("12:00:01 fra-edge-1 killed",),
)


def test_a_plain_line_says_it_all() -> None:
    line = plain_line(PICTURE)
    for words in ("12.0 s", "edge 91.0%", "regional –", "nodes 11/12", "down: fra-edge-1", "errors 0"):
        assert words in line


def test_without_a_terminal_there_are_lines_now_and_then_and_every_event() -> None:
    output = io.StringIO()
    with LiveTable(Console(file=output, width=100)) as live:
        live.show(PICTURE)
        live.show(PICTURE)  # at once: not worth a line
        live.say("12:00:01 fra-edge-1 killed")
    assert output.getvalue().splitlines() == [plain_line(PICTURE), "12:00:01 fra-edge-1 killed"]


def test_on_a_terminal_the_table_stands_in_place() -> None:
    output = io.StringIO()
    load = LoadNow()
    load.add([second(100, "eu-central-1", failures=3)])
    picture = Picture(1.0, "x", load.regions(101.0), (("edge", 0.5),), 1, 1, (), PICTURE.events)
    with LiveTable(Console(file=output, width=120, force_terminal=True)) as live:
        live.show(picture)
        live.say("not twice")
    assert "eu-central-1" in output.getvalue()
    assert "fra-edge-1 killed" in output.getvalue()
    assert "not twice" not in output.getvalue()
