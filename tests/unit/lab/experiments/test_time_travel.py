"""What became of a move of the clock at each node, read from the control plane's status as its node list has it."""

import time
from typing import Any

import pytest

from lab.experiments.time_travel import NodeAnswer, Travel, answers_at, wait_for_all

INDEX = 7


def node(name: str, index: int, state: str = "live", **values: Any) -> dict[str, Any]:
    return {"id": name, "state": state, "acknowledged_index": index, "connected": True, "rejections": []} | values


@pytest.mark.parametrize(
    ("told", "state", "reason"),
    [
        (node("n", 7), "acknowledged", ""),
        (node("n", 9, connected=False), "acknowledged", ""),
        (node("n", 6), "waiting", "has not acknowledged it"),
        (node("n", 6, connected=False), "waiting", "is not connected"),
        (node("n", 6, "expired"), "away", ""),
        (node("n", 7, "left"), "away", ""),
        (node("n", 7, rejections=[{"kind": "lab_clock", "reason": "too far"}]), "refused", "too far"),
        (node("n", 7, rejections=[{"kind": "distribution", "reason": "no origin"}]), "acknowledged", ""),
        (node("n", 6, rejections=[{"kind": "lab_clock", "reason": "of a move before"}]), "waiting", "has not acknowledged it"),
    ],
)  # fmt: skip
def test_what_became_of_it_at_a_node(told: dict[str, Any], state: str, reason: str) -> None:
    assert answers_at({"nodes": [told]}, INDEX) == [NodeAnswer("n", state, reason)]


def test_nobody_is_waited_for_who_is_away_or_has_refused() -> None:
    refusal = [{"kind": "lab_clock", "reason": "no"}]
    last = {"nodes": [node("a", 7), node("b", 3, "expired"), node("c", 8, rejections=refusal)]}
    looks = iter([{"nodes": [node("a", 6), node("b", 3), node("c", 6)]}, {"nodes": [node("a", 7), node("b", 3)]}, last])
    answers = wait_for_all(lambda: next(looks), INDEX, time.monotonic() + 60)
    assert [each.state for each in answers] == ["acknowledged", "away", "refused"]
    assert not Travel({}, tuple(answers), 1.0).is_done
    assert Travel({}, tuple(answers[:2]), 1.0).is_done


def test_at_the_deadline_it_is_told_who_is_waited_for() -> None:
    answers = wait_for_all(lambda: {"nodes": [node("a", 7), node("b", 6)]}, INDEX, time.monotonic())
    assert [each.to_json() for each in answers] == [
        {"id": "a", "state": "acknowledged", "reason": None},
        {"id": "b", "state": "waiting", "reason": "has not acknowledged it"},
    ]
