"""Invalidations that wait for nodes, and the proof that they have them: DESIGN section 4, rules 5 and 6. Pure; whom they wait for is `fencing.py`'s."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from control_plane.fencing import fenced_at, waited_for
from control_plane.nodes import NodeRecord

FencedBy = Literal["left", "lease_over"]
"""It said that it leaves; or its lease is over, and it has had the time to hear from any node that it can reach that the control plane goes on without it."""

NodeReceiptState = Literal["acknowledged", "pending", "left_out"]


@dataclass(frozen=True, slots=True)
class IssuedInvalidation:
    """What was asked for, and where it stands in the log."""

    identifier: str
    distribution_id: str
    index: int
    paths: tuple[str, ...]
    issued_at: float


@dataclass(frozen=True, slots=True)
class NodeReceipt:
    """One node's line in a receipt. A node without a lease is left out: it is not routable before it has caught up, and serves nothing unconfirmed (rule 10)."""

    node_id: str
    state: NodeReceiptState
    acknowledged_at: float | None = None
    left_out_since: float | None = None
    """When its lease ended."""
    fenced_by: FencedBy | None = None
    """Why it serves nothing old, if it was left out."""
    fenced_since: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """An invalidation, how far it is, and who has it; `completed_at` is None while a live node has not."""

    invalidation: IssuedInvalidation
    completed_at: float | None
    nodes: tuple[NodeReceipt, ...]


@dataclass(slots=True)
class _Pending:
    invalidation: IssuedInvalidation
    acknowledged_at: dict[str, float] = field(default_factory=dict)


class PendingReceipts:
    """Invalidations that a live node has not acknowledged yet, in order of the log."""

    def __init__(self, issued: Iterable[IssuedInvalidation] = ()) -> None:
        self._indexes: list[int] = []
        self._pending: dict[int, _Pending] = {}
        for invalidation in issued:
            self.add(invalidation)

    def __len__(self) -> int:
        return len(self._indexes)

    @property
    def oldest_index(self) -> int | None:
        """Of the first in the log that waits; all before it are complete."""
        return self._indexes[0] if self._indexes else None

    def add(self, invalidation: IssuedInvalidation) -> None:
        """A newly committed invalidation; one that is known already, because it was committed while all that wait were read, is no news."""
        if invalidation.index in self._pending:
            return
        self._indexes.append(invalidation.index)
        self._pending[invalidation.index] = _Pending(invalidation)

    def acknowledged(self, node_id: str, index: int, now: float) -> None:
        """The node has applied everything up to `index`."""
        for pending_index in self._indexes[: bisect_right(self._indexes, index)]:
            self._pending[pending_index].acknowledged_at.setdefault(node_id, now)

    def withdrawn(self, node_id: str) -> None:
        """What the node has acknowledged so far counts for nothing."""
        for pending in self._pending.values():
            pending.acknowledged_at.pop(node_id, None)

    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        """The receipts of what every node has acknowledged that receipts wait for. They stay pending until they are durable, and are taken out then."""
        if not self._indexes:
            return []
        count = bisect_right(self._indexes, settled_index(nodes, self._indexes[-1], now))
        return [_receipt(self._pending[index], nodes, now) for index in self._indexes[:count]]

    def remove(self, completed: Sequence[Receipt]) -> None:
        """Take out the oldest, which are complete and durable."""
        for receipt in completed:
            del self._pending[receipt.invalidation.index]
        del self._indexes[: len(completed)]

    def find(self, identifier: str, nodes: Iterable[NodeRecord]) -> Receipt | None:
        """The receipt so far of one that is pending."""
        for pending in self._pending.values():
            if pending.invalidation.identifier == identifier:
                return _receipt(pending, nodes, None)
        return None


def settled_index(nodes: Sequence[NodeRecord], newest_index: int, now: float) -> int:
    """Up to where no node can serve anything old."""
    return min((node.acknowledged_index for node in waited_for(nodes, now)), default=newest_index)


def _receipt(pending: _Pending, nodes: Iterable[NodeRecord], completed_at: float | None) -> Receipt:
    lines = tuple(_node_receipt(pending, node, completed_at) for node in nodes)
    return Receipt(pending.invalidation, completed_at, lines)


def _node_receipt(pending: _Pending, node: NodeRecord, completed_at: float | None) -> NodeReceipt:
    node_id = node.description.identifier
    if node.acknowledged_index >= pending.invalidation.index:
        return NodeReceipt(node_id, "acknowledged", acknowledged_at=pending.acknowledged_at.get(node_id))
    if completed_at is None:
        return NodeReceipt(node_id, "pending")
    fenced_by: FencedBy = "left" if node.has_left else "lease_over"
    return NodeReceipt(node_id, "left_out", None, node.unleased_since, fenced_by, fenced_at(node))
