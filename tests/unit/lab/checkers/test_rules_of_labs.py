"""What checkers are told of the lab itself: that its clock was moved, and which behaviors share no fetch."""

import pytest

from lab.checkers.catalogue import choose
from lab.checkers.collapse import collapse
from lab.checkers.staleness import staleness
from lab.history.reader import history_of

SECOND = 1_000_000_000
DAY = 86_400
PRODUCED, STARTED = 100 * SECOND, 110 * SECOND


def answer(started_ns: int = STARTED) -> dict[str, object]:
    return {
        "id": "r1",
        "host": "d1.cdn.localhost",
        "path": "/a",
        "status": 200,
        "address": "127.0.11.1",
        "cache_control": f"max-age={DAY}",
        "started_ns": started_ns,
        "ended_ns": started_ns + 1,
        "stamp_produced_ns": PRODUCED,
    }


def move(asked_second: float, everywhere_second: float | None, by_seconds: int = DAY) -> dict[str, object]:
    everywhere_ns = None if everywhere_second is None else round(everywhere_second * SECOND)
    return {"by_seconds": by_seconds, "asked_ns": round(asked_second * SECOND), "everywhere_ns": everywhere_ns}


@pytest.mark.parametrize(
    ("moves", "wrong"),
    [
        ([], 0),
        ([move(101, 102)], 1),
        ([move(101, 102, DAY // 2)], 0),
        ([move(101, 102, DAY // 2), move(103, 104, DAY // 2)], 1),
        ([move(99, 102)], 0),  # it may have been made after that
        ([move(101, 111)], 0),  # not everybody knew yet
        ([move(101, None)], 0),
    ],
)
def test_an_answer_is_older_by_what_the_clock_was_moved_since(moves: list[dict[str, object]], wrong: int) -> None:
    edge: dict[str, object] = {"node": "edge-1", "role": "edge", "address": "127.0.11.1"}
    rows: dict[str, list[dict[str, object]]] = {
        "requests": [answer()],
        "time_moves": moves,
        "nodes": [edge],
        "fills": [],
        "served": [],
    }
    assert staleness(history_of(rows), 0.0, 86_400.0, 365.0 * DAY).wrong == wrong


def fill(path: str, started_second: int) -> dict[str, object]:
    times = {"started_ns": started_second * SECOND, "ended_ns": (started_second + 5) * SECOND}
    return {
        "node": "edge-1",
        "request_id": f"r{started_second}",
        "tier": "regional",
        "method": "GET",
        "path": path,
        "key": path,
        "index": 3,
        "status": 200,
        "received_bytes": 10,
        "is_shared": True,
        "must_confirm": False,
        **times,
    }


@pytest.mark.parametrize(
    ("patterns", "path", "wrong"),
    [
        ((), "/api/a?x=1", 1),
        (("/api/*",), "/api/a?x=1", 0),
        (("/api/?",), "/api/a?x=1", 0),
        (("/api/?",), "/api/ab?x=1", 1),
        (("*.json", "/b.d"), "/bxd", 1),
        (("/other", "*.json"), "/api/a.json", 0),
    ],
)
def test_behaviors_that_share_no_fetch_are_left_out(patterns: tuple[str, ...], path: str, wrong: int) -> None:
    history = history_of({"fills": [fill(path, 1), fill(path, 2)]})
    assert collapse(history, 5.0, 10.0, 1 << 20, patterns).wrong == wrong


def test_what_the_lab_knows_stands_where_the_scenario_says_nothing() -> None:
    choices, problems = choose(["departure", {"departure": {"as": "own", "lease_seconds": 7}}], {"lease_seconds": 2.0})
    assert not problems
    assert [choice.values["lease_seconds"] for choice in choices] == [2.0, 7.0]
