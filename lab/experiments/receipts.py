"""Receipts as rows of a history: what the control plane said of each invalidation of a run. Pure."""

from collections.abc import Mapping
from typing import Any

from proto.moments import ClockAnchor, read_anchor


def invalidation_row(asked: Mapping[str, Any], receipt: Mapping[str, Any] | None, own: ClockAnchor) -> dict[str, Any]:
    """Of the table `invalidations`: what was asked for, and what the newest receipt says.

    `own` is the clock that the history is on. A control plane on another one (in another machine, or before a reboot) has no times that could be compared:
    they are left out, and nothing is judged by them (decision 29).
    """
    if receipt is None:
        return dict(asked)
    left_out = [node["id"] for node in receipt["nodes"] if node["state"] == "left_out"]
    row = {**asked, "index": receipt["index"], "left_out": ",".join(left_out)}
    if not _is_on(own, receipt):
        return row
    return row | {"issued_ns": receipt["issued_monotonic_ns"], "completed_ns": receipt["completed_monotonic_ns"]}


def acknowledgement_rows(receipt: Mapping[str, Any] | None, own: ClockAnchor) -> list[dict[str, Any]]:
    """Of the table `acknowledgements`; without times where the clock is another one."""
    if receipt is None:
        return []
    is_own = _is_on(own, receipt)
    return [
        {
            "invalidation_id": receipt["invalidation_id"],
            "node": node["id"],
            "state": node["state"],
            "at_ns": (node["acknowledged_monotonic_ns"] or node["left_out_monotonic_ns"]) if is_own else None,
            "fenced_by": node["fenced_by"] or None,
        }
        for node in receipt["nodes"]
    ]


def _is_on(own: ClockAnchor, receipt: Mapping[str, Any]) -> bool:
    anchor = read_anchor(receipt.get("clock"))
    return anchor is not None and own.shares_base_with(anchor)
