"""Gates: each figure against plain Python over the same rows, and no verdict where a witness is missing or nobody came."""

import random
from typing import Any

import pytest

from lab.checkers.conditions import Measure, parse_condition
from lab.checkers.gates import GATE_FIGURES, judge_gates
from lab.checkers.verdict import Outcome
from lab.history.reader import history_of
from tests.depth import examples

S = 1_000_000_000
Rows = list[dict[str, Any]]
NODES = [
    {"node": "edge-1", "role": "edge"}, {"node": "edge-2", "role": "edge"}, {"node": "regional-1", "role": "regional"},
    {"node": "origin-1", "role": "origin"}, {"node": "control-plane", "role": "control_plane"},
]  # fmt: skip
LIVES = [
    {"node": name, "boot_id": "b", "last_ns": 0, "is_ended": True, "dropped_rows": 0}
    for name in (*(node["node"] for node in NODES), "lab", "load")
]
RESULTS = ("hit", "refresh_hit", "miss", "error", "pass")


def drawn(seed: int) -> dict[str, Rows]:
    """A small history: probes beside viewers, failures, requests of people at origins."""
    rng = random.Random(seed)
    requests = [
        {
            "id": f"r{number}", "profile": rng.choice(["website", None, "probe"]), "region": rng.choice(["eu", "us"]),
            "intended_ns": number * S, "started_ns": number * S + rng.randrange(S), "ended_ns": number * S + rng.randrange(1, 5 * S),
            "error": rng.choice([None, None, "timeout"]),
        }
        for number in range(60)
    ]  # fmt: skip
    served = [{"node": rng.choice(NODES)["node"], "result": rng.choice(RESULTS)} for _ in range(80)]
    fills = [{"node": "edge-1", "tier": rng.choice(["regional", "origin"])} for _ in range(30)]
    origin = [
        {
            "node": "origin-1",
            "request_id": rng.choice([None, "q"]),
            "body_bytes": rng.choice([None, rng.randrange(9999)]),
        }
        for _ in range(30)
    ]
    invalidations = [
        {"id": f"I{i}", "issued_ns": i * S, "completed_ns": i * S + rng.randrange(9 * S)} for i in range(4)
    ]
    return {
        "requests": requests, "served": served, "fills": fills, "origin_requests": origin, "invalidations": invalidations, "nodes": NODES,
        "lives": LIVES,
    }  # fmt: skip


def quantile(values: list[Any], share: float) -> float | None:
    """Linear between the two that are nearest."""
    if not values:
        return None
    ordered, place = sorted(values), share * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def expected(rows: dict[str, Rows], figure: str, place: str) -> float | None:
    viewers = [r for r in rows["requests"] if r["profile"] != "probe" and place in ("", r["region"])]
    failed = sum(r["error"] is not None for r in viewers)
    took = [(r["ended_ns"] - r["intended_ns"]) / 1e9 for r in viewers if r["error"] is None]
    role = {node["node"]: node["role"] for node in rows["nodes"]}
    answers = [r["result"] for r in rows["served"] if role[r["node"]] == (place or "edge")]
    hits, misses = sum(each in ("hit", "refresh_hit") for each in answers), answers.count("miss")
    by_caches = [r for r in rows["origin_requests"] if r["request_id"] is not None]
    match figure:
        case "requests":
            return len(viewers)
        case "failures":
            return failed
        case "error_ratio":
            return failed / len(viewers) if viewers else None
        case "p50" | "p95" | "p99":
            return quantile(took, int(figure[1:]) / 100)
        case "hit_ratio":
            return hits / (hits + misses) if hits + misses else None
        case "fills":
            return len([r for r in rows["fills"] if r["tier"] == (place or "origin")])
        case "origin_fetches":
            return len(by_caches)
        case "origin_bytes":
            return float(sum(r["body_bytes"] or 0 for r in by_caches))
        case "receipt_seconds":
            took = [(r["completed_ns"] - r["issued_ns"]) / 1e9 for r in rows["invalidations"]]
            return quantile(took, 1)
    raise AssertionError(f"the test does not know {figure}")


PLACES = {"region": ("", "eu", "us", "nowhere"), "tier": ("", "edge", "regional", "origin", "nowhere"), "": ("",)}
EVERY = [(name, place) for name, figure in GATE_FIGURES.items() for place in PLACES[figure.place]]


def unit_of(name: str) -> str:
    return " s" if GATE_FIGURES[name].measure is Measure.TIME else ""


def judged(rows: dict[str, Rows], text: str) -> tuple[Outcome, str]:
    history = history_of(rows)
    (check,) = judge_gates(history, [parse_condition(text, GATE_FIGURES)])
    history.close()
    return check.outcome, check.evidence[0]


@pytest.mark.parametrize("seed", range(examples(2)))
def test_each_figure_is_what_plain_python_says(seed: int) -> None:
    rows = drawn(seed)
    history = history_of(rows)
    for name, place in EVERY:
        wanted = expected(rows, name, place)
        assert GATE_FIGURES[name].of(history, place) == (None if wanted is None else pytest.approx(wanted)), (
            name,
            place,
        )
    history.close()


@pytest.mark.parametrize("name", GATE_FIGURES)
def test_without_its_witness_a_gate_is_unknown(name: str) -> None:
    rows = drawn(0)
    del rows[GATE_FIGURES[name].table]
    for sign in ("<", ">="):
        assert judged(rows, f"{name} {sign} 1{unit_of(name)}") == (
            Outcome.UNKNOWN,
            f"nobody wrote down {GATE_FIGURES[name].table}",
        )


@pytest.mark.parametrize("name", GATE_FIGURES)
def test_a_witness_that_dropped_rows_makes_a_gate_unknown(name: str) -> None:
    rows = drawn(0)
    rows["lives"] = [each | {"dropped_rows": 7} for each in LIVES]
    outcome, says = judged(rows, f"{name} <= 1{unit_of(name)}")
    assert outcome is Outcome.UNKNOWN and "dropped 7 rows" in says


def test_what_is_said_of_nobody_is_unknown_and_what_counts_them_is_not() -> None:
    history = history_of({name: rows if name in ("nodes", "lives") else [] for name, rows in drawn(0).items()})
    counts = {"requests", "failures", "fills", "origin_fetches", "origin_bytes"}
    for name in GATE_FIGURES:
        (check,) = judge_gates(history, [parse_condition(f"{name} <= 0{unit_of(name)}", GATE_FIGURES)])
        assert check.outcome is (Outcome.VALID if name in counts else Outcome.UNKNOWN), name
    history.close()


@pytest.mark.parametrize(
    "open_one", [{"issued_ns": 5 * S, "completed_ns": None}, {"issued_ns": None, "completed_ns": None}]
)
def test_a_receipt_that_never_came_took_no_short_time(open_one: dict[str, Any]) -> None:
    rows = drawn(0)
    rows["invalidations"] = [*rows["invalidations"], {"id": "I9", **open_one}]
    assert judged(rows, "receipt_seconds <= 60 s")[0] is Outcome.UNKNOWN


def test_a_gate_says_what_the_figure_was() -> None:
    rows = drawn(0)
    rows["requests"] = [{"id": "r", "intended_ns": 0, "ended_ns": S // 4, "region": "eu"}]
    assert judged(rows, "p50(eu) <= 250 ms") == (Outcome.VALID, "p50 was 0.25")
    assert judged(rows, "p50(eu) < 250 ms") == (Outcome.INVALID, "p50 was 0.25")
