"""Invalidations with what each node said of them: from receipts.json, which has all that the control plane told, or else from the history."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab.history.reader import History
from lab.history.run_files import Record, RunData
from proto.moments import NANOSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Of one node: `seconds` from issue until it had applied it, None when it did not, or was left out."""

    node: str
    state: str
    seconds: float | None
    left_out_since: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """`seconds` from issue to completion; None: it was not completed in this run, or nobody knows."""

    id: str
    paths: str
    index: str
    is_complete: bool
    seconds: float | None
    nodes: tuple[Acknowledgement, ...]

    @property
    def acknowledged(self) -> int:
        return sum(each.state == "acknowledged" for each in self.nodes)


def receipts_of(run: RunData, history: History) -> tuple[Receipt, ...]:
    return tuple(_of_file(each) for each in run.receipts) or _of_history(history)


def _of_file(receipt: Record) -> Receipt:
    nodes = tuple(
        Acknowledgement(
            node=str(node.get("id", "")),
            state=str(node.get("state", "")),
            seconds=None if node.get("seconds") is None else float(node["seconds"]),
            left_out_since=str(node.get("left_out_since") or ""),
        )
        for node in receipt.get("nodes", [])
    )
    return Receipt(
        id=str(receipt.get("invalidation_id", "")),
        paths=", ".join(str(path) for path in receipt.get("paths", [])),
        index=str(receipt.get("index", "?")),
        is_complete=receipt.get("status") == "Completed",
        seconds=_seconds(receipt, nodes),
        nodes=nodes,
    )


def _seconds(receipt: Record, nodes: tuple[Acknowledgement, ...]) -> float | None:
    """As the control plane's clock had it; of a receipt without a clock, by its wall times; else the slowest node."""
    issued_ns, completed_ns = receipt.get("issued_monotonic_ns"), receipt.get("completed_monotonic_ns")
    if issued_ns is not None and completed_ns is not None:
        return float(completed_ns - issued_ns) / NANOSECONDS_PER_SECOND
    issued, completed = _parse_time(receipt.get("issued_at")), _parse_time(receipt.get("completed_at"))
    if issued is not None and completed is not None and "clock" not in receipt:
        return (completed - issued).total_seconds()
    return max((node.seconds for node in nodes if node.seconds is not None), default=None)


def _parse_time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None


def _of_history(history: History) -> tuple[Receipt, ...]:
    nodes: dict[str, list[Acknowledgement]] = {}
    for invalidation, node, state, seconds in history.rows(
        """SELECT a.invalidation_id, a.node, a.state, (a.at_ns - i.issued_ns) / 1e9
           FROM acknowledgements a JOIN invalidations i ON i.id = a.invalidation_id ORDER BY a.node"""
    ):
        taken = seconds if state == "acknowledged" else None
        nodes.setdefault(invalidation, []).append(Acknowledgement(str(node), str(state), taken))
    rows = history.rows(
        """SELECT id, paths, "index", completed_ns IS NOT NULL, (completed_ns - issued_ns) / 1e9
           FROM invalidations ORDER BY coalesce(issued_ns, asked_ns)"""
    )
    return tuple(
        Receipt(
            str(name), str(paths or ""), "?" if index is None else str(index), done, seconds, tuple(nodes.get(name, ()))
        )
        for name, paths, index, done, seconds in rows
    )
