"""What a report says of a prediction: a run's own requests, predicted, beside what its tiers say; or why not."""

from pathlib import Path
from typing import Any

import pytest

from lab.history.reader import History, history_of
from lab.history.run_files import RunData
from lab.report.data.predicted import Forecast, forecast_of
from lab.report.predictions import prediction_section
from lab.topology.choice import TopologyChoice
from lab.topology.reader import find_topology

SECOND = 1_000_000_000
EDGE, REGIONAL = "edge-iad89-p1-1", "regional-us-east-1-1"
SUMMARY = {
    "topology_name": find_topology(TopologyChoice("tiny")).name,
    "nodes": [
        {"id": EDGE, "role": "edge"},
        {"id": REGIONAL, "role": "regional"},
        {"id": "dns-1", "role": "dns_router"},
    ],
}
NODES = [
    {"node": EDGE, "role": "edge", "address": "127.0.1.1"},
    {"node": REGIONAL, "role": "regional", "address": "127.0.2.1"},
]


def asked(number: int, path: str, **changes: Any) -> dict[str, Any]:
    """One a second, of what is fresh for three."""
    row = {
        "id": f"r{number}",
        "started_ns": number * SECOND,
        "address": "127.0.1.1",
        "method": "GET",
        "host": "h",
        "path": path,
    }
    answer = {"status": 200, "cache_control": "max-age=3", "entity_tag": '"1"', "content_length": 100}
    return {**row, **answer, **changes}


def served(node: str, *results: str) -> list[dict[str, Any]]:
    return [{"node": node, "result": result} for result in results]


def history(requests: list[dict[str, Any]], **tables: list[dict[str, Any]]) -> History:
    nothing: dict[str, list[dict[str, Any]]] = {"faults": [], "time_moves": [], "invalidations": []}
    return history_of({"nodes": NODES, "requests": requests, "served": [], "origin_requests": [], **nothing, **tables})


def forecast(past: History, folder: Path, summary: dict[str, Any] | None = None) -> Forecast | None:
    try:
        return forecast_of(RunData("run", summary=SUMMARY if summary is None else summary), past, folder)
    finally:
        past.close()


REQUESTS = [
    asked(1, "/a"),  # a miss at both
    asked(2, "/a"),  # a hit
    asked(3, "/b"),  # a miss
    asked(5, "/a"),  # stale, confirmed by both tiers
    asked(6, "/b", entity_tag='"2"'),  # stale, and changed: of the same size
]


def test_figures_stand_beside_what_was_measured(tmp_path: Path) -> None:
    edge = served(EDGE, "miss", "hit", "miss", "refresh_hit", "miss")
    regional = served(REGIONAL, "miss", "miss", "refresh_hit", "miss")
    origin = [{"method": "GET"}] * 4 + [{"method": "PUT"}]
    found = forecast(history(REQUESTS, served=edge + regional, origin_requests=origin), tmp_path)
    assert found is not None and not found.unknown
    assert [(each.name, each.predicted, each.measured) for each in found.values] == [
        ("hit ratio, edge", 2 / 5, 2 / 5),
        ("hit ratio, regional", 1 / 4, 1 / 4),
        ("origin fetches", 4, 4),
    ]
    section = prediction_section(found)
    assert "40.00%" in section and "+0.00 points" in section and "+0" in section


def test_an_invalidation_of_the_run_counts(tmp_path: Path) -> None:
    invalidated = [{"issued_ns": int(1.5 * SECOND), "paths": "/a /x*"}]
    found = forecast(history(REQUESTS[:2], invalidations=invalidated), tmp_path)
    assert found is not None and found.values[0].predicted == 0


def test_the_policy_of_the_scenario_counts(tmp_path: Path) -> None:
    """A minimum TTL keeps both copies: nothing is stale, so nobody sees the change."""
    site = "{name: site, origin: o, cache: {min_ttl: 1m}}"
    (tmp_path / "scenario.yaml").write_text(
        f"extensions: [{{name: cdnlab, distributions: [{site}]}}]", encoding="utf-8"
    )
    found = forecast(history(REQUESTS), tmp_path)
    assert found is not None and found.values[0].predicted == 3 / 5


@pytest.mark.parametrize(
    ("more", "tables", "says"),
    [
        ([], {"faults": [{"id": "f"}]}, "there were faults"),
        ([], {"time_moves": [{"by_seconds": 1}]}, "time was moved"),
        ([asked(9, "/c", status=503)], {}, "answered with errors"),
        ([asked(9, "/c", status=206)], {}, "parts of objects"),
        ([asked(9, "/c", content_encoding="br")], {}, "compressed"),
        ([asked(9, "/c", host="other")], {}, "several distributions"),
        ([asked(9, "/c", address="127.9.9.9")], {}, "127.9.9.9, which is no edge"),
    ],
)
def test_what_would_be_a_guess_is_unknown(
    more: list[dict[str, Any]], tables: dict[str, Any], says: str, tmp_path: Path
) -> None:
    found = forecast(history([*REQUESTS, *more], **tables), tmp_path)
    assert found is not None and says in found.unknown and not found.values
    assert "Unknown: " in prediction_section(found)


def test_a_topology_that_does_not_ship_is_unknown(tmp_path: Path) -> None:
    found = forecast(history(REQUESTS), tmp_path, {**SUMMARY, "nodes": []})
    assert found is not None and "is none that ships" in found.unknown


def test_a_run_without_a_history_has_no_section(tmp_path: Path) -> None:
    found = forecast(history_of({}), tmp_path)
    assert found is None and not prediction_section(found)
