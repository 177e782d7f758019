"""Invalidations that wait for nodes, and the proof that they have them: DESIGN section 4, rules 5 and 6. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from control_plane.nodes import NodeRecord

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
    """One node's line in a receipt. A node without a lease is left out: it is not routable before it has caught up."""

    node_id: str
    state: NodeReceiptState
    acknowledged_at: float | None = None
    left_out_since: float | None = None


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
        """A newly committed invalidation."""
        self._indexes.append(invalidation.index)
        self._pending[invalidation.index] = _Pending(invalidation)

    def acknowledged(self, node_id: str, index: int, now: float) -> None:
        """The node has applied everything up to `index`."""
        for pending_index in self._indexes[: bisect_right(self._indexes, index)]:
            self._pending[pending_index].acknowledged_at.setdefault(node_id, now)

    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        """The receipts of what every node with a live lease has acknowledged. They stay pending until they are durable, and are taken out then."""
        if not self._indexes:
            return []
        settled_index = min((node.acknowledged_index for node in nodes if node.is_live), default=self._indexes[-1])
        count = bisect_right(self._indexes, settled_index)
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


def _receipt(pending: _Pending, nodes: Iterable[NodeRecord], completed_at: float | None) -> Receipt:
    lines = tuple(_node_receipt(pending, node) for node in nodes)
    return Receipt(pending.invalidation, completed_at, lines)


def _node_receipt(pending: _Pending, node: NodeRecord) -> NodeReceipt:
    node_id = node.description.identifier
    if node.acknowledged_index >= pending.invalidation.index:
        return NodeReceipt(node_id, "acknowledged", acknowledged_at=pending.acknowledged_at.get(node_id))
    if node.is_live:
        return NodeReceipt(node_id, "pending")
    return NodeReceipt(node_id, "left_out", left_out_since=node.unleased_since)
