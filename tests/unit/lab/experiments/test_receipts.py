"""Receipts as rows: what is known of an invalidation, and that no time of another clock is taken for one of ours."""

from typing import Any

import pytest

from lab.experiments.receipts import acknowledgement_rows, invalidation_row
from proto.moments import ClockAnchor

OWN = ClockAnchor("boot-1", 1_000, 10)
ASKED = {"id": "I1", "paths": "/a", "asked_ns": 5}


def node(name: str, state: str, **values: Any) -> dict[str, Any]:
    return {
        "id": name, "state": state, "acknowledged_monotonic_ns": None, "left_out_monotonic_ns": None, "fenced_by": "",
    } | values  # fmt: skip


def receipt(clock: object) -> dict[str, Any]:
    nodes = [
        node("edge-1", "acknowledged", acknowledged_monotonic_ns=20),
        node("edge-2", "left_out", left_out_monotonic_ns=40, fenced_by="its lease"),
        node("edge-3", "left_out", left_out_monotonic_ns=41),
        node("edge-4", "pending"),
    ]
    return {
        "invalidation_id": "I1", "index": 7, "nodes": nodes, "issued_monotonic_ns": 11, "completed_monotonic_ns": None, "clock": clock,
    }  # fmt: skip


def test_a_receipt_says_when_and_who() -> None:
    made = receipt(ClockAnchor("boot-1", 5_000, 4_010).to_json())  # of another process on the same host
    assert invalidation_row(ASKED, made, OWN) == {
        **ASKED, "index": 7, "left_out": "edge-2,edge-3", "issued_ns": 11, "completed_ns": None,
    }  # fmt: skip
    rows = acknowledgement_rows(made, OWN)
    assert [(row["node"], row["state"], row["at_ns"], row["fenced_by"]) for row in rows] == [
        ("edge-1", "acknowledged", 20, None),
        ("edge-2", "left_out", 40, "its lease"),
        ("edge-3", "left_out", 41, None),
        ("edge-4", "pending", None, None),
    ]


@pytest.mark.parametrize("clock", [None, {}, "boot-1", ClockAnchor("boot-2", 1_000, 10).to_json()])
def test_times_of_another_clock_are_left_out_and_the_rest_is_not(clock: object) -> None:
    row = invalidation_row(ASKED, receipt(clock), OWN)
    assert row == {**ASKED, "index": 7, "left_out": "edge-2,edge-3"}
    told = acknowledgement_rows(receipt(clock), OWN)
    assert [each["at_ns"] for each in told] == [None] * 4
    assert [each["state"] for each in told] == ["acknowledged", "left_out", "left_out", "pending"]


def test_without_a_receipt_there_is_what_was_asked() -> None:
    assert invalidation_row(ASKED, None, OWN) == ASKED
    assert acknowledgement_rows(None, OWN) == []
